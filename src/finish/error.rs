//! Why `finish` ends without a result.

use std::path::PathBuf;

use crate::device::DeviceError;
use crate::run::RunError;
use crate::run::journal::JournalError;
use crate::search::SearchError;
use crate::train::TrainError;

/// Why it ends without a result.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// It was told to stop; the same command goes on.
    #[error("after {done} of {all} trainings of the grid")]
    Stopped {
        /// Trainings of the grid that ended.
        done: usize,
        /// Those that there are.
        all: usize,
    },
    /// The last device is lost.
    #[error("the last GPU is lost ({0})")]
    NoDevice(String),
    /// It was begun with another grid.
    #[error(
        "{path} was begun with another grid ({differs}); give the same flags, or remove {path} to begin anew",
        path = .path.display()
    )]
    OtherGrid {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differs: String,
    },
    /// Nothing of the grid was trained to the end.
    #[error("no training of the grid came to its end, such as that with {recipe}: {how}; give smaller --learning-rates, and remove {path} to begin anew", path = .path.display())]
    Nothing {
        /// A recipe.
        recipe: String,
        /// How its training ended.
        how: String,
        /// The folder.
        path: PathBuf,
    },
    /// The last training diverged.
    #[error(
        "the last training diverged in epoch {epoch}, although that with held-out records did not; give smaller \
         --learning-rates, and remove {path} to begin anew", path = .path.display()
    )]
    Diverged {
        /// Its epoch.
        epoch: usize,
        /// The folder.
        path: PathBuf,
    },
    /// A file of the folder says what no version writes.
    #[error("{path} is damaged: {why}; remove it to have it made again", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What is on record is not what the grid says.
    #[error(
        "{path} cannot be gone on with: {why}; remove {path}, the whole folder, to begin anew", path = .path.display()
    )]
    Unfit {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The last training.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<JournalError> for FinishError {
    fn from(error: JournalError) -> Self {
        FinishError::Run(error.into())
    }
}

impl From<SearchError> for FinishError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Run(error) => FinishError::Run(error),
            SearchError::Journal(error) => error.into(),
            other => unreachable!("only files are written here: {other}"),
        }
    }
}
