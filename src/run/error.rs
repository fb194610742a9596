//! What can be wrong with a run's directory.

use std::io;
use std::path::{Path, PathBuf};

use super::journal::JournalError;
use crate::config::ConfigError;
use crate::text;

/// What can be wrong with a run's directory.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no run.
    #[error(
        "{}: there is no run; give the directory that holds its config.toml", path.display()
    )]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// A journal without settings.
    #[error(
        "{}: its config.toml is missing; restore it, or start a new run with --out", path.display()
    )]
    NoSettings {
        /// The directory.
        path: PathBuf,
    },
    /// A new run was to begin where there is one.
    #[error(
        "--out {} holds a run already; go on with it with: nas-engine search --resume {}; or choose \
         another directory", path.display(), text::shell_path(path)
    )]
    Begun {
        /// The directory.
        path: PathBuf,
    },
    /// A file of it cannot be read.
    #[error("cannot read {}: {source}; check the right to it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file of it cannot be written.
    #[error(
        "cannot write {}: {source}; check the right to it and the room on its disk, or choose another \
         --out for a new run", path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file of a run under way cannot be written or removed.
    #[error(
        "cannot write {}: {source}; make room on its disk, or mend the right to it, then go on with \
         --resume", path.display()
    )]
    Keep {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The journal has no line any more.
    #[error(
        "{} is empty, but the run had found something: what it recorded is lost; restore it, or start \
         a new run with --out", path.display()
    )]
    Emptied {
        /// The journal.
        path: PathBuf,
    },
    /// Settings that decide results were changed.
    #[error(
        "{} is not what this run began with: settings that decide its results were changed; change them \
         back, or start a new run with --config and --out", path.display()
    )]
    OtherSettings {
        /// The file of settings.
        path: PathBuf,
    },
    /// The data are others.
    #[error(
        "{data} is not the data that this run began with (sha256 {sha256}, then {begun}); say where those \
         lie with --data, or start a new run"
    )]
    OtherData {
        /// The data of today.
        data: String,
        /// Their digest.
        sha256: String,
        /// The digest of those that the run began with.
        begun: String,
    },
}

impl RunError {
    pub(super) fn write(path: &Path, source: io::Error) -> RunError {
        RunError::Write {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn keep(path: &Path, source: io::Error) -> RunError {
        RunError::Keep {
            path: path.into(),
            source,
        }
    }
}
