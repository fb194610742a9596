//! What can be wrong with data, told apart by what one does about it.

use std::io;
use std::path::PathBuf;

use super::description::FILE_NAME;
use super::{MIN_LIMIT, RECORD_BYTES};

/// Why a data set could not be opened. The message names the place and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file that the folder must hold is not there: look elsewhere, or add it.
    #[error("no {what} in {}; {next}", dir.display())]
    Missing {
        /// The folder that was searched.
        dir: PathBuf,
        /// The file.
        what: String,
        /// What to do.
        next: String,
    },
    /// There is no folder of that name: look elsewhere.
    #[error("{} is not a folder; {next}", path.display())]
    NotAFolder {
        /// What was given.
        path: PathBuf,
        /// What to do.
        next: String,
    },
    /// What was given is neither images nor a text.
    #[error(
        "{} holds neither images (data_batch_1.bin …, test_batch.bin) nor a text (ptb.train.txt, \
         wiki.train.tokens or train.txt, and the two parts beside it); {next}", path.display()
    )]
    NeitherKind {
        /// The folder.
        path: PathBuf,
        /// What to do.
        next: String,
    },
    /// A folder holds images and a text.
    #[error("{} holds both images and a text; give a folder of one of them", path.display())]
    BothKinds {
        /// The folder.
        path: PathBuf,
    },
    /// A data file is a folder, a pipe or a device, which cannot be mapped.
    #[error("{} is not a regular file; put the data file itself there", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A data file holds nothing: fetch it again.
    #[error("{} is empty; copy or download it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A data file ends within a record: fetch it again.
    #[error(
        "{}: record {record} at byte offset {offset} ends after {left} of {RECORD_BYTES} bytes; the \
         file is cut short or is no CIFAR-10 binary file, copy or download it again",
        path.display()
    )]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Whole records before the end, so the number of the broken one, from 0.
        record: u64,
        /// Where the broken record starts.
        offset: u64,
        /// Bytes that it has.
        left: u64,
    },
    /// A label is no class: the file is damaged or of another kind.
    #[error(
        "{}: record {record} at byte offset {offset} has label {label}, but labels are 0 to {last}; \
         the file is damaged or is no CIFAR-10 binary file, copy or download it again; where it has \
         more classes, name all of them in {named_in}{}",
        path.display(),
        how_to_name(named_in)
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The record, from 0.
        record: usize,
        /// Where the record, and so its label, starts.
        offset: usize,
        /// The byte found there.
        label: u8,
        /// The largest label.
        last: usize,
        /// The file in the folder that names the classes, or may.
        named_in: &'static str,
    },
    /// A data file is of another known format: import it.
    #[error("{} is {format}; {next}", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: &'static str,
        /// What to do.
        next: String,
    },
    /// The description of a data folder cannot be used: mend or remove it.
    #[error("{}: {problem}; import the data again, or remove the file", path.display())]
    Description {
        /// The file, `dataset.toml`.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The names of the classes cannot be used: mend or remove their file.
    #[error(
        "{} {problem}; it must hold the names of the classes, 2 to 256, one a line, or be removed",
        path.display()
    )]
    Names {
        /// The file of the names.
        path: PathBuf,
        /// What it holds instead.
        problem: String,
    },
    /// More records than can be numbered: use fewer files.
    #[error(
        "{} holds {records} records, but a data set has at most {}; remove some of its files",
        dir.display(),
        u32::MAX
    )]
    TooManyRecords {
        /// The folder.
        dir: PathBuf,
        /// Records in it.
        records: u64,
    },
    /// Too few records were asked for: a usage error.
    #[error("a limit of {limit} leaves nothing to validate on; give --limit {MIN_LIMIT} or more")]
    Limit {
        /// The limit.
        limit: usize,
    },
    /// The operating system refused to read.
    #[error("cannot read {}; make it readable or give --data another folder", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// How a file of class names says them.
fn how_to_name(file: &str) -> &'static str {
    match file {
        FILE_NAME => ", in `classes`",
        _ => ", one a line",
    }
}
