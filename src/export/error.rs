//! Why something was not exported.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::whole;
use crate::train::TrainError;
use crate::train::weights_file::WeightsError;

/// Why something was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The weights file cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The child cannot be built or run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Something is at the place.
    #[error("{} exists already; choose another name with --out, or remove it", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The place has no name.
    #[error("--out {} has no name of its own; add one", path.display())]
    NoName {
        /// The place.
        path: PathBuf,
    },
    /// The place cannot be written.
    #[error("cannot write {}: {}", path.display(), reason(path, error))]
    Write {
        /// The place.
        path: PathBuf,
        /// The system's words, which the message holds.
        error: io::Error,
    },
    /// Larger than a file of protocol buffers may be.
    #[error(
        "the model takes {bytes} bytes, and an ONNX file has 2147483647 at most; export it with \
         --format pytorch or safetensors"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
    },
    /// A reader is missing.
    #[error(
        "{module} cannot be asked: {reason}; install it for {}, name another Python with --python, or \
         leave the check out with --no-check, which the export then says of itself", python.display()
    )]
    NoReader {
        /// The Python.
        python: PathBuf,
        /// What it lacks.
        module: &'static str,
        /// Its words.
        reason: String,
    },
    /// It was told to stop.
    #[error(
        "the export was stopped, and nothing of it is left at {}; the same command begins it anew",
        out.display()
    )]
    Stopped {
        /// The place.
        out: PathBuf,
    },
    /// A reader does not understand the export.
    #[error(
        "{reader} cannot read the export: {reason}; nothing was written. Please report it with the \
         architecture; --no-check leaves the check out"
    )]
    Unreadable {
        /// The reader.
        reader: String,
        /// Its words.
        reason: String,
    },
    /// A reader gives something else.
    #[error(
        "{reader} gives something else than the reference device: {reason}; nothing was written. Please \
         report it with the architecture; --no-check leaves the check out"
    )]
    Differs {
        /// The reader.
        reader: String,
        /// What differs.
        reason: String,
    },
}

/// Why a place cannot be written, and the next step.
fn reason(path: &Path, error: &io::Error) -> String {
    let no_folder = whole::no_folder(path, error);
    no_folder.unwrap_or_else(|| format!("{error}; choose another place with --out"))
}
