//! What a run has on record, from which everything else is computed.

use std::collections::{BTreeMap, HashMap};

use super::learner::Learner;
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

impl Facts {
    /// Those of a journal, as they count where the run goes on: a child that a fault of its machine ended,
    /// and from which nothing was learned yet, is tried again.
    pub fn of(history: &History, shards: u32) -> Facts {
        let replica = |round: &u64| history.rounds.get(round).map_or(0, |round| round.replica);
        let order = |shard| -> Vec<u32> {
            let rounds = history.counted.get(&shard);
            rounds.into_iter().flatten().map(replica).collect()
        };
        let mut children = history.children.clone();
        for sample in history.to_try_again(true) {
            children.remove(&sample);
        }
        Facts {
            rounds: history.rounds.clone(),
            children,
            orders: (0..shards).map(order).collect(),
        }
    }

    /// Those of a journal of one controller that learns alone, up to the first batch that nothing was learned
    /// from.
    pub fn of_one(history: &History) -> Facts {
        let mut facts = Facts {
            orders: vec![vec![]],
            ..Facts::default()
        };
        for (batch, update) in (0..).map_while(|batch| Some((batch, history.updates.get(&batch)?)))
        {
            let children = update
                .samples
                .iter()
                .map(|sample| &history.children[sample]);
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
