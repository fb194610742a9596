//! REINFORCE: the moving-average baseline and the gradient of a batch.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::policy::{Objective, Policy};
use crate::space::Token;

/// Samples whose walks are kept at a time.
const AT_ONCE: usize = 64;

/// An architecture that was trained, by the tokens that were sampled for it, and its reward.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// The recorded tokens, of the policy's space.
    pub tokens: &'a [Token],
    /// What it earned.
    pub reward: f64,
}

/// The exponential moving average of rewards, unset before the first batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Baseline {
    pub value: Option<f64>,
    pub decay: f64,
}

impl Baseline {
    /// The baseline for a batch's gradient: what earlier batches left, or the first batch's mean.
    // paper P5.2
    pub fn for_batch(&self, batch: &[Scored]) -> f64 {
        let mean = || batch.iter().map(|scored| scored.reward).sum::<f64>() / batch.len() as f64;
        self.value.unwrap_or_else(mean)
    }

    /// Moves the baseline, a sample at a time, once the gradient with `used` is formed. The first
    /// batch sets it and does not move it.
    pub fn learn(&mut self, batch: &[Scored], used: f64) {
        let rewards: Vec<f64> = batch.iter().map(|scored| scored.reward).collect();
        self.value = Some(moved_baseline(self.value, self.decay, used, &rewards));
    }
}

/// The baseline after a batch whose gradient used `used`: moved a sample at a time, or, before the first
/// batch, what that one used.
// paper P5.2
pub fn moved_baseline(value: Option<f64>, decay: f64, used: f64, rewards: &[f64]) -> f64 {
    let toward = |b: f64, reward: &f64| decay * b + (1.0 - decay) * reward;
    value.map_or(used, |value| rewards.iter().fold(value, toward))
}

/// `(1/m) sum_k [(R_k - b) grad log P(tokens_k) + entropy_bonus grad H_k]`, laid out as the weights.
// paper P5.1
pub(super) fn batch_gradient(
    policy: &Policy,
    batch: &[Scored],
    baseline: f64,
    entropy_bonus: f64,
) -> Vec<f64> {
    let mut gradient = vec![0.0; policy.weights.len()];
    for some in batch.chunks(AT_ONCE) {
        // Forward side by side; sums in the order of the samples, whatever the number of threads.
        let traces: Vec<_> = some
            .par_iter()
            .map(|scored| policy.replay(scored.tokens))
            .collect();
        for (scored, trace) in some.iter().zip(&traces) {
            let objective = objective(scored.reward - baseline, entropy_bonus, batch.len());
            policy.trace_bwd(trace, objective, &mut gradient);
        }
    }
    gradient
}

/// A sample's part in the objective of a batch of `m`.
pub(super) fn objective(advantage: f64, entropy_bonus: f64, m: usize) -> Objective {
    Objective {
        log_probability: advantage / m as f64,
        entropy: entropy_bonus / m as f64,
    }
}
