//! What can be wrong with a journal.

use std::io;
use std::path::{Path, PathBuf};

/// A line other than the last that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The line, from 1.
    pub line: usize,
    /// Byte at which it begins.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Damage {
    /// As the error of a journal.
    pub(in crate::run) fn of(self, path: &Path) -> JournalError {
        JournalError::Damaged {
            path: path.into(),
            line: self.line,
            offset: self.offset,
            reason: self.reason,
        }
    }
}

/// What can be wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error(
        "cannot read or write {}: {source}; check the right to it and the room on its disk, then go \
         on with --resume", path.display()
    )]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check the right to it", path.display())]
    Read {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error(
        "{} is missing, and with it what the run has found; restore it from a copy, or start a new \
         run with --out", path.display()
    )]
    Missing {
        /// The journal.
        path: PathBuf,
    },
    /// A folder, a pipe or a device.
    #[error(
        "{} is no file, and so no journal; restore it from a copy, or start a new run with --out",
        path.display()
    )]
    NoFile {
        /// Where the journal should be.
        path: PathBuf,
    },
    /// A file that cannot be a journal, and is not read.
    #[error(
        "{} is no journal: {reason}; restore it from a copy, or start a new run with --out",
        path.display()
    )]
    NoJournal {
        /// Where the journal should be.
        path: PathBuf,
        /// Why it cannot be one.
        reason: String,
    },
    /// It holds lines, where a new one was to begin.
    #[error(
        "{} holds a run already; go on with it with --resume, or choose another --out",
        path.display()
    )]
    Begun {
        /// The journal.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error(
        "{}: another nas-engine is working on this run; wait for it to end, or stop it first",
        path.display()
    )]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// A line other than the last is not what was written.
    #[error(
        "{}: line {line}, byte {offset}: {reason}; restore the file from a copy, or start a new \
         run with --out", path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Byte at which the line begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl JournalError {
    pub(super) fn io(path: &Path, source: io::Error) -> JournalError {
        JournalError::Io {
            path: path.into(),
            source,
        }
    }
}
