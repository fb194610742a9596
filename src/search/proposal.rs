//! A sample that is to be evaluated, and the record of it once it has ended.

use std::collections::{BTreeMap, VecDeque};

use super::SearchError;
use super::evaluator::Outcome;
use super::rules::{self, trained};
use crate::run::entry::{Child, Timing};
use crate::run::now;
use crate::space::{Architecture, Space, Token};

/// A sample of the batch under way.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub sample: u64,
    pub batch: u64,
    pub tokens: Vec<Token>,
    pub architecture: Architecture,
    /// The architecture's JSON.
    pub canonical: String,
}

impl Proposal {
    /// The sample that tokens were decided for.
    pub fn new(
        space: &Space,
        batch: u64,
        sample: u64,
        tokens: Vec<Token>,
    ) -> Result<Proposal, SearchError> {
        let architecture = space
            .decode(&tokens)
            .map_err(|source| SearchError::Space { sample, source })?;
        Ok(Proposal {
            sample,
            batch,
            tokens,
            canonical: architecture.to_json(),
            architecture,
        })
    }
}

/// The samples of a batch that share an architecture, in order: the first is trained, the others
/// wait for it.
pub(super) type Twins = BTreeMap<String, VecDeque<Proposal>>;

/// The record of a child that was trained.
pub(crate) fn ended(proposal: &Proposal, outcome: Outcome) -> Child {
    Child {
        sample: proposal.sample,
        batch: proposal.batch,
        tokens: proposal.tokens.clone(),
        architecture: value(&proposal.canonical),
        reward: rules::reward(outcome.status, &outcome.scores),
        status: outcome.status,
        scores: outcome.scores,
        duplicate_of: None,
        parameters: outcome.parameters,
        message: outcome.message,
        writer: None,
        attempts: None,
        staleness: None,
        timing: Timing {
            at: now(),
            ..outcome.timing
        },
    }
}

/// The record of a child whose architecture has a verdict already.
pub(crate) fn repeated(proposal: &Proposal, original: &Child) -> Child {
    Child {
        sample: proposal.sample,
        batch: proposal.batch,
        tokens: proposal.tokens.clone(),
        duplicate_of: Some(trained(original)),
        timing: Timing {
            at: now(),
            ..Timing::default()
        },
        ..original.alone()
    }
}

/// An architecture as the journal has it.
pub(super) fn value(json: &str) -> serde_json::Value {
    serde_json::from_str(json).expect("an architecture's JSON is JSON")
}
