//! The place of an export: nothing is there before, it appears whole, and where it fails or is stopped nothing is
//! left.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::{NamedTempFile, TempDir};

use super::ExportError;
use crate::disk::{self, Disk, Real, whole};

/// What ends the name of what is not whole yet.
const UNFINISHED: &str = ".unfinished";

/// Where an export appears, and what tells it to stop before that.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Nothing may be there.
    pub out: &'a Path,
    /// Set where it is to stop.
    pub stop: &'a AtomicBool,
}

impl Place<'_> {
    /// An error where it was told to stop.
    pub(super) fn go_on(self) -> Result<(), ExportError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(ExportError::Stopped {
                out: self.out.to_path_buf(),
            }),
            false => Ok(()),
        }
    }
}

/// That nothing is at a place, that it has a name, and that it can be written: before the work for it.
///
/// # Errors
/// Where that is not so.
pub fn check(out: &Path) -> Result<(), ExportError> {
    check_free(out)?;
    whole::check(&Real, out).map_err(|source| failed(out, source))
}

fn check_free(out: &Path) -> Result<(), ExportError> {
    let path = out.to_path_buf();
    if out.file_name().is_none() {
        return Err(ExportError::NoName { path });
    }
    match fs::symlink_metadata(out) {
        Ok(_) => Err(ExportError::Exists { path }),
        Err(_) => Ok(()),
    }
}

/// A file that is not at its place yet; dropped, nothing is left of it.
pub struct UnfinishedFile {
    file: NamedTempFile,
    out: PathBuf,
}

impl UnfinishedFile {
    /// Writes a file beside its place, to the disk.
    ///
    /// # Errors
    /// Where something is there, or it cannot be written.
    pub fn write(out: &Path, bytes: &[u8]) -> Result<UnfinishedFile, ExportError> {
        check_free(out)?;
        let write = || -> io::Result<NamedTempFile> {
            let mut file = beside(out, 0o666, |new, folder| new.tempfile_in(folder))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|source| failed(out, source))?;
        Ok(UnfinishedFile {
            file,
            out: out.to_path_buf(),
        })
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Brings it to its place.
    ///
    /// # Errors
    /// Where something has come to be there, or the system refuses it.
    pub fn appear(self) -> Result<(), ExportError> {
        let out = &self.out;
        self.file
            .persist_noclobber(out)
            .map_err(|error| failed(out, error.error))?;
        let synced = Real.sync_folder(disk::folder(out));
        synced.map_err(|source| failed(out, source))
    }
}

/// A folder that is not at its place yet; dropped, nothing is left of it.
pub struct UnfinishedFolder {
    folder: TempDir,
    out: PathBuf,
}

impl UnfinishedFolder {
    /// Writes files in a folder beside its place, to the disk.
    ///
    /// # Errors
    /// Where something is there, or it cannot be written.
    pub fn write(out: &Path, files: &[(&str, &[u8])]) -> Result<UnfinishedFolder, ExportError> {
        check_free(out)?;
        let write = || -> io::Result<TempDir> {
            let folder = beside(out, 0o777, |new, folder| new.tempdir_in(folder))?;
            for (name, bytes) in files {
                let mut file = File::create_new(folder.path().join(name))?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
            File::open(folder.path())?.sync_all()?; // their names
            Ok(folder)
        };
        let folder = write().map_err(|source| failed(out, source))?;
        Ok(UnfinishedFolder {
            folder,
            out: out.to_path_buf(),
        })
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Brings it to its place.
    ///
    /// # Errors
    /// Where something has come to be there, or the system refuses it.
    pub fn appear(self) -> Result<(), ExportError> {
        let out = &self.out;
        check_free(out)?;
        fs::rename(self.folder.path(), out).map_err(|source| failed(out, source))?;
        let _ = self.folder.keep(); // it has another name now
        let synced = Real.sync_folder(disk::folder(out));
        synced.map_err(|source| failed(out, source))
    }
}

/// Makes something new beside a place, by a name that no other has: `.<name>.<letters>.unfinished`. Of `mode` it has
/// what the user's mask does not take.
fn beside<T>(
    out: &Path,
    mode: u32,
    make: impl FnOnce(&tempfile::Builder, &Path) -> io::Result<T>,
) -> io::Result<T> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(&prefix)
        .suffix(UNFINISHED)
        .permissions(Permissions::from_mode(mode));
    make(&builder, disk::folder(out))
}

fn failed(out: &Path, source: io::Error) -> ExportError {
    let path = out.to_path_buf();
    match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
            ExportError::Exists { path }
        }
        _ => ExportError::Write {
            path,
            error: source,
        },
    }
}
