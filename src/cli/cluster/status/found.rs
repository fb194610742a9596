//! What there is of a run on a server, read anew for what has changed.

use std::collections::BTreeMap;

use crate::cluster::RoleError;
use crate::cluster::control;
use crate::cluster::engine::Position;
use crate::cluster::message::{Ended, Replica, ReplicaHead, Shard, ShardHead};
use crate::cluster::nats::Nats;
use crate::cluster::role;
use crate::cluster::scheme::Scheme;
use crate::train::Counted;

/// Seconds of the past by which the pace is measured.
const PACE_SECONDS: f64 = 3600.0;

/// The best child so far.
pub struct Best {
    pub sample: u64,
    pub reward: f64,
    /// Its accuracy or perplexity.
    pub score: Option<Counted>,
}

/// What is on the server.
pub struct Found {
    /// By number; as it begins where nobody has written it.
    pub shards: Vec<ShardHead>,
    /// By number.
    pub replicas: Vec<ReplicaHead>,
    /// Children that have ended, by how.
    pub ended: BTreeMap<&'static str, u64>,
    /// Whether nobody is to work on it.
    pub drained: bool,
    /// The best child.
    pub best: Option<Best>,
    /// By sample: whoever ended first, their sum is the same.
    rewards: BTreeMap<u64, f64>,
    /// When children ended, by their workers' clocks.
    times: Vec<f64>,
    /// All facts of children up to here are counted.
    position: Position,
}

impl Found {
    /// Nothing yet.
    pub fn new(scheme: &Scheme) -> Found {
        Found {
            shards: vec![ShardHead::default(); scheme.shards as usize],
            replicas: vec![ReplicaHead::default(); scheme.replicas as usize],
            ended: BTreeMap::new(),
            drained: false,
            best: None,
            rewards: BTreeMap::new(),
            times: vec![],
            position: 0,
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// A server that does not answer, or messages that cannot be understood.
    pub async fn look(&mut self, engine: &Nats) -> Result<(), RoleError> {
        for (number, bytes) in role::insist(engine, || engine.cells("cell.shard")).await? {
            if let Some(shard) = self.shards.get_mut(number) {
                *shard = Shard::from_bytes(&bytes)?.head;
            }
        }
        for (number, bytes) in role::insist(engine, || engine.cells("cell.replica")).await? {
            if let Some(replica) = self.replicas.get_mut(number) {
                *replica = Replica::from_bytes(&bytes)?.head;
            }
        }
        self.drained = control::control(engine).await?.drained;
        let after = self.position;
        let children = role::insist(engine, || engine.children_after(after));
        for (position, bytes) in children.await? {
            self.count(&Ended::from_bytes(&bytes)?);
            self.position = position;
        }
        Ok(())
    }

    fn count(&mut self, ended: &Ended) {
        let child = &ended.child;
        *self.ended.entry(child.status.word()).or_default() += 1;
        self.times.push(child.timing.at);
        let Some(reward) = child.reward else {
            return;
        };
        self.rewards.insert(child.sample, reward);
        let is_better = |best: &Best| {
            reward > best.reward || (reward == best.reward && child.sample < best.sample)
        };
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(Best {
                sample: child.sample,
                reward,
                score: child.scores.counted(),
            });
        }
    }

    /// Children that have ended.
    pub fn samples(&self) -> u64 {
        self.ended.values().sum()
    }

    /// The mean of the rewards, where there are any.
    pub fn mean_reward(&self) -> Option<f64> {
        let n = self.rewards.len();
        (n > 0).then(|| self.rewards.values().sum::<f64>() / n as f64)
    }

    /// Children that ended in an hour, by the last hour of those that did.
    pub fn children_per_hour(&self) -> Option<f64> {
        let last = self.times.iter().copied().reduce(f64::max)?;
        let within = || {
            let times = self.times.iter().copied();
            times.filter(move |time| last - time <= PACE_SECONDS)
        };
        let first = within().reduce(f64::min)?;
        // Between n ends there are n - 1 times.
        let n = within().count() - 1;
        (n > 0 && last > first).then(|| n as f64 / (last - first) * 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Staleness;

    #[test]
    fn the_pace_is_that_of_the_last_hour() {
        let scheme = Scheme {
            shards: 1,
            replicas: 1,
            children_per_round: 1,
            gradients_per_update: 1,
            staleness: Staleness::Paper,
            synchronous: false,
            samples: 9,
        };
        let pace = |times: &[f64]| {
            let mut found = Found::new(&scheme);
            found.times = times.to_vec();
            found.children_per_hour()
        };
        assert_eq!(pace(&[]), None);
        assert_eq!(pace(&[5.0]), None);
        assert_eq!(pace(&[5.0, 5.0]), None, "at one moment");
        assert_eq!(pace(&[70.0, 10.0, 40.0]), Some(120.0));
        assert_eq!(pace(&[0.0, 1.0, 2.0, 9000.0, 9900.0]), Some(4.0));
    }
}
