//! A data folder in the making: it appears whole or not at all.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use tempfile::TempDir;

use super::{ImportError, Imported, Skipped};
use crate::data::cifar::{NAMES_FILE, TEST_FILE, train_file};
use crate::data::{Dataset, Description, RECORD_BYTES, description};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 the test file, n the n-th file of training records.
    pub file: usize,
    /// From 0.
    pub record: u64,
}

/// A data folder that is being written, beside the place where it will stand. Dropped unfinished,
/// nothing is left of it.
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
    /// Where there is something at `out` but an empty folder, or beside it nothing can be written.
    pub fn create(out: &Path, n_train_files: usize) -> Result<NewFolder, ImportError> {
        let failed = |source| ImportError::Write {
            path: out.into(),
            source,
        };
        let is_free = match fs::symlink_metadata(out) {
            Ok(found) => found.is_dir() && fs::read_dir(out).map_err(failed)?.next().is_none(),
            Err(_) => true,
        };
        if !is_free {
            return Err(ImportError::Exists { path: out.into() });
        }
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".unfinished")
            .permissions(Permissions::from_mode(0o777)) // less what the user's mask takes
            .tempdir_in(parent)
            .map_err(failed)?;
        let names = (0..=n_train_files).map(file_name);
        let create = |name: String| File::create_new(unfinished.path().join(name));
        Ok(NewFolder {
            out: out.into(),
            files: names
                .map(create)
                .collect::<Result<_, _>>()
                .map_err(failed)?,
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
            fs::write(&path, text).and_then(|()| File::open(path)?.sync_all())
        };
        write(description::FILE_NAME, description.to_toml()).map_err(failed)?;
        let dataset = Dataset::open(folder, None)?;
        // The digest keeps a core busy, the disk keeps none.
        let (sha256, synced) = thread::scope(|scope| {
            let sha256 = scope.spawn(|| dataset.sha256());
            let synced = (0..).zip(&self.files).try_for_each(|(index, file)| {
                file.sync_all().map_err(|source| self.failed(index, source))
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
        fs::rename(folder, &self.out).map_err(failed)?;
        let _ = self.unfinished.keep(); // it has another name now
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
