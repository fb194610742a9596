//! Which records train and which validate, and the order of an epoch.

use crate::rng::{Purpose, Rng};

/// The training records of a data set, shared out. Both lists ascend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Records to train on.
    pub train: Vec<u32>,
    /// Records held out: floor(n / 10) of them.
    pub validation: Vec<u32>,
}

impl Split {
    /// Splits records `0..n`. With `shuffle` those held out are drawn by `split_seed`; without, they
    /// are the last ones. Nothing else has a say: runs that differ in their `--seed` compare.
    ///
    /// # Panics
    /// If `n` does not fit 32 bits, which [`Dataset`](super::Dataset) rules out.
    // paper P6.1
    pub fn new(n: usize, split_seed: u64, shuffle: bool) -> Split {
        let n = u32::try_from(n).expect("a data set has at most 2^32 - 1 records");
        let n_validation = n / 10;
        if !shuffle {
            let first_held_out = n - n_validation;
            return Split {
                train: (0..first_held_out).collect(),
                validation: (first_held_out..n).collect(),
            };
        }
        let mut order: Vec<u32> = (0..n).collect();
        Rng::new(split_seed, Purpose::Split, 0).shuffle(&mut order);
        let mut train = order.split_off(n_validation as usize);
        let mut validation = order;
        train.sort_unstable();
        validation.sort_unstable();
        Split { train, validation }
    }
}

/// The records `train` in the order in which `epoch` (from 0) takes them; without `shuffle` as they
/// are.
pub fn epoch_order(train: &[u32], seed: u64, epoch: u32, shuffle: bool) -> Vec<u32> {
    let mut order = train.to_vec();
    if shuffle {
        Rng::new(seed, Purpose::Shuffle, u64::from(epoch)).shuffle(&mut order);
    }
    order
}
