//! What the files of a folder of images are: digests, whether they are CIFAR-10's, classes.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::cifar::{TEST_FILE, train_file};
use super::{Dataset, RECORD_BYTES};
use crate::text;

/// SHA-256 of CIFAR-10's `data_batch_1.bin` to `data_batch_5.bin`.
const CIFAR_TRAIN: [&str; 5] = [
    "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
];

/// SHA-256 of CIFAR-10's `test_batch.bin`.
const CIFAR_TEST: &str = "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b";

/// What a file of images is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageFileFacts {
    /// Its name, without the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its images.
    pub records: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether it is CIFAR-10's file of this name; nothing where CIFAR-10 has none.
    pub official: Option<bool>,
}

impl Dataset {
    /// What its files are, whatever the limit.
    pub fn file_facts(&self) -> Vec<ImageFileFacts> {
        let names = (1..).map(train_file).zip(&self.train);
        let official = CIFAR_TRAIN.iter().map(Some).chain(std::iter::repeat(None));
        let facts = |((name, file), official): ((String, &super::RecordFile), Option<&&str>)| {
            let sha256 = text::hex(&Sha256::digest(file.bytes()));
            ImageFileFacts {
                name,
                bytes: file.bytes().len() as u64,
                records: (file.bytes().len() / RECORD_BYTES) as u64,
                official: official.map(|official| sha256 == *official),
                sha256,
            }
        };
        let test = (TEST_FILE.to_string(), &self.test);
        let train = names.zip(official).map(facts);
        train.chain([facts((test, Some(&CIFAR_TEST)))]).collect()
    }

    /// Images of each class, in the order of [`Dataset::classes`], training and test together, within
    /// the limit.
    pub fn class_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes.len()];
        for index in 0..self.n_train + self.n_test {
            counts[usize::from(self.record(index).0)] += 1;
        }
        counts
    }
}
