//! What the search asks of whoever trains its children, and a stub that trains nothing.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, Rng};
use crate::search::entry::Timing;
use crate::space::Architecture;
use crate::train::Scores;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was trained to the end.
    Ok,
    /// Its loss or weights stopped being finite.
    Diverged,
    /// It needs more memory than there is for one child.
    TooLarge,
    /// It cannot be built: a pooling window is larger than its input, say.
    Invalid,
    /// The machine ran out of memory although the plan fitted.
    OutOfMemory,
    /// The training stopped with a fault of the program.
    Crash,
    /// It took longer than allowed.
    Timeout,
    /// It took down every machine that tried it.
    Poison,
}

impl Status {
    /// Whether this says something of the architecture; the other endings are faults of a machine.
    /// A verdict has a reward, enters the gradient, and answers for every repeat.
    pub fn is_verdict(self) -> bool {
        matches!(
            self,
            Status::Ok | Status::Diverged | Status::TooLarge | Status::Invalid
        )
    }

    /// The word that stands for it in journals and tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Diverged => "diverged",
            Status::TooLarge => "too_large",
            Status::Invalid => "invalid",
            Status::OutOfMemory => "out_of_memory",
            Status::Crash => "crash",
            Status::Timeout => "timeout",
            Status::Poison => "poison",
        }
    }
}

/// A child to train.
#[derive(Clone, Debug)]
pub struct Job {
    /// The sample it answers.
    pub sample: u64,
    /// What to train.
    pub architecture: Architecture,
}

/// How a child ended and what it achieved.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The sample of its job.
    pub sample: u64,
    /// How it ended.
    pub status: Status,
    /// What it achieved after each epoch.
    pub scores: Scores,
    /// Trainable parameters, where known.
    pub parameters: Option<u64>,
    /// Why it failed.
    pub message: Option<String>,
    /// What it took.
    pub timing: Timing,
}

/// What an evaluator has to say.
#[derive(Clone, Debug)]
pub enum News {
    /// A child began (no epochs done), or finished an epoch.
    Epoch {
        /// The sample of its job.
        sample: u64,
        /// Epochs done.
        epoch: usize,
    },
    /// A child ended.
    Ended(Outcome),
    /// No device is left to train those that wait; why the last one is not.
    NoDevice(String),
}

/// Trains children, any number at a time.
pub trait Evaluator {
    /// Hands over jobs; returns at once.
    fn submit(&mut self, jobs: Vec<Job>);

    /// The next piece of news, of any job, in any order. Waits for it at most for `patience`.
    fn next(&mut self, patience: Duration) -> Option<News>;
}

/// An evaluator that answers from a function, in a scrambled order: for tests of the search and
/// for problems whose answer is known.
pub struct Stub<F> {
    answer: F,
    waiting: VecDeque<Job>,
    order: Rng,
}

impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Stub<F> {
    /// Answers each job with `answer`: how it ended and its accuracies. `order` chooses which of
    /// the waiting jobs ends next.
    pub fn new(order: u64, answer: F) -> Self {
        Stub {
            answer,
            waiting: VecDeque::new(),
            order: Rng::new(order, Purpose::Test, 0),
        }
    }
}

impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Evaluator for Stub<F> {
    fn submit(&mut self, jobs: Vec<Job>) {
        self.waiting.extend(jobs);
    }

    fn next(&mut self, _patience: Duration) -> Option<News> {
        let n_waiting = u32::try_from(self.waiting.len()).ok().filter(|&n| n > 0)?;
        let job = self
            .waiting
            .swap_remove_back(self.order.below(n_waiting) as usize)?;
        let (status, accuracies) = (self.answer)(&job);
        Some(News::Ended(Outcome {
            sample: job.sample,
            status,
            scores: Scores::Accuracies(accuracies),
            parameters: None,
            message: (status != Status::Ok).then(|| format!("the stub says {}", status.word())),
            timing: Timing::default(),
        }))
    }
}
