//! Trains those of the best children again whose weights a run has lost: the same settings give the same
//! bits, so that the files are those that were lost.

use std::sync::atomic::{AtomicBool, Ordering};

use super::evaluator::{Evaluator, Job, News, Outcome};
use super::{End, PATIENCE, SearchError};
use crate::run::history::History;
use crate::space::Architecture;

/// What came of it.
pub struct Mended {
    /// Whether all were trained, or why not.
    pub end: End,
    /// Samples whose weights stay missing, with the reason.
    pub lost: Vec<(u64, String)>,
}

/// Trains the children of `missing` again, each as the record has it, on an evaluator that keeps their
/// weights and works on `device`.
///
/// # Errors
/// What is to be kept of a child cannot be written.
pub fn mend(
    missing: &[u64],
    history: &History,
    (evaluator, device): (&mut dyn Evaluator, &str),
    stop: &AtomicBool,
) -> Result<Mended, SearchError> {
    let (mut jobs, mut lost) = (Vec::new(), Vec::new());
    for &sample in missing {
        match job(sample, history, device) {
            Ok(job) => jobs.push(job),
            Err(reason) => lost.push((sample, reason)),
        }
    }
    let mut left = jobs.len();
    evaluator.submit(jobs);
    let mut end = End::Finished;
    while left > 0 {
        if stop.load(Ordering::Relaxed) {
            end = End::Stopped;
            break;
        }
        match evaluator.next(PATIENCE) {
            None | Some(News::Epoch { .. } | News::Lost { .. }) => {}
            Some(News::NoDevice(words)) => {
                end = End::NoDevice(words);
                break;
            }
            Some(News::NotKept(error)) => {
                evaluator.stop();
                return Err(error.into());
            }
            Some(News::Ended(outcome)) => {
                left -= 1;
                evaluator.recorded(outcome.sample)?;
                lost.extend(differs(&outcome, history).map(|why| (outcome.sample, why)));
            }
        }
    }
    if end == End::Finished {
        return Ok(Mended { end, lost });
    }
    // What the children under way have is kept, and so is what ended.
    for news in evaluator.stop() {
        match news {
            News::Ended(outcome) => evaluator.recorded(outcome.sample)?,
            News::NotKept(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(Mended { end, lost })
}

/// A child to train again, or why that would not give the weights that it had.
fn job(sample: u64, history: &History, device: &str) -> Result<Job, String> {
    let child = &history.children[&sample];
    let devices: Vec<&str> = history
        .runs
        .iter()
        .map(|run| run.timing.device.as_str())
        .collect();
    if !devices.contains(&device) {
        let before = devices.first().copied().unwrap_or("another device");
        return Err(format!(
            "trained again on {device} it would have other bits than on {before}; go on there"
        ));
    }
    let architecture = Architecture::from_json(&child.architecture.to_string());
    let architecture = architecture.map_err(|error| error.to_string())?;
    Ok(Job {
        before: Some(child.scores.clone()),
        ..Job::new(sample, architecture)
    })
}

/// How a child that was trained again has not become what it was.
fn differs(outcome: &Outcome, history: &History) -> Option<String> {
    let child = &history.children[&outcome.sample];
    if outcome.scores == child.scores {
        return None;
    }
    Some(match &outcome.message {
        Some(message) => format!(
            "trained again it ended as {}: {message}",
            outcome.status.word()
        ),
        None => format!(
            "trained again it achieves something else than on record; `audit RUN --retrain {}` compares",
            outcome.sample
        ),
    })
}
