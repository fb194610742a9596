//! Why a checkpoint cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error("cannot read the checkpoint {}: {source}; check the path and the right to it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is not what was written, or no checkpoint.
    #[error("{} is no whole checkpoint: {reason}; restore it from a copy, or remove it and begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version of the program wrote it, which makes other bits or another format.
    #[error(
        "the checkpoint {} is of another version of nas-engine ({theirs}; this one has {ours}): go on with \
         that version, or remove it and begin anew", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it is of.
        theirs: String,
        /// What this program has.
        ours: String,
    },
    /// It is of something else.
    #[error(
        "the checkpoint {} is of another {what}: {theirs}, not {ours}; remove it and begin anew",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is of.
        theirs: String,
        /// What was expected.
        ours: String,
    },
    /// It is of other data.
    #[error(
        "the checkpoint {} is of another data set: sha256 {theirs}, not {ours}; say where that lies with \
         --data, or remove the checkpoint and begin anew", path.display()
    )]
    OtherData {
        /// The file.
        path: PathBuf,
        /// Digest of its data.
        theirs: String,
        /// Digest of the data that were opened.
        ours: String,
    },
}
