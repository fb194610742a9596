//! A data folder in the making: it appears whole or not at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::{io, thread};

use super::site::Site;
use super::{ImportError, Imported, Skipped};
use crate::data::cifar::{NAMES_FILE, TEST_FILE, train_file};
use crate::data::{Dataset, Description, RECORD_BYTES, description};
use crate::disk::{self, Disk, Real};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 the test file, n the n-th file of training records.
    pub file: usize,
    /// From 0.
    pub record: u64,
}

/// A data folder that is being written. Dropped unfinished, nothing is left of it; what a process leaves that
/// is killed, the next import to the same place removes.
#[derive(Debug)]
pub struct NewFolder {
    files: Vec<File>,
    site: Site,
    /// Records of each file so far.
    counts: Mutex<Vec<u64>>,
}

impl NewFolder {
    /// Begins a folder with `n_train_files` files of training records, to stand at `out`.
    ///
    /// # Errors
    /// Where there is something at `out` but an empty folder, it has no name, or nothing can be written
    /// there.
    pub fn create(out: &Path, n_train_files: usize) -> Result<NewFolder, ImportError> {
        let site = Site::begin(out)?;
        let files = create_files(site.folder(), n_train_files);
        Ok(NewFolder {
            files: files.map_err(|source| ImportError::Write {
                path: out.into(),
                source,
            })?,
            site,
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
            path: self.site.out().join(file_name(file)),
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
            path: self.site.out().into(),
            source,
        };
        let folder = self.site.folder();
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
            folder: self.site.out().into(),
            class_counts: dataset.class_counts(),
            training: dataset.n_train() as u64,
            test: dataset.n_test() as u64,
            classes: description.classes,
            skipped,
            notes,
        };
        drop(dataset);
        Real.sync_folder(folder).map_err(failed)?;
        self.site.appear()?;
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        let mut expected = [first.site.folder(), second.site.folder()]
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
}
