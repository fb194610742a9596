//! What a line of the journal says: a session that began, a child that ended, a step of the
//! controller. The keys and their order are the format of formats.md, section 3.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::run::Status;
use crate::space::Token;
use crate::train::{Counted, Scores};

/// One line of the journal; `C` is what is kept of a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry<C = Child> {
    /// The search began, or went on.
    Run(Started),
    /// A child ended, or was answered from the record.
    Child(C),
    /// A replica of the controller, one of several, began a batch.
    Round(Round),
    /// The controller learned from a batch.
    Update(Update),
    /// A GPU was lost while it trained a child.
    Lost(Lost),
    /// The search stopped in good order, to be gone on with.
    Stop(Stop),
    /// A fact of a later version, of no meaning to this one.
    #[serde(other)]
    Unknown,
}

/// The search began, or went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the settings that decide results.
    pub config_sha256: String,
    /// SHA-256 of the data set's files.
    pub data_sha256: String,
    /// Total number of samples asked for.
    pub samples: u64,
    /// When, and on what.
    pub timing: RunTiming,
}

/// When a session of a run began, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunTiming {
    /// Seconds since 1970.
    pub at: f64,
    /// The device, in words: what decides the bits of results.
    pub device: String,
    /// Threads that train children.
    pub threads: usize,
}

/// A child that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// Number of the sample, from 0.
    pub sample: u64,
    /// Number of its batch, from 0.
    pub batch: u64,
    /// The controller's decisions.
    pub tokens: Vec<Token>,
    /// The architecture that the decisions stand for, in canonical form.
    pub architecture: Value,
    /// How it ended.
    pub status: Status,
    /// What it achieved after each epoch: `accuracies`, or `perplexities` of a cell; of a table,
    /// `table_accuracies` of each run.
    #[serde(flatten)]
    pub scores: Scores,
    /// What the controller is paid; nothing where a machine was at fault.
    pub reward: Option<f64>,
    /// The sample that was trained, where this one repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<u64>,
    /// Trainable parameters, where the architecture can be built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who wrote it, 16 hexadecimal digits; where replicas share the search, as the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// How often it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Updates of the first shard since its parameters were read, when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<u64>,
    /// When it ended and how long it took.
    pub timing: Timing,
}

impl Child {
    /// Its line without what replicas that share a search add.
    pub fn alone(&self) -> Child {
        Child {
            writer: None,
            attempts: None,
            staleness: None,
            ..self.clone()
        }
    }
}

/// What a history and a summary ask of a child, however much of its line is kept.
pub trait ChildFacts: Sync {
    /// Number of the sample, from 0.
    fn sample(&self) -> u64;
    /// Number of its batch, from 0.
    fn batch(&self) -> u64;
    /// How it ended.
    fn status(&self) -> Status;
    /// What the controller is paid; nothing where a machine was at fault.
    fn reward(&self) -> Option<f64>;
    /// The sample that was trained, where this one repeats it.
    fn duplicate_of(&self) -> Option<u64>;
    /// Trainable parameters, where the architecture can be built.
    fn parameters(&self) -> Option<u64>;
    /// What its reward is made of; nothing where it was not trained for an epoch.
    fn counted(&self) -> Option<Counted>;
    /// The architecture in canonical form.
    fn architecture(&self) -> Cow<'_, RawValue>;
    /// When it ended, in seconds since 1970.
    fn at(&self) -> f64;
}

impl ChildFacts for Child {
    fn sample(&self) -> u64 {
        self.sample
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn status(&self) -> Status {
        self.status
    }

    fn reward(&self) -> Option<f64> {
        self.reward
    }

    fn duplicate_of(&self) -> Option<u64> {
        self.duplicate_of
    }

    fn parameters(&self) -> Option<u64> {
        self.parameters
    }

    fn counted(&self) -> Option<Counted> {
        self.scores.counted()
    }

    fn architecture(&self) -> Cow<'_, RawValue> {
        Cow::Owned(to_raw_value(&self.architecture).expect("a JSON value has a text"))
    }

    fn at(&self) -> f64 {
        self.timing.at
    }
}

/// A replica of the controller began a batch, by parameters that it read then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number of the round, which is its batch.
    pub round: u64,
    /// The replica.
    pub replica: u32,
    /// As which of its rounds, from 1.
    pub n: u64,
    /// Gradients that each shard had counted when it was read.
    pub counted: Vec<u64>,
    /// The earlier sample that each sample repeats, where it does.
    pub duplicate_of: Vec<Option<u64>>,
    /// When.
    pub timing: Timing,
}

/// A step of the controller; where its parameters are shared out, a gradient that a shard counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Number of the batch, from 0.
    pub batch: u64,
    /// All samples of the batch.
    pub samples: Vec<u64>,
    /// The baseline that the gradient used; nothing where none of the samples counts, which is on record
    /// of shards alone.
    pub baseline: Option<f64>,
    /// SHA-256 of the controller after the step, or of the shard's part of it.
    pub controller_sha256: String,
    /// The samples that entered the gradient.
    pub counted: Vec<u64>,
    /// The shard, where the parameters are shared out, as the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// The replica whose gradient it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u32>,
    /// Its round, which is the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u64>,
    /// When, and how long it took.
    pub timing: Timing,
}

/// A GPU was lost while it trained a child, which then begins again on another; a child that loses
/// them one after the other is at fault itself, also where each loss ends the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The child's sample.
    pub sample: u64,
    /// The words of the device.
    pub message: String,
    /// When.
    pub timing: Timing,
}

/// The search stopped in good order. Where this is the last line, nobody is working on the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Samples that have ended.
    pub samples: u64,
    /// When.
    pub timing: Timing,
}

/// When something ended and how long it took: all that differs between two runs of one search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds since 1970 at the end.
    pub at: f64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Threads that a child was trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The GPU that trained a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Training images a second in the child's last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// Words a second, where it is a cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words_per_second: Option<f64>,
}
