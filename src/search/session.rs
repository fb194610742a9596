//! A session of a run: all that a search needs, put together from its settings, its data and its
//! devices, and run until it ends or is told to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::child::{Kept, Trainer};
use super::controller_checkpoints::ControllerCheckpoints;
use super::local::{Local, Settings};
use super::{End, Event, Search, SearchError, Strategy};
use crate::config::Config;
use crate::device::{Device, DeviceError, Devices};
use crate::run::best_weights::BestWeights;
use crate::run::checkpoints::{self, Checkpoints};
use crate::run::entry::{Entry, RunTiming, Started};
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
        let Session {
            config,
            course,
            devices,
            threads,
        } = self;
        let space = Space::new(&config.space)?;
        let device = devices.first(Some(1))?;
        let data_sha256 = course.data_sha256();
        let every = Duration::from_secs(config.train.checkpoint_seconds());
        let history = &run.history;
        let folder = run.path.join(checkpoints::FOLDER);
        let checkpoints = Checkpoints::open(Arc::clone(&run.disk), folder, history)?;
        let folder = run.path.join(WEIGHTS_FOLDER);
        let best_weights = BestWeights::open(Arc::clone(&run.disk), folder, history)?;
        let controller = checkpoints.controller();
        let mut evaluator = Local::new(Settings {
            trainer: Trainer {
                course,
                seed: config.search.seed,
                kept: Some(Kept {
                    config_sha256: config.sha256(),
                    best_weights,
                    checkpoints,
                    every,
                }),
            },
            devices,
            threads,
            memory: config.device.memory_bytes.unwrap_or(u64::MAX),
        })?;
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

/// Where architectures come from; a GPU does the controller's work.
fn strategy<'d>(config: &Config, space: &Space, device: &'d dyn Device) -> Strategy<'d> {
    match Strategy::new(config, space) {
        Strategy::Policy(controller) => {
            let samples = usize::try_from(config.search.children_per_update).unwrap_or(usize::MAX);
            Strategy::Policy(Box::new(controller.on(device, samples)))
        }
        random => random,
    }
}
