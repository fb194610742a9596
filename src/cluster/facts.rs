//! What a run has on record, from which everything else is computed.

use std::collections::{BTreeMap, HashMap};

use super::learner::Learner;
use crate::config::StrategyKind;
use crate::run::entry::{Child, Round, Timing};
use crate::run::history::History;

/// What a run has on record.
#[derive(Debug, Default)]
pub struct Facts {
    /// The rounds that were begun.
    pub rounds: BTreeMap<u64, Round>,
    /// How children ended.
    pub children: BTreeMap<u64, Child>,
    /// By shard, the replicas of the gradients that it has counted, in that order.
    pub orders: Vec<Vec<u32>>,
}

/// Why facts are those of no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A round that cannot have been.
    #[error("round {round} {what}")]
    Round {
        /// The round.
        round: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A gradient that cannot have been counted.
    #[error("shard {shard} cannot have counted gradient {n} of replica {replica}: {what}")]
    Counted {
        /// The shard.
        shard: u32,
        /// The replica.
        replica: u32,
        /// The gradient's number.
        n: u64,
        /// Why not.
        what: String,
    },
}

impl Facts {
    /// Those of a journal, as they count where the run goes on: a child that a fault of its machine ended,
    /// and from which nothing was learned yet, is tried again.
    ///
    /// # Errors
    /// Gradients of a replica that a shard has counted in another order than that of its rounds.
    pub fn of(history: &History, shards: u32) -> Result<Facts, ReplayError> {
        let mut orders = Vec::new();
        for shard in 0..shards {
            let mut numbers: HashMap<u32, u64> = HashMap::new();
            let mut order = Vec::new();
            for t in history.counted.get(&shard).into_iter().flatten() {
                let wrong = |what: &str| ReplayError::Round {
                    round: *t,
                    what: format!("{what}, but shard {shard} has counted its gradient"),
                };
                let Some(round) = history.rounds.get(t) else {
                    return Err(wrong("was not begun"));
                };
                let n = numbers.entry(round.replica).or_insert(0);
                *n += 1;
                if round.n != *n {
                    return Err(wrong("comes before an earlier one of its replica"));
                }
                order.push(round.replica);
            }
            orders.push(order);
        }
        let mut children = history.children.clone();
        for sample in history.to_try_again(StrategyKind::Policy) {
            children.remove(&sample);
        }
        let known = |child: &Child| history.rounds.contains_key(&child.batch);
        if let Some(child) = children.values().find(|child| !known(child)) {
            return Err(ReplayError::Round {
                round: child.batch,
                what: format!("was not begun, but its sample {} has ended", child.sample),
            });
        }
        Ok(Facts {
            rounds: history.rounds.clone(),
            children,
            orders,
        })
    }

    /// Those of a journal of one controller that learns alone, of its whole batches.
    pub fn of_one(history: &History) -> Facts {
        let mut facts = Facts {
            orders: vec![vec![]],
            ..Facts::default()
        };
        let mut first = 0;
        for (batch, end) in (0..).map_while(|batch| Some((batch, history.end_of(batch)?))) {
            let samples = first..end;
            let children = samples.map_while(|sample| history.children.get(&sample));
            first = end;
            let round = Round {
                round: batch,
                replica: 0,
                n: batch + 1,
                counted: vec![batch],
                duplicate_of: children.clone().map(|child| child.duplicate_of).collect(),
                timing: Timing::default(),
            };
            facts.rounds.insert(batch, round);
            facts
                .children
                .extend(children.map(|child| (child.sample, child.clone())));
            facts.orders[0].push(0);
        }
        facts
    }

    /// Drops what came after the orders were read: the rounds that were begun on parameters which are not
    /// in them, or that miss one before them, and all their children.
    pub fn cut(&mut self, learner: &Learner) {
        let known: Vec<u64> = self.orders.iter().map(|order| order.len() as u64).collect();
        let is_known = |round: &Round| {
            round
                .counted
                .iter()
                .zip(&known)
                .all(|(n, known)| n <= known)
        };
        let mut by_number: Vec<(u32, u64, u64)> = Vec::new();
        by_number.extend(
            self.rounds
                .iter()
                .map(|(&t, round)| (round.replica, round.n, t)),
        );
        by_number.sort_unstable();
        let mut last: HashMap<u32, u64> = HashMap::new();
        let mut kept = BTreeMap::new();
        for (replica, n, t) in by_number {
            let before = last.entry(replica).or_insert(0);
            if n == *before + 1 && is_known(&self.rounds[&t]) {
                *before = n;
                kept.extend(self.rounds.remove_entry(&t));
            }
        }
        self.rounds = kept;
        let m = learner.scheme().children_per_round;
        let rounds = &self.rounds;
        self.children
            .retain(|sample, _| rounds.contains_key(&(sample / m)));
    }

    /// Whether all is there that must be: the rounds that were counted, and how the children ended of these
    /// and of all that are not their replica's last.
    pub fn is_whole(&self, learner: &Learner) -> bool {
        let mut begun: HashMap<u32, u64> = HashMap::new();
        for round in self.rounds.values() {
            let last = begun.entry(round.replica).or_insert(0);
            *last = round.n.max(*last);
        }
        let mut over: HashMap<u32, u64> = begun.iter().map(|(&r, &last)| (r, last - 1)).collect();
        for order in &self.orders {
            let mut counted: HashMap<u32, u64> = HashMap::new();
            for replica in order {
                *counted.entry(*replica).or_insert(0) += 1;
            }
            for (replica, n) in counted {
                let most = over.entry(replica).or_insert(0);
                *most = n.max(*most);
            }
        }
        let is_begun = |(replica, n): (&u32, &u64)| begun.get(replica).unwrap_or(&0) >= n;
        let is_over = |round: &&Round| round.n <= over[&round.replica];
        let rounds = self.rounds.values().filter(is_over);
        let mut samples = rounds.flat_map(|round| learner.scheme().samples_of(round.round));
        over.iter().all(is_begun) && samples.all(|sample| self.children.contains_key(&sample))
    }
}
