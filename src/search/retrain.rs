//! Trains a child of a run again, and compares what it achieves with what is on record.

use std::sync::atomic::AtomicBool;

use serde::{Serialize, Serializer};

use super::child::{ChildEnd, Trainer};
use super::evaluator::{Job, Outcome};
use super::local::share;
use super::rules;
use crate::config::Config;
use crate::device::Device;
use crate::run::entry::{Child, Started};
use crate::run::history::History;
use crate::run::{RunError, Status};
use crate::space::{Architecture, ArchitectureError};
use crate::train::{Course, Scores};

/// A child of a run, trained again.
#[derive(Debug, Serialize)]
pub struct Retrained {
    /// Its sample.
    pub sample: u64,
    /// How it ended now.
    pub status: Status,
    /// How it ended on record.
    pub recorded_status: Status,
    /// What it achieves after each epoch now.
    #[serde(flatten)]
    pub scores: Scores,
    /// The same on record.
    #[serde(serialize_with = "values")]
    pub recorded: Scores,
    /// Whether both agree, bit for bit; nothing where that is not promised: on another device model,
    /// by another version of the program, or where a fault of the machine is on record.
    pub same: Option<bool>,
    /// The largest difference of an epoch that both have.
    pub largest_difference: Option<f64>,
    /// What trained it now.
    pub device: String,
    /// What had trained it.
    pub recorded_device: String,
}

fn values<S: Serializer>(scores: &Scores, serializer: S) -> Result<S::Ok, S::Error> {
    scores.values().serialize(serializer)
}

/// Why a child cannot be trained again.
#[derive(Debug, thiserror::Error)]
pub enum RetrainError {
    /// Its architecture on record is none.
    #[error("sample {sample}: {source}")]
    Architecture {
        /// The sample.
        sample: u64,
        /// Why.
        source: ArchitectureError,
    },
    /// The device was lost.
    #[error("sample {sample}: {words}")]
    Lost {
        /// The sample.
        sample: u64,
        /// The words of the device.
        words: String,
    },
    /// What is to be kept of it cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Trains a child of an audited run again on a device with `threads`; `planner` is the same device
/// with one thread, by which it is decided whether the child fits. `session` is the one that trained
/// the child, or the one that it repeats.
///
/// # Errors
/// A device that is lost.
pub fn retrain(
    config: &Config,
    (child, session): (&Child, &Started),
    course: Course,
    (device, planner, threads): (&dyn Device, &dyn Device, usize),
) -> Result<Retrained, RetrainError> {
    let sample = child.sample;
    let architecture = Architecture::from_json(&child.architecture.to_string())
        .map_err(|source| RetrainError::Architecture { sample, source })?;
    let trainer = Trainer {
        course,
        seed: config.search.seed,
        kept: None,
    };
    let of_gpu = planner.memory_bytes().map_or(u64::MAX, share);
    let limit = config.device.memory_bytes.unwrap_or(u64::MAX).min(of_gpu);
    let outcome = match trainer.plan(Job::new(sample, architecture), planner, limit) {
        Err(outcome) => *outcome,
        Ok(planned) => {
            let plan = planned.child.plan(device);
            let stop = AtomicBool::new(false);
            let place = (device, &plan, threads);
            match trainer.train(&planned, place, &stop, &mut |_| {}) {
                ChildEnd::Outcome(outcome) => outcome,
                ChildEnd::Lost(words) => return Err(RetrainError::Lost { sample, words }),
                ChildEnd::NotKept(error) => return Err(error.into()),
                ChildEnd::Stopped => unreachable!("nobody tells it to stop"),
            }
        }
    };
    Ok(compared(child, session, outcome, device.model()))
}

fn compared(child: &Child, session: &Started, outcome: Outcome, device: String) -> Retrained {
    // Where a run was on several models, the child's own line says on which.
    let models = &session.timing.device;
    let own = child.timing.device.as_deref().unwrap_or_default();
    let name = |model: &&str| model.find('(').map_or("", |at| &model[at..]).to_owned();
    let model = models
        .split(", ")
        .find(|model| !own.is_empty() && own.ends_with(&name(model)));
    let recorded_device = model.unwrap_or(models).to_owned();
    let is_promised = device == recorded_device
        && session.version == env!("CARGO_PKG_VERSION")
        && child.status.is_verdict();
    let agrees = outcome.status == child.status && outcome.scores == child.scores;
    let pairs = outcome.scores.values().iter().zip(child.scores.values());
    Retrained {
        sample: child.sample,
        status: outcome.status,
        recorded_status: child.status,
        same: is_promised.then_some(agrees),
        largest_difference: pairs.map(|(a, b)| (a - b).abs()).reduce(f64::max),
        scores: outcome.scores,
        recorded: child.scores.clone(),
        device,
        recorded_device,
    }
}

/// The child whose training a sample stands for: its own, or that of the sample that it repeats.
pub fn trained(history: &History, sample: u64) -> Option<&Child> {
    let child = history.children.get(&sample)?;
    history.children.get(&rules::trained(child))
}
