//! All that decides what a controller will do, as a value.

use sha2::{Digest, Sha256};

use super::Controller;
use crate::text;

/// All that decides what a controller of given settings will do next.
#[derive(Clone, Debug, PartialEq)]
pub struct ControllerState {
    /// The policy's weights.
    pub weights: Vec<f64>,
    /// Adam's moving average of the gradient.
    pub mean: Vec<f64>,
    /// Adam's moving average of its square.
    pub square: Vec<f64>,
    /// Adam's steps.
    pub step: u64,
    /// The baseline; unset before the first batch.
    pub baseline: Option<f64>,
}

impl ControllerState {
    /// SHA-256 of it. Numbers enter as little-endian bytes; an unset baseline as NaN.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for numbers in [&self.weights, &self.mean, &self.square] {
            numbers.iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
        hash.update(self.step.to_le_bytes());
        hash.update(self.baseline.unwrap_or(f64::NAN).to_le_bytes());
        text::hex(&hash.finalize())
    }
}

impl Controller<'_> {
    /// What it has learned.
    pub fn state(&self) -> ControllerState {
        ControllerState {
            weights: self.policy.weights.clone(),
            mean: self.adam.mean.clone(),
            square: self.adam.square.clone(),
            step: self.adam.step,
            baseline: self.baseline.value,
        }
    }

    /// Goes on from what another controller of the same settings had learned; whether it did: not
    /// where the state is of another size.
    pub fn restore(&mut self, state: ControllerState) -> bool {
        let n_weights = self.policy.weights.len();
        let lengths = [&state.weights, &state.mean, &state.square].map(Vec::len);
        if lengths != [n_weights; 3] {
            return false;
        }
        self.policy.weights = state.weights;
        self.adam.mean = state.mean;
        self.adam.square = state.square;
        self.adam.step = state.step;
        self.baseline.value = state.baseline;
        self.write_to_device();
        true
    }

    /// SHA-256 of all that decides what it will do: weights, the optimiser's averages and step,
    /// the baseline.
    pub fn sha256(&self) -> String {
        self.state().sha256()
    }
}
