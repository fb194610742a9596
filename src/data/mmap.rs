//! Read-only mapping of data files, with its contract; what is said when pages are gone is in `cut`.
//!
//! # The contract
//! A mapping shows the file as it is now, not as it was when it was mapped. Rust takes for granted
//! that bytes behind a `&[u8]` do not change, and no operating system that we run on can promise
//! it: any process that may write the file may change it under us. Locks do not help (on Linux they
//! are advisory), and a private mapping does not either (pages not yet touched still follow the
//! file). So the promise is the user's:
//!
//! **Nothing may truncate or write a data file in place while a run has it open.** Replacing it by
//! renaming another file over it is fine, since the mapping keeps the old file.
//!
//! What happens if it is broken: of a file that was cut, or whose disk fails, the first access to what
//! is gone ends the process with exit code 3 and words that name the file (the kernel's `SIGBUS` is
//! heeded here); overwritten pixels are trained on as they are; an overwritten label that is no class
//! is caught in [`Dataset::record`](super::Dataset::record). All of these bytes are plain `u8` that
//! are read and never used as a pointer, a length or an index without a check, so no change turns into
//! an access outside the mapping.
//!
//! We accept this, as search tools such as ripgrep do, because of what it buys: a data set costs no
//! memory of its own, opens in milliseconds and is shared by all processes of a machine.

use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::DataError;

mod cut;

pub use cut::also_in_json;

/// The bytes of a file, mapped, or read where its file system maps nothing.
#[derive(Debug)]
pub(super) enum FileBytes {
    /// Followed by whoever writes the file.
    Mapped {
        /// The pages.
        map: Mmap,
        /// Says which file it is where the pages are gone.
        _watched: cut::Watched,
    },
    /// A copy.
    Read(Vec<u8>),
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped { map, .. } => map,
            FileBytes::Read(bytes) => bytes,
        }
    }
}

/// Maps a regular file read-only. An empty file gives an empty mapping.
///
/// # Errors
/// If the path is no regular file or cannot be read.
pub(super) fn map(path: &Path) -> Result<FileBytes, DataError> {
    let failed = |source: io::Error| DataError::Read {
        path: path.to_path_buf(),
        source,
    };
    // Asked by path first: opening a pipe would wait for a writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(DataError::NotAFile {
            path: path.to_path_buf(),
        });
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the mapping is read-only and of a regular file whose length the kernel takes at the
    // moment of the call. That nobody changes the file while it is mapped is the user's promise,
    // stated above; no code of this crate writes a data file in place (`sample` renames whole
    // files).
    match unsafe { Mmap::map(&file) } {
        Ok(map) => Ok(FileBytes::Mapped {
            _watched: cut::Watched::new(&map, path),
            map,
        }),
        Err(error) if maps_nothing(&error) => {
            tracing::warn!(
                "{}: its file system cannot map files ({error}): it is read into memory",
                path.display()
            );
            fs::read(path).map(FileBytes::Read).map_err(failed)
        }
        Err(source) => Err(failed(source)),
    }
}

/// Whether a file system refuses to map any file: some of those that programs provide (FUSE).
fn maps_nothing(error: &io::Error) -> bool {
    let refused = [libc::ENODEV, libc::ENOSYS, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|code| refused.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_mapped_is_told_from_what_may_not() {
        for (code, nothing) in [
            (libc::ENODEV, true),
            (libc::EACCES, false),
            (libc::ENOMEM, false),
        ] {
            assert_eq!(maps_nothing(&io::Error::from_raw_os_error(code)), nothing);
        }
    }
}
