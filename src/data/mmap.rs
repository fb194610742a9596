//! Read-only file mapping: one unsafe block with its contract.
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
//! What happens if it is broken: a truncated file ends the process with `SIGBUS` at the first
//! access beyond the new end; overwritten pixels are trained on as they are; an overwritten label
//! that is no class is caught in [`Dataset::record`](super::Dataset::record). All of these bytes
//! are plain `u8` that are read and never used as a pointer, a length or an index without a check,
//! so no change turns into an access outside the mapping.
//!
//! We accept this, as search tools such as ripgrep do, because of what it buys: a data set costs no
//! memory of its own, opens in milliseconds and is shared by all processes of a machine.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

use super::DataError;

/// Maps a regular file read-only. An empty file gives an empty mapping.
///
/// # Errors
/// If the path is no regular file or cannot be read.
pub(super) fn map(path: &Path) -> Result<Mmap, DataError> {
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
    unsafe { Mmap::map(&file) }.map_err(failed)
}
