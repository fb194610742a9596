//! How the work of a search is spread: shards, replicas, rounds.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::config::{SearchConfig, Staleness};

/// S shards of the parameters, K replicas of the controller, m children a round, g gradients an update.
// paper P7.3, P7.4, P7.5, P8.5
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheme {
    /// S, at most as many as there are parameters.
    pub shards: u32,
    /// K.
    pub replicas: u32,
    /// m.
    pub children_per_round: u64,
    /// g; of no meaning where `synchronous`.
    pub gradients_per_update: u32,
    /// What is made of late gradients; of no meaning where `synchronous`.
    pub staleness: Staleness,
    /// Whether every replica waits for all others before an update, so that the result is a function of the
    /// settings alone. One replica alone waits for itself in any case.
    pub synchronous: bool,
    /// All samples of the run.
    pub samples: u64,
}

impl Scheme {
    /// That of a run's settings.
    pub fn of(search: &SearchConfig) -> Scheme {
        Scheme {
            shards: search.shards,
            replicas: search.replicas,
            children_per_round: search.children_per_update / u64::from(search.gradients),
            gradients_per_update: search.gradients,
            staleness: search.staleness,
            synchronous: search.synchronous,
            samples: search.samples,
        }
    }

    /// Whether every replica waits for all others, of whom there may be none.
    pub fn is_synchronous(&self) -> bool {
        self.synchronous || self.replicas == 1
    }

    /// T: rounds of m samples, the last one perhaps of fewer.
    pub fn rounds(&self) -> u64 {
        self.samples.div_ceil(self.children_per_round)
    }

    /// Samples of round t.
    pub fn samples_of(&self, round: u64) -> Range<u64> {
        let m = self.children_per_round;
        let end = (round + 1).saturating_mul(m);
        round * m..end.min(self.samples)
    }

    /// Rounds of wave w, in the order of their replicas: what one update is made of where synchronous.
    pub fn wave(&self, wave: u64) -> Range<u64> {
        let k = u64::from(self.replicas);
        let end = (wave + 1).saturating_mul(k);
        wave * k..end.min(self.rounds())
    }

    /// The parameters of each shard, of `n` in all: as even as can be, the first ones larger.
    ///
    /// # Panics
    /// If there are no shards, or more than parameters.
    pub fn parameters_of_shards(&self, n: usize) -> Vec<Range<usize>> {
        let s = self.shards as usize;
        assert!((1..=n).contains(&s), "{s} shards of {n} parameters");
        let begin = |shard: usize| shard * (n / s) + shard.min(n % s);
        (0..s).map(|shard| begin(shard)..begin(shard + 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_all_parameters() {
        for (n, shards) in [(10, 1), (10, 3), (23_252, 20), (7, 7)] {
            let scheme = Scheme {
                shards,
                ..example()
            };
            let ranges = scheme.parameters_of_shards(n);
            assert!(ranges.iter().cloned().flatten().eq(0..n));
            let sizes = || ranges.iter().map(Range::len);
            assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
        }
    }

    #[test]
    fn rounds_and_waves_hold_every_sample_once() {
        let scheme = example();
        let rounds: Vec<u64> = (0..)
            .map(|wave| scheme.wave(wave))
            .take(2)
            .flatten()
            .collect();
        assert_eq!(rounds, [0, 1, 2, 3, 4]);
        let samples: Vec<u64> = rounds
            .into_iter()
            .flat_map(|t| scheme.samples_of(t))
            .collect();
        assert!(samples.into_iter().eq(0..18));
    }

    fn example() -> Scheme {
        Scheme {
            shards: 3,
            replicas: 3,
            children_per_round: 4,
            gradients_per_update: 1,
            staleness: Staleness::Paper,
            synchronous: true,
            samples: 18,
        }
    }
}
