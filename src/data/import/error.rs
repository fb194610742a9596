//! Why data could not be imported.

use std::io;
use std::path::{Path, PathBuf};

use super::Skipped;
use crate::data::DataError;

/// Why nothing was imported. The message names the place and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is something at the place that is to be written: a usage error.
    #[error("{} is there already; choose another --out, or remove it", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The place has no name by which it could appear: a usage error.
    #[error(
        "{} is no name of a new folder; give --out the name of one that is not there yet",
        path.display()
    )]
    NoName {
        /// The place.
        path: PathBuf,
    },
    /// The data folder cannot be written: a usage error.
    #[error("cannot write {}; choose another --out, or make room", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// What is to be imported cannot be read.
    #[error("cannot read {}; make it readable, or name another", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// What is to be imported is not what it should be.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// File or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Some files are no images that can be used, all of them named.
    #[error(
        "{} that cannot be used; mend or remove them, or leave them out with --skip-bad{}",
        n_files(files.len()), listed(files)
    )]
    Bad {
        /// The files.
        files: Vec<Skipped>,
    },
    /// A share for the test was asked for where there is a test part: a usage error.
    #[error("{} has a test part of its own; leave --test-share out", path.display())]
    TestPart {
        /// The folder.
        path: PathBuf,
    },
    /// It was told to stop.
    #[error(
        "the import was stopped, and nothing of it is left at {}; the same command begins it anew",
        out.display()
    )]
    Stopped {
        /// Where the data folder would stand.
        out: PathBuf,
    },
    /// What was written is not a data folder: a fault of this program.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl ImportError {
    /// That something is not what it should be.
    pub(super) fn unusable(path: &Path, problem: impl Into<String>) -> ImportError {
        ImportError::Unusable {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

fn n_files(n: usize) -> String {
    match n {
        1 => "1 file".into(),
        n => format!("{n} files"),
    }
}

fn listed(files: &[Skipped]) -> String {
    let line = |Skipped { file, reason }: &Skipped| format!("\n  {file}: {reason}");
    files.iter().map(line).collect()
}
