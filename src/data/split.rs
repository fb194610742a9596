//! Which records train and which validate, and the order of an epoch.

use super::Dataset;
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

    /// Why little or nothing can be learned with this split, in words; nothing where it serves. Data
    /// that are sorted by class make such splits where only the first are taken.
    pub fn concern(&self, dataset: &Dataset) -> Option<String> {
        let names = dataset.classes();
        let count = |records: &[u32]| {
            let mut counts = vec![0_u64; names.len()];
            for &record in records {
                counts[usize::from(dataset.record(record as usize).0)] += 1;
            }
            counts
        };
        let [train, validation] = [count(&self.train), count(&self.validation)];
        let only = |counts: &[u64]| match counts.iter().filter(|&&n| n > 0).count() {
            1 => counts.iter().position(|&n| n > 0),
            _ => None,
        };
        if let Some(class) = only(&train) {
            return Some(format!(
                "every training image is of the class `{}`, so there is nothing to learn",
                names[class]
            ));
        }
        let unseen: u64 = validation
            .iter()
            .zip(&train)
            .filter(|(_, n)| **n == 0)
            .map(|(n, _)| n)
            .sum();
        if unseen > 0 {
            return Some(format!(
                "{unseen} of the {} validation images are of classes that no training image has",
                self.validation.len()
            ));
        }
        let class = only(&validation).filter(|_| self.validation.len() >= FEW)?;
        Some(format!(
            "every validation image is of the class `{}`, so a network that always says so seems perfect",
            names[class]
        ))
    }
}

/// So few validation images may be of one class by chance.
const FEW: usize = 5;

/// The records `train` in the order in which `epoch` (from 0) takes them; without `shuffle` as they
/// are.
pub fn epoch_order(train: &[u32], seed: u64, epoch: u32, shuffle: bool) -> Vec<u32> {
    let mut order = train.to_vec();
    if shuffle {
        Rng::new(seed, Purpose::Shuffle, u64::from(epoch)).shuffle(&mut order);
    }
    order
}
