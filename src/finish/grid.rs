//! What `finish` tries: the best architectures of a search, each by every recipe of a small grid.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::search::evaluator::OwnCourse;
use crate::space::{Architecture, Token, Variant, VariantError};
use crate::train::{Counted, Course, TrainConfig};

/// What is tried, in the order in which it is tried; it stands in the folder's `grid.json`.
// paper P9.2
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The best of the search.
    pub candidates: Vec<Candidate>,
    /// Epochs of every training, the last one too.
    pub epochs: usize,
    /// Filters that every convolution has more than the search gave it.
    pub add_filters: usize,
    /// Initial learning rates.
    pub learning_rates: Vec<f64>,
    /// Weight decays; of networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weight_decays: Vec<f64>,
    /// What batch normalisation adds to a variance; of networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epsilons: Vec<f64>,
    /// Epochs before the learning rate falls.
    pub decay_epochs: Vec<usize>,
}

/// An architecture of the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its sample.
    pub sample: u64,
    /// What it achieved in the search.
    pub search: f64,
    /// What is trained of it.
    #[serde(deserialize_with = "architecture")]
    pub architecture: Architecture,
}

fn architecture<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Architecture, D::Error> {
    let json = Value::deserialize(deserializer)?;
    Architecture::from_json(&json.to_string()).map_err(D::Error::custom)
}

/// How a candidate is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Initial learning rate, also of an architecture that has one of its own.
    pub learning_rate: f64,
    /// Weight decay of every parameter; of networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// What batch normalisation adds to a variance; of networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm_epsilon: Option<f64>,
    /// The first epoch, from 0, at a lower learning rate.
    pub decay_epoch: usize,
}

/// A training of the grid.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its number.
    pub index: u64,
    /// The candidate's place among the candidates.
    pub candidate: usize,
    /// Places of the recipe's values in their lists.
    pub places: Vec<Token>,
    /// How it is trained.
    pub recipe: Recipe,
}

/// Trainings of a grid at most.
const MOST_TRAININGS: usize = 100_000;

/// A grid that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// A list without a value, or with one twice or out of its range.
    #[error("{flag} {fault}")]
    List {
        /// The flag.
        flag: &'static str,
        /// What is wrong and what to give.
        fault: String,
    },
    /// More trainings than anybody waits for.
    #[error(
        "the grid has more than {MOST_TRAININGS} trainings; give fewer values, or a smaller --top"
    )]
    TooMany,
    /// More filters than a convolution may have.
    #[error("--add-filters: sample {sample}: {source}")]
    Filters {
        /// The sample.
        sample: u64,
        /// What it would have.
        source: VariantError,
    },
}

impl Grid {
    /// Trainings in all.
    pub fn len(&self) -> usize {
        self.lengths().into_iter().product()
    }

    /// Candidates, and values of each list.
    fn lengths(&self) -> [usize; 5] {
        [
            self.candidates.len(),
            self.learning_rates.len(),
            self.weight_decays.len().max(1),
            self.epsilons.len().max(1),
            self.decay_epochs.len(),
        ]
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every training, in order: the last list changes fastest.
    pub fn points(&self) -> Vec<Point> {
        let optional = |list: &[f64]| match list.is_empty() {
            true => vec![None],
            false => list.iter().copied().map(Some).collect::<Vec<_>>(),
        };
        let (decays, epsilons) = (optional(&self.weight_decays), optional(&self.epsilons));
        let mut points = Vec::new();
        for candidate in 0..self.candidates.len() {
            for (i, &learning_rate) in self.learning_rates.iter().enumerate() {
                for (j, &weight_decay) in decays.iter().enumerate() {
                    for (k, &batch_norm_epsilon) in epsilons.iter().enumerate() {
                        for (l, &decay_epoch) in self.decay_epochs.iter().enumerate() {
                            points.push(Point {
                                index: points.len() as u64,
                                candidate,
                                places: [i, j, k, l].map(|place| place as Token).to_vec(),
                                recipe: Recipe {
                                    learning_rate,
                                    weight_decay,
                                    batch_norm_epsilon,
                                    decay_epoch,
                                },
                            });
                        }
                    }
                }
            }
        }
        points
    }

    /// Checks the lists.
    ///
    /// # Errors
    /// The first that breaks a rule.
    pub fn check(&self) -> Result<(), GridError> {
        let mut lists = self.lengths().into_iter();
        let n = lists.try_fold(1, |product: usize, length| product.checked_mul(length));
        if n.is_none_or(|n| n > MOST_TRAININGS) {
            return Err(GridError::TooMany);
        }
        let above_0 = |x: f64| x as f32 > 0.0 && x.is_finite();
        list("--learning-rates", &self.learning_rates, above_0, "above 0")?;
        let not_below_0 = |x: f64| x >= 0.0 && x.is_finite();
        if !self.weight_decays.is_empty() || !self.epsilons.is_empty() {
            list(
                "--weight-decays",
                &self.weight_decays,
                not_below_0,
                "of 0 or more",
            )?;
            let small = |x: f64| x > 0.0 && x <= 1.0;
            list("--epsilons", &self.epsilons, small, "above 0, at most 1")?;
        }
        let decay_epochs: Vec<f64> = self
            .decay_epochs
            .iter()
            .map(|&epoch| epoch as f64)
            .collect();
        let within = |x: f64| x <= self.epochs as f64;
        let rule = format!("of at most --epochs, {}", self.epochs);
        list("--decay-epochs", &decay_epochs, within, &rule)
    }
}

/// That a list has values, each once and in its range.
fn list(
    flag: &'static str,
    values: &[f64],
    holds: impl Fn(f64) -> bool,
    rule: &str,
) -> Result<(), GridError> {
    let fault = match values.iter().enumerate().find_map(|(i, x)| {
        let again = values[..i]
            .contains(x)
            .then(|| format!("has {x} twice; give it once"));
        again.or((!holds(*x)).then(|| format!("has {x}; give numbers {rule}")))
    }) {
        None if values.is_empty() => "has no value; give one or more".to_owned(),
        None => return Ok(()),
        Some(fault) => fault,
    };
    Err(GridError::List { flag, fault })
}

impl Candidate {
    /// A child of a search, each of whose convolutions gets `more` filters.
    ///
    /// # Errors
    /// Where that are too many.
    pub fn new(
        sample: u64,
        counted: Counted,
        architecture: &Architecture,
        more: usize,
    ) -> Result<Candidate, GridError> {
        let architecture = match architecture {
            Architecture::Conv(network) if more > 0 => {
                let varied = network.vary(Variant::AddFilters(more));
                let varied = varied.map_err(|source| GridError::Filters { sample, source });
                Architecture::Conv(varied?)
            }
            other => other.clone(),
        };
        let (Counted::Accuracy(search) | Counted::Perplexity(search)) = counted;
        Ok(Candidate {
            sample,
            search,
            architecture,
        })
    }
}

impl Recipe {
    /// How a child is trained by it on the data of a course; `hold_out`: whether records are held out.
    pub fn course(&self, course: &Course, epochs: usize, hold_out: bool) -> OwnCourse {
        let course = match course.clone() {
            Course::Images(dataset, mut train) => {
                train.epochs = epochs;
                train.learning_rate = self.learning_rate;
                train.weight_decay = self.weight_decay.unwrap_or(train.weight_decay);
                train.batch_norm_epsilon =
                    self.batch_norm_epsilon.unwrap_or(train.batch_norm_epsilon);
                train.decay_epoch = Some(self.decay_epoch);
                train.hold_out = hold_out;
                Course::Images(dataset, train)
            }
            Course::Text(corpus, mut train) => {
                train.epochs = epochs;
                train.learning_rate = self.learning_rate;
                train.constant_epochs = self.decay_epoch;
                train.hold_out = hold_out;
                Course::Text(corpus, train)
            }
            table @ Course::Table(_) => table,
        };
        OwnCourse {
            course,
            learning_rate: self.learning_rate,
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        let falls = match self.decay_epoch {
            0 => "from the start".to_owned(),
            epoch => format!("after epoch {epoch}"),
        };
        let mut words = format!("learning rate {} (falling {falls})", self.learning_rate);
        if let Some(decay) = self.weight_decay {
            words += &format!(", weight decay {decay}");
        }
        if let Some(epsilon) = self.batch_norm_epsilon {
            words += &format!(", epsilon {epsilon:e}");
        }
        words
    }
}

/// The lists that are tried where no flag gives others, for the settings of a search: its own values and
/// one or two beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// Epochs: many times those of the search.
    pub epochs: usize,
    /// As in [`Grid`].
    pub learning_rates: Vec<f64>,
    /// As in [`Grid`].
    pub weight_decays: Vec<f64>,
    /// As in [`Grid`].
    pub epsilons: Vec<f64>,
}

/// Epochs of a network's last training for one of the search: 300 where the paper's children have 50, as
/// DenseNet's networks.
const TIMES_NETWORK: usize = 6;

/// The same of a cell.
const TIMES_CELL: usize = 2;

impl Defaults {
    /// Those for the settings of a search.
    pub fn new(train: &TrainConfig) -> Defaults {
        match train {
            TrainConfig::Network(train) => Defaults {
                epochs: train.epochs * TIMES_NETWORK,
                learning_rates: vec![train.learning_rate / 2.0, train.learning_rate],
                weight_decays: vec![train.weight_decay, train.weight_decay * 5.0],
                epsilons: vec![train.batch_norm_epsilon, train.batch_norm_epsilon * 100.0],
            },
            TrainConfig::Language(train) => Defaults {
                epochs: train.epochs * TIMES_CELL,
                learning_rates: [0.5, 1.0, 2.0]
                    .map(|times| train.learning_rate * times)
                    .to_vec(),
                weight_decays: vec![],
                epsilons: vec![],
            },
            TrainConfig::Table(_) => Defaults {
                epochs: 0,
                learning_rates: vec![],
                weight_decays: vec![],
                epsilons: vec![],
            },
        }
    }

    /// The epoch at which the rate falls, in a training of so many epochs: as in the search.
    pub fn decay_epoch(train: &TrainConfig, epochs: usize) -> usize {
        match train {
            TrainConfig::Network(train) => match train.decay_epoch {
                Some(first) => (first * epochs).div_ceil(train.epochs),
                None => epochs.div_ceil(2),
            },
            TrainConfig::Language(train) => {
                (train.constant_epochs.min(train.epochs) * epochs).div_ceil(train.epochs)
            }
            TrainConfig::Table(_) => 0,
        }
    }
}
