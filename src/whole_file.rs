//! Files that appear whole or not at all: written beside their place, then moved there.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// What ends the name of a file while it is being written: `.<name>.<at random>.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// Writes a file by `content`, in the place of one that is there already or that a link leads to.
/// When this returns its bytes are on disk; where it fails, what was there before still is.
///
/// # Errors
/// What the system says where the folder does not exist or cannot be written, and those of
/// `content`.
pub fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    // A link stays, and what it leads to is replaced; a device is not a place for a file.
    let target = path.canonicalize();
    let path = target.as_deref().unwrap_or(path);
    if path.exists() && !path.is_file() {
        return Err(io::Error::other("there is something else than a file"));
    }
    let temporary = temporary(path)?;
    let mut file = BufWriter::with_capacity(1 << 18, temporary.as_file());
    content(&mut file)?;
    file.flush()?;
    drop(file);
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    File::open(folder(path))?.sync_all() // for its name to survive a power cut too
}

/// That a file can be written at a place: nothing is left there.
///
/// # Errors
/// What the system says where it cannot.
pub fn check(path: &Path) -> io::Result<()> {
    temporary(path).map(drop)
}

/// What becomes the file at `path`.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(UNFINISHED)
        // For everybody whom the user's mask allows, as any other file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))
}

/// Removes what a program that was killed has left in a folder of files of these names, by their
/// whole name. Nobody else may be writing them.
///
/// # Errors
/// What the system says where the folder cannot be read or written.
pub fn remove_unfinished(folder: &Path, names: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name();
        let of = file.to_str().and_then(|file| {
            file.strip_prefix('.')?
                .strip_suffix(UNFINISHED)?
                .rsplit_once('.')
        });
        if of.is_some_and(|(name, _)| names(name)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder that a file lies in; `.` for a bare name.
pub fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |file| file.write_all(b"first")).unwrap();
        write(&path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let failed = write(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else");
        write(&dir.path().join("absent/file"), |_| Ok(())).unwrap_err();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, |file| file.write_all(b"third")).unwrap();
        assert!(link.is_symlink() && fs::read(&path).unwrap() == b"third");
        write(dir.path(), |_| Ok(())).unwrap_err();
    }

    #[test]
    fn what_a_killed_program_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |file| {
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
        remove_unfinished(dir.path(), |name| name == "file").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_bare_name_lies_here() {
        assert_eq!(folder(Path::new("file")), Path::new("."));
        assert_eq!(folder(Path::new("a/file")), Path::new("a"));
        assert_eq!(folder(Path::new("/")), Path::new("."));
    }
}
