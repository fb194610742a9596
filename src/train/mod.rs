//! Trains one child: epochs, validation, test; and evaluates saved weights.
//!
//! The loop is the same for both kinds of children; [`network`] and [`language`] say what it asks
//! of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::data::Dataset;
use crate::data::corpus::Corpus;
use crate::device::{Control, Device, DeviceError, Input, List, Results, Session};
use crate::graph::params::Weights;
use crate::graph::step::BufferId;
use crate::graph::{Params, Plan};
use crate::space::{Architecture, SpaceKind};

pub mod checkpoint;
mod error;
pub mod generate;
pub mod language;
pub mod metadata;
pub mod metrics;
pub mod network;
mod report;
pub mod schedule;

pub use error::TrainError;
pub use language::{Language, LanguageConfig};
use metadata::{Facts, Metadata};
pub use metrics::Scores;
pub use network::{Network, NetworkConfig};
pub use report::{EpochReport, Evaluation, ImageScore, Pace, Score, TextScore};

/// How children are trained. The kind of space decides the kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TrainConfig {
    /// Networks.
    Network(NetworkConfig),
    /// Language models.
    Language(LanguageConfig),
}

impl TrainConfig {
    /// Passes over the training data.
    pub fn epochs(&self) -> usize {
        match self {
            TrainConfig::Network(config) => config.epochs,
            TrainConfig::Language(config) => config.epochs,
        }
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

/// What children are trained on, and how.
#[derive(Clone)]
pub enum Course {
    /// Networks, on images.
    Images(Arc<Dataset>, NetworkConfig),
    /// Language models, on a text.
    Text(Arc<Corpus>, LanguageConfig),
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
        }
    }

    /// The child of an architecture.
    ///
    /// # Errors
    /// An architecture of the other kind, or one that cannot be built.
    pub fn child(&self, architecture: &Architecture) -> Result<Box<dyn Child>, TrainError> {
        Ok(match (self, architecture) {
            (Course::Images(dataset, config), Architecture::Conv(network)) => {
                Box::new(Network::new(dataset, config, network)?)
            }
            (Course::Text(corpus, config), Architecture::Cell(cell)) => {
                Box::new(Language::new(corpus, config, cell)?)
            }
            _ => return Err(TrainError::OtherKind(architecture.kind(), self.kind())),
        })
    }

    /// The kind of its children.
    pub fn kind(&self) -> SpaceKind {
        match self {
            Course::Images(..) => SpaceKind::Conv,
            Course::Text(..) => SpaceKind::Cell,
        }
    }

    /// SHA-256, in hexadecimal, of the data.
    pub fn data_sha256(&self) -> String {
        match self {
            Course::Images(dataset, _) => dataset.sha256(),
            Course::Text(corpus, _) => corpus.sha256().to_owned(),
        }
    }

    /// The data in a line.
    pub fn describe_data(&self) -> String {
        match self {
            Course::Images(dataset, _) => dataset.describe(),
            Course::Text(corpus, _) => corpus.describe(),
        }
    }
}

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
        place: &Place,
    ) -> Result<Evaluation, TrainError>;
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
    /// Evaluates what was learned so far on the validation data.
    ///
    /// # Errors
    /// Where the device fails.
    fn validate(&self, session: &mut dyn Session) -> Result<Evaluation, DeviceError>;
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

/// What runs a plan.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The device.
    pub device: &'a dyn Device,
    /// Most bytes that a plan may take.
    pub memory_limit: Option<u64>,
}

impl Place<'_> {
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
    pub place: Place<'a>,
    /// Overrides the initial learning rate.
    pub learning_rate: Option<f64>,
    /// Seed of initial weights, and of order and augmentation or dropout.
    pub seed: u64,
    /// Weights to start from in place of drawn ones.
    pub init: Option<&'a Weights>,
    /// Whether the test data are read, once, after the last epoch.
    pub test: bool,
    /// Asked before every epoch: end now, to be begun again later.
    pub stop: Option<&'a AtomicBool>,
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

/// Trains a child; `on_epoch` hears of every epoch.
///
/// # Errors
/// Data that are not enough, a plan that does not fit, a device that fails, or `job.stop`. A child
/// that diverges is an [`Outcome`].
pub fn train(job: &Job, on_epoch: &mut dyn FnMut(&EpochReport)) -> Result<Outcome, TrainError> {
    let child = job.child;
    let lessons = child.lessons()?;
    let plan = child.plan(job.place.device);
    job.place.check(&plan)?; // before the weights are drawn, which may be too large by themselves
    let drawn;
    let initial = match job.init {
        Some(given) => given,
        None => {
            drawn = child.params().initial(job.seed);
            &drawn
        }
    };
    let mut session = job.place.load(&plan, lessons.input(job.seed), initial)?;
    let mut outcome = Outcome {
        diverged: false,
        epochs: Vec::new(),
        test: None,
        step_losses: Vec::new(),
        planned_memory_bytes: plan.arena_bytes as u64,
        weights: Weights {
            trained: vec![],
            running: vec![],
        },
    };
    for epoch in 0..child.epochs() {
        if job.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(TrainError::Stopped);
        }
        match run_epoch(job, &*lessons, &mut *session, epoch, &mut outcome)? {
            Some(report) => {
                on_epoch(&report);
                outcome.epochs.push(report);
            }
            None => {
                outcome.diverged = true;
                break;
            }
        }
    }
    outcome.weights = Weights {
        trained: read_f32(&mut *session, plan.weights)?,
        running: read_f32(&mut *session, plan.running)?,
    };
    drop(session);
    // paper P9.4
    if job.test && !outcome.diverged {
        let test = child.evaluate(Held::Test, &outcome.weights, &job.place)?;
        outcome.test = Some(test);
    }
    Ok(outcome)
}

/// One epoch and its validation; `None` where a loss, a weight or a perplexity is not finite.
fn run_epoch(
    job: &Job,
    lessons: &dyn Lessons,
    session: &mut dyn Session,
    epoch: usize,
    outcome: &mut Outcome,
) -> Result<Option<EpochReport>, DeviceError> {
    let begun = Instant::now();
    let order = lessons.order(job.seed, epoch);
    let n_steps = order.len() / lessons.batch();
    let predictions = lessons.predictions() as f64;
    let learning_rate = lessons.learning_rate(job.learning_rate, epoch);
    session.begin(&order, lessons.control(learning_rate, epoch));
    session.run(List::Train, n_steps);
    let Results {
        loss_sums, finite, ..
    } = session.results()?;
    let seconds = begun.elapsed().as_secs_f64();
    let losses: Vec<f64> = loss_sums.iter().map(|sum| sum / predictions).collect();
    let train_loss = losses.iter().sum::<f64>() / n_steps as f64;
    outcome.step_losses.extend(losses);
    if !finite {
        return Ok(None);
    }
    let validation = lessons.validate(session)?;
    let score = lessons.score(train_loss, &validation);
    let sound = validation.loss().is_finite() && score.is_finite();
    let per_second = n_steps as f64 * predictions / seconds;
    Ok(sound.then(|| EpochReport {
        epoch: epoch + 1,
        learning_rate,
        train_loss,
        validation_loss: validation.loss(),
        score,
        seconds,
        pace: match validation {
            Evaluation::Images(_) => Pace::ImagesPerSecond(per_second),
            Evaluation::Text(_) => Pace::WordsPerSecond(per_second),
        },
    }))
}

fn read_f32(session: &mut dyn Session, buffer: BufferId) -> Result<Vec<f32>, DeviceError> {
    let values = session.read(buffer)?;
    Ok(values.into_iter().map(|x| x as f32).collect())
}
