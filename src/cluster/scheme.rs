//! How the work of a search is spread: shards, replicas, rounds.

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is made of a gradient whose parameters have moved on meanwhile, τ versions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum Staleness {
    /// It counts in full, as in the paper.
    Paper,
    /// It counts 1 / (1 + τ/τ0).
    Scale {
        /// The τ at which it counts half.
        tau0: f64,
    },
    /// It counts in full up to a τ, and is set aside above.
    Bound {
        /// The largest τ that counts.
        most: u64,
    },
}

impl Staleness {
    /// Weight of a gradient; nothing where it is set aside.
    pub fn weight(self, tau: u64) -> Option<f64> {
        match self {
            Staleness::Paper => Some(1.0),
            Staleness::Scale { tau0 } => Some(1.0 / (1.0 + tau as f64 / tau0)),
            Staleness::Bound { most } => (tau <= most).then_some(1.0),
        }
    }
}

/// From `paper`, `scale:TAU0` or `bound:TAU`.
impl FromStr for Staleness {
    type Err = String;

    fn from_str(text: &str) -> Result<Staleness, String> {
        let wrong = || {
            format!(
                "`{text}`: give paper, scale:T (weight 1 / (1 + lateness / T)), or bound:T (those later than T \
                 versions are set aside)"
            )
        };
        match text.split_once(':') {
            None if text == "paper" => Ok(Staleness::Paper),
            Some(("scale", tau0)) => match tau0.parse() {
                Ok(tau0) if f64::is_finite(tau0) && tau0 > 0.0 => Ok(Staleness::Scale { tau0 }),
                _ => Err(wrong()),
            },
            Some(("bound", most)) => {
                let most = most.parse().map_err(|_| wrong())?;
                Ok(Staleness::Bound { most })
            }
            _ => Err(wrong()),
        }
    }
}

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

    #[test]
    fn policies_have_names() {
        let parsed = |text: &str| text.parse::<Staleness>().ok();
        assert_eq!(parsed("paper"), Some(Staleness::Paper));
        assert_eq!(parsed("scale:4"), Some(Staleness::Scale { tau0: 4.0 }));
        assert_eq!(parsed("bound:0"), Some(Staleness::Bound { most: 0 }));
        for text in [
            "",
            "scale",
            "scale:0",
            "scale:nan",
            "scale:-1",
            "bound:x",
            "bound:-1",
            "paper:1",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn late_gradients_are_weighed() {
        assert_eq!(Staleness::Paper.weight(99), Some(1.0));
        assert_eq!(Staleness::Scale { tau0: 4.0 }.weight(4), Some(0.5));
        let bound = Staleness::Bound { most: 3 };
        assert_eq!((bound.weight(3), bound.weight(4)), (Some(1.0), None));
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
