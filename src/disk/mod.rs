//! The disk as a run sees it: the few calls by which a run's files are made, written, moved and read,
//! so that a test can stand in for the disk and lose whatever was not synced.
//!
//! [`Real`] is the machine's. What is built of these calls, such as files that appear whole or not at
//! all, is in [`whole`]. What a user names as input, which is no part of a run, is read by [`input`].

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub mod input;
pub mod mounts;
mod real;
pub mod whole;

pub use real::{Real, sync};

/// Where files are kept. Every call may fail; one that was made is in force for this process at
/// once, and after a power cut only where it was synced.
pub trait Disk: Debug + Send + Sync {
    /// What there is by a name, links followed.
    ///
    /// # Errors
    /// As for all below: what the system says.
    fn found(&self, path: &Path) -> io::Result<Option<Found>>;

    /// The place that a name leads to where it is a link; the name itself where it is none, or nothing
    /// is there.
    fn target(&self, path: &Path) -> PathBuf;

    /// The names in a folder, in any order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The first bytes of a file, `most` where it has so many.
    fn read_start(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// A new, empty file; one that is there already is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is written at its end, made where there is none.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A folder in one that exists; one that is there already is no error.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name within its folder, in the place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// When this returns, the names in a folder are on disk: made, moved and removed.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is open for writing.
pub trait DiskFile: Write + Debug + Send {
    /// When this returns, its bytes are on disk.
    ///
    /// # Errors
    /// As for all below: what the system says. Nothing is known then of what reached the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Bytes in it.
    fn length(&self) -> io::Result<u64>;

    /// Drops what follows its first `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Takes its lock, which nobody else has until this file is closed or [`unlock`](Self::unlock)ed;
    /// false where another process has it. Readers take none.
    fn try_lock(&self) -> io::Result<bool>;

    /// Gives the lock back.
    fn unlock(&self) -> io::Result<()>;
}

/// What there is by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A pipe, a device or a socket.
    Other,
}

/// The folder that a file lies in; `.` for a bare name.
pub fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
