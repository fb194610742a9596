//! The machine's disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;

use super::{Disk, DiskFile, Found};
use crate::large_pages;

/// Bytes from which on a file is read by two threads.
const LARGE: u64 = 4 << 20;

/// The machine's disk.
#[derive(Clone, Copy, Debug)]
pub struct Real;

impl Disk for Real {
    fn found(&self, path: &Path) -> io::Result<Option<Found>> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(Found::File(found.len()))),
            Ok(found) if found.is_dir() => Ok(Some(Found::Folder)),
            Ok(_) => Ok(Some(Found::Other)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn target(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.into())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let length = length(path)?;
        if length < LARGE {
            return fs::read(path);
        }
        // By two threads: most of the time goes into memory that is touched for the first time. What is
        // added meanwhile is not read.
        let file = File::open(path)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        large_pages::ask(bytes.as_ptr(), bytes.len());
        let (first, second) = bytes.split_at_mut(length as usize / 2);
        let middle = first.len() as u64;
        let read = thread::scope(|scope| {
            let second = scope.spawn(|| file.read_exact_at(second, middle));
            file.read_exact_at(first, 0)?;
            second.join().expect("reading does not panic")
        });
        match read {
            // A torn line was cut off meanwhile.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => fs::read(path),
            read => read.map(|()| bytes),
        }
    }

    fn read_start(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        length(path)?;
        let mut bytes = vec![];
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Some file systems cannot do it, and some folders may be written but not read. What is lost
        // is little: there the names of new files are as safe as the system makes them.
        let opened = match File::open(folder) {
            Err(error) if is_any(&error, &[libc::EACCES, libc::EISDIR]) => return Ok(()),
            opened => opened,
        };
        match opened.and_then(|folder| folder.sync_all()) {
            Err(error) if is_any(&error, &[libc::EINVAL, libc::EBADF]) => Ok(()),
            Err(error) if is_unknown_call(&error) => Ok(()),
            synced => synced,
        }
    }
}

/// Bytes of a file.
fn length(path: &Path) -> io::Result<u64> {
    let found = fs::metadata(path)?;
    match found.is_file() {
        true => Ok(found.len()),
        // Opening a pipe would wait for a writer, and a device may have no end.
        false => Err(io::Error::other("it is no file")),
    }
}

fn is_any(error: &io::Error, numbers: &[i32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| numbers.contains(&number))
}

/// The kernel's own `ENOTSUPP`, which it was not meant to hand on: Lustre and NFS do.
const ENOTSUPP: i32 = 524;

/// Whether a file system does not know the call.
fn is_unknown_call(error: &io::Error) -> bool {
    is_any(
        error,
        &[libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOTSUP, ENOTSUPP],
    )
}

/// Whether a file system has no locks, or none left: some of clusters.
fn has_no_locks(error: &io::Error) -> bool {
    is_unknown_call(error) || is_any(error, &[libc::ENOLCK, libc::EINVAL])
}

/// Says once that what is written may be lost.
fn warn_of_no_sync(error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "the file system does not say when a file is on its disk ({error}): a power cut may lose what \
             was written last"
        );
    });
}

/// When this returns, the bytes of a file are on disk; where its file system does not say when, that is
/// warned of.
///
/// # Errors
/// What the system says.
pub fn sync(file: &File) -> io::Result<()> {
    // Its length too; times may be older.
    match file.sync_data() {
        Err(error) if is_unknown_call(&error) || is_any(&error, &[libc::EINVAL]) => {
            warn_of_no_sync(&error);
            Ok(())
        }
        synced => synced,
    }
}

#[derive(Debug)]
struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        sync(&self.0)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                tracing::warn!(
                    "the file system knows no locks ({error}): see to it that no second nas-engine works on \
                     this run"
                );
                Ok(true)
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}
