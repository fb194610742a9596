//! What a child's line must say besides what was decided: how the child can have ended, its scores,
//! its reward, its parameters; or all of the child that it repeats.

use super::{Wrong, same};
use crate::config::Config;
use crate::graph::Graph;
use crate::graph::cost::Costs;
use crate::run::Status;
use crate::run::entry::{Child, Entry};
use crate::run::journal::Line;
use crate::search::rules;
use crate::space::{Architecture, BenchCell, ConvArchitecture};
use crate::train::{Course, Scores, network, table};

/// Children that are asked for the number of classes, where no data say it.
const ASKED: usize = 9;

/// The smallest perplexity that rounding leaves of a model that is always right.
const LEAST_PERPLEXITY: f64 = 0.999;

/// What is known of how children are trained.
pub(crate) struct Evidence<'a> {
    data: Option<&'a Course>,
    /// SHA-256 of the data, or of those of the first session.
    data_sha256: Option<String>,
    epochs: usize,
    /// Images that accuracies are shares of.
    validation: Option<usize>,
    size: Option<Size>,
}

/// What the number of parameters depends on besides the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    /// Classes of a network.
    Classes(u64),
    /// The same parameters for every cell: all of a space have as many leaves.
    Parameters(u64),
}

impl<'a> Evidence<'a> {
    /// What data say, or else most of the first children.
    pub fn new(config: &Config, data: Option<&'a Course>, lines: &[Line]) -> Evidence<'a> {
        let (validation, size) = match data {
            Some(Course::Images(dataset, train)) => {
                let split = network::split(dataset, train).ok();
                let classes = Size::Classes(dataset.classes().len() as u64);
                (split.map(|split| split.validation.len()), Some(classes))
            }
            Some(course @ Course::Text(..)) => (
                None,
                first_child(lines).and_then(|child| {
                    let child = course.child(&architecture(child)?).ok()?;
                    Some(Size::Parameters(child.parameters()))
                }),
            ),
            Some(Course::Table(_)) => (None, None),
            None => (None, most(lines)),
        };
        Evidence {
            data,
            data_sha256: data.map(Course::data_sha256),
            epochs: config.train.epochs(),
            validation,
            size,
        }
    }

    /// That a session had the data of the run.
    pub fn check_data(&mut self, sha256: &String) -> Result<(), Wrong> {
        let expected = self.data_sha256.get_or_insert_with(|| sha256.clone());
        same("data_sha256", sha256, expected)
    }

    /// Checks the line of a child, which repeats `original` where there is one.
    pub fn check(
        &self,
        child: &Child,
        architecture: &Architecture,
        original: Option<&Child>,
    ) -> Result<(), Wrong> {
        let scores = name(&child.scores);
        same(
            "duplicate_of",
            &child.duplicate_of,
            &original.map(rules::trained),
        )?;
        if let Some(original) = original {
            same("status", &child.status, &original.status)?;
            same(scores, &child.scores, &original.scores)?;
            same("reward", &child.reward, &original.reward)?;
            same("parameters", &child.parameters, &original.parameters)?;
            return same("message", &child.message, &original.message);
        }
        if let Architecture::Bench(cell) = architecture {
            return check_looked_up(child, cell);
        }
        self.check_status(child, architecture)?;
        self.check_scores(child, architecture)?;
        let reward = rules::reward(child.status, &child.scores);
        same("reward", &child.reward, &reward)?;
        self.check_parameters(child, architecture)?;
        match (child.status, &child.message) {
            (Status::Ok, Some(message)) => Err(Wrong::new("message", message, ())),
            (Status::Ok, None) | (_, Some(_)) => Ok(()),
            (_, None) => Err(Wrong::new("message", (), "why it failed")),
        }
    }

    /// A network is invalid where it cannot be built, and nowhere else.
    fn check_status(&self, child: &Child, architecture: &Architecture) -> Result<(), Wrong> {
        let can_be_built = match (architecture, self.data) {
            (Architecture::Conv(network), _) => Graph::new(network, 1).is_ok(),
            (Architecture::Cell(_), Some(course)) => course.child(architecture).is_ok(),
            (Architecture::Cell(_), None) => child.status != Status::Invalid,
            (Architecture::Bench(_), _) => true,
        };
        match (can_be_built, child.status) {
            (true, Status::Invalid) => Err(Wrong::new("status", child.status, "ok")),
            (false, status) => same("status", &status, &Status::Invalid),
            (true, _) => Ok(()),
        }
    }

    /// As many scores as epochs, each of which a child can have.
    fn check_scores(&self, child: &Child, architecture: &Architecture) -> Result<(), Wrong> {
        let (scores, values) = (&child.scores, child.scores.values());
        let what = name(scores);
        let none = Scores::none(architecture.kind());
        if name(&none) != what {
            return Err(Wrong::new(what, values, name(&none)));
        }
        let fits = match child.status {
            Status::Ok => values.len() == self.epochs,
            Status::Diverged => values.len() < self.epochs,
            _ => values.is_empty(),
        };
        let number = match child.status {
            Status::Ok => format!("{} values", self.epochs),
            Status::Diverged => format!("fewer than {} values", self.epochs),
            _ => "no values".to_owned(),
        };
        if !fits {
            return Err(Wrong::new(what, values, number));
        }
        match values.iter().find(|value| !self.can_be(scores, **value)) {
            None => Ok(()),
            Some(value) => Err(Wrong::new(what, value, self.range(scores))),
        }
    }

    fn can_be(&self, scores: &Scores, value: f64) -> bool {
        match (scores, self.validation) {
            (Scores::Perplexities(_), _) => value.is_finite() && value >= LEAST_PERPLEXITY,
            (Scores::TableAccuracies(_), _) => (0.0..=100.0).contains(&value),
            (Scores::Accuracies(_), None) => (0.0..=1.0).contains(&value),
            (Scores::Accuracies(_), Some(n)) => {
                let n = n as f64;
                (0.0..=1.0).contains(&value) && (value * n).round() / n == value
            }
        }
    }

    fn range(&self, scores: &Scores) -> String {
        match (scores, self.validation) {
            (Scores::Perplexities(_), _) => "a number of at least 1".into(),
            (Scores::TableAccuracies(_), _) => "a number from 0 to 100".into(),
            (Scores::Accuracies(_), None) => "a number from 0 to 1".into(),
            (Scores::Accuracies(_), Some(n)) => format!("a share of {n} images"),
        }
    }

    /// What could be built says its parameters; a fault of the machine may come before they are known.
    fn check_parameters(&self, child: &Child, architecture: &Architecture) -> Result<(), Wrong> {
        let expected = match (self.size, architecture) {
            _ if child.status == Status::Invalid => None,
            (Some(Size::Classes(classes)), Architecture::Conv(network)) => {
                Size::parameters(network).map(|(own, per_class)| own + classes * per_class)
            }
            (Some(Size::Parameters(parameters)), Architecture::Cell(_)) => Some(parameters),
            _ => return Ok(()), // nobody says any
        };
        match child.parameters {
            None if !child.status.is_verdict() => Ok(()),
            recorded => same("parameters", &recorded, &expected),
        }
    }
}

impl Size {
    /// Parameters of a network without its classes, and a class.
    fn parameters(network: &ConvArchitecture) -> Option<(u64, u64)> {
        let graph = Graph::new(network, 1).ok()?;
        let per_class = graph.features() as u64 + 1;
        Some((Costs::new(&graph).parameters() - per_class, per_class))
    }

    /// What a line says of it.
    fn of(child: &Child) -> Option<Size> {
        let parameters = child.parameters?;
        match architecture(child)? {
            Architecture::Cell(_) => Some(Size::Parameters(parameters)),
            Architecture::Bench(_) => None,
            Architecture::Conv(network) => {
                let (own, per_class) = Size::parameters(&network)?;
                let of_classes = parameters.checked_sub(own)?;
                let classes = of_classes / per_class;
                (of_classes % per_class == 0 && (1..=256).contains(&classes))
                    .then_some(Size::Classes(classes))
            }
        }
    }
}

/// That a cell's line says what the table has.
fn check_looked_up(child: &Child, cell: &BenchCell) -> Result<(), Wrong> {
    let (scores, parameters) = table::look_up(cell);
    same("status", &child.status, &Status::Ok)?;
    same(name(&scores), &child.scores, &scores)?;
    same("reward", &child.reward, &Some(scores.reward()))?;
    same("parameters", &child.parameters, &Some(parameters))?;
    same("message", &child.message, &None)
}

/// The size that most of the first children say; of equal ones the smaller.
fn most(lines: &[Line]) -> Option<Size> {
    let mut said: Vec<Size> = trained(lines).filter_map(Size::of).take(ASKED).collect();
    said.sort();
    let times = |size: &Size| said.iter().filter(|other| *other == size).count();
    said.iter().rev().max_by_key(|size| times(size)).copied()
}

fn first_child(lines: &[Line]) -> Option<&Child> {
    trained(lines).next()
}

fn trained(lines: &[Line]) -> impl Iterator<Item = &Child> {
    lines.iter().filter_map(|line| match &line.entry {
        Entry::Child(child) if child.duplicate_of.is_none() => Some(child),
        _ => None,
    })
}

fn architecture(child: &Child) -> Option<Architecture> {
    Architecture::from_json(&child.architecture.to_string()).ok()
}

fn name(scores: &Scores) -> &'static str {
    match scores {
        Scores::Accuracies(_) => "accuracies",
        Scores::Perplexities(_) => "perplexities",
        Scores::TableAccuracies(_) => "table_accuracies",
    }
}
