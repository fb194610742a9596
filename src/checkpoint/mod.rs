//! Checkpoint files: a header and lists of numbers, from which work goes on with the same bits. Each
//! is kept in two slots that are written in turn, so that a damaged file leaves an older one.
//!
//! A file is the line `nas-engine checkpoint 1`, the header as a line of JSON, the numbers
//! little-endian, as f32 where that says all of them, and the SHA-256 of all this.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, Found, whole};

mod error;

pub use error::CheckpointError;

/// Version of the bits that training and the controller give: one more whenever a change of the program
/// changes any. A checkpoint of another is not gone on with, since what follows would not be what one
/// run gives.
pub const NUMERICS: u32 = 1;

/// What the first line of a file begins with; the version of the format follows.
const MAGIC: &str = "nas-engine checkpoint ";

/// Version of the format.
const FORMAT: u32 = 1;

/// Bytes of the digest at the end.
const SUM_BYTES: usize = 32;

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<H> {
    /// What it is of, and where the work stands.
    pub header: H,
    /// Lists of numbers, in the order that they were given in.
    pub arrays: Vec<Vec<f64>>,
}

/// The header with what the file needs besides.
#[derive(Serialize, Deserialize)]
struct Head<H> {
    numerics: u32,
    /// One more with every checkpoint of the same work.
    number: u64,
    arrays: Vec<Layout>,
    #[serde(flatten)]
    header: H,
}

/// How a list of numbers lies in the file.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Layout {
    length: usize,
    width: Width,
}

/// Bytes of a number.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Width {
    F32,
    F64,
}

impl Width {
    /// The narrower one where that keeps every bit.
    fn of(values: &[f64]) -> Width {
        let fits = |&value: &f64| f64::from(value as f32).to_bits() == value.to_bits();
        match values.iter().all(fits) {
            true => Width::F32,
            false => Width::F64,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Width::F32 => 4,
            Width::F64 => 8,
        }
    }
}

/// The two files of a work's checkpoints: `<path>` and `<path>.2`.
#[derive(Clone, Debug)]
pub struct Slots {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Number of the newest checkpoint; 0 before the first.
    number: u64,
}

impl Slots {
    /// The slots by this name, of which nothing is known yet.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Slots {
        Slots {
            disk,
            path,
            number: 0,
        }
    }

    /// The name of the first slot, which stands for both.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newer of both that is whole, if there is one, and what is wrong with the other where
    /// something is.
    pub fn read<H: DeserializeOwned>(&mut self) -> (Option<Saved<H>>, Vec<CheckpointError>) {
        let mut newest: Option<(u64, Saved<H>)> = None;
        let mut wrong = vec![];
        for path in self.files() {
            match read(&*self.disk, &path) {
                Ok(None) => {}
                Ok(Some((number, saved))) => {
                    if newest.as_ref().is_none_or(|(newer, _)| number > *newer) {
                        newest = Some((number, saved));
                    }
                }
                Err(error) => wrong.push(error),
            }
        }
        self.number = newest.as_ref().map_or(0, |(number, _)| *number);
        (newest.map(|(_, saved)| saved), wrong)
    }

    /// Writes a checkpoint in the place of the older one. When this returns it is on disk.
    ///
    /// # Errors
    /// Where it cannot be written, with the file; the newer of both is as it was.
    pub fn write<H: Serialize>(
        &mut self,
        header: &H,
        arrays: &[&[f64]],
    ) -> Result<(), (PathBuf, io::Error)> {
        let number = self.number + 1;
        let [first, second] = self.files();
        let path = if number % 2 == 1 { first } else { second };
        let written = whole::write(&*self.disk, &path, |file| {
            write(file, number, header, arrays)
        });
        written.map_err(|error| (path, error))?;
        self.number = number;
        Ok(())
    }

    /// Removes both files, where they are.
    ///
    /// # Errors
    /// Where one cannot be removed, with the file.
    pub fn remove(&self) -> Result<(), (PathBuf, io::Error)> {
        for path in self.files() {
            let removed = match self.disk.found(&path) {
                Ok(Some(_)) => self.disk.remove(&path),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            removed.map_err(|error| (path, error))?;
        }
        Ok(())
    }

    fn files(&self) -> [PathBuf; 2] {
        let mut second = OsString::from(&self.path);
        second.push(".2");
        [self.path.clone(), second.into()]
    }
}

/// Writes a file's bytes.
fn write<H: Serialize>(
    file: &mut dyn Write,
    number: u64,
    header: &H,
    arrays: &[&[f64]],
) -> io::Result<()> {
    let layout = |values: &&[f64]| Layout {
        length: values.len(),
        width: Width::of(values),
    };
    let head = Head {
        numerics: NUMERICS,
        number,
        arrays: arrays.iter().map(layout).collect(),
        header,
    };
    let mut sum = Sha256::new();
    let mut put = |bytes: &[u8]| {
        sum.update(bytes);
        file.write_all(bytes)
    };
    put(format!("{MAGIC}{FORMAT}\n{}\n", serde_json::to_string(&head)?).as_bytes())?;
    let mut bytes = Vec::with_capacity(8 * CHUNK);
    for (values, layout) in arrays.iter().zip(&head.arrays) {
        for values in values.chunks(CHUNK) {
            bytes.clear();
            match layout.width {
                Width::F32 => {
                    let narrow = values.iter().map(|&value| (value as f32).to_le_bytes());
                    bytes.extend(narrow.flatten());
                }
                Width::F64 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            }
            put(&bytes)?;
        }
    }
    file.write_all(&sum.finalize())
}

/// Numbers that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// The number and the content of a file; nothing where there is none.
fn read<H: DeserializeOwned>(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Option<(u64, Saved<H>)>, CheckpointError> {
    let path_buf = || path.to_path_buf();
    let read_error = |source| CheckpointError::Read {
        path: path_buf(),
        source,
    };
    match disk.found(path).map_err(read_error)? {
        None => return Ok(None),
        Some(Found::File(length)) => check_length(disk, path, length)?,
        Some(_) => {
            return Err(CheckpointError::Damaged {
                path: path_buf(),
                reason: "it is a folder, a pipe or a device".into(),
            });
        }
    }
    let bytes = disk.read(path).map_err(read_error)?;
    parse(&bytes).map(Some).map_err(|flaw| match flaw {
        Flaw::Damaged(reason) => CheckpointError::Damaged {
            path: path_buf(),
            reason,
        },
        Flaw::Version { theirs, ours } => CheckpointError::Version {
            path: path_buf(),
            theirs,
            ours,
        },
    })
}

/// A header and lists of numbers as bytes of the same form, for whoever keeps them elsewhere than in a
/// file.
pub fn to_bytes<H: Serialize>(header: &H, arrays: &[&[f64]]) -> Vec<u8> {
    let mut bytes = vec![];
    write(&mut bytes, 0, header, arrays).expect("writing to memory does not fail");
    bytes
}

/// What [`to_bytes`] was given.
///
/// # Errors
/// Bytes that are not whole, or of a version with other numerics.
pub fn from_bytes<H: DeserializeOwned>(bytes: &[u8]) -> Result<Saved<H>, Flaw> {
    parse(bytes).map(|(_, saved)| saved)
}

/// What is wrong with bytes that should be a header and numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// They are not as they were written.
    #[error("{0}")]
    Damaged(String),
    /// Another version of the program wrote them.
    #[error("it has {theirs}, and this program {ours}; use the same version everywhere")]
    Version {
        /// Theirs.
        theirs: String,
        /// This program's.
        ours: String,
    },
}

/// The number and the content of a file's bytes.
fn parse<H: DeserializeOwned>(bytes: &[u8]) -> Result<(u64, Saved<H>), Flaw> {
    let damaged = |reason: &str| Flaw::Damaged(reason.into());
    let version = |theirs: String, ours: String| Flaw::Version { theirs, ours };
    let rest = bytes
        .strip_prefix(MAGIC.as_bytes())
        .ok_or_else(|| damaged("it does not begin as one"))?;
    let (body, sum) = rest
        .split_at_checked(rest.len().saturating_sub(SUM_BYTES))
        .filter(|(_, sum)| sum.len() == SUM_BYTES)
        .ok_or_else(|| damaged("it is too short"))?;
    let (format, rest) = line(body).ok_or_else(|| damaged("its first line has no end"))?;
    if format != FORMAT.to_string().as_bytes() {
        let theirs = format!("format {}", String::from_utf8_lossy(format));
        return Err(version(theirs, format!("format {FORMAT}")));
    }
    let whole = &bytes[..bytes.len() - SUM_BYTES];
    if Sha256::digest(whole)[..] != *sum {
        return Err(damaged("its bytes do not match its digest"));
    }
    let (head, mut rest) = line(rest).ok_or_else(|| damaged("its header has no end"))?;
    // Of any header first: one of another version may have other fields.
    let any: Head<serde_json::Value> =
        serde_json::from_slice(head).map_err(|error| damaged(&format!("its header: {error}")))?;
    if any.numerics != NUMERICS {
        let theirs = format!("numerics {}", any.numerics);
        return Err(version(theirs, format!("numerics {NUMERICS}")));
    }
    let head: Head<H> =
        serde_json::from_slice(head).map_err(|error| damaged(&format!("its header: {error}")))?;
    let mut arrays = vec![];
    for Layout { length, width } in head.arrays {
        let n_bytes = length.checked_mul(width.bytes());
        let (values, after) = n_bytes
            .and_then(|n_bytes| rest.split_at_checked(n_bytes))
            .ok_or_else(|| damaged("it has fewer numbers than its header says"))?;
        arrays.push(numbers(values, width));
        rest = after;
    }
    if !rest.is_empty() {
        return Err(damaged("it has more numbers than its header says"));
    }
    let saved = Saved {
        header: head.header,
        arrays,
    };
    Ok((head.number, saved))
}

/// Bytes from which on a file is looked at before it is read: it may be anything.
const LARGE: u64 = 64 << 20;

/// That a large file has as many bytes as its header says.
fn check_length(disk: &dyn Disk, path: &Path, length: u64) -> Result<(), CheckpointError> {
    if length <= LARGE {
        return Ok(());
    }
    let damaged = |reason: String| CheckpointError::Damaged {
        path: path.into(),
        reason,
    };
    // A header has a line for every epoch.
    let start = disk.read_start(path, LARGE);
    let start = start.map_err(|source| CheckpointError::Read {
        path: path.into(),
        source,
    })?;
    let rest = start.strip_prefix(MAGIC.as_bytes());
    let head = rest.and_then(|rest| line(line(rest)?.1));
    let (head, rest) = head.ok_or_else(|| damaged("it does not begin as one".into()))?;
    let parsed = serde_json::from_slice::<Head<serde_json::Value>>(head);
    let arrays = parsed
        .map_err(|error| damaged(format!("its header: {error}")))?
        .arrays;
    let bytes = |array: &Layout| (array.length as u64).saturating_mul(array.width.bytes() as u64);
    let numbers = arrays.iter().map(bytes).fold(0, u64::saturating_add);
    let before = (start.len() - rest.len() + SUM_BYTES) as u64;
    match numbers.saturating_add(before) == length {
        true => Ok(()),
        false => Err(damaged(format!(
            "it has {length} bytes, which are not those that its header says"
        ))),
    }
}

/// The first line without its newline, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn numbers(bytes: &[u8], width: Width) -> Vec<f64> {
    match width {
        Width::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            let wide = |&word: &[u8; 4]| f64::from(f32::from_le_bytes(word));
            words.iter().map(wide).collect()
        }
        Width::F64 => {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().map(|&word| f64::from_le_bytes(word)).collect()
        }
    }
}

#[cfg(test)]
mod tests;
