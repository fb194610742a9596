//! What an epoch keeps on the device: rates, counters and results.

use super::declare::{In, Out, structs};
use crate::data::Augment;

structs! {
    /// Rates and sizes, set when an epoch begins.
    struct Control {
        learning_rate: f32,
        momentum: f32,
        weight_decay: f32,
        max_norm: f32,
        epoch: i32,
        n_records: i32,
    }
}

/// Places among the counters: batches of the epoch that have been run.
pub const BATCH_IDX: usize = 0;
/// Images of the current batch.
pub const N_IMAGES: usize = 1;
/// Images whose largest logit was their label's.
pub const CORRECT: usize = 2;
/// 1 after a loss that was no number.
pub const NOT_FINITE: usize = 3;
/// Number of counters.
pub const N_COUNTERS: usize = 4;

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [
        ("BATCH_IDX", BATCH_IDX),
        ("N_IMAGES", N_IMAGES),
        ("CORRECT", CORRECT),
        ("NOT_FINITE", NOT_FINITE),
    ]
    .map(|(name, number)| (name, number.to_string()))
    .to_vec()
}

/// Where all of it lies on the device.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// [`Control`].
    pub control: u64,
    /// Records in their order.
    pub order: u64,
    /// Labels of the batch.
    pub labels: u64,
    /// Batches, images, right images, and whether a loss was no number.
    pub counters: u64,
    /// Loss of each batch.
    pub loss_sums: u64,
    /// Of each block of the optimizer: 1 after a weight that was no number.
    pub not_finite: u64,
    /// Of each launch whose blocks wait for each other, how many have arrived, ever.
    pub arrivals: u64,
    /// Of plain descent: the sum of squares of each piece of the gradients, then the rate.
    pub squares: u64,
    /// Bytes of the data set's records, or the words of the text, if the plan loads any.
    pub records: u64,
    /// Words of the text.
    pub n_tokens: usize,
    /// Seed of crops, flips and dropout.
    pub seed: u64,
    /// Which views are loaded.
    pub augment: Augment,
}

impl Epoch {
    pub(super) fn control(&self) -> In<Control> {
        In::at(self.control)
    }

    pub(super) fn counters(&self) -> Out<i32> {
        Out::at(self.counters)
    }
}
