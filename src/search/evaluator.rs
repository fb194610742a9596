//! What the search asks of whoever trains its children, and a stub that trains nothing.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::rng::{Purpose, Rng};
use crate::run::entry::Timing;
use crate::run::{RunError, Status};
use crate::space::Architecture;
use crate::train::{Course, Scores};

/// A child to train.
#[derive(Clone, Debug)]
pub struct Job {
    /// The sample it answers.
    pub sample: u64,
    /// What to train.
    pub architecture: Architecture,
    /// How many GPUs were lost while they trained it before, and the last one's words.
    pub lost: (usize, String),
    /// Bytes of the run's journal when it was asked for.
    pub journal_bytes: u64,
    /// What it achieved before, where it is trained again for its weights: others are not kept.
    pub before: Option<Scores>,
    /// How it is trained, where not as all others.
    pub own: Option<OwnCourse>,
}

/// How one child is trained that is not trained as others.
#[derive(Clone)]
pub struct OwnCourse {
    /// On what, and how.
    pub course: Course,
    /// The initial learning rate, also of an architecture that has one.
    pub learning_rate: f64,
}

impl fmt::Debug for OwnCourse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "learning rate {}", self.learning_rate)
    }
}

impl Job {
    /// A job that nobody has begun.
    pub fn new(sample: u64, architecture: Architecture) -> Job {
        Job {
            sample,
            architecture,
            lost: (0, String::new()),
            journal_bytes: 0,
            before: None,
            own: None,
        }
    }
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
#[derive(Debug)]
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
    /// A GPU was lost while it trained a child, which is begun again on another.
    Lost {
        /// The sample of its job.
        sample: u64,
        /// The words of the device.
        words: String,
    },
    /// No device is left to train those that wait; why the last one is not.
    NoDevice(String),
    /// What is to be kept of a child cannot be written; its job has no outcome.
    NotKept(RunError),
}

/// Trains children, any number at a time.
pub trait Evaluator {
    /// Hands over jobs; returns at once.
    fn submit(&mut self, jobs: Vec<Job>);

    /// The next piece of news, of any job, in any order. Waits for it at most for `patience`.
    fn next(&mut self, patience: Duration) -> Option<News>;

    /// Hears that the outcome of a job is on record.
    ///
    /// # Errors
    /// Where what is kept of the child cannot be brought in line with that.
    fn recorded(&mut self, _sample: u64) -> Result<(), RunError> {
        Ok(())
    }

    /// Stops the children under way between two of their steps, and waits until what they have is
    /// kept; the news that are left.
    fn stop(&mut self) -> Vec<News> {
        vec![]
    }
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
