//! One child: a job becomes its outcome. Knows of devices and of a run's checkpoints, nothing of who
//! asks, where others are trained or what the controller makes of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::evaluator::{Job, Outcome};
use crate::device::{Device, DeviceError};
use crate::graph::Plan;
use crate::run::best_weights::BestWeights;
use crate::run::checkpoints::Checkpoints;
use crate::run::entry::Timing;
use crate::run::{RunError, Status};
use crate::space::{Architecture, BenchCell};
use crate::train::weights_file::WeightsError;
use crate::train::{
    self, Child, Course, Keeper, Origin, Pace, Runner, Scores, State, TrainError, table,
};

/// How the children of a search are trained.
pub struct Trainer {
    /// What they are trained on, and how.
    pub course: Course,
    /// The same for all children, so that `train` with this seed repeats any child of the search.
    pub seed: u64,
    /// What is kept of them, where anything is.
    pub kept: Option<Kept>,
}

/// What a run keeps of its children besides their outcomes.
pub struct Kept {
    /// SHA-256 of the run's settings that decide results.
    pub config_sha256: String,
    /// Where the weights of the best are, if they are kept.
    pub best_weights: Option<BestWeights>,
    /// Where those under way are.
    pub checkpoints: Checkpoints,
    /// Time between two checkpoints of a child.
    pub every: Duration,
}

/// A child that fits.
pub struct Planned {
    /// Its job.
    pub job: Job,
    /// What is trained.
    pub child: Box<dyn Child>,
    /// The plan by which it was found to fit.
    pub plan: Plan,
}

/// How the training of a child ends.
pub enum ChildEnd {
    /// With what became of it.
    Outcome(Outcome),
    /// Its device is lost, in these words.
    Lost(String),
    /// It was told to stop, and what it has is kept.
    Stopped,
    /// What is to be kept of it cannot be written.
    NotKept(RunError),
}

impl Trainer {
    /// Plans a child for a device on which a plan may take `limit` bytes: that it fits, or how it ends
    /// without training.
    ///
    /// # Errors
    /// The outcome of a child that cannot be built or is too large, or whose accuracy is in a table.
    pub fn plan(
        &self,
        job: Job,
        planner: &dyn Device,
        limit: u64,
    ) -> Result<Planned, Box<Outcome>> {
        if let (Course::Table(_), Architecture::Bench(cell)) = (&self.course, &job.architecture) {
            return Err(Box::new(looked_up(&job, cell)));
        }
        let own = job.own.as_ref().map(|own| &own.course);
        let child = own
            .unwrap_or(&self.course)
            .child(&job.architecture)
            .map_err(|error| Box::new(self.failed(&job, status(&error), error.to_string())))?;
        let plan = child.plan(planner);
        let memory = plan.arena_bytes as u64;
        if memory > limit {
            let message = format!("training takes {memory} bytes, more than the {limit} allowed");
            return Err(Box::new(Outcome {
                parameters: Some(child.parameters()),
                ..self.failed(&job, Status::TooLarge, message)
            }));
        }
        Ok(Planned { job, child, plan })
    }

    /// Trains a child on a device by a plan for it, from its last checkpoint where there is one, with
    /// `threads` of a processor; `tell` hears of the epochs done.
    pub fn train(
        &self,
        planned: &Planned,
        (device, plan, threads): (&dyn Device, &Plan, usize),
        stop: &AtomicBool,
        tell: &mut dyn FnMut(usize),
    ) -> ChildEnd {
        let began = Instant::now();
        let job = train::Job {
            child: &*planned.child,
            runner: Runner {
                device,
                memory_limit: None,
            },
            plan: Some(plan),
            learning_rate: planned.job.own.as_ref().map(|own| own.learning_rate),
            seed: self.seed,
            init: None,
            // paper P9.4
            test: false,
            stop: &|| stop.load(Ordering::Relaxed),
        };
        let mut keeper = self.keeper(planned, device);
        tell(keeper.state().epochs.len());
        let mut trained = train::train(&job, &mut keeper, &mut |epoch| tell(epoch.epoch));
        if let Err(error @ TrainError::Misfit { .. }) = trained {
            tracing::warn!("sample {}: {error}", planned.job.sample);
            trained = train::train(&job, &mut keeper, &mut |epoch| tell(epoch.epoch));
        }
        let outcome = match trained {
            Ok(trained) => match self.keep_weights(planned, &job, &trained) {
                Ok(()) => self.ended(planned, &trained),
                Err(error) => return ChildEnd::NotKept(error),
            },
            Err(TrainError::Stopped) => return ChildEnd::Stopped,
            Err(TrainError::NotKept { path, source }) => {
                return ChildEnd::NotKept(RunError::keep(&path, source));
            }
            Err(TrainError::Device(error @ DeviceError::Lost { .. })) => {
                return ChildEnd::Lost(error.to_string());
            }
            Err(error) => self.failed(&planned.job, status(&error), error.to_string()),
        };
        let timing = Timing {
            seconds: began.elapsed().as_secs_f64(),
            threads: Some(threads),
            device: device.memory_bytes().map(|_| device.describe()),
            ..outcome.timing
        };
        ChildEnd::Outcome(Outcome { timing, ..outcome })
    }

    /// Takes away what a child that is on record now has no more use for.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn recorded(&self, sample: u64) -> Result<(), RunError> {
        match &self.kept {
            None => Ok(()),
            Some(kept) => {
                if let Some(best_weights) = &kept.best_weights {
                    best_weights.recorded(sample)?;
                }
                kept.checkpoints.recorded(sample)
            }
        }
    }

    /// What keeps a child's checkpoints, and goes on from the last.
    fn keeper(&self, planned: &Planned, device: &dyn Device) -> Keeper {
        let Some(kept) = &self.kept else {
            return Keeper::none();
        };
        let Job {
            sample,
            journal_bytes,
            ..
        } = planned.job;
        let origin = Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: device.model(),
            architecture: planned.job.architecture.to_json(),
            config_sha256: kept.config_sha256.clone(),
            data_sha256: planned.child.data_sha256(),
            seed: self.seed,
            sample: Some(sample),
            journal_bytes: Some(journal_bytes),
            settings: None,
        };
        let slots = kept.checkpoints.child(sample);
        let (keeper, wrong) = Keeper::open(slots, origin, kept.every);
        for error in wrong {
            tracing::warn!("sample {sample}: {error}; it goes on from what is left");
        }
        let state = keeper.state();
        if *state != State::default() {
            let (epochs, batches) = (state.epochs.len(), state.n_batches);
            tracing::info!("sample {sample} goes on after {epochs} epochs and {batches} batches");
        }
        keeper
    }

    fn keep_weights(
        &self,
        planned: &Planned,
        job: &train::Job,
        trained: &train::Outcome,
    ) -> Result<(), RunError> {
        let kept = self.kept.as_ref().filter(|_| !trained.diverged);
        let Some(best_weights) = kept.and_then(|kept| kept.best_weights.as_ref()) else {
            return Ok(());
        };
        let scores = self.scores(trained);
        if let Some(before) = &planned.job.before
            && *before != scores
        {
            return Ok(());
        }
        let reward = scores.reward();
        let (params, weights) = (planned.child.params(), &trained.weights);
        let metadata = trained.metadata(job);
        let sample = planned.job.sample;
        match best_weights.keep(sample, reward, params, weights, &metadata) {
            Err(WeightsError::Write { path, source }) => Err(RunError::keep(&path, source)),
            Err(other) => unreachable!("writing reads nothing: {other}"),
            Ok(()) => Ok(()),
        }
    }

    fn scores(&self, trained: &train::Outcome) -> Scores {
        let mut scores = Scores::none(self.course.kind());
        let epochs = trained.epochs.iter();
        epochs.for_each(|epoch| scores.push(epoch.score.value()));
        scores
    }

    /// The outcome of a child that was trained until its end, good or bad.
    fn ended(&self, planned: &Planned, trained: &train::Outcome) -> Outcome {
        let epochs = &trained.epochs;
        let not_finite = || format!("not finite in epoch {}", epochs.len() + 1);
        let mut timing = Timing::default();
        match epochs.last().map(|epoch| epoch.pace) {
            Some(Pace::ImagesPerSecond(pace)) => timing.images_per_second = Some(pace),
            Some(Pace::WordsPerSecond(pace)) => timing.words_per_second = Some(pace),
            None => {}
        }
        Outcome {
            sample: planned.job.sample,
            status: match trained.diverged {
                true => Status::Diverged,
                false => Status::Ok,
            },
            scores: self.scores(trained),
            parameters: Some(planned.child.parameters()),
            message: trained.diverged.then(not_finite),
            timing,
        }
    }

    /// The outcome of a child that was not trained to the end.
    pub fn failed(&self, job: &Job, status: Status, message: String) -> Outcome {
        Outcome {
            sample: job.sample,
            status,
            scores: Scores::none(self.course.kind()),
            parameters: None,
            message: Some(message),
            timing: Timing::default(),
        }
    }
}

/// The outcome of a cell that a table has.
fn looked_up(job: &Job, cell: &BenchCell) -> Outcome {
    let (scores, parameters) = table::look_up(cell);
    Outcome {
        sample: job.sample,
        status: Status::Ok,
        scores,
        parameters: Some(parameters),
        message: None,
        timing: Timing::default(),
    }
}

/// How a child ended whose training failed.
fn status(error: &TrainError) -> Status {
    match error {
        TrainError::Device(DeviceError::OutOfMemory { .. }) => Status::OutOfMemory,
        TrainError::TooLarge { .. } => Status::TooLarge,
        TrainError::Graph(_) | TrainError::Language(_) => Status::Invalid,
        TrainError::Device(_)
        | TrainError::Corpus(_)
        | TrainError::OtherKind(..)
        | TrainError::LookedUp
        | TrainError::SmallSplit { .. }
        | TrainError::NoValidation { .. }
        | TrainError::NotKept { .. }
        | TrainError::Misfit { .. }
        | TrainError::Stopped => Status::Crash,
    }
}
