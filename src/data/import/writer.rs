//! A data folder in the making: it appears whole or not at all.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{io, thread};

use tempfile::TempDir;

use super::{ImportError, Imported, Skipped};
use crate::data::cifar::{NAMES_FILE, TEST_FILE, train_file};
use crate::data::{Dataset, Description, RECORD_BYTES, description};
use crate::disk::{self, Disk, Real, whole};

/// What ends the name of a folder that is being written: `.<name>.<6 letters>.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 the test file, n the n-th file of training records.
    pub file: usize,
    /// From 0.
    pub record: u64,
}

/// A data folder that is being written, beside the place where it will stand. Dropped unfinished,
/// nothing is left of it; what a process leaves that is killed, the next import to the same place removes.
#[derive(Debug)]
pub struct NewFolder {
    out: PathBuf,
    unfinished: TempDir,
    files: Vec<File>,
    /// Records of each file so far.
    counts: Mutex<Vec<u64>>,
}

impl NewFolder {
    /// Begins a folder with `n_train_files` files of training records, to stand at `out`.
    ///
    /// # Errors
    /// Where there is something at `out` but an empty folder, it has no name, or beside it nothing can be
    /// written.
    pub fn create(out: &Path, n_train_files: usize) -> Result<NewFolder, ImportError> {
        let failed = |source| ImportError::Write {
            path: out.into(),
            source,
        };
        let Some(name) = out.file_name().map(|name| name.to_string_lossy()) else {
            return Err(ImportError::NoName { path: out.into() });
        };
        let is_free = match fs::symlink_metadata(out) {
            Ok(found) => found.is_dir() && fs::read_dir(out).map_err(failed)?.next().is_none(),
            Err(_) => true,
        };
        if !is_free {
            return Err(ImportError::Exists { path: out.into() });
        }
        let parent = disk::folder(out);
        whole::create_folders(&Real, parent).map_err(failed)?;
        remove_abandoned(parent, &name);
        let unfinished = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(UNFINISHED)
            .permissions(Permissions::from_mode(0o777)) // less what the user's mask takes
            .tempdir_in(parent)
            .map_err(failed)?;
        Ok(NewFolder {
            out: out.into(),
            files: create_files(unfinished.path(), n_train_files).map_err(failed)?,
            unfinished,
            counts: Mutex::new(vec![0; n_train_files + 1]),
        })
    }

    /// Writes whole records one after another, from a place on; from any thread, in any order.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn put_all(&self, place: Place, records: &[u8]) -> Result<(), ImportError> {
        let Place { file, record } = place;
        self.files[file]
            .write_all_at(records, record * RECORD_BYTES as u64)
            .map_err(|source| self.failed(file, source))?;
        let mut counts = self.counts.lock().expect("counting does not panic");
        counts[file] += (records.len() / RECORD_BYTES) as u64;
        Ok(())
    }

    fn failed(&self, file: usize, source: std::io::Error) -> ImportError {
        ImportError::Write {
            path: self.out.join(file_name(file)),
            source,
        }
    }

    /// Writes the description, brings all to the disk, reads it as a data folder, and moves it to its
    /// place. `description` lacks the counts and the digest.
    ///
    /// # Errors
    /// Where something cannot be written, or what was written is no data folder.
    ///
    /// # Panics
    /// If a file has a gap between its records.
    pub fn finish(
        self,
        mut description: Description,
        skipped: Vec<Skipped>,
        notes: Vec<String>,
    ) -> Result<Imported, ImportError> {
        let counts = self.counts.lock().expect("counting does not panic").clone();
        for (index, (file, count)) in self.files.iter().zip(&counts).enumerate() {
            let length = file
                .metadata()
                .map_err(|source| self.failed(index, source))?;
            let whole = length.len() == count * RECORD_BYTES as u64;
            assert!(whole, "every record of {} was put", file_name(index));
        }
        description.test = Some(counts[0]);
        description.training = Some(counts[1..].iter().sum());
        let failed = |source| ImportError::Write {
            path: self.out.clone(),
            source,
        };
        let folder = self.unfinished.path();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).and_then(|()| disk::sync(&File::open(path)?))
        };
        write(description::FILE_NAME, description.to_toml()).map_err(failed)?;
        let dataset = Dataset::open(folder, None)?;
        // The digest keeps a core busy, the disk keeps none.
        let (sha256, synced) = thread::scope(|scope| {
            let sha256 = scope.spawn(|| dataset.sha256());
            let synced = (0..).zip(&self.files).try_for_each(|(index, file)| {
                disk::sync(file).map_err(|source| self.failed(index, source))
            });
            (sha256.join(), synced)
        });
        synced?;
        description.sha256 = Some(sha256.expect("computing a digest does not panic"));
        write(description::FILE_NAME, description.to_toml()).map_err(failed)?;
        // Other programs know the names from here.
        let fits_a_line =
            |name: &String| name.trim() == name && !name.is_empty() && name.lines().count() == 1;
        if description.classes.iter().all(fits_a_line) {
            write(NAMES_FILE, description.classes.join("\n") + "\n").map_err(failed)?;
        }
        let imported = Imported {
            folder: self.out.clone(),
            class_counts: dataset.class_counts(),
            training: dataset.n_train() as u64,
            test: dataset.n_test() as u64,
            classes: description.classes,
            skipped,
            notes,
        };
        drop(dataset);
        Real.sync_folder(folder).map_err(failed)?;
        fs::rename(folder, &self.out).map_err(failed)?;
        let _ = self.unfinished.keep(); // it has another name now
        // For that name to survive a power cut too.
        Real.sync_folder(disk::folder(&self.out)).map_err(failed)?;
        Ok(imported)
    }
}

/// Name of the test file (0) or the `number`-th file of training records.
fn file_name(number: usize) -> String {
    match number {
        0 => TEST_FILE.into(),
        number => train_file(number as u64),
    }
}

/// The files of a new folder. The first is locked before it has its name: a folder whose test file nobody has
/// locked is one that nobody writes.
fn create_files(folder: &Path, n_train_files: usize) -> io::Result<Vec<File>> {
    let nameless = folder.join("lock");
    let first = File::create_new(&nameless)?;
    // Where a file system knows no locks, nobody else gets this one either.
    let _ = first.try_lock();
    fs::rename(nameless, folder.join(file_name(0)))?;
    let others = (1..=n_train_files).map(|number| File::create_new(folder.join(file_name(number))));
    [Ok(first)].into_iter().chain(others).collect()
}

/// Removes what imports to the folder `name` in `parent` have left that were killed.
fn remove_abandoned(parent: &Path, name: &str) {
    let entries = parent.read_dir().into_iter().flatten().flatten();
    for entry in entries {
        let folder = entry.path();
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|found| is_unfinished(found, name));
        if is_ours && is_abandoned(&folder) {
            // What stays costs room and no more.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Whether a name is one of a folder that will be called `name`.
fn is_unfinished(found: &str, name: &str) -> bool {
    let letters = found
        .strip_prefix('.')
        .and_then(|found| found.strip_prefix(name)?.strip_prefix('.'))
        .and_then(|found| found.strip_suffix(UNFINISHED));
    letters.is_some_and(|letters| letters.len() == 6 && letters.chars().all(char::is_alphanumeric))
}

/// Whether nobody writes an unfinished folder: its lock went with the process that had it.
fn is_abandoned(folder: &Path) -> bool {
    let file = folder.join(file_name(0));
    file.is_file() && File::open(file).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_import_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            File::create(folder.join(file_name(0))).unwrap();
        };
        // Of this place, of another one, and two that have no such name.
        for name in [
            ".out.aBc123.unfinished",
            ".out.b.aBc123.unfinished",
            ".out.unfinished",
            ".out.aBc123",
        ] {
            make(name);
        }
        let out = parent.path().join("out");
        let first = NewFolder::create(&out, 1).unwrap();
        // One that is being written stays, one that has not begun to be too.
        fs::create_dir(parent.path().join(".out.xyz789.unfinished")).unwrap();
        let second = NewFolder::create(&out, 1).unwrap();
        let entries = fs::read_dir(parent.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut expected = [first.unfinished.path(), second.unfinished.path()]
            .map(PathBuf::from)
            .to_vec();
        for name in [
            ".out.b.aBc123.unfinished",
            ".out.unfinished",
            ".out.aBc123",
            ".out.xyz789.unfinished",
        ] {
            expected.push(parent.path().join(name));
        }
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_place_needs_a_name() {
        for out in [".", "..", "/", "a/.."] {
            let error = NewFolder::create(Path::new(out), 1).unwrap_err();
            assert!(matches!(error, ImportError::NoName { .. }), "{error}");
        }
    }
}
