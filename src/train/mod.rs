//! Trains one child: epochs, validation, test; and evaluates saved weights.
//!
//! The loop is the same for both kinds of children; [`network`] and [`language`] say what it asks
//! of each.

use std::sync::Arc;

use serde::Serialize;

use crate::data::Dataset;
use crate::data::corpus::Corpus;
use crate::data::nas_bench_201::BenchTable;
use crate::device::{Control, Device, DeviceError, Input, List, Session};
use crate::graph::params::Weights;
use crate::graph::{Params, Plan};
use crate::space::{Architecture, SpaceKind};

mod error;
pub mod generate;
pub mod held_out;
mod keeper;
pub mod language;
pub mod logits;
pub mod metadata;
pub mod metrics;
pub mod network;
mod report;
pub mod schedule;
pub mod table;
mod training;
mod weights_error;
pub mod weights_file;
pub mod weights_header;

pub use error::TrainError;
pub use keeper::{Keeper, Origin, State};
pub use language::{Language, LanguageConfig};
use logits::Labelled;
use metadata::{Facts, Metadata};
pub use metrics::{Counted, Scores};
pub use network::{Network, NetworkConfig};
pub use report::{EpochReport, Evaluation, ImageScore, Pace, Score, TextScore};
pub use table::TableConfig;
pub use training::train;

/// Seconds between two checkpoints of a child where no setting says it.
const CHECKPOINT_SECONDS: u64 = 60;

/// How children are trained. The kind of space decides the kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TrainConfig {
    /// Networks.
    Network(NetworkConfig),
    /// Language models.
    Language(LanguageConfig),
    /// None: their accuracies are in a table.
    Table(TableConfig),
}

impl TrainConfig {
    /// Passes over the training data; none where a table answers.
    pub fn epochs(&self) -> usize {
        match self {
            TrainConfig::Network(config) => config.epochs,
            TrainConfig::Language(config) => config.epochs,
            TrainConfig::Table(_) => 0,
        }
    }

    /// Seconds between two checkpoints of a child.
    pub fn checkpoint_seconds(&self) -> u64 {
        let given = match self {
            TrainConfig::Network(config) => config.checkpoint_seconds,
            TrainConfig::Language(config) => config.checkpoint_seconds,
            TrainConfig::Table(_) => None,
        };
        given.unwrap_or(CHECKPOINT_SECONDS)
    }

    /// The same, with the setting of checkpoints as where nothing is said of it.
    pub fn without_checkpoints(mut self) -> TrainConfig {
        match &mut self {
            TrainConfig::Network(config) => config.checkpoint_seconds = None,
            TrainConfig::Language(config) => config.checkpoint_seconds = None,
            TrainConfig::Table(_) => {}
        }
        self
    }
}

impl From<NetworkConfig> for TrainConfig {
    fn from(config: NetworkConfig) -> Self {
        TrainConfig::Network(config)
    }
}

impl From<LanguageConfig> for TrainConfig {
    fn from(config: LanguageConfig) -> Self {
        TrainConfig::Language(config)
    }
}

impl From<TableConfig> for TrainConfig {
    fn from(config: TableConfig) -> Self {
        TrainConfig::Table(config)
    }
}

/// What children are trained on, and how.
#[derive(Clone)]
pub enum Course {
    /// Networks, on images.
    Images(Arc<Dataset>, NetworkConfig),
    /// Language models, on a text.
    Text(Arc<Corpus>, LanguageConfig),
    /// Nothing is trained: a table has the accuracies.
    Table(&'static BenchTable),
}

impl Course {
    /// Checks that the data are enough: a step of training, and something to validate on.
    ///
    /// # Errors
    /// Where they are not.
    pub fn check(&self) -> Result<(), TrainError> {
        match self {
            Course::Images(dataset, config) => network::split(dataset, config).map(|_| ()),
            Course::Text(corpus, config) => Ok(language::windows(corpus, config).map(|_| ())?),
            Course::Table(_) => Ok(()),
        }
    }

    /// The child of an architecture.
    ///
    /// # Errors
    /// An architecture of another kind, or one that cannot be built, or is never trained.
    pub fn child(&self, architecture: &Architecture) -> Result<Box<dyn Child>, TrainError> {
        Ok(match (self, architecture) {
            (Course::Images(dataset, config), Architecture::Conv(network)) => {
                Box::new(Network::new(dataset, config, network)?)
            }
            (Course::Text(corpus, config), Architecture::Cell(cell)) => {
                Box::new(Language::new(corpus, config, cell)?)
            }
            (Course::Table(_), Architecture::Bench(_)) => return Err(TrainError::LookedUp),
            _ => return Err(TrainError::OtherKind(architecture.kind(), self.kind())),
        })
    }

    /// The kind of its children.
    pub fn kind(&self) -> SpaceKind {
        match self {
            Course::Images(..) => SpaceKind::Conv,
            Course::Text(..) => SpaceKind::Cell,
            Course::Table(_) => SpaceKind::Bench,
        }
    }

    /// SHA-256, in hexadecimal, of the data.
    pub fn data_sha256(&self) -> String {
        match self {
            Course::Images(dataset, _) => dataset.sha256(),
            Course::Text(corpus, _) => corpus.sha256().to_owned(),
            Course::Table(table) => table.sha256().to_owned(),
        }
    }

    /// The data in a line.
    pub fn describe_data(&self) -> String {
        match self {
            Course::Images(dataset, _) => dataset.describe(),
            Course::Text(corpus, _) => corpus.describe(),
            Course::Table(table) => table.describe(),
        }
    }
}

/// Asked between two steps: whether to end now, to go on later.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// A child that can be trained.
pub trait Child: Send + Sync {
    /// What it is.
    fn architecture(&self) -> Architecture;
    /// Its parameters in the order of a weights file.
    fn params(&self) -> &Params;
    /// Trained parameters.
    fn parameters(&self) -> u64;
    /// Hidden units of a layer, of a language model.
    fn hidden(&self) -> Option<usize> {
        None
    }
    /// Passes over the training data.
    fn epochs(&self) -> usize;
    /// The plan that trains it.
    fn plan(&self, device: &dyn Device) -> Plan;
    /// What it learns from.
    ///
    /// # Errors
    /// Data that are not enough.
    fn lessons(&self) -> Result<Box<dyn Lessons + '_>, TrainError>;
    /// Evaluates weights on data that are never trained on.
    ///
    /// # Errors
    /// No such data, a plan that does not fit, or a device that fails.
    fn evaluate(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Evaluation, TrainError>;
    /// How many predictions [`Child::logits`] makes, and of how many logits each.
    ///
    /// # Errors
    /// No such data.
    fn n_logits(&self, held: Held) -> Result<[usize; 2], TrainError>;
    /// The logits of data that are never trained on, in the order of [`Child::evaluate`].
    ///
    /// # Errors
    /// As there.
    fn logits(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Labelled, TrainError>;
    /// What its weights file says besides; after the last epoch, where there was one.
    fn facts(&self, last: Option<&EpochReport>) -> Facts;
    /// SHA-256, in hexadecimal, of its data.
    fn data_sha256(&self) -> String;
}

/// What a child learns from: the records of each epoch, and the rates.
pub trait Lessons {
    /// What a session loads batches from.
    fn input(&self, seed: u64) -> Input<'_>;
    /// Learning rate of an epoch, from 0, where `given` overrides the initial one.
    fn learning_rate(&self, given: Option<f64>, epoch: usize) -> f64;
    /// The rates of an epoch.
    fn control(&self, learning_rate: f64, epoch: usize) -> Control;
    /// The records of an epoch, whole batches of them.
    fn order(&self, seed: u64, epoch: usize) -> Vec<u32>;
    /// Records of a batch.
    fn batch(&self) -> usize;
    /// Images or words that a batch predicts.
    fn predictions(&self) -> usize;
    /// Evaluates what was learned so far on the validation data; nothing where `stop` says so first.
    ///
    /// # Errors
    /// Where the device fails.
    fn validate(
        &self,
        session: &mut dyn Session,
        stop: Stop,
    ) -> Result<Option<Evaluation>, DeviceError>;
    /// What an epoch has achieved.
    fn score(&self, train_loss: f64, validation: &Evaluation) -> Score;
}

/// Data that are never trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// What children are compared by.
    Validation,
    /// Looked at once, at the end.
    Test,
}

/// What runs a child's plans.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// The device.
    pub device: &'a dyn Device,
    /// Most bytes that a plan may take.
    pub memory_limit: Option<u64>,
}

impl Runner<'_> {
    /// Checks that a plan fits.
    fn check(&self, plan: &Plan) -> Result<(), TrainError> {
        let bytes = plan.arena_bytes as u64;
        match self.memory_limit {
            Some(limit) if bytes > limit => Err(TrainError::TooLarge { bytes, limit }),
            _ => Ok(()),
        }
    }

    /// A plan with its weights, ready to run.
    fn load<'s>(
        &'s self,
        plan: &'s Plan,
        input: Input<'s>,
        weights: &Weights,
    ) -> Result<Box<dyn Session + 's>, TrainError> {
        self.check(plan)?;
        let mut session = self.device.load(plan, Some(input))?;
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        session.write(plan.weights, &wide(&weights.trained));
        session.write(plan.running, &wide(&weights.running));
        session.run(List::Prepare, 1);
        Ok(session)
    }
}

/// A child to train.
pub struct Job<'a> {
    /// The child.
    pub child: &'a dyn Child,
    /// What trains it.
    pub runner: Runner<'a>,
    /// The plan that trains it there, where that is made already.
    pub plan: Option<&'a Plan>,
    /// Overrides the initial learning rate.
    pub learning_rate: Option<f64>,
    /// Seed of initial weights, and of order and augmentation or dropout.
    pub seed: u64,
    /// Weights to start from in place of drawn ones.
    pub init: Option<&'a Weights>,
    /// Whether the test data are read, once, after the last epoch.
    pub test: bool,
    /// Asked before every step, of validation too.
    pub stop: Stop<'a>,
}

/// What training gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether a loss or a weight stopped being finite; the epoch in which it did is not reported.
    pub diverged: bool,
    /// Every epoch that ended well.
    pub epochs: Vec<EpochReport>,
    /// What the test data give, where asked for.
    pub test: Option<Evaluation>,
    /// Loss of each batch before its update, over all epochs.
    pub step_losses: Vec<f64>,
    /// Size of the plan's arena.
    pub planned_memory_bytes: u64,
    /// The last epoch's weights.
    pub weights: Weights,
}

impl Outcome {
    /// What there is to say of its weights.
    pub fn metadata(&self, job: &Job) -> Metadata {
        Metadata {
            architecture: job.child.architecture(),
            seed: job.seed,
            data_sha256: job.child.data_sha256(),
            epochs: self.epochs.len(),
            facts: job.child.facts(self.epochs.last()),
        }
    }
}
