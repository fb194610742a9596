//! Files that appear whole or not at all: written beside their place, then moved there.

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::{Disk, DiskFile, Found, folder};

/// What ends the name of a file while it is being written: `.<name>.<letters>.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// A file's content on its way to the disk.
pub type Writer<'a> = BufWriter<&'a mut (dyn DiskFile + 'static)>;

/// Writes a file by `content`, in the place of one that is there already or that a link leads to.
/// When this returns it is on disk; where it fails, what was there before still is, or, where the folder
/// alone cannot be synced, the new file.
///
/// # Errors
/// What the system says where the folder does not exist or cannot be written, and those of
/// `content`.
pub fn write(
    disk: &dyn Disk,
    path: &Path,
    content: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> io::Result<()> {
    // A link stays, and what it leads to is replaced; a device is not a place for a file.
    let path = &disk.target(path);
    if !matches!(disk.found(path)?, None | Some(Found::File(_))) {
        return Err(io::Error::other("there is something else than a file"));
    }
    let (temporary, mut file) = create_beside(disk, path)?;
    let written = fill(&mut *file, content).and_then(|()| disk.rename(&temporary, path));
    if let Err(error) = written {
        // What is left does no harm, and the first error says more.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_folder(folder(path)) // for its name to survive a power cut too
}

/// Writes the content and brings it to the disk, before the file has its name.
fn fill(
    file: &mut (dyn DiskFile + 'static),
    content: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, &mut *file);
    content(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.sync()
}

/// A new file beside `path`, by a name that no other has.
fn create_beside(disk: &dyn Disk, path: &Path) -> io::Result<(PathBuf, Box<dyn DiskFile>)> {
    loop {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}{UNFINISHED}", letters()));
        let temporary = folder(path).join(name);
        match disk.create(&temporary) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (temporary, file)),
        }
    }
}

/// Letters that no other process is likely to have, and no other call in this one.
fn letters() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let nanoseconds = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_nanos() as u64);
    let process = u64::from(std::process::id());
    let mut mixed = nanoseconds ^ process.rotate_left(40) ^ call.rotate_left(20);
    let alphabet = b'a'..=b'z';
    let letter = |_| {
        let letter = alphabet.clone().nth((mixed % 26) as usize);
        mixed /= 26;
        char::from(letter.expect("a remainder is smaller than its divisor"))
    };
    (0..10).map(letter).collect()
}

/// That a file can be written at a place: nothing is left there.
///
/// # Errors
/// What the system says where it cannot.
pub fn check(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let (temporary, file) = create_beside(disk, path)?;
    drop(file);
    disk.remove(&temporary)
}

/// Why nothing can be written at a place whose folder is not there, or is none, and the next step; nothing where
/// the system's words are about something else.
pub fn no_folder(path: &Path, error: &io::Error) -> Option<String> {
    let folder = folder(path).display();
    match error.kind() {
        ErrorKind::NotFound => Some(format!(
            "the folder {folder} does not exist; make it, or name another place"
        )),
        ErrorKind::NotADirectory => Some(format!("{folder} is no folder; name another place")),
        _ => None,
    }
}

/// Makes a folder and those that it lies in. When this returns their names are on disk.
///
/// # Errors
/// What the system says where one cannot be made.
pub fn create_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.found(path)? {
        Some(Found::Folder) => return Ok(()),
        Some(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "it is no folder")),
        None => create_folders(disk, folder(path))?,
    }
    disk.create_folder(path)?;
    disk.sync_folder(folder(path))
}

/// Removes what a program that was killed has left in a folder of files of these names, by their
/// whole name. Nobody else may be writing them.
///
/// # Errors
/// What the system says where the folder cannot be read or written.
pub fn remove_unfinished(
    disk: &dyn Disk,
    folder: &Path,
    names: impl Fn(&str) -> bool,
) -> io::Result<()> {
    for file in disk.names(folder)? {
        let of = file.to_str().and_then(|file| {
            file.strip_prefix('.')?
                .strip_suffix(UNFINISHED)?
                .rsplit_once('.')
        });
        if of.is_some_and(|(name, _)| names(name)) {
            disk.remove(&folder.join(&file))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Real;
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&Real, &path, |file| file.write_all(b"first")).unwrap();
        write(&Real, &path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let failed = write(&Real, &path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else");
        write(&Real, &dir.path().join("absent/file"), |_| Ok(())).unwrap_err();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&Real, &link, |file| file.write_all(b"third")).unwrap();
        assert!(link.is_symlink() && fs::read(&path).unwrap() == b"third");
        write(&Real, dir.path(), |_| Ok(())).unwrap_err();
    }

    /// Each write has a file of its own until it ends, also of one name.
    #[test]
    fn a_file_can_be_written_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&Real, &path, |outer| {
            write(&Real, &path, |inner| inner.write_all(b"inner"))?;
            assert_eq!(fs::read(&path)?, b"inner");
            outer.write_all(b"outer")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"outer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else");
    }

    #[test]
    fn what_a_killed_program_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&Real, &path, |file| {
            // As it would be left: this name exists while the file is written.
            let entries = fs::read_dir(dir.path())?.collect::<io::Result<Vec<_>>>()?;
            for entry in entries {
                let name = entry.file_name().into_string().unwrap();
                fs::write(dir.path().join(name.replace(".file.", ".file.x")), "half")?;
            }
            file.write_all(b"whole")
        })
        .unwrap();
        fs::write(dir.path().join(".other.a.unfinished"), "another's").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        remove_unfinished(&Real, dir.path(), |name| name == "file").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let words = |name: &str| {
            let path = dir.path().join(name);
            no_folder(&path, &check(&Real, &path).unwrap_err()).unwrap()
        };
        let name = |name: &str| dir.path().join(name).display().to_string();
        let missing = format!("the folder {} does not exist; ", name("no"));
        assert!(words("no/x").starts_with(&missing), "{}", words("no/x"));
        let no_folder_is = format!("{} is no folder; ", name("file"));
        assert!(words("file/x").starts_with(&no_folder_is));
        let other = io::Error::from(ErrorKind::PermissionDenied);
        assert_eq!(no_folder(Path::new("x"), &other), None);
    }

    #[test]
    fn a_bare_name_lies_here() {
        assert_eq!(folder(Path::new("file")), Path::new("."));
        assert_eq!(folder(Path::new("a/file")), Path::new("a"));
        assert_eq!(folder(Path::new("/")), Path::new("."));
    }
}
