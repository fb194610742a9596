//! The scalars of a run as TensorBoard shows them: of the samples in their order, whatever the order in which
//! children end, because a reader drops points whose steps go backwards.

use std::collections::{BTreeMap, VecDeque};

use crate::report::choices::{self, Made};
use crate::report::series::WINDOW;
use crate::run::Status;
use crate::run::entry::{Child, Update};
use crate::run::history::History;
use crate::space::{Space, Token};

/// Some scalars at a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// The sample.
    pub step: u64,
    /// Seconds since 1970: when the last of all up to it came.
    pub at: f64,
    /// Names and values.
    pub values: Vec<(&'static str, f64)>,
}

/// Makes the scalars of a run from its facts as they come.
#[derive(Debug)]
pub struct Scalars {
    space: Space,
    /// Whether one controller learns alone: its batches come in order, and one that nothing is learned from has
    /// no update. Of replicas every batch has its own, in any order.
    is_alone: bool,
    /// Children that have ended, from the first on that is not shown.
    waiting: BTreeMap<u64, Ended>,
    /// Of the samples that are shown, from 0, when they ended.
    shown: Vec<f64>,
    /// The first batch whose baseline is not shown.
    batch: u64,
    /// Rewards of the last samples.
    rewards: VecDeque<Option<f64>>,
    /// Decisions of the last samples.
    decisions: VecDeque<Option<Vec<Made>>>,
    best: Option<f64>,
    /// When the last of the samples that are shown ended.
    at: f64,
    /// When the last of the batches whose baselines are shown was learned from.
    baseline_at: f64,
}

/// What is kept of a child until those before it have ended.
#[derive(Debug)]
struct Ended {
    reward: Option<f64>,
    is_ok: bool,
    parameters: Option<u64>,
    tokens: Vec<Token>,
    at: f64,
}

/// A child ended again that was shown: what is shown must be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again;

impl Scalars {
    /// Those of a run in which nothing has ended.
    pub fn new(space: Space, is_alone: bool) -> Scalars {
        Scalars {
            space,
            is_alone,
            waiting: BTreeMap::new(),
            shown: Vec::new(),
            batch: 0,
            rewards: VecDeque::new(),
            decisions: VecDeque::new(),
            best: None,
            at: 0.0,
            baseline_at: 0.0,
        }
    }

    /// A child ended. One that is shown already, of a history that was ahead of the news, is passed over.
    ///
    /// # Errors
    /// Where it is shown as it had ended before.
    pub fn end(&mut self, child: &Child) -> Result<(), Again> {
        if let Some(at) = self.shown.get(child.sample as usize) {
            return match *at == child.timing.at {
                true => Ok(()),
                false => Err(Again),
            };
        }
        let ended = Ended {
            reward: child.reward,
            is_ok: child.status == Status::Ok,
            parameters: child.parameters,
            tokens: child.tokens.clone(),
            at: child.timing.at,
        };
        self.waiting.insert(child.sample, ended);
        Ok(())
    }

    /// What can be shown of the children that have ended.
    pub fn children(&mut self) -> Vec<Points> {
        let mut points = Vec::new();
        while let Some(ended) = self.waiting.remove(&(self.shown.len() as u64)) {
            points.push(self.child(&ended));
            self.shown.push(ended.at);
        }
        points
    }

    /// The scalars of the next sample.
    fn child(&mut self, ended: &Ended) -> Points {
        self.at = self.at.max(ended.at);
        let mut values = Vec::new();
        keep_last(&mut self.rewards, ended.reward);
        if let Some(reward) = ended.reward {
            let recent: Vec<f64> = self.rewards.iter().flatten().copied().collect();
            let mean = recent.iter().sum::<f64>() / recent.len() as f64;
            values.extend([("reward", reward), ("reward/mean_of_100", mean)]);
        }
        if ended.is_ok {
            let best = ended.reward.into_iter().chain(self.best);
            self.best = best.reduce(f64::max);
        }
        values.extend(self.best.map(|best| ("reward/best", best)));
        let decisions = self.space.decisions();
        keep_last(
            &mut self.decisions,
            choices::decisions(decisions, &ended.tokens),
        );
        let entropy = choices::entropy_of(decisions, self.decisions.make_contiguous());
        values.extend(entropy.map(|entropy| ("entropy", entropy)));
        let parameters = ended.parameters.map(|n| ("child/parameters", n as f64));
        values.extend(parameters);
        Points {
            step: self.shown.len() as u64,
            at: self.at,
            values,
        }
    }

    /// The baselines that can be shown, each at the last sample of its batch.
    pub fn baselines(&mut self, history: &History) -> Vec<Points> {
        let mut points = Vec::new();
        for (&batch, update) in history.updates.range(self.batch..) {
            if batch != self.batch && !self.is_alone {
                break;
            }
            self.batch = batch + 1;
            points.extend(self.baseline(update));
        }
        points
    }

    fn baseline(&mut self, update: &Update) -> Option<Points> {
        self.baseline_at = self.baseline_at.max(update.timing.at);
        Some(Points {
            step: *update.samples.iter().max()?,
            at: self.baseline_at,
            values: vec![("baseline", update.baseline?)],
        })
    }

    /// Those of the same run in which nothing has ended.
    pub fn anew(&self) -> Scalars {
        Scalars::new(self.space.clone(), self.is_alone)
    }

    /// All that can be shown of a run of which nothing is shown, in the order in which it would have been shown as it
    /// came.
    pub fn all(&mut self, history: &History) -> Vec<Points> {
        let mut points = Vec::new();
        for child in history.children.values() {
            self.end(child).expect("a history has each sample once");
            points.extend(self.children());
        }
        points.extend(self.baselines(history));
        points.sort_by_key(|points| points.step); // a baseline after the last sample of its batch
        points
    }
}

/// Adds to the last hundred.
fn keep_last<T>(last: &mut VecDeque<T>, value: T) {
    if last.len() == WINDOW {
        last.pop_front();
    }
    last.push_back(value);
}
