//! What a search has spent: seconds in training, which are on record, and floating-point operations, which
//! are estimated from the architectures.

use std::fs;
use std::path::Path;

use super::record::{Record, Row};
use crate::config::Config;
use crate::data::RECORD_BYTES;
use crate::space::SpaceKind;
use crate::train::TrainConfig;

/// Training images of the bundled sample.
const BUNDLED: usize = 5_000;

/// A backward pass costs twice a forward one: the gradient of the data and that of the weights.
const PASSES: f64 = 3.0;

/// Images that an epoch of a child passes through its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Forward and backward.
    pub training: usize,
    /// Forward alone.
    pub validation: usize,
}

impl Epoch {
    /// Of the data that a run was begun with, as they lie there now; none of a text or of a table, and where
    /// the data are gone.
    pub fn of(config: &Config) -> Option<Epoch> {
        let TrainConfig::Network(train) = &config.train else {
            return None;
        };
        let records = match &config.data.path {
            None => BUNDLED,
            Some(path) => records(path)?,
        };
        let records = config
            .data
            .limit
            .map_or(records, |limit| limit.min(records));
        let validation = records / 10;
        let training = records - validation;
        Some(Epoch {
            training: training - training % train.batch.max(1),
            validation,
        })
    }

    /// Operations of an epoch of a network with so many multiply-adds an image.
    pub fn flops(&self, multiply_adds: u64) -> f64 {
        let images = PASSES * self.training as f64 + self.validation as f64;
        2.0 * multiply_adds as f64 * images
    }
}

/// Training records of a data folder, by the sizes of its files.
fn records(folder: &Path) -> Option<usize> {
    let sizes = (1..).map_while(|number| {
        let file = folder.join(format!("data_batch_{number}.bin"));
        fs::metadata(file).ok().map(|found| found.len())
    });
    let records = sizes.sum::<u64>() / RECORD_BYTES as u64;
    (records > 0).then_some(records as usize)
}

/// Operations that a child's training took.
pub fn flops(row: &Row, epoch: Epoch) -> Option<f64> {
    row.is_trained()
        .then(|| Some(epoch.flops(row.multiply_adds?) * row.scores.len() as f64))?
}

/// Seconds that children were trained for, those that failed too; repeats take none.
pub fn training_seconds(rows: &[Row]) -> f64 {
    rows.iter().map(|row| row.seconds).sum()
}

/// How the operations are estimated, or why not.
pub fn how(record: &Record, epoch: Option<Epoch>) -> String {
    match (record.config.space.kind(), epoch) {
        (SpaceKind::Conv, Some(epoch)) => format!(
            "Multiply-adds of an image are counted from the architecture (convolutions and classifier; as \
             `inspect` shows them). Operations are an estimate: 2 a multiply-add, a training image three \
             times (a backward pass is taken for two forward ones), {} training and {} validation images an \
             epoch, by the data as they lie now; epochs as recorded.",
            epoch.training, epoch.validation
        ),
        (SpaceKind::Conv, None) => "Multiply-adds of an image are counted from the architecture (convolutions \
             and classifier; as `inspect` shows them). Operations of all training are not estimated: the data \
             are not where the run was begun with them, so the number of images is not known."
            .to_owned(),
        (SpaceKind::Cell, _) => "Operations are not estimated for recurrent cells: the journal does not say \
             how many tokens their text has."
            .to_owned(),
        (SpaceKind::Bench, _) => {
            "Nothing was trained: the accuracies are looked up in a table.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_that_of_the_split() {
        let mut config = Config::preset("sample").unwrap();
        let TrainConfig::Network(train) = &mut config.train else {
            panic!("a network")
        };
        train.batch = 32;
        // 4,500 train, of which 140 whole batches; 500 validate.
        let epoch = Epoch {
            training: 4_480,
            validation: 500,
        };
        assert_eq!(Epoch::of(&config), Some(epoch));
        assert_eq!(epoch.flops(10), 2.0 * 10.0 * (3.0 * 4_480.0 + 500.0));
        config.data.limit = Some(100);
        let epoch = Epoch {
            training: 64,
            validation: 10,
        };
        assert_eq!(Epoch::of(&config), Some(epoch));
        let folder = tempfile::tempdir().unwrap();
        config.data.path = Some(folder.path().to_path_buf());
        assert_eq!(Epoch::of(&config), None);
        for (number, records) in [(1, 30), (2, 20), (4, 999)] {
            let file = folder.path().join(format!("data_batch_{number}.bin"));
            fs::write(file, vec![0; records * RECORD_BYTES]).unwrap();
        }
        let epoch = Epoch {
            training: 32,
            validation: 5,
        };
        assert_eq!(Epoch::of(&config), Some(epoch)); // up to the gap, under the limit
    }
}
