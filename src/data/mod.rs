//! Data sets: labelled 32x32 colour images, their split, the order of an epoch, views of an image.
//!
//! A [`Dataset`] is opened from a folder in the CIFAR-10 binary layout, which it maps and never
//! copies. Which records train and which validate is [`Split`]; what a network sees of a record is
//! [`view()`]. Texts are in [`corpus`]; [`DataKind`] tells the two apart.

pub mod cache;
mod cifar;
pub mod corpus;
mod description;
mod error;
mod facts;
pub mod fetch;
mod idx;
pub mod import;
mod kind;
mod known_format;
mod mmap;
pub mod nas_bench_201;
mod sample;
mod split;
mod synthetic;
mod view;
pub mod windows;

use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub use cache::CACHE_DIR_VARIABLE;
pub use description::{Description, MAX_CLASSES};
pub use error::DataError;
pub use facts::ImageFileFacts;
pub use kind::DataKind;
pub use mmap::also_in_json;
pub use split::{Split, epoch_order};
pub use view::{Augment, Draw, UnknownAugment, VIEW_LEN, view};

use crate::text;
use cifar::RecordFile;

/// Height and width of an image.
pub(crate) const SIDE: usize = 32;

/// Bytes of an image: its red, green and blue planes of 32 rows of 32 values.
pub const IMAGE_BYTES: usize = 3 * SIDE * SIDE;

/// Bytes of a record: a label, then an image.
pub const RECORD_BYTES: usize = 1 + IMAGE_BYTES;

/// The smallest limit that leaves a record to validate on.
pub const MIN_LIMIT: usize = 10;

/// Training and test records in the order of their files. Reading needs no lock: share it by `&`.
#[derive(Debug)]
pub struct Dataset {
    /// What it is called before the number of its images.
    name: String,
    classes: Vec<String>,
    train: Vec<RecordFile>,
    test: RecordFile,
    n_train: usize,
    n_test: usize,
    limit: Option<usize>,
    sha256: OnceLock<String>,
}

impl Dataset {
    /// Opens a folder that holds `data_batch_1.bin` … and `test_batch.bin`, and checks all of it.
    ///
    /// With `limit`, the data set is its first `limit` training and `max(1, limit / 5)` test
    /// records, or as many as there are.
    ///
    /// # Errors
    /// Names the file, the record and the byte offset of what is wrong, and what to do about it.
    pub fn open(dir: &Path, limit: Option<usize>) -> Result<Dataset, DataError> {
        cifar::open(dir, dir.display().to_string())?.limited(limit)
    }

    /// Opens the Fashion-MNIST sample that the program carries: 5,000 + 1,000 images, every class
    /// equally often. The first use unpacks it into the user's cache folder; where that cannot be
    /// written it is in memory.
    ///
    /// # Errors
    /// If the limit leaves nothing to validate on.
    pub fn bundled(limit: Option<usize>) -> Result<Dataset, DataError> {
        match cache::dir() {
            Some(cache) => Dataset::bundled_in(&cache, limit),
            None => sample::in_memory().limited(limit),
        }
    }

    /// Like [`Dataset::bundled`], unpacked below `cache`.
    ///
    /// # Errors
    /// As there.
    pub fn bundled_in(cache: &Path, limit: Option<usize>) -> Result<Dataset, DataError> {
        let unpacked = sample::unpack(cache)
            .inspect_err(|error| cache::note_not_kept("the bundled sample", error));
        let opened = unpacked.map(|dir| cifar::open(&dir, sample::NAME.to_string()));
        match opened {
            Ok(Ok(dataset)) => dataset,
            // One that was removed or spoilt meanwhile is no loss either.
            _ => sample::in_memory(),
        }
        .limited(limit)
    }

    /// Made-up data in memory that a small network learns in a few epochs; record `i` has label
    /// `i % classes`, training and test records counted on.
    ///
    /// # Panics
    /// If `classes` is not in 1..=10.
    pub fn synthetic(n_train: usize, n_test: usize, classes: usize, seed: u64) -> Dataset {
        assert!(
            (1..=10).contains(&classes),
            "1 to 10 classes can be made, not {classes}"
        );
        let records = |range| RecordFile::from_bytes(synthetic::records(range, classes, seed));
        Dataset::new(
            format!("synthetic data (seed {seed})"),
            (0..classes).map(|c| c.to_string()).collect(),
            vec![records(0..n_train)],
            records(n_train..n_train + n_test),
        )
    }

    /// Images without labels, in memory, as test records of class 0.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1.
    pub fn of_images(classes: Vec<String>, images: &[[u8; IMAGE_BYTES]]) -> Dataset {
        assert!(
            u32::try_from(images.len()).is_ok(),
            "records are numbered by 32 bits"
        );
        let mut bytes = Vec::with_capacity(images.len() * RECORD_BYTES);
        for image in images {
            bytes.push(0);
            bytes.extend_from_slice(image);
        }
        let name = "pictures".to_owned();
        Dataset::new(name, classes, vec![], RecordFile::from_bytes(bytes))
    }

    /// `train` and `test` have been checked: every label is a class, all indices fit `u32`.
    fn new(
        name: String,
        classes: Vec<String>,
        train: Vec<RecordFile>,
        test: RecordFile,
    ) -> Dataset {
        Dataset {
            n_train: train.iter().map(|file| file.records().len()).sum(),
            n_test: test.records().len(),
            name,
            classes,
            train,
            test,
            limit: None,
            sha256: OnceLock::new(),
        }
    }

    /// The first `limit` training and `limit / 5` test records, or as many as there are.
    ///
    /// # Errors
    /// A limit too small to hold a record out.
    pub fn limited(mut self, limit: Option<usize>) -> Result<Dataset, DataError> {
        if let Some(limit) = limit {
            if limit < MIN_LIMIT {
                return Err(DataError::Limit { limit });
            }
            self.n_train = self.n_train.min(limit);
            self.n_test = self.n_test.min(limit / 5); // 2 at least
            self.limit = Some(limit);
        }
        Ok(self)
    }

    /// The limit that it was opened with.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Training records, those held out for validation among them.
    pub fn n_train(&self) -> usize {
        self.n_train
    }

    /// Training and test records without a limit.
    pub fn n_whole(&self) -> [usize; 2] {
        let train = self.train.iter().map(|file| file.records().len()).sum();
        [train, self.test.records().len()]
    }

    /// Test records.
    pub fn n_test(&self) -> usize {
        self.n_test
    }

    /// Names of the classes; a label is a position in them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Label and image `[c][h][w]` of a record: the training records are `0..n_train`, the test
    /// records follow.
    ///
    /// # Panics
    /// If there is no such record, or if its file was changed after it was opened.
    pub fn record(&self, index: usize) -> (u8, &[u8; IMAGE_BYTES]) {
        let [label, image @ ..] = self.raw(index);
        assert!(
            usize::from(*label) < self.classes.len(),
            "record {index} of {} had a valid label when it was opened and now has {label}: \
             data files must not change under a run",
            self.name
        );
        (*label, image)
    }

    fn raw(&self, index: usize) -> &[u8; RECORD_BYTES] {
        if let Some(test_idx) = index.checked_sub(self.n_train) {
            assert!(
                test_idx < self.n_test,
                "record {index} of {}",
                self.n_train + self.n_test
            );
            return &self.test.records()[test_idx];
        }
        let mut left = index;
        for file in &self.train {
            match file.records().get(left) {
                Some(record) => return record,
                None => left -= file.records().len(),
            }
        }
        unreachable!("the training files hold n_train records")
    }

    /// SHA-256, in hexadecimal, of the whole training files in order and then the test file,
    /// whatever the limit. Computed when first asked for.
    pub fn sha256(&self) -> String {
        let digest = || {
            let mut sha = Sha256::new();
            for file in self.train.iter().chain([&self.test]) {
                sha.update(file.bytes());
            }
            text::hex(&sha.finalize())
        };
        self.sha256.get_or_init(digest).clone()
    }

    /// One line for people: what it is and how many images are in use.
    pub fn describe(&self) -> String {
        let [train, test] = [self.n_train, self.n_test].map(|n| text::count(n as u64));
        format!("{}, {train} + {test} images", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Dataset>();
    }
}
