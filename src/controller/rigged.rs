//! A problem whose answer is known: find a planted architecture from noisy rewards.
//!
//! For tests and for the published table; no search uses it.

use super::{Controller, ControllerConfig, Scored};
use crate::rng::{Purpose, Rng};
use crate::space::{Space, Token};

/// Deviation of the noise on a reward.
pub const NOISE: f64 = 0.03;

/// A planted architecture; the reward is the share of its decisions that a sample repeats.
#[derive(Clone, Debug)]
pub struct Rigged {
    space: Space,
    seed: u64,
    planted: Vec<Token>,
}

impl Rigged {
    /// The problem of a seed, in a space whose architectures all have as many tokens.
    pub fn new(space: &Space, seed: u64) -> Self {
        let mut rng = Rng::new(seed, Purpose::Test, 0);
        Rigged {
            space: space.clone(),
            seed,
            planted: space.decisions().draw(space.depth(0), &mut rng),
        }
    }

    /// The reward of a sample: a decision is a token, so each anchor bit is one.
    pub fn reward(&self, sample: u64, tokens: &[Token]) -> f64 {
        let equal = self
            .planted
            .iter()
            .zip(tokens)
            .filter(|(planted, token)| planted == token);
        let noise = Rng::new(self.seed, Purpose::Test, 1 + sample).normal();
        equal.count() as f64 / self.planted.len() as f64 + NOISE * noise
    }

    /// Rewards of `samples` architectures that a controller sampled in batches of `m`.
    pub fn policy_rewards(&self, config: &ControllerConfig, m: u64, samples: u64) -> Vec<f64> {
        let mut controller = Controller::new(self.space.clone(), config, self.seed);
        let mut rewards = Vec::new();
        for start in (0..samples).step_by(m as usize) {
            let numbers = start..(start + m).min(samples);
            let tokens = controller.sample_batch(numbers.clone());
            let scored = numbers.zip(&tokens).map(|(sample, tokens)| Scored {
                tokens,
                reward: self.reward(sample, tokens),
            });
            let batch: Vec<_> = scored.collect();
            rewards.extend(batch.iter().map(|scored| scored.reward));
            controller.learn(&batch);
        }
        rewards
    }

    /// Rewards of `samples` architectures drawn uniformly.
    pub fn random_rewards(&self, samples: u64) -> Vec<f64> {
        let reward = |sample| self.reward(sample, &self.space.random(self.seed, sample));
        (0..samples).map(reward).collect()
    }
}

/// Mean of the last floor(n/4) rewards, of four or more.
pub fn last_quarter_mean(rewards: &[f64]) -> f64 {
    let n = rewards.len() / 4;
    rewards[rewards.len() - n..].iter().sum::<f64>() / n as f64
}
