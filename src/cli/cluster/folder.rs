//! Folders that go with the process which makes them. What one that was killed has left, the next one removes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tempfile::TempDir;

/// The file in a folder that its owner has locked, which ends with the owner however that ends: unlike the number
/// of a process, a lock is never another's. It holds the boot of the machine, for locks may not be seen from others
/// that have the folder too.
const OWNER: &str = "owner";

/// Letters between the two ends of a folder's name.
const LETTERS: usize = 6;

/// A folder. Dropped, it is removed.
#[derive(Debug)]
pub struct Folder {
    /// Before the lock: fields are dropped in their order.
    folder: TempDir,
    _owner: File,
}

impl Folder {
    /// Makes `<before><letters><after>` within a folder, after it has removed those whose owners are gone.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(within: &Path, before: &str, after: &str) -> io::Result<Folder> {
        for folder in named(within, before, after) {
            remove_if_abandoned(&folder);
        }
        let folder = tempfile::Builder::new()
            .prefix(before)
            .suffix(after)
            .rand_bytes(LETTERS)
            .tempdir_in(within)?;
        let nameless = folder.path().join("new");
        let mut owner = File::create_new(&nameless)?;
        // It is locked before it has its name. Where a file system knows no locks it stays empty, and the folder is
        // nobody else's to remove.
        if owner.try_lock().is_ok() {
            owner.write_all(boot().as_bytes())?;
        }
        fs::rename(nameless, folder.path().join(OWNER))?;
        Ok(Folder {
            folder,
            _owner: owner,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What is called so within a folder.
fn named(within: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        let letters = name.strip_prefix(before);
        let letters = letters.and_then(|rest| rest.strip_suffix(after));
        let is_letter = |letter: char| letter.is_ascii_alphanumeric();
        letters.is_some_and(|letters| letters.len() == LETTERS && letters.chars().all(is_letter))
    };
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    ours.map(|entry| entry.path()).collect()
}

/// Removes a folder of this user whose owner was a process of this machine, since it was started, and is no more.
/// What stays costs room alone.
fn remove_if_abandoned(folder: &Path) {
    let is_own = fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    if !is_own {
        return;
    }
    let (path, boot) = (folder.join(OWNER), boot());
    let Ok(mut owner) = OpenOptions::new().read(true).write(true).open(path) else {
        return;
    };
    let mut made = String::new();
    let is_read = (&mut owner).take(1000).read_to_string(&mut made).is_ok();
    if is_read && !boot.is_empty() && made == boot && owner.try_lock().is_ok() {
        let _ = fs::remove_dir_all(folder);
    }
}

/// What is another number each time that a machine is started; nothing where that is not known.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_owner_of_this_machine_left_is_removed() {
        let within = tempfile::tempdir().unwrap();
        let make = || Folder::new(within.path(), "a-", ".b").unwrap();
        let live = make();
        let plain = |name: &str, owner: Option<&str>| {
            let folder = within.path().join(name);
            fs::create_dir(&folder).unwrap();
            if let Some(owner) = owner {
                fs::write(folder.join(OWNER), owner).unwrap();
            }
            folder
        };
        let left = plain("a-abcdef.b", Some(&boot()));
        let stay = [
            plain("a-begun0.b", None),
            plain("a-nolock.b", Some("")),
            plain("a-others.b", Some("another machine\n")),
            plain("a-abcdefg.b", Some(&boot())),
            plain("c-abcdef.b", Some(&boot())),
            live.path().to_owned(),
        ];
        let next = make();
        assert!(!left.exists());
        for folder in stay.iter().chain([&next.path().to_owned()]) {
            assert!(folder.exists(), "{}", folder.display());
        }
        let path = live.path().to_owned();
        drop(live);
        assert!(!path.exists() && next.path().exists());
    }
}
