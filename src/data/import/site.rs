//! Where a data folder lies while it is written, how it comes to its place, and what imports to the same place
//! have left that were killed.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::ImportError;
use super::created::Created;
use crate::data::cifar::{NAMES_FILE, TEST_FILE};
use crate::data::description;
use crate::disk::{self, Disk, Real, whole};

/// What ends the name of a folder that is being written: `.<name>.<6 letters>.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// A file in an unfinished folder from when its files begin to be moved out of it, one by one.
const MOVING: &str = "moving";

/// A folder that is being written, beside the place where it will stand; or in it, where that is an empty
/// folder that no other can replace. Dropped, nothing is left of it.
#[derive(Debug)]
pub(super) struct Site {
    out: PathBuf,
    /// Removed before the folders that it lies in.
    unfinished: TempDir,
    is_inside: bool,
    _created: Created,
}

impl Site {
    /// Begins a folder that will stand at `out`.
    ///
    /// # Errors
    /// Where there is something at `out` but an empty folder, it has no name, or neither beside it nor in it
    /// anything can be written.
    pub(super) fn begin(out: &Path) -> Result<Site, ImportError> {
        let failed = |source| ImportError::Write {
            path: out.into(),
            source,
        };
        let Some(name) = out.file_name().map(|name| name.to_string_lossy()) else {
            return Err(ImportError::NoName { path: out.into() });
        };
        let is_there = match fs::symlink_metadata(out) {
            Ok(found) if found.is_dir() => {
                remove_abandoned_inside(out, &name);
                if fs::read_dir(out).map_err(failed)?.next().is_some() {
                    return Err(ImportError::Exists { path: out.into() });
                }
                true
            }
            Ok(_) => return Err(ImportError::Exists { path: out.into() }),
            Err(_) => false,
        };
        let parent = disk::folder(out);
        let created = Created::on_the_way_to(parent);
        whole::create_folders(&Real, parent).map_err(failed)?;
        for folder in unfinished_in(parent, &name) {
            if is_abandoned(&folder, &[&folder]) {
                // What stays costs room and no more.
                let _ = fs::remove_dir_all(folder);
            }
        }
        let new_in = |folder: &Path| {
            tempfile::Builder::new()
                .prefix(&format!(".{name}."))
                .suffix(UNFINISHED)
                .permissions(Permissions::from_mode(0o777)) // less what the user's mask takes
                .tempdir_in(folder)
        };
        let beside = match is_there && is_mount_point(out, parent) {
            true => None,
            false => match new_in(parent) {
                Err(error) if is_there && may_not_write(&error) => None,
                begun => Some(begun.map_err(failed)?),
            },
        };
        let is_inside = beside.is_none();
        Ok(Site {
            unfinished: beside.map_or_else(|| new_in(out), Ok).map_err(failed)?,
            out: out.into(),
            is_inside,
            _created: created,
        })
    }

    /// The folder while it is written.
    pub(super) fn folder(&self) -> &Path {
        self.unfinished.path()
    }

    /// Where it will stand.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Brings the whole folder to its place.
    ///
    /// # Errors
    /// Where something has come to be there meanwhile, or the system refuses it.
    pub(super) fn appear(self) -> Result<(), ImportError> {
        let failed = |source: io::Error| match is_taken(&source) {
            true => ImportError::Exists {
                path: self.out.clone(),
            },
            false => ImportError::Write {
                path: self.out.clone(),
                source,
            },
        };
        let parent = match self.is_inside {
            true => {
                move_files(self.folder(), &self.out).map_err(failed)?;
                self.out.as_path()
            }
            false => {
                fs::rename(self.folder(), &self.out).map_err(failed)?;
                disk::folder(&self.out)
            }
        };
        // For the names to survive a power cut too.
        let synced = Real.sync_folder(parent).map_err(failed);
        if !self.is_inside {
            let _ = self.unfinished.keep(); // it has another name now
        }
        synced
    }
}

/// Whether a folder cannot come to a place because something is there.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory
    )
}

/// Whether a folder is one that nothing new may be put in.
fn may_not_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

/// Whether another file system begins at the folder `out`, or another part of the same: none such can be
/// replaced.
fn is_mount_point(out: &Path, parent: &Path) -> bool {
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let whole = out.canonicalize();
    device(out) != device(parent) || whole.is_ok_and(|whole| is_mounted(&mounts, &whole))
}

/// Whether a path is among the places of `mounts`, the lines of `/proc/self/mountinfo`.
fn is_mounted(mounts: &[u8], path: &Path) -> bool {
    let mut written = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => written.extend(format!("\\{byte:03o}").bytes()),
            byte => written.push(byte),
        }
    }
    let mut lines = mounts.split(|&byte| byte == b'\n');
    lines.any(|line| line.split(|&byte| byte == b' ').nth(4) == Some(&written))
}

/// Moves the files of an unfinished folder in `out` to `out`: the description last, the test file, whose lock
/// says that somebody is about it, before it. All or none.
fn move_files(unfinished: &Path, out: &Path) -> io::Result<()> {
    for entry in fs::read_dir(out)? {
        // Of several imports at a time the first to be ready has the place.
        let name = entry?.file_name();
        if !name.as_bytes().ends_with(UNFINISHED.as_bytes()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(unfinished)? {
        names.push(entry?.file_name());
    }
    names.sort_by_key(|name| match name.to_str() {
        Some(description::FILE_NAME) => 2,
        Some(TEST_FILE) => 1,
        _ => 0,
    });
    File::create_new(unfinished.join(MOVING))?;
    for (n_moved, name) in names.iter().enumerate() {
        if let Err(error) = fs::rename(unfinished.join(name), out.join(name)) {
            for name in &names[..n_moved] {
                let _ = fs::remove_file(out.join(name));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Removes what imports have left in the folder `out` that were killed, also of files that were being moved.
fn remove_abandoned_inside(out: &Path, name: &str) {
    for folder in unfinished_in(out, name) {
        if !is_abandoned(&folder, &[&folder, out]) {
            continue;
        }
        // With its description the data folder was whole.
        let is_whole = out.join(description::FILE_NAME).exists();
        if folder.join(MOVING).is_file() && !is_whole {
            let entries = out.read_dir().into_iter().flatten().flatten();
            let files = entries.filter(|entry| is_of_a_data_folder(&entry.file_name()));
            for file in files.filter(|file| !folder.join(file.file_name()).exists()) {
                let _ = fs::remove_file(file.path());
            }
        }
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether a file is called as one of those that are moved before the description.
fn is_of_a_data_folder(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    let number = name.strip_prefix("data_batch_");
    let number = number.and_then(|name| name.strip_suffix(".bin"));
    let is_training = number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    is_training || name == TEST_FILE || name == NAMES_FILE
}

/// The unfinished folders in `parent` that will be called `name`.
fn unfinished_in(parent: &Path, name: &str) -> Vec<PathBuf> {
    let entries = parent.read_dir().into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let found = entry.file_name();
        found
            .to_str()
            .is_some_and(|found| is_unfinished(found, name))
    });
    ours.map(|entry| entry.path()).collect()
}

/// Whether a name is one of a folder that will be called `name`.
fn is_unfinished(found: &str, name: &str) -> bool {
    let letters = found
        .strip_prefix('.')
        .and_then(|found| found.strip_prefix(name)?.strip_prefix('.'))
        .and_then(|found| found.strip_suffix(UNFINISHED));
    letters.is_some_and(|letters| letters.len() == 6 && letters.chars().all(char::is_alphanumeric))
}

/// Whether nobody writes an unfinished folder: the lock of its test file, which lies in the first of these
/// folders that holds one, went with the process that had it.
fn is_abandoned(folder: &Path, places: &[&Path]) -> bool {
    let mut files = places.iter().map(|place| place.join(TEST_FILE));
    let file = files.find(|file| file.is_file());
    let is_free = |file: PathBuf| File::open(file).is_ok_and(|file| file.try_lock().is_ok());
    folder.is_dir() && file.is_some_and(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_place_needs_a_name() {
        for out in [".", "..", "/", "a/.."] {
            let error = Site::begin(Path::new(out)).unwrap_err();
            assert!(matches!(error, ImportError::NoName { .. }), "{error}");
        }
    }

    #[test]
    fn folders_on_the_way_go_with_it() {
        let parent = tempfile::tempdir().unwrap();
        drop(Site::begin(&parent.path().join("a/b/out")).unwrap());
        assert!(names(parent.path()).is_empty());
        Site::begin(&parent.path().join("a/b/out"))
            .unwrap()
            .appear()
            .unwrap();
        assert!(parent.path().join("a/b/out").is_dir());
    }

    #[test]
    fn a_place_that_was_taken_meanwhile_is_there_already() {
        for is_folder in [true, false] {
            let parent = tempfile::tempdir().unwrap();
            let out = parent.path().join("out");
            let [first, second] = [(); 2].map(|()| Site::begin(&out).unwrap());
            fs::write(first.folder().join("x"), "x").unwrap();
            match is_folder {
                true => first.appear().unwrap(),
                false => fs::write(&out, "x").unwrap(),
            }
            let error = second.appear().unwrap_err();
            assert!(matches!(error, ImportError::Exists { .. }), "{error}");
            let left = names(parent.path());
            assert_eq!(left.len(), if is_folder { 1 } else { 2 }, "{left:?}");
        }
    }

    #[test]
    fn mount_points_are_known_by_their_lines() {
        let mounts = b"1 2 0:3 / / rw - ext4 a rw\n5 1 0:3 /x /my\\040out\\134 rw - ext4 a rw\n";
        assert!(is_mounted(mounts, Path::new("/my out\\")));
        assert!(is_mounted(mounts, Path::new("/")));
        assert!(!is_mounted(mounts, Path::new("/x")));
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("out");
        fs::create_dir(&out).unwrap();
        assert!(!is_mount_point(&out, parent.path()));
        assert!(is_mount_point(Path::new("/proc"), Path::new("/")));
        for (code, expected) in [
            (libc::EACCES, true),
            (libc::EROFS, true),
            (libc::ENOSPC, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(may_not_write(&error), expected, "{error}");
        }
    }

    /// An unfinished folder in `out` with the files of a data folder.
    fn inside(out: &Path) -> PathBuf {
        let folder = out.join(".out.aBc123.unfinished");
        fs::create_dir_all(&folder).unwrap();
        for name in ["dataset.toml", "test_batch.bin", "data_batch_1.bin"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        folder
    }

    #[test]
    fn files_are_moved_out_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("out");
        let folder = inside(&out);
        fs::write(out.join("mine"), "x").unwrap();
        let error = move_files(&folder, &out).unwrap_err();
        assert!(is_taken(&error), "{error}");
        fs::remove_file(out.join("mine")).unwrap();
        move_files(&folder, &out).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let whole = ["data_batch_1.bin", "dataset.toml", "test_batch.bin"];
        assert_eq!(names(&out), whole);
    }

    /// Killed between any two moves, the next import to the place finds it empty; whole data stay.
    #[test]
    fn what_was_being_moved_is_removed_by_the_next() {
        for n_moved in 0..=3 {
            let parent = tempfile::tempdir().unwrap();
            let out = parent.path().join("out");
            let folder = inside(&out);
            fs::write(folder.join(MOVING), "").unwrap();
            let order = ["data_batch_1.bin", "test_batch.bin", "dataset.toml"];
            for name in &order[..n_moved] {
                fs::rename(folder.join(name), out.join(name)).unwrap();
            }
            let begun = Site::begin(&out);
            match n_moved {
                3 => assert_eq!(names(&out).len(), 3),
                _ => assert!(begun.is_ok() && names(&out).is_empty(), "{:?}", names(&out)),
            }
        }
    }
}
