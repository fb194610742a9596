//! Why a weights file cannot be used or written.

use std::path::PathBuf;

/// Why a weights file cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; check the path")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(
        "cannot write {path}: {source}; make room on its disk, or choose another place with --save"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{path} is not a whole safetensors file: {reason}; save the weights again")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// JSON in the place of weights.
    #[error(
        "{path} is JSON and holds no weights; an architecture is given with --arch, weights are a file that \
         `train --save` or a search wrote"
    )]
    Json {
        /// The file.
        path: PathBuf,
    },
    /// The metadata lacks something or says something impossible.
    #[error("{path}: metadata `{key}` {reason}; use a file written by `train --save`")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// They tell other classes apart.
    #[error(
        "{path} was trained on {theirs} classes ({names}) and the data have {ours}; give --data with \
         these {theirs} classes"
    )]
    Classes {
        /// The file.
        path: PathBuf,
        /// How many it tells apart.
        theirs: usize,
        /// How many there are.
        ours: usize,
        /// The first of its classes.
        names: String,
    },
    /// The tensors are not those of the architecture.
    #[error("{path} does not fit the architecture: {reason}; use weights of this architecture")]
    Misfit {
        /// The file.
        path: PathBuf,
        /// Which tensor, and how.
        reason: String,
    },
}
