//! What facts, cells, gradients and jobs hold, as bytes: JSON, and with numbers the form of a checkpoint
//! (numbers as little-endian bytes, never as decimals, and a SHA-256 of all).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::{Message, flaw, from_json, from_numbers, to_json, to_numbers};
pub use super::codec::{MessageError, SCHEMA};
use super::engine::Position;
use crate::controller::{Adam, ControllerState};
use crate::run::entry::Child;
use crate::space::Token;

/// A share of the controller's parameters, and what was made of the gradients so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// All but the numbers.
    pub head: ShardHead,
    /// The weights.
    pub weights: Vec<f64>,
    /// Adam's averages of their gradient.
    pub adam: Adam,
    /// Sum of the gradients that wait for an update.
    pub sum: Vec<f64>,
}

/// What a shard has besides its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardHead {
    /// Updates made; where synchronous, waves, also one that nothing was learned from.
    pub version: u64,
    /// Steps of Adam.
    pub steps: u64,
    /// All of the log up to here is in it.
    pub position: Position,
    /// The last gradient that was counted, of each replica.
    pub marks: BTreeMap<u32, u64>,
    /// The replicas of all gradients that were counted, in the order in which they were: with the facts,
    /// all that a run can be computed from again.
    pub order: Vec<u32>,
    /// Gradients that wait for an update.
    pub waiting: u32,
    /// How late gradients were.
    pub lateness: Lateness,
    /// Gradients that came again.
    pub repeats: u64,
    /// The moving average of rewards, of shard 0 alone.
    pub baseline: Option<f64>,
}

/// How late gradients were, in versions of the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// Gradients that were counted or set aside.
    pub gradients: u64,
    /// Sum of their τ.
    pub sum: u64,
    /// The largest.
    pub largest: u64,
    /// Those that were too late to count.
    pub set_aside: u64,
}

impl Message for ShardHead {
    const WHAT: &'static str = "a shard's cell";
}

impl Shard {
    /// Rounds whose gradients it has counted or set aside.
    pub fn rounds(&self) -> u64 {
        self.head.order.len() as u64
    }

    /// SHA-256 of its numbers, as that of a controller which has them alone.
    pub fn sha256(&self) -> String {
        let state = ControllerState {
            weights: self.weights.clone(),
            mean: self.adam.mean.clone(),
            square: self.adam.square.clone(),
            step: self.adam.step,
            baseline: self.head.baseline,
        };
        state.sha256()
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Adam { mean, square, .. } = &self.adam; // its steps are in the head
        to_numbers(&self.head, &[&self.weights, mean, square, &self.sum])
    }

    /// From bytes.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Shard, MessageError> {
        let (head, [weights, mean, square, sum]) = from_numbers::<ShardHead, 4>(bytes)?;
        if [&mean, &square, &sum]
            .iter()
            .any(|numbers| numbers.len() != weights.len())
        {
            return Err(flaw::<ShardHead>("its lists of numbers differ in length"));
        }
        let adam = Adam {
            step: head.steps,
            mean,
            square,
        };
        Ok(Shard {
            head,
            weights,
            adam,
            sum,
        })
    }
}

/// Where a replica of the controller stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// All but the numbers.
    pub head: ReplicaHead,
    /// The parameters that its open round is drawn and learned with; none where none is open.
    pub weights: Vec<f64>,
}

/// What a replica has besides its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaHead {
    /// Rounds begun.
    pub n: u64,
    /// Its round, or the last one; nothing before the first.
    pub round: Option<u64>,
    /// Whether that is under way.
    pub open: bool,
    /// Versions of the shards that its parameters were read at.
    pub versions: Vec<u64>,
    /// Gradients that the shards had counted then.
    pub counted: Vec<u64>,
    /// The baseline as it was then.
    pub baseline: Option<f64>,
}

impl Message for ReplicaHead {
    const WHAT: &'static str = "a replica's cell";
}

impl Replica {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_numbers(&self.head, &[&self.weights])
    }

    /// From bytes.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Replica, MessageError> {
        let (head, [weights]) = from_numbers::<ReplicaHead, 1>(bytes)?;
        Ok(Replica { head, weights })
    }
}

/// A gradient of a round, a shard's share of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// All but the numbers.
    pub head: GradientHead,
    /// By parameter; none where every child met a fault of a machine.
    pub values: Vec<f64>,
}

/// What a gradient has besides its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientHead {
    /// The replica.
    pub replica: u32,
    /// Its number among that one's, from 1.
    pub n: u64,
    /// The round.
    pub round: u64,
    /// Version of the shard that it was formed at.
    pub seen: u64,
    /// Rewards in the order of the samples, of those that count; for shard 0 alone.
    pub rewards: Vec<f64>,
    /// The baseline that it used.
    pub baseline: Option<f64>,
}

impl Message for GradientHead {
    const WHAT: &'static str = "a gradient";
}

impl Gradient {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_numbers(&self.head, &[&self.values])
    }

    /// From bytes.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Gradient, MessageError> {
        let (head, [values]) = from_numbers::<GradientHead, 1>(bytes)?;
        Ok(Gradient { head, values })
    }
}

/// A round that was claimed: the fact of its architectures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The replica that claimed it.
    pub replica: u32,
    /// As which of its rounds.
    pub n: u64,
    /// Gradients that each shard had counted when its parameters were read.
    pub counted: Vec<u64>,
    /// Decisions for each of its samples.
    pub tokens: Vec<Vec<Token>>,
    /// The earlier sample that each repeats, where it does: it is answered from the record.
    pub duplicate_of: Vec<Option<u64>>,
}

impl Message for Round {
    const WHAT: &'static str = "a round";
}

/// How a child ended: the fact of its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Who wrote it.
    pub writer: u64,
    /// How often it was begun.
    pub attempts: u64,
    /// Its line of the journal.
    pub child: Child,
}

impl Ended {
    /// Its line of the journal, with what is known here besides.
    pub fn line(self) -> Child {
        Child {
            writer: Some(format!("{:016x}", self.writer)),
            attempts: Some(self.attempts),
            ..self.child
        }
    }

    /// From a line of the journal.
    pub fn of(child: &Child) -> Ended {
        let writer = child.writer.as_ref();
        let writer = writer.and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Ended {
            writer: writer.unwrap_or(0),
            attempts: child.attempts.unwrap_or(1),
            child: child.alone(),
        }
    }
}

impl Message for Ended {
    const WHAT: &'static str = "a child's result";
}

/// A child to be trained, or to be answered from the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its sample.
    pub sample: u64,
    /// Its round.
    pub round: u64,
    /// The controller's decisions.
    pub tokens: Vec<Token>,
    /// The sample that it repeats.
    pub duplicate_of: Option<u64>,
}

impl Message for Job {
    const WHAT: &'static str = "a job";
}

/// Who has begun a child.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    /// In their order.
    pub attempts: Vec<Attempt>,
}

impl Message for Attempts {
    const WHAT: &'static str = "the list of a child's attempts";
}

/// That a worker has begun a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its machine.
    pub node: String,
    /// Itself.
    pub worker: u64,
    /// How far the checkpoint was that it began from.
    pub from: Done,
    /// Whether it gave the child back in good order, which never counts against the child.
    pub released: bool,
    /// Whether the child ended it.
    pub crashed: bool,
    /// Seconds that it trained, as far as is known: up to its last checkpoint, or its end in good order.
    #[serde(default)]
    pub seconds: f64,
}

/// How far a child is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Done {
    /// Epochs done.
    pub epochs: u64,
    /// Batches done of the next.
    pub batches: u64,
}

/// The newest checkpoint of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How far it is.
    pub done: Done,
    /// Where its bytes are.
    pub blob: String,
    /// How many they are.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: String,
}

impl Message for Checkpoint {
    const WHAT: &'static str = "a pointer to a checkpoint";
}

/// Messages that are JSON alone.
macro_rules! json {
    ($($message:ty),*) => {$(
        impl $message {
            /// As bytes.
            pub fn to_bytes(&self) -> Vec<u8> {
                to_json(self)
            }

            /// From bytes.
            ///
            /// # Errors
            /// See [`MessageError`].
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
                from_json(bytes)
            }
        }
    )*};
}

json!(Round, Ended, Job, Attempts, Checkpoint);
