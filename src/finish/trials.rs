//! The trainings of the grid: each that is not on record is done, and goes on record when it ends.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::grid::Point;
use super::{Event, Finish, FinishError};
use crate::config::{Config, StrategyKind};
use crate::run::entry::{Child, Entry, Lost, RunTiming, Started, Stop, Timing};
use crate::run::{Run, now};
use crate::search::child::{Kept, Trainer};
use crate::search::evaluator::{Evaluator, Job, News};
use crate::search::local::{Local, Settings};
use crate::search::proposal::{Proposal, ended};

/// How long the loop waits for news before it looks at the stop flag again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The trainings that have not ended, by their number.
type Waiting<'a> = BTreeMap<u64, (Proposal, &'a Point)>;

/// Has every training of the grid done that is not on record.
pub(super) fn all(
    finish: &Finish,
    run: &mut Run,
    config: &Config,
    points: &[Point],
    watch: &mut dyn FnMut(Event),
) -> Result<(), FinishError> {
    let again = run.history.to_try_again(StrategyKind::Random);
    let is_left = |point: &&Point| {
        !run.history.children.contains_key(&point.index) || again.contains(&point.index)
    };
    let left: Vec<&Point> = points.iter().filter(is_left).collect();
    if left.is_empty() {
        return Ok(());
    }
    let mut evaluator = evaluator(finish, run, config)?;
    begin_session(finish, run, config)?;
    let mut waiting = Waiting::new();
    let mut jobs = Vec::new();
    for point in left {
        let proposal = proposal(finish, point);
        let lost = run.history.lost.get(&point.index).cloned();
        jobs.push(Job {
            own: Some(
                point
                    .recipe
                    .course(&finish.course, finish.grid.epochs, true),
            ),
            lost: lost.unwrap_or_default(),
            journal_bytes: run.journal.length(),
            ..Job::new(point.index, proposal.architecture.clone())
        });
        waiting.insert(point.index, (proposal, point));
    }
    evaluator.submit(jobs);
    let end = wait(finish, run, &mut evaluator, &mut waiting, watch);
    let news = match end {
        Ok(()) => return Ok(()),
        Err(_) => evaluator.stop(),
    };
    // Where a file cannot be written, nothing more is: the first error is told.
    if let Err(FinishError::Stopped { .. } | FinishError::NoDevice(_)) = end {
        stopped(run, &mut evaluator, waiting, news)?;
    }
    end
}

/// Brings on record that somebody works on it.
pub(super) fn begin_session(
    finish: &Finish,
    run: &mut Run,
    config: &Config,
) -> Result<(), FinishError> {
    let started = Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: config.sha256(),
        data_sha256: finish.course.data_sha256(),
        samples: config.search.samples,
        timing: RunTiming {
            at: now(),
            device: finish.devices.models()?.join(", "),
            threads: finish.threads,
        },
    };
    run.journal.append(&Entry::Run(started.clone()))?;
    run.history.add_run(started);
    Ok(())
}

/// Brings on record that it stopped in good order.
pub(super) fn end_session(run: &mut Run) -> Result<(), FinishError> {
    let samples = run.history.children.len() as u64;
    let timing = timing();
    Ok(run.journal.append(&Entry::Stop(Stop { samples, timing }))?)
}

fn evaluator(finish: &Finish, run: &Run, config: &Config) -> Result<Local, FinishError> {
    let (checkpoints, _) = run.folders()?;
    Ok(Local::new(Settings {
        trainer: Trainer {
            course: finish.course.clone(),
            seed: config.search.seed,
            kept: Some(Kept {
                config_sha256: config.sha256(),
                best_weights: None,
                checkpoints,
                every: Duration::from_secs(config.train.checkpoint_seconds()),
            }),
        },
        devices: finish.devices.clone(),
        threads: finish.threads,
        memory: config.device.memory_bytes.unwrap_or(u64::MAX),
    })?)
}

fn wait(
    finish: &Finish,
    run: &mut Run,
    evaluator: &mut Local,
    waiting: &mut Waiting,
    watch: &mut dyn FnMut(Event),
) -> Result<(), FinishError> {
    let n_points = finish.grid.len();
    while !waiting.is_empty() {
        if finish.stop.load(Ordering::Relaxed) {
            return Err(FinishError::Stopped {
                done: n_points - waiting.len(),
                all: n_points,
            });
        }
        match evaluator.next(PATIENCE) {
            None => {}
            Some(News::Epoch { sample, epoch }) => {
                if let Some((_, point)) = waiting.get(&sample) {
                    watch(Event::Trying(point, epoch));
                }
            }
            Some(News::Lost { sample, words }) => record_loss(run, sample, words)?,
            Some(News::NoDevice(words)) => return Err(FinishError::NoDevice(words)),
            Some(News::NotKept(error)) => return Err(error.into()),
            Some(News::Ended(outcome)) => {
                let Some((proposal, point)) = waiting.remove(&outcome.sample) else {
                    continue; // a second report of it
                };
                record(run, evaluator, ended(&proposal, outcome))?;
                let child = &run.history.children[&point.index];
                watch(Event::Tried(point, child, n_points - waiting.len()));
            }
        }
    }
    Ok(())
}

/// Brings on record what was heard while the trainings under way were stopped.
fn stopped(
    run: &mut Run,
    evaluator: &mut Local,
    mut waiting: Waiting,
    news: Vec<News>,
) -> Result<(), FinishError> {
    for news in news {
        match news {
            News::Ended(outcome) => {
                if let Some((proposal, _)) = waiting.remove(&outcome.sample) {
                    record(run, evaluator, ended(&proposal, outcome))?;
                }
            }
            News::Lost { sample, words } => record_loss(run, sample, words)?,
            News::NotKept(error) => return Err(error.into()),
            News::Epoch { .. } | News::NoDevice(_) => {}
        }
    }
    end_session(run)
}

/// Brings a training of the grid on record.
fn record(run: &mut Run, evaluator: &mut Local, child: Child) -> Result<(), FinishError> {
    let sample = child.sample;
    run.journal.append(&Entry::Child(child.clone()))?;
    run.history
        .add(Entry::Child(child))
        .expect("each training ends once");
    Ok(evaluator.recorded(sample)?)
}

/// Brings on record that a GPU was lost under a training.
fn record_loss(run: &mut Run, sample: u64, message: String) -> Result<(), FinishError> {
    Ok(run.journal.append(&Entry::Lost(Lost {
        sample,
        message,
        timing: timing(),
    }))?)
}

fn timing() -> Timing {
    Timing {
        at: now(),
        ..Timing::default()
    }
}

fn proposal(finish: &Finish, point: &Point) -> Proposal {
    let architecture = &finish.grid.candidates[point.candidate].architecture;
    Proposal {
        sample: point.index,
        batch: point.candidate as u64,
        tokens: point.places.clone(),
        canonical: architecture.to_json(),
        architecture: architecture.clone(),
    }
}
