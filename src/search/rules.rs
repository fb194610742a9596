//! The rules of a search that its loop follows and that an audit checks: where architectures come
//! from, where a batch ends, what a child is paid and what the controller learns from.

use std::collections::BTreeMap;
use std::ops::Range;

use super::evolution::{Evolution, Past};
use crate::config::{Config, StrategyKind};
use crate::controller::{Controller, Scored};
use crate::run::Status;
use crate::run::entry::Child;
use crate::space::{Space, Token};
use crate::train::Scores;

/// Where architectures come from.
pub enum Strategy<'a> {
    /// The controller designs them and learns from what they achieve.
    Policy(Box<Controller<'a>>),
    /// Drawn uniformly from the space; nothing learns.
    Random {
        /// Seed of the draws.
        seed: u64,
    },
    /// The best of some of the latest, changed in one decision.
    Evolution(Evolution),
}

impl Strategy<'_> {
    /// That of a run's settings, on the host, as it was before the first sample.
    pub fn new(config: &Config, space: &Space) -> Self {
        let seed = config.search.seed;
        match config.search.strategy {
            StrategyKind::Random => Strategy::Random { seed },
            StrategyKind::Evolution => Strategy::Evolution(Evolution::of(config)),
            StrategyKind::Policy => {
                let controller = Controller::new(space.clone(), &config.controller, seed);
                Strategy::Policy(Box::new(controller))
            }
        }
    }

    /// Its kind.
    pub fn kind(&self) -> StrategyKind {
        match self {
            Strategy::Policy(_) => StrategyKind::Policy,
            Strategy::Evolution(_) => StrategyKind::Evolution,
            Strategy::Random { .. } => StrategyKind::Random,
        }
    }

    /// The decisions for samples of one batch, as it stands; `past` are the children before that batch.
    pub fn propose(&mut self, space: &Space, past: Past, samples: Range<u64>) -> Vec<Vec<Token>> {
        match self {
            Strategy::Policy(controller) => controller.sample_batch(samples),
            Strategy::Random { seed } => {
                samples.map(|sample| space.random(*seed, sample)).collect()
            }
            Strategy::Evolution(evolution) => {
                let propose = |sample| evolution.propose(space, past.clone(), sample);
                samples.map(propose).collect()
            }
        }
    }
}

/// The sample after the last of a batch that begins with `first`: m samples, or as many as there are.
// paper P7.1
pub(super) fn end_of_batch(first: u64, children_per_update: u64, samples: u64) -> u64 {
    first.saturating_add(children_per_update).min(samples)
}

/// What the controller is paid for a child; nothing where a machine was at fault.
pub fn reward(status: Status, scores: &Scores) -> Option<f64> {
    match status {
        Status::Ok => Some(scores.reward()),
        _ if status.is_verdict() => Some(0.0),
        _ => None,
    }
}

/// The samples of a batch that count, and what the controller learns from them, in order.
pub(super) fn counted(
    samples: impl IntoIterator<Item = u64>,
    children: &BTreeMap<u64, Child>,
) -> (Vec<u64>, Vec<Scored<'_>>) {
    let scored = samples.into_iter().filter_map(|sample| {
        let Child { tokens, reward, .. } = children.get(&sample)?;
        let scored = reward.map(|reward| Scored { tokens, reward });
        Some((sample, scored?))
    });
    scored.unzip()
}

/// The sample that was trained for a child which has a verdict.
pub(super) fn trained(child: &Child) -> u64 {
    child.duplicate_of.unwrap_or(child.sample)
}
