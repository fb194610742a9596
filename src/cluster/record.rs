//! What a replica knows of earlier rounds: which architectures have a verdict, so that a repeat of one is
//! answered from the record.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::engine::Engine;
use super::key::Fact;
use super::learner::Learner;
use super::message::{Ended, Round};
use super::role::{self, RoleError};
use crate::run::entry::Child;
use crate::space::Token;

/// The rounds that were read so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The first round that was not read whole.
    next: u64,
    /// The lowest sample with a verdict of each architecture, by its JSON.
    verdicts: HashMap<String, u64>,
}

impl Record {
    /// That of children who have ended, in the order of their samples.
    pub(super) fn of<'c>(learner: &Learner, children: impl Iterator<Item = &'c Child>) -> Record {
        let mut record = Record::default();
        for child in children.filter(|child| child.status.is_verdict()) {
            if let Some(name) = canonical(learner, &child.tokens) {
                record.verdicts.entry(name).or_insert(child.sample);
            }
        }
        record
    }

    /// Reads rounds below `round`, up to the first whose children have not all ended.
    pub(super) async fn read_up_to<E: Engine>(
        &mut self,
        round: u64,
        engine: &E,
        learner: &Learner,
    ) -> Result<(), RoleError> {
        while self.next < round {
            let Some(bytes) = role::fact(engine, Fact::Round(self.next)).await? else {
                return Ok(());
            };
            let claimed = Round::from_bytes(&bytes)?;
            let samples = learner.scheme().samples_of(self.next);
            let mut verdicts = Vec::new();
            for (sample, tokens) in samples.zip(&claimed.tokens) {
                let Some(bytes) = role::fact(engine, Fact::Child(sample)).await? else {
                    return Ok(());
                };
                if Ended::from_bytes(&bytes)?.child.status.is_verdict() {
                    verdicts.extend(canonical(learner, tokens).map(|name| (name, sample)));
                }
            }
            for (name, sample) in verdicts {
                self.verdicts.entry(name).or_insert(sample);
            }
            self.next += 1;
        }
        Ok(())
    }

    /// The sample that each of a round's architectures repeats, where it does: one on record, or the first
    /// of its own round.
    pub(super) fn duplicates(
        &self,
        learner: &Learner,
        first: u64,
        tokens: &[Vec<Token>],
    ) -> Vec<Option<u64>> {
        let mut here = HashMap::new();
        let mut duplicates = Vec::new();
        for (sample, tokens) in (first..).zip(tokens) {
            let Some(name) = canonical(learner, tokens) else {
                duplicates.push(None);
                continue;
            };
            let on_record = self.verdicts.get(&name).copied();
            duplicates.push(on_record.or_else(|| match here.entry(name) {
                Entry::Occupied(of) => Some(*of.get()),
                Entry::Vacant(free) => {
                    free.insert(sample);
                    None
                }
            }));
        }
        duplicates
    }
}

/// The JSON that two equal architectures have in common.
fn canonical(learner: &Learner, tokens: &[Token]) -> Option<String> {
    let architecture = learner.space().decode(tokens).ok()?;
    Some(architecture.to_json())
}
