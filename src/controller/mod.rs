//! The controller: samples architectures from an LSTM policy and learns from their rewards.

mod adam;
mod attention;
mod device;
mod lstm;
mod policy;
mod products;
mod reinforce;
#[doc(hidden)]
pub mod rigged;
mod state;
mod weights;

use serde::{Deserialize, Serialize};

pub use adam::Adam;
pub use policy::{Objective, Policy};
pub use reinforce::{Scored, moved_baseline};
pub use state::ControllerState;

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::device::{Device, PolicySession};
use crate::rng::{Purpose, Rng};
use crate::space::{Space, Token};
use reinforce::Baseline;

/// Settings of the controller; the default is the paper's for CIFAR-10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerConfig {
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Share of the baseline that a sample's reward leaves.
    pub baseline_decay: f64,
    /// Weight of the entropy in the objective, a sample; 0 turns it off.
    pub entropy_bonus: f64,
    /// Share of that weight that an update leaves: below 1, what is drawn is broad in the beginning and
    /// sure in the end.
    #[serde(skip_serializing_if = "is_one")]
    pub entropy_decay: f64,
    /// Units of each of the two LSTM layers, and the width of the embeddings.
    pub hidden: usize,
    /// Initial weights are uniform in ± this.
    pub init_range: f64,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        ControllerConfig {
            // paper P4.5
            learning_rate: 0.0006,
            baseline_decay: 0.95,
            entropy_bonus: 0.0,
            entropy_decay: 1.0,
            // paper P4.1
            hidden: 35,
            // paper P4.4
            init_range: 0.08,
        }
    }
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

/// A setting of the controller breaks a rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}` of the controller is {value}; give {rule}")]
pub struct ControllerError {
    /// The setting.
    pub key: &'static str,
    /// What it was.
    pub value: f64,
    /// What it may be.
    pub rule: &'static str,
}

impl ControllerConfig {
    /// The settings that go with a preset of the space. `sample` and `cell-sample` have a few hundred
    /// samples to learn from: a higher learning rate, and initial weights that let the policy tell layers apart from
    /// the start (within the paper's ±0.08 the state hardly moves, and what is learned first is the
    /// same for every layer; docs/results/2026-11-24-rigged has the figures).
    pub fn preset(name: &str) -> Option<Self> {
        let paper = ControllerConfig::default();
        match name {
            "v1" | "v2" | "v3" => Some(paper),
            "ptb" => Some(ControllerConfig {
                learning_rate: 0.0005,
                ..paper
            }),
            "nas-bench-201" => Some(ControllerConfig {
                learning_rate: 0.015,
                entropy_bonus: 3.0,
                entropy_decay: 0.97,
                init_range: 0.5,
                ..paper
            }),
            "sample" | "cell-sample" => Some(ControllerConfig {
                learning_rate: 0.02,
                init_range: 0.5,
                ..paper
            }),
            _ => None,
        }
    }

    /// Whether every setting is one that a controller can learn with.
    pub fn check(&self) -> Result<(), ControllerError> {
        let hidden = self.hidden as f64;
        let checks = [
            (
                "learning_rate",
                self.learning_rate,
                0.0..f64::MAX,
                "a number of at least 0",
            ),
            (
                "baseline_decay",
                self.baseline_decay,
                0.0..1.0,
                "a number from 0, below 1",
            ),
            (
                "entropy_bonus",
                self.entropy_bonus,
                0.0..f64::MAX,
                "a number of at least 0",
            ),
            (
                "entropy_decay",
                self.entropy_decay,
                0.0..1.0 + f64::EPSILON,
                "a number from 0 to 1",
            ),
            (
                "hidden",
                hidden,
                1.0..1025.0,
                "a whole number from 1 to 1024",
            ),
            (
                "init_range",
                self.init_range,
                0.0..f64::MAX,
                "a number of at least 0",
            ),
        ];
        for (key, value, range, rule) in checks {
            if !range.contains(&value) {
                return Err(ControllerError { key, value, rule });
            }
        }
        Ok(())
    }
}

/// A policy that learns; on the host, or on a device with the same decisions.
pub struct Controller<'d> {
    policy: Policy,
    adam: Adam,
    baseline: Baseline,
    learning_rate: f64,
    entropy_bonus: f64,
    entropy_decay: f64,
    seed: u64,
    /// Has the policy's weights and Adam's averages too, as of the last update.
    device: Option<Box<dyn PolicySession + 'd>>,
}

impl<'d> Controller<'d> {
    /// A controller that has learned nothing yet; `config` passed [`ControllerConfig::check`].
    pub fn new(space: impl Into<Space>, config: &ControllerConfig, seed: u64) -> Self {
        let policy = Policy::new(space.into(), config.hidden, config.init_range, seed);
        Controller {
            adam: Adam::new(policy.weights.len()),
            policy,
            baseline: Baseline {
                value: None,
                decay: config.baseline_decay,
            },
            learning_rate: config.learning_rate,
            entropy_bonus: config.entropy_bonus,
            entropy_decay: config.entropy_decay,
            seed,
            device: None,
        }
    }

    /// Leaves the work to a device, `samples` at a time, if it takes it. Where the device fails, now
    /// or later, the host goes on from the last update, and a warning says so.
    pub fn on(mut self, device: &'d dyn Device, samples: usize) -> Self {
        self.open_on(device, samples);
        self
    }

    /// Whether a device does the work.
    pub fn is_on_device(&self) -> bool {
        self.device.is_some()
    }

    /// The distribution it samples from.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The tokens of a sample, of the depth that the space's schedule gives it: a function of the
    /// policy as it is and of (seed, sample).
    pub fn sample(&self, sample: u64) -> Vec<Token> {
        draw(&self.policy, self.seed, sample)
    }

    /// The tokens of several samples, each as [`Controller::sample`] gives it.
    pub fn sample_batch(&mut self, samples: Range<u64>) -> Vec<Vec<Token>> {
        self.sample_on_device(samples.clone()).unwrap_or_else(|| {
            let (policy, seed) = (&self.policy, self.seed);
            let samples = samples.into_par_iter();
            samples.map(|sample| draw(policy, seed, sample)).collect()
        })
    }

    /// The logarithm of the probability with which the policy samples these tokens.
    ///
    /// # Panics
    /// If they are not the tokens of an architecture of the space; [`Space::decode`] tells.
    pub fn log_probability(&self, tokens: &[Token]) -> f64 {
        self.policy.evaluate(tokens).0
    }

    /// One update from the samples of a batch that count, in sample order. Returns the baseline
    /// that its gradient used; an empty batch changes nothing and returns `None`.
    ///
    /// # Panics
    /// As [`Controller::log_probability`].
    pub fn learn(&mut self, batch: &[Scored]) -> Option<f64> {
        if batch.is_empty() {
            return None;
        }
        let baseline = self.baseline(batch);
        if self.learn_on_device(batch, baseline).is_none() {
            let gradient = self.gradient(batch, baseline);
            self.apply(&gradient);
        }
        self.move_baseline(batch, baseline);
        Some(baseline)
    }

    /// Weight of the entropy in the next update.
    pub fn entropy_bonus(&self) -> f64 {
        let updates = self.adam.step.min(1 << 30) as i32;
        self.entropy_bonus * self.entropy_decay.powi(updates)
    }

    /// The baseline for the gradient of a batch of a sample or more.
    pub fn baseline(&self, batch: &[Scored]) -> f64 {
        self.baseline.for_batch(batch)
    }

    /// The gradient of a batch, laid out as the policy's weights:
    /// `(1/m) sum_k (R_k - b) grad log P(tokens_k)`, and that of the entropy bonus.
    pub fn gradient(&self, batch: &[Scored], baseline: f64) -> Vec<f64> {
        reinforce::batch_gradient(&self.policy, batch, baseline, self.entropy_bonus())
    }

    /// One step of Adam along a gradient, whoever formed it; the baseline stays where it is.
    pub fn apply(&mut self, gradient: &[f64]) {
        self.adam
            .ascend(&mut self.policy.weights, gradient, self.learning_rate);
        self.write_to_device();
    }

    /// Moves the baseline once the gradient of a batch that used `used` is formed.
    pub fn move_baseline(&mut self, batch: &[Scored], used: f64) {
        self.baseline.learn(batch, used);
    }
}

/// The tokens that a policy draws for a sample.
fn draw(policy: &Policy, seed: u64, sample: u64) -> Vec<Token> {
    let mut rng = Rng::new(seed, Purpose::Sample, sample);
    policy.sample(policy.space().depth(sample), |log_p| {
        let mut left = rng.uniform();
        let falls_here = |log_p: &f64| {
            left -= log_p.exp();
            left < 0.0
        };
        // Rounding may leave the sum of the probabilities below the number drawn.
        log_p.iter().position(falls_here).unwrap_or(log_p.len() - 1) as Token
    })
}
