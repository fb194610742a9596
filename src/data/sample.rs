//! The bundled sample of real images, so that the first command needs no download.
//!
//! The program carries it as compressed IDX files (`data/fashion-mnist`). It is unpacked once, in
//! the CIFAR-10 binary layout, and then mapped like any other data; where it cannot be, it is in memory.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::cifar::{NAMES_FILE, RecordFile, TEST_FILE, train_file};
use super::idx::Idx;
use super::{Dataset, RECORD_BYTES};
use crate::disk::{Real, input, whole};

/// What it is called.
pub(super) const NAME: &str = "bundled Fashion-MNIST sample";

/// Part of the folder's name. To be raised when [`record`] or [`NAMES`] change what is written.
const LAYOUT: u32 = 1;

/// Height and width of an image.
const SIDE: usize = 28;

const NAMES: &str = "T-shirt/top\nTrouser\nPullover\nDress\nCoat\n\
                     Sandal\nShirt\nSneaker\nBag\nAnkle boot\n";

/// One data file in its compressed form.
struct CompressedFiles {
    images: &'static [u8],
    labels: &'static [u8],
}

const TRAIN: CompressedFiles = CompressedFiles {
    images: include_bytes!("../../data/fashion-mnist/train-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../data/fashion-mnist/train-labels-idx1-ubyte.gz"),
};

const TEST: CompressedFiles = CompressedFiles {
    images: include_bytes!("../../data/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    labels: include_bytes!("../../data/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
};

/// Makes sure that a folder below `cache` holds the sample, and returns it.
///
/// What is there is compared byte by byte with what the program carries (hundredths of a second),
/// and what differs is replaced. Files appear whole, by renaming, so any number of processes may do
/// this at once: all have the same bytes to write.
///
/// # Errors
/// If a file that is needed cannot be written.
pub(super) fn unpack(cache: &Path) -> io::Result<PathBuf> {
    let dir = cache.join(format!(
        "fashion-mnist-sample-{LAYOUT}-{:08x}",
        content_hash()
    ));
    fs::create_dir_all(&dir)?;
    for (name, part) in [(train_file(1).as_str(), &TRAIN), (TEST_FILE, &TEST)] {
        let path = dir.join(name);
        if !holds(&path, part) {
            whole::write(&Real, &path, |file| {
                part.records()?
                    .try_for_each(|record| file.write_all(&record?))
            })?;
        }
    }
    let path = dir.join(NAMES_FILE);
    let found = input::read_file(&path, NAMES.len() as u64);
    if !found.is_ok_and(|bytes| bytes == NAMES.as_bytes()) {
        whole::write(&Real, &path, |file| file.write_all(NAMES.as_bytes()))?;
    }
    Ok(dir)
}

/// The sample in memory.
pub(super) fn in_memory() -> Dataset {
    let records = |part: &CompressedFiles| {
        let mut bytes = vec![];
        let records = part.records().expect("the program carries whole files");
        records.for_each(|record| bytes.extend(record.expect("and whole records in them")));
        RecordFile::from_bytes(bytes)
    };
    let classes = NAMES.lines().map(str::to_owned).collect();
    Dataset::new(
        NAME.to_owned(),
        classes,
        vec![records(&TRAIN)],
        records(&TEST),
    )
}

/// Tells one edition of the sample from another, so that two versions of the program do not keep
/// replacing each other's files.
fn content_hash() -> u32 {
    let mut hash = crc32fast::Hasher::new();
    for bytes in [TRAIN.images, TRAIN.labels, TEST.images, TEST.labels] {
        hash.update(bytes);
    }
    hash.finalize()
}

impl CompressedFiles {
    /// The records of the unpacked file.
    fn records(&self) -> io::Result<impl Iterator<Item = io::Result<[u8; RECORD_BYTES]>>> {
        let mut images = Idx::new(GzDecoder::new(self.images))?;
        let mut labels = Idx::new(GzDecoder::new(self.labels))?;
        let (mut image, mut label) = (Vec::new(), Vec::new());
        let n = images.n();
        Ok((0..n).map(move |_| {
            images.read(1, &mut image)?;
            labels.read(1, &mut label)?;
            match (&label[..], image.first_chunk()) {
                ([label], Some(image)) => Ok(record(*label, image)),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        }))
    }
}

/// Two zeros on each side make 32x32 of 28x28; grey is three equal colours.
fn record(label: u8, image: &[u8; SIDE * SIDE]) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[0] = label;
    for plane in record[1..].chunks_exact_mut(32 * 32) {
        for (row, source) in plane
            .chunks_exact_mut(32)
            .skip(2)
            .zip(image.chunks_exact(SIDE))
        {
            row[2..30].copy_from_slice(source);
        }
    }
    record
}

/// Whether the file holds just these records. One that cannot be read does not.
fn holds(path: &Path, part: &CompressedFiles) -> bool {
    let same = || -> io::Result<bool> {
        // Asked before it is opened: a pipe would wait for a writer.
        if !path.is_file() {
            return Ok(false);
        }
        let mut file = BufReader::with_capacity(64 * RECORD_BYTES, File::open(path)?);
        let mut found = [0; RECORD_BYTES];
        for record in part.records()? {
            file.read_exact(&mut found)?;
            if found != record? {
                return Ok(false);
            }
        }
        Ok(file.read(&mut found)? == 0)
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_centred_and_repeated() {
        let record = record(7, &std::array::from_fn(|i| (i % 28) as u8 + 1));
        assert_eq!(record[0], 7);
        for plane in record[1..].chunks_exact(1024) {
            let row: Vec<u8> = [0, 0].into_iter().chain(1..=28).chain([0, 0]).collect();
            let rows: Vec<&[u8]> = plane.chunks_exact(32).collect();
            assert!(
                rows[2..30].iter().all(|found| *found == row),
                "{:?}",
                rows[2]
            );
            assert!(
                rows[..2]
                    .concat()
                    .iter()
                    .chain(&rows[30..].concat())
                    .all(|&byte| byte == 0)
            );
        }
    }
}
