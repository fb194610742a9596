//! Convolutional networks, trained on images.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::logits::{self, Labelled};
use super::metadata::Facts;
use super::{
    Child, EpochReport, Evaluation, Held, ImageScore, Lessons, Runner, Score, Stop, TrainError,
    schedule,
};
use crate::data::{Augment, Dataset, Split, epoch_order};
use crate::device::{Control, Device, DeviceError, Input, List, Session};
use crate::graph::params::Weights;
use crate::graph::step::NORM_EPSILON;
use crate::graph::{Costs, Graph, Options, Params, Plan};
use crate::space::{Architecture, ConvArchitecture};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
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
    /// What batch normalisation adds to a variance; 1e-5 where absent.
    #[serde(default = "norm_epsilon", skip_serializing_if = "is_norm_epsilon")]
    pub batch_norm_epsilon: f64,
    /// The first epoch, from 0, at a tenth of the learning rate; half of all where absent. At half way from
    /// there to the end it is a hundredth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay_epoch: Option<usize>,
    /// Views of an image.
    pub augment: Augment,
    /// Whether the split and the order of an epoch are drawn; else as in the files.
    pub shuffle: bool,
    /// Seed of the split, apart from the seed of everything else.
    pub split_seed: u64,
    /// Seconds between two checkpoints of a child, which are made where an epoch ends; 60 where
    /// absent, 0: at the end of every epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_seconds: Option<u64>,
    /// Whether records are held out of training, to validate on. No setting of a file: a last training
    /// of what was chosen alone takes them all.
    #[serde(skip, default = "yes")]
    pub hold_out: bool,
}

fn norm_epsilon() -> f64 {
    NORM_EPSILON
}

fn is_norm_epsilon(epsilon: &f64) -> bool {
    *epsilon == NORM_EPSILON
}

fn yes() -> bool {
    true
}

/// A network that can be trained.
pub struct Network {
    dataset: Arc<Dataset>,
    config: NetworkConfig,
    architecture: ConvArchitecture,
    graph: Graph,
    params: Params,
}

impl Network {
    /// The network of an architecture.
    ///
    /// # Errors
    /// An architecture that cannot be built.
    pub fn new(
        dataset: &Arc<Dataset>,
        config: &NetworkConfig,
        architecture: &ConvArchitecture,
    ) -> Result<Network, TrainError> {
        let graph = Graph::new(architecture, dataset.classes().len())?;
        Ok(Network {
            dataset: Arc::clone(dataset),
            config: config.clone(),
            architecture: architecture.clone(),
            params: Params::new(&graph),
            graph,
        })
    }

    fn plan_with(&self, device: &dyn Device, options: Options) -> Plan {
        let options = Options {
            norm_epsilon: self.config.batch_norm_epsilon,
            ..options
        };
        Plan::new(&self.graph, &self.params, device, options)
    }

    /// The records of data that are never trained on, in the order in which they are evaluated.
    fn held(&self, held: Held) -> Result<Vec<u32>, TrainError> {
        let n_train = self.dataset.n_train();
        let NetworkConfig {
            split_seed,
            shuffle,
            ..
        } = self.config;
        let records = match held {
            Held::Validation => Split::new(n_train, split_seed, shuffle).validation,
            Held::Test => {
                let first = n_train as u32;
                (first..first + self.dataset.n_test() as u32).collect()
            }
        };
        match records.is_empty() {
            true => Err(no_validation(&self.dataset)),
            false => Ok(records),
        }
    }
}

/// Which records train and which validate: a batch and an image at least. Where none are held out, those that
/// would be train too, and what they validate means nothing.
///
/// # Errors
/// Where the data set is too small for that.
pub fn split(dataset: &Dataset, config: &NetworkConfig) -> Result<Split, TrainError> {
    let split = Split::new(dataset.n_train(), config.split_seed, config.shuffle);
    if split.train.len() < config.batch {
        return Err(TrainError::SmallSplit {
            train: split.train.len(),
            batch: config.batch,
        });
    }
    if split.validation.is_empty() {
        return Err(no_validation(dataset));
    }
    if !config.hold_out {
        return Ok(Split {
            train: (0..dataset.n_train() as u32).collect(),
            ..split
        });
    }
    Ok(split)
}

fn no_validation(dataset: &Dataset) -> TrainError {
    TrainError::NoValidation {
        n: dataset.n_train(),
    }
}

impl Child for Network {
    fn architecture(&self) -> Architecture {
        self.architecture.clone().into()
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn parameters(&self) -> u64 {
        Costs::new(&self.graph).parameters()
    }

    fn epochs(&self) -> usize {
        self.config.epochs
    }

    fn plan(&self, device: &dyn Device) -> Plan {
        self.plan_with(device, Options::new(self.config.batch))
    }

    fn lessons(&self) -> Result<Box<dyn Lessons + '_>, TrainError> {
        let split = split(&self.dataset, &self.config)?;
        Ok(Box::new(Images {
            network: self,
            split,
        }))
    }

    fn evaluate(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Evaluation, TrainError> {
        let config = &self.config;
        let records = self.held(held)?;
        let options = Options {
            evaluate_only: true,
            ..Options::new(config.batch)
        };
        let plan = self.plan_with(runner.device, options);
        let input = Input::of_images(&self.dataset, config.augment, 0);
        let mut session = runner.load(&plan, input, weights)?;
        let evaluation = evaluate(&mut *session, &records, config.batch, &|| false)?;
        Ok(evaluation.expect("nothing stops it"))
    }

    fn n_logits(&self, held: Held) -> Result<[usize; 2], TrainError> {
        Ok([self.held(held)?.len(), self.graph.classes])
    }

    fn logits(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Labelled, TrainError> {
        let records = self.held(held)?;
        let images = logits::Images {
            graph: &self.graph,
            params: &self.params,
            weights,
            norm_epsilon: self.config.batch_norm_epsilon,
        };
        let input = Input::of_images(&self.dataset, self.config.augment, 0);
        let label = |&record: &u32| i64::from(self.dataset.record(record as usize).0);
        let mut all = Labelled {
            logits: Vec::with_capacity(records.len() * self.graph.classes),
            labels: records.iter().map(label).collect(),
        };
        images.logits(input, &records, self.config.batch, runner, &mut |logits| {
            all.logits.extend(logits.iter().map(|&x| x as f32));
        })?;
        Ok(all)
    }

    fn facts(&self, last: Option<&EpochReport>) -> Facts {
        let config = &self.config;
        Facts::Images {
            split_seed: config.split_seed,
            shuffle: config.shuffle,
            limit: self.dataset.limit(),
            training_records: Some(self.dataset.n_train()),
            augment: config.augment,
            classes: self.dataset.classes().to_vec(),
            validation_accuracy: last.map_or(0.0, |epoch| epoch.score.value()),
            batch_norm_epsilon: config.batch_norm_epsilon,
            hold_out: config.hold_out,
        }
    }

    fn data_sha256(&self) -> String {
        self.dataset.sha256()
    }
}

/// The images that a network learns from.
struct Images<'a> {
    network: &'a Network,
    split: Split,
}

impl Lessons for Images<'_> {
    fn input(&self, seed: u64) -> Input<'_> {
        Input::of_images(&self.network.dataset, self.network.config.augment, seed)
    }

    fn learning_rate(&self, given: Option<f64>, epoch: usize) -> f64 {
        let config = &self.network.config;
        let initial = given
            // paper P3.7
            .or(self.network.architecture.learning_rate)
            .unwrap_or(config.learning_rate);
        schedule::in_steps(initial, epoch, config.epochs, config.decay_epoch)
    }

    fn control(&self, learning_rate: f64, epoch: usize) -> Control {
        let config = &self.network.config;
        Control {
            learning_rate: learning_rate as f32,
            momentum: config.momentum as f32,
            weight_decay: config.weight_decay as f32,
            max_norm: f32::INFINITY,
            epoch: Some(epoch as u32),
        }
    }

    fn order(&self, seed: u64, epoch: usize) -> Vec<u32> {
        let NetworkConfig { batch, shuffle, .. } = self.network.config;
        let mut order = epoch_order(&self.split.train, seed, epoch as u32, shuffle);
        order.truncate(order.len() / batch * batch);
        order
    }

    fn batch(&self) -> usize {
        self.network.config.batch
    }

    fn predictions(&self) -> usize {
        self.batch()
    }

    fn validate(
        &self,
        session: &mut dyn Session,
        stop: Stop,
    ) -> Result<Option<Evaluation>, DeviceError> {
        evaluate(session, &self.split.validation, self.batch(), stop)
    }

    fn score(&self, _train_loss: f64, validation: &Evaluation) -> Score {
        Score::Accuracy {
            validation_accuracy: validation.value(),
        }
    }
}

fn evaluate(
    session: &mut dyn Session,
    records: &[u32],
    batch: usize,
    stop: Stop,
) -> Result<Option<Evaluation>, DeviceError> {
    let n_batches = records.len().div_ceil(batch);
    session.begin(records, Control::EVALUATE);
    let n_run = session.run_until(List::Evaluate, n_batches, stop);
    let results = session.results()?; // a device that failed has run fewer, too
    if n_run < n_batches {
        return Ok(None);
    }
    let total = records.len() as u64;
    Ok(Some(Evaluation::Images(ImageScore {
        total,
        correct: results.correct,
        accuracy: results.correct as f64 / total as f64,
        loss: results.loss_sums.iter().sum::<f64>() / total as f64,
    })))
}
