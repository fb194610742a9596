//! Trains one child: epochs, validation, test; and evaluates saved weights.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::data::{Augment, Dataset, Split, epoch_order};
use crate::device::{Control, Device, DeviceError, Input, List, Results, Session};
use crate::graph::params::Weights;
use crate::graph::step::BufferId;
use crate::graph::{Costs, Graph, GraphError, Options, Params, Plan};
use crate::space::ConvArchitecture;

pub mod checkpoint;
pub mod metrics;
pub mod schedule;

pub use metrics::reward;

/// How a child is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Initial learning rate, where the architecture has none of its own.
    pub learning_rate: f64,
    /// Nesterov momentum.
    pub momentum: f64,
    /// Weight decay of every parameter.
    pub weight_decay: f64,
    /// Views of an image.
    pub augment: Augment,
    /// Whether the split and the order of an epoch are drawn; else as in the files.
    pub shuffle: bool,
    /// Seed of the split, apart from the seed of everything else.
    pub split_seed: u64,
}

/// A child to train.
pub struct Job<'a> {
    /// What trains it.
    pub device: &'a dyn Device,
    /// What it is trained on.
    pub dataset: &'a Dataset,
    /// The child.
    pub architecture: &'a ConvArchitecture,
    /// How.
    pub config: &'a TrainConfig,
    /// Overrides the learning rate of the architecture and of `config`.
    pub learning_rate: Option<f64>,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
    /// Weights to start from in place of drawn ones.
    pub init: Option<&'a Weights>,
    /// Whether the test records are read, once, after the last epoch.
    pub test: bool,
    /// Most bytes that the plan may take.
    pub memory_limit: Option<u64>,
    /// Asked before every epoch: end now, to be begun again later.
    pub stop: Option<&'a AtomicBool>,
}

/// What an epoch gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Mean over the batches of the loss before each update.
    pub train_loss: f64,
    /// Mean cross-entropy of the validation split.
    pub validation_loss: f64,
    /// Share of the validation split that is right.
    pub validation_accuracy: f64,
    /// Time of the training part.
    pub seconds: f64,
    /// Images trained on in a second of it.
    pub images_per_second: f64,
}

/// What training gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether a loss or a weight stopped being finite; the epoch in which it did is not reported.
    pub diverged: bool,
    /// Every epoch that ended well.
    pub epochs: Vec<EpochReport>,
    /// Share of the test records that is right, where asked for.
    pub test_accuracy: Option<f64>,
    /// Loss of each batch before its update, over all epochs.
    pub step_losses: Vec<f64>,
    /// Trained parameters of the child.
    pub parameters: u64,
    /// Size of the plan's arena.
    pub planned_memory_bytes: u64,
    /// The last epoch's weights.
    pub weights: Weights,
}

/// Weights to evaluate.
pub struct EvaluationJob<'a> {
    /// What evaluates them.
    pub device: &'a dyn Device,
    /// Where the records are.
    pub dataset: &'a Dataset,
    /// The child.
    pub architecture: &'a ConvArchitecture,
    /// Its weights.
    pub weights: &'a Weights,
    /// Views that it was trained on.
    pub augment: Augment,
    /// The records to evaluate on.
    pub records: &'a [u32],
    /// Images of a batch; any number gives the same result.
    pub batch: usize,
    /// Most bytes that the plan may take.
    pub memory_limit: Option<u64>,
}

/// What an evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Records evaluated.
    pub total: u64,
    /// Of these, how many were right.
    pub correct: u64,
    /// Share that was right.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// Why a child was not trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The architecture cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No full batch.
    #[error(
        "the training split of {train} images is smaller than one batch of {batch}; \
         use a smaller --batch or train.batch, or more images"
    )]
    SmallSplit {
        /// Images to train on.
        train: usize,
        /// Images of a batch.
        batch: usize,
    },
    /// Nothing to validate on.
    #[error("{n} training records leave none for validation; give at least 10")]
    NoValidation {
        /// Training records of the data set.
        n: usize,
    },
    /// The plan needs more than is allowed.
    #[error(
        "the plan takes {bytes} bytes, more than the {limit} allowed; use a smaller --batch or a \
         machine with more memory"
    )]
    TooLarge {
        /// Size of the plan.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Asked to stop.
    #[error("stopped before the last epoch")]
    Stopped,
}

/// Which records train and which validate: a batch and an image at least.
///
/// # Errors
/// Where the data set is too small for that.
pub fn split(dataset: &Dataset, config: &TrainConfig) -> Result<Split, TrainError> {
    let split = Split::new(dataset.n_train(), config.split_seed, config.shuffle);
    if split.train.len() < config.batch {
        return Err(TrainError::SmallSplit {
            train: split.train.len(),
            batch: config.batch,
        });
    }
    if split.validation.is_empty() {
        return Err(TrainError::NoValidation {
            n: dataset.n_train(),
        });
    }
    Ok(split)
}

/// Trains `job.architecture`; `on_epoch` hears of every epoch.
///
/// # Errors
/// An architecture that cannot be built, those of [`split`], a plan that does not fit, a device that
/// fails, or `job.stop`. A child that diverges is an [`Outcome`].
pub fn train(job: &Job, on_epoch: &mut dyn FnMut(&EpochReport)) -> Result<Outcome, TrainError> {
    let graph = Graph::new(job.architecture, job.dataset.classes().len())?;
    let params = Params::new(&graph);
    let config = job.config;
    let split = split(job.dataset, config)?;
    let plan = Plan::new(&graph, &params, job.device, Options::new(config.batch));
    check_memory(&plan, job.memory_limit)?;
    let input = Input::of_images(job.dataset, config.augment, job.seed);
    let mut session = job.device.load(&plan, Some(input))?;
    match job.init {
        Some(weights) => write_weights(&mut *session, &plan, weights),
        None => write_weights(&mut *session, &plan, &params.initial(job.seed)),
    }
    let mut outcome = Outcome {
        diverged: false,
        epochs: Vec::new(),
        test_accuracy: None,
        step_losses: Vec::new(),
        parameters: Costs::new(&graph).parameters(),
        planned_memory_bytes: plan.arena_bytes as u64,
        weights: Weights {
            trained: vec![],
            running: vec![],
        },
    };
    run_epochs(job, &mut *session, &split, &mut outcome, on_epoch)?;
    // paper P9.4
    if job.test && !outcome.diverged {
        let test: Vec<u32> = test_records(job.dataset);
        let evaluation = evaluate_records(&mut *session, &test, config.batch)?;
        outcome.test_accuracy = Some(evaluation.accuracy);
    }
    outcome.weights = Weights {
        trained: read_f32(&mut *session, plan.weights)?,
        running: read_f32(&mut *session, plan.running)?,
    };
    Ok(outcome)
}

fn check_memory(plan: &Plan, limit: Option<u64>) -> Result<(), TrainError> {
    let bytes = plan.arena_bytes as u64;
    match limit {
        Some(limit) if bytes > limit => Err(TrainError::TooLarge { bytes, limit }),
        _ => Ok(()),
    }
}

/// All epochs, or those until the child diverges.
fn run_epochs(
    job: &Job,
    session: &mut dyn Session,
    split: &Split,
    outcome: &mut Outcome,
    on_epoch: &mut dyn FnMut(&EpochReport),
) -> Result<(), TrainError> {
    let n_epochs = job.config.epochs;
    let initial_rate = job
        .learning_rate
        // paper P3.7
        .or(job.architecture.learning_rate)
        .unwrap_or(job.config.learning_rate);
    for epoch in 0..n_epochs {
        if job.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(TrainError::Stopped);
        }
        let learning_rate = schedule::learning_rate(initial_rate, epoch, n_epochs);
        match run_epoch(job, session, split, epoch, learning_rate, outcome)? {
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
    Ok(())
}

/// One epoch and its validation; `None` where a loss or a weight is not finite.
fn run_epoch(
    job: &Job,
    session: &mut dyn Session,
    split: &Split,
    epoch: usize,
    learning_rate: f64,
    outcome: &mut Outcome,
) -> Result<Option<EpochReport>, DeviceError> {
    let config = job.config;
    let n_steps = split.train.len() / config.batch;
    let begun = Instant::now();
    let order = epoch_order(&split.train, job.seed, epoch as u32, config.shuffle);
    let control = Control {
        learning_rate: learning_rate as f32,
        momentum: config.momentum as f32,
        weight_decay: config.weight_decay as f32,
        max_norm: f32::INFINITY,
        epoch: Some(epoch as u32),
    };
    session.begin(&order[..n_steps * config.batch], control);
    session.run(List::Train, n_steps);
    let Results {
        loss_sums, finite, ..
    } = session.results()?;
    let seconds = begun.elapsed().as_secs_f64();
    let losses: Vec<f64> = loss_sums
        .iter()
        .map(|sum| sum / config.batch as f64)
        .collect();
    let train_loss = losses.iter().sum::<f64>() / n_steps as f64;
    outcome.step_losses.extend(losses);
    if !finite {
        return Ok(None);
    }
    let validation = evaluate_records(session, &split.validation, config.batch)?;
    if !validation.loss.is_finite() {
        return Ok(None);
    }
    Ok(Some(EpochReport {
        epoch: epoch + 1,
        learning_rate,
        train_loss,
        validation_loss: validation.loss,
        validation_accuracy: validation.accuracy,
        seconds,
        images_per_second: (n_steps * config.batch) as f64 / seconds,
    }))
}

/// Evaluates weights on some records.
///
/// # Errors
/// An architecture that cannot be built, no records, a plan that does not fit, or a device that
/// fails.
pub fn evaluate(job: &EvaluationJob) -> Result<Evaluation, TrainError> {
    let graph = Graph::new(job.architecture, job.dataset.classes().len())?;
    if job.records.is_empty() {
        return Err(TrainError::NoValidation {
            n: job.dataset.n_train(),
        });
    }
    let params = Params::new(&graph);
    let options = Options {
        evaluate_only: true,
        ..Options::new(job.batch)
    };
    let plan = Plan::new(&graph, &params, job.device, options);
    check_memory(&plan, job.memory_limit)?;
    let input = Input::of_images(job.dataset, job.augment, 0);
    let mut session = job.device.load(&plan, Some(input))?;
    write_weights(&mut *session, &plan, job.weights);
    Ok(evaluate_records(&mut *session, job.records, job.batch)?)
}

/// The numbers of a data set's test records.
pub fn test_records(dataset: &Dataset) -> Vec<u32> {
    let first = dataset.n_train() as u32;
    (first..first + dataset.n_test() as u32).collect()
}

fn evaluate_records(
    session: &mut dyn Session,
    records: &[u32],
    batch: usize,
) -> Result<Evaluation, DeviceError> {
    session.begin(records, Control::EVALUATE);
    session.run(List::Evaluate, records.len().div_ceil(batch));
    let results = session.results()?;
    let total = records.len() as u64;
    Ok(Evaluation {
        total,
        correct: results.correct,
        accuracy: results.correct as f64 / total as f64,
        loss: results.loss_sums.iter().sum::<f64>() / total as f64,
    })
}

fn write_weights(session: &mut dyn Session, plan: &Plan, weights: &Weights) {
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    session.write(plan.weights, &wide(&weights.trained));
    session.write(plan.running, &wide(&weights.running));
    session.run(List::Prepare, 1);
}

fn read_f32(session: &mut dyn Session, buffer: BufferId) -> Result<Vec<f32>, DeviceError> {
    let values = session.read(buffer)?;
    Ok(values.into_iter().map(|x| x as f32).collect())
}
