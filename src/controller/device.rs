//! A controller whose work a device does: the same decisions and the same learning.

use std::ops::Range;

use super::reinforce::{Scored, objective};
use super::{Controller, Policy};
use crate::device::policy::{self, Learned, PolicySession, Replay, Role, Walked};
use crate::device::{Device, DeviceError};
use crate::space::Token;

impl<'d> Controller<'d> {
    pub(super) fn open_on(&mut self, device: &'d dyn Device, samples: usize) {
        match device.policy(&self.policy.on_device(), samples) {
            Ok(policy) => self.device = policy,
            Err(error) => goes_on(&error),
        }
        self.write_to_device();
    }

    /// Gives the device what the controller has learned elsewhere.
    pub(super) fn write_to_device(&mut self) {
        if self.device.is_none() {
            return; // nothing to copy for
        }
        let learned = Learned {
            weights: self.policy.weights.clone(),
            mean: self.adam.mean.clone(),
            square: self.adam.square.clone(),
        };
        self.attempt(|policy| policy.write(&learned));
    }

    /// What the device makes of it; nothing where none does the work, or does it any more.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut (dyn PolicySession + 'd)) -> Result<T, DeviceError>,
    ) -> Option<T> {
        match work(self.device.as_deref_mut()?) {
            Ok(done) => Some(done),
            Err(error) => {
                goes_on(&error);
                self.device = None;
                None
            }
        }
    }

    pub(super) fn sample_on_device(&mut self, samples: Range<u64>) -> Option<Vec<Vec<Token>>> {
        let (space, seed) = (self.policy.space(), self.seed);
        let samples: Vec<_> = samples
            .map(|sample| (sample, space.depth(sample)))
            .collect();
        let walked: Vec<Walked> = self.attempt(|policy| policy.sample(seed, &samples))?;
        Some(walked.into_iter().map(|walked| walked.tokens).collect())
    }

    /// Both halves of an update on the device, where the gradient stays: nothing of it is read but
    /// what was learned.
    pub(super) fn learn_on_device(&mut self, batch: &[Scored], baseline: f64) -> Option<()> {
        let (learning_rate, corrections) = (self.learning_rate, self.adam.corrections());
        let entropy_bonus = self.entropy_bonus();
        let decisions = self.policy.space().decisions();
        let replays: Vec<Replay> = batch
            .iter()
            .map(|scored| {
                let objective = objective(scored.reward - baseline, entropy_bonus, batch.len());
                Replay {
                    tokens: scored.tokens,
                    depth: decisions.depth_of_tokens(scored.tokens),
                    log_probability: objective.log_probability,
                    entropy: objective.entropy,
                }
            })
            .collect();
        let learned = self.attempt(|policy| {
            policy.gradient(&replays)?;
            policy.ascend(learning_rate, corrections)?;
            policy.read()
        })?;
        self.policy.weights = learned.weights;
        self.adam.mean = learned.mean;
        self.adam.square = learned.square;
        self.adam.step += 1;
        Some(())
    }
}

fn goes_on(error: &DeviceError) {
    tracing::warn!("the CPU takes the controller over, with the same decisions ({error})");
}

impl Policy {
    /// What a device must know of it.
    pub fn on_device(&self) -> policy::Policy {
        let (space, layout, h) = (self.space(), &self.layout, self.hidden);
        let mut tensors = Vec::new();
        for (layer, range) in layout.lstm.iter().enumerate() {
            let hidden = range.start + h * 4 * h;
            tensors.push((Role::LstmInput(layer), range.start));
            tensors.push((Role::LstmHidden(layer), hidden));
            tensors.push((Role::LstmBias(layer), hidden + h * 4 * h));
        }
        let previous = layout.attention.start;
        tensors.push((Role::FirstInput, layout.first.start));
        tensors.push((Role::AnchorPrevious, previous));
        tensors.push((Role::AnchorCurrent, previous + h * h));
        tensors.push((Role::AnchorV, previous + 2 * h * h));
        for (i, kind) in layout.kinds.iter().enumerate() {
            tensors.push((Role::Embedding(i), kind.embedding.start));
            tensors.push((Role::Head(i), kind.head.start));
            tensors.push((Role::HeadBias(i), kind.bias.start));
        }
        debug_assert!(
            tensors.is_sorted_by_key(|tensor| tensor.1) && tensors.len() == layout.tensors.len()
        );
        policy::Policy {
            hidden: h,
            tensors,
            n_weights: self.weights.len(),
            decisions: space.decisions().clone(),
        }
    }
}
