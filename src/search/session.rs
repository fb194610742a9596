//! A session of a run: all that a search needs, put together from its settings, its data and its
//! devices, and run until it ends or is told to stop.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::child::{Kept, Trainer};
use super::controller_checkpoints::ControllerCheckpoints;
use super::evaluator::Evaluator;
use super::local::{Local, Settings};
use super::mend;
use super::{End, Event, Search, SearchError, Strategy};
use crate::checkpoint::Slots;
use crate::config::Config;
use crate::device::{Device, DeviceError, Devices};
use crate::run::entry::{Entry, RunTiming, Started};
use crate::run::history::History;
use crate::run::journal::JournalError;
use crate::run::{Run, RunError, WEIGHTS_FOLDER, now};
use crate::space::{Space, SpaceError};
use crate::train::Course;

/// What a session needs.
pub struct Session<'a> {
    /// The run's settings.
    pub config: &'a Config,
    /// What children are trained on.
    pub course: Course,
    /// What trains them.
    pub devices: Devices,
    /// Threads of all children together, on a processor.
    pub threads: usize,
}

/// Why a session cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The space of the settings.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run's directory.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The search.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl From<JournalError> for SessionError {
    fn from(error: JournalError) -> SessionError {
        SessionError::Run(error.into())
    }
}

impl Session<'_> {
    /// Runs the search of a run from where its history ends, and writes what it found; how it ended,
    /// and all facts. `watch` first hears of nothing but the facts so far.
    ///
    /// # Errors
    /// A device that cannot be opened, or files of the run that cannot be written.
    pub fn go_on(
        self,
        run: &mut Run,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SessionError> {
        let config = self.config;
        let space = Space::new(&config.space)?;
        let device = self.devices.first(Some(1))?;
        let every = self.checkpoint_time();
        let Begun {
            mut evaluator,
            controller,
        } = match self.begin(run, stop)? {
            Ok(begun) => begun,
            Err(end) => return Ok(end),
        };
        let mut search = Search {
            space: &space,
            strategy: strategy(config, &space, &*device),
            samples: config.search.samples,
            children_per_update: config.search.children_per_update,
            evaluator: &mut evaluator,
            journal: &mut run.journal,
            history: &mut run.history,
            checkpoints: Some(ControllerCheckpoints::new(
                controller,
                config.sha256(),
                every,
            )),
            stop,
        };
        let end = search.run(watch);
        drop(search);
        let written = run.write_best();
        let end = end?; // says more, where both failed
        written?;
        Ok(end)
    }
}

/// What a session that has begun works with.
pub(crate) struct Begun {
    /// Trains its children.
    pub evaluator: Local,
    /// Where the controller's checkpoints are kept.
    pub controller: Slots,
}

impl Session<'_> {
    /// Opens what trains the children, trains those again whose weights should be there and are not, and
    /// writes that the session has begun; or how it ended before that.
    pub(crate) fn begin(
        self,
        run: &mut Run,
        stop: &AtomicBool,
    ) -> Result<Result<Begun, End>, SessionError> {
        let (config, threads) = (self.config, self.threads);
        let data_sha256 = self.course.data_sha256();
        let mut tools = self.tools(run)?;
        let mended = tools.mend(&run.history, stop)?;
        if mended != End::Finished {
            return Ok(Err(mended)); // nothing was begun
        }
        let Tools {
            evaluator,
            controller,
            ..
        } = tools;
        let started = Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_sha256: config.sha256(),
            data_sha256,
            samples: config.search.samples,
            timing: RunTiming {
                at: now(),
                device: evaluator.describe(),
                threads,
            },
        };
        if let Some(before) = run.history.runs.last()
            && before.timing.device != started.timing.device
        {
            let (before, now) = (&before.timing.device, &started.timing.device);
            tracing::warn!("this run was on {before}, and goes on on {now}");
        }
        run.journal.append(&Entry::Run(started.clone()))?;
        run.history.add_run(started);
        Ok(Ok(Begun {
            evaluator,
            controller,
        }))
    }

    /// Trains those of the best children again whose weights a finished run has lost, and changes
    /// nothing else.
    ///
    /// # Errors
    /// As [`Session::go_on`].
    pub fn mend(self, run: &Run, stop: &AtomicBool) -> Result<End, SessionError> {
        self.tools(run)?.mend(&run.history, stop)
    }

    fn checkpoint_time(&self) -> Duration {
        Duration::from_secs(self.config.train.checkpoint_seconds())
    }

    /// Opens what trains the children of a run and keeps what is kept of them.
    fn tools(self, run: &Run) -> Result<Tools, SessionError> {
        let every = self.checkpoint_time();
        let Session {
            config,
            course,
            devices,
            threads,
        } = self;
        let (checkpoints, best_weights) = run.folders()?;
        let controller = checkpoints.controller();
        let missing = best_weights.missing(&run.history);
        let kept = run.disk.names(&run.path.join(WEIGHTS_FOLDER));
        let has_weights = kept.is_ok_and(|names| !names.is_empty());
        let evaluator = Local::new(Settings {
            trainer: Trainer {
                course,
                seed: config.search.seed,
                kept: Some(Kept {
                    config_sha256: config.sha256(),
                    best_weights: Some(best_weights),
                    checkpoints,
                    every,
                }),
            },
            devices,
            threads,
            memory: config.device.memory_bytes.unwrap_or(u64::MAX),
        })?;
        Ok(Tools {
            evaluator,
            controller,
            missing,
            has_weights,
        })
    }
}

/// What trains the children of a run.
struct Tools {
    evaluator: Local,
    /// The controller's checkpoints.
    controller: Slots,
    /// Samples whose weights should be there and are not.
    missing: Vec<u64>,
    /// Whether there are any.
    has_weights: bool,
}

impl Tools {
    /// Trains children again whose weights are missing; says which, and which stay missing and why.
    fn mend(&mut self, history: &History, stop: &AtomicBool) -> Result<End, SessionError> {
        if self.missing.is_empty() {
            return Ok(End::Finished);
        }
        match self.has_weights {
            true => {
                for sample in &self.missing {
                    tracing::warn!("the weights of sample {sample} are missing or damaged");
                }
            }
            // As of an export, say, which is no damage.
            false => tracing::warn!("the run has no weights: those of its best are trained again"),
        }
        let device = self.evaluator.describe();
        let tools = (&mut self.evaluator as &mut dyn Evaluator, &*device);
        let mended = mend::mend(&self.missing, history, tools, stop)?;
        for (sample, why) in mended.lost {
            tracing::warn!("the weights of sample {sample} stay missing: {why}");
        }
        Ok(mended.end)
    }
}

/// Where architectures come from; a GPU does the controller's work.
fn strategy<'d>(config: &Config, space: &Space, device: &'d dyn Device) -> Strategy<'d> {
    match Strategy::new(config, space) {
        Strategy::Policy(controller) => {
            let samples = usize::try_from(config.search.children_per_update).unwrap_or(usize::MAX);
            Strategy::Policy(Box::new(controller.on(device, samples)))
        }
        other => other,
    }
}
