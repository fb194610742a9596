//! The last training: of what was chosen, on all training records, until its last epoch; then the test
//! records are read.
// paper P9.3, P9.4

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grid::Point;
use super::{Finish, FinishError};
use crate::checkpoint::Slots;
use crate::config::Config;
use crate::disk::Disk;
use crate::graph::params::Weights;
use crate::run::{Run, RunError, checkpoints};
use crate::space::Architecture;
use crate::train::metadata::Metadata;
use crate::train::weights_file::{self, WeightsError};
use crate::train::{self, Child, EpochReport, Keeper, Origin, Runner};

/// Name of the file of the architecture that was chosen.
pub const ARCHITECTURE_FILE: &str = "architecture.json";

/// Name of the last training of what was chosen.
pub const CHOICE: &str = "final";

/// Name of that of an LSTM by the same recipe, where cells were searched.
pub const CONTROL: &str = "control";

/// What a last training came to; it stands in a file of the folder once the test records were read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// Which training of the grid it follows.
    pub point: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// Accuracy or perplexity of the test records.
    pub test: f64,
    /// Mean cross-entropy of them.
    pub test_loss: f64,
    /// Trained parameters.
    pub parameters: u64,
}

/// Where last trainings are kept.
pub struct Place<'a> {
    pub finish: &'a Finish<'a>,
    pub run: &'a Run,
    /// The settings of the folder.
    pub config: &'a Config,
}

impl Place<'_> {
    /// Where the weights of a training go.
    fn weights(&self, name: &str) -> PathBuf {
        weights(&self.run.path, name)
    }

    /// Trains an architecture by a recipe on all records and reads the test.
    pub fn train(
        &self,
        name: &str,
        point: &Point,
        architecture: &Architecture,
        on_epoch: &mut dyn FnMut(&EpochReport),
    ) -> Result<Last, FinishError> {
        let Finish {
            course,
            devices,
            threads,
            grid,
            stop,
            ..
        } = self.finish;
        let own = point.recipe.course(course, grid.epochs, false);
        let child = own.course.child(architecture)?;
        let device = devices.first(Some(*threads))?;
        let mut keeper = self.keeper(name, point, &*child, device.model());
        let job = train::Job {
            child: &*child,
            runner: Runner {
                device: &*device,
                memory_limit: None,
            },
            plan: None,
            learning_rate: Some(own.learning_rate),
            seed: self.config.search.seed,
            init: None,
            test: true,
            stop: &|| stop.load(Ordering::Relaxed),
        };
        let trained = train::train(&job, &mut keeper, on_epoch)?;
        let Some(test) = trained.test.filter(|_| !trained.diverged) else {
            keeper.remove()?;
            return Err(FinishError::Diverged {
                epoch: trained.epochs.len() + 1,
                path: self.run.path.clone(),
            });
        };
        self.save(name, &*child, &trained.weights, &trained.metadata(&job))?;
        let last = Last {
            point: point.index,
            epochs: trained.epochs.len(),
            test: test.value(),
            test_loss: test.loss(),
            parameters: child.parameters(),
        };
        let text = serde_json::to_vec(&last).expect("numbers are JSON");
        super::write(&*self.run.disk, &result(&self.run.path, name), &text)?;
        keeper.remove()?;
        Ok(last)
    }

    /// What keeps the checkpoints of a training.
    fn keeper(&self, name: &str, point: &Point, child: &dyn Child, device: String) -> Keeper {
        let origin = Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device,
            architecture: child.architecture().to_json(),
            config_sha256: format!("{} {name} {}", self.config.sha256(), point.index),
            data_sha256: child.data_sha256(),
            seed: self.config.search.seed,
            sample: None,
            journal_bytes: None,
            settings: None,
        };
        let folder = self.run.path.join(checkpoints::FOLDER);
        let slots = Slots::new(Arc::clone(&self.run.disk), folder.join(name));
        let every = Duration::from_secs(self.config.train.checkpoint_seconds());
        let (keeper, wrong) = Keeper::open(slots, origin, every);
        for error in wrong {
            tracing::warn!("{error}; the last training goes on from what is left");
        }
        keeper
    }

    fn save(
        &self,
        name: &str,
        child: &dyn Child,
        weights: &Weights,
        metadata: &Metadata,
    ) -> Result<(), FinishError> {
        let path = self.weights(name);
        match weights_file::save(&*self.run.disk, &path, child.params(), weights, metadata) {
            Err(WeightsError::Write { path, source }) => Err(RunError::keep(&path, source).into()),
            Err(other) => unreachable!("writing reads nothing: {other}"),
            Ok(()) => Ok(()),
        }
    }

    /// What a training of this name and point came to before, with its weights.
    pub fn before(&self, name: &str, point: &Point) -> Result<Option<Last>, FinishError> {
        let before = read(&*self.run.disk, &self.run.path, name, point)?;
        // Weights that somebody removed or damaged are trained again.
        let there = weights_file::WeightsFile::read(&self.weights(name));
        Ok(before.filter(|_| there.is_ok()))
    }
}

/// Where the weights of a last training are in the folder.
pub fn weights(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

fn result(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// What the last training of this name came to; nothing where it has not ended, or followed another
/// training of the grid.
pub fn read(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    point: &Point,
) -> Result<Option<Last>, FinishError> {
    let path = result(folder, name);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RunError::Read { path, source }.into()),
    };
    let last: Last = serde_json::from_slice(&bytes).map_err(|error| FinishError::Damaged {
        path: path.clone(),
        why: error.to_string(),
    })?;
    // An accuracy or a perplexity.
    if !(last.test.is_finite() && last.test >= 0.0) {
        let why = format!("a result of {:e} is none", last.test);
        return Err(FinishError::Damaged { path, why });
    }
    Ok((last.point == point.index).then_some(last))
}
