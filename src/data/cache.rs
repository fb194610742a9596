//! The folder for what can be made again: unpacked samples, encoded texts. Only downloads need it, which
//! lie here until they are imported: where it cannot be written, all else is made anew in memory.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk::{Real, whole};

/// The environment variable that names the folder.
pub const CACHE_DIR_VARIABLE: &str = "NAS_ENGINE_CACHE_DIR";

/// Bytes of all encoded texts; those that were not used for longest go first, the newest stays.
pub const MOST_TEXT_BYTES: u64 = 2 << 30;

/// What the name of an encoded text's folder begins with.
pub(super) const TEXT_PREFIX: &str = "text-";

/// The folder of this user; nothing where the user has none and [`CACHE_DIR_VARIABLE`] is not set.
pub fn dir() -> Option<PathBuf> {
    choose(env::var_os(CACHE_DIR_VARIABLE), dirs::cache_dir())
}

/// The folder that was asked for; otherwise one of our own among the user's.
fn choose(asked: Option<OsString>, users: Option<PathBuf>) -> Option<PathBuf> {
    match asked {
        Some(dir) if !dir.is_empty() => Some(dir.into()),
        _ => Some(users?.join("nas-engine")),
    }
}

/// Bytes of the files in a folder and those below it; what cannot be read counts nothing.
pub fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// That a folder, or the one that it would be made in, can be written.
///
/// # Errors
/// What the system says where it cannot.
pub fn check(folder: &Path) -> io::Result<()> {
    let above = folder
        .ancestors()
        .map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
    let there = above.into_iter().find(|folder| folder.exists());
    whole::check(&Real, &there.unwrap_or(Path::new("/")).join("check"))
}

/// Says that what is not kept is made in memory.
pub(super) fn note_not_kept(what: &str, error: &io::Error) {
    tracing::info!(
        "{what} is made in memory, because it cannot be kept in the cache folder ({error}); \
         {CACHE_DIR_VARIABLE} names another"
    );
}

/// Notes that an encoded text was used, where that can be noted.
pub(super) fn touch(file: &Path) {
    let _ = File::open(file).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Removes encoded texts from a cache folder, those first that were not used for longest, until all
/// have `most` bytes; `kept` stays. Where a folder cannot be removed nothing is lost but room.
pub(super) fn bound_texts(cache: &Path, kept: &Path, most: u64) {
    let mut texts: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_text(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| {
            let path = entry.path();
            let found = entry.metadata().ok()?;
            found.is_dir().then_some(())?;
            let used = last_used(&path).or_else(|| found.modified().ok())?;
            Some((used, bytes(&path), path))
        })
        .collect();
    texts.sort();
    let mut total: u64 = texts.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in texts {
        if total <= most {
            break;
        }
        // Who has it mapped keeps it until the end.
        if path != kept && fs::remove_dir_all(&path).is_ok() {
            total -= bytes;
        }
    }
}

/// Whether a folder's name is one that this program gives to an encoded text.
fn is_text(name: &str) -> bool {
    let rest = name.strip_prefix(TEXT_PREFIX);
    let parts = rest.and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(layout, digest)| {
        layout.parse::<u32>().is_ok()
            && digest.len() == 16
            && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// When any file of a folder was last written or noted as used.
fn last_used(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_variable_wins_over_the_users_cache() {
        let users = Some(PathBuf::from("/home/someone/.cache"));
        let ours = Some(PathBuf::from("/home/someone/.cache/nas-engine"));
        assert_eq!(
            choose(Some("here".into()), users.clone()),
            Some("here".into())
        );
        assert_eq!(choose(Some("here".into()), None), Some("here".into()));
        assert_eq!(choose(Some("".into()), users.clone()), ours);
        assert_eq!(choose(None, users), ours);
        assert_eq!(choose(None, None), None);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = tempfile::tempdir().unwrap();
        let folder = |name: &str, age: u64| {
            let folder = cache.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("words.json"), [0; 10]).unwrap();
            let file = File::open(folder.join("words.json")).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(then).unwrap();
            folder
        };
        let text = |n: u32, age| folder(&format!("text-1-{n:016x}"), age);
        let texts = [text(0, 50), text(1, 40), text(2, 30), text(3, 20)];
        let others = [
            folder("text-1-mine", 99),
            folder("kjv-gospels-00000000", 99),
        ];
        touch(&texts[1].join("words.json"));
        let left = || {
            texts
                .each_ref()
                .map(|folder| u8::from(folder.exists()))
                .map(|there| there.to_string())
                .concat()
        };
        bound_texts(cache.path(), &texts[3], 40);
        assert_eq!(left(), "1111");
        bound_texts(cache.path(), &texts[3], 29);
        assert_eq!(left(), "0101", "until there is room, the oldest first");
        bound_texts(cache.path(), &texts[3], 0);
        assert_eq!(left(), "0001", "the newest stays");
        assert!(others.iter().all(|folder| folder.exists()), "no others");
        assert_eq!(bytes(cache.path()), 30);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("a/b")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("file"), "").unwrap();
        check(&folder.path().join("file/a")).unwrap_err();
    }
}
