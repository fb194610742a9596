//! Whether an import was told to stop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ImportError;

/// Where an import looks whether it is to stop, and what it then leaves nothing at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop<'a> {
    pub flag: &'a AtomicBool,
    pub out: &'a Path,
}

impl Stop<'_> {
    pub(super) fn is_set(self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// An error where it is to stop.
    pub(super) fn check(self) -> Result<(), ImportError> {
        match self.is_set() {
            true => Err(ImportError::Stopped {
                out: self.out.into(),
            }),
            false => Ok(()),
        }
    }
}
