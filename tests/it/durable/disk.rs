//! A disk in memory on which power can be cut and calls can fail.
//!
//! What was synced survives a power cut: bytes by the sync of their file, names by that of their
//! folder. Of all else anything may be left: see [`TestDisk::after_power_cut`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nas_engine::disk::{Disk, DiskFile, Found, whole};
use nas_engine::rng::{Purpose, Rng};

mod content;
mod file;
mod names;

use content::Content;
use file::TestFile;
use names::{Change, Entry, Folder, Names};

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub struct TestDisk(Arc<Mutex<State>>);

/// What goes wrong, by the number of the call that changes something, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    Nothing,
    /// Power is cut in this call: it fails, with or without effect, and so does every later one.
    PowerCut(usize),
    /// This call fails, once.
    Error(usize),
    /// From this call on there is no room: what takes some fails.
    Full(usize),
}

#[derive(Debug)]
struct State {
    contents: Vec<Content>,
    /// The first is the root.
    folders: Vec<Folder>,
    n_calls: usize,
    trouble: Trouble,
    is_dead: bool,
    /// A kind of sync that does nothing.
    ignored: Option<String>,
    /// The syncs so far: the number of the call, and the kind.
    syncs: Vec<(usize, String)>,
}

/// What becomes of a call.
enum Fate {
    Done,
    /// Done, but the caller does not hear of it.
    DoneUnheard,
    /// Of a write, the first half is done.
    Half,
}

fn power_is_cut() -> io::Error {
    io::Error::other("the power is cut")
}

impl State {
    /// Counts a call that changes something; what becomes of it.
    fn call(&mut self, takes_room: bool) -> io::Result<Fate> {
        self.check_alive()?;
        let call = self.n_calls;
        self.n_calls += 1;
        match self.trouble {
            Trouble::PowerCut(at) if call == at => {
                self.is_dead = true;
                Ok(Fate::DoneUnheard)
            }
            Trouble::Error(at) if call == at => Err(io::Error::other("input/output error")),
            Trouble::Full(at) if call >= at && takes_room => Err(ErrorKind::StorageFull.into()),
            _ => Ok(Fate::Done),
        }
    }

    /// As [`call`](Self::call), of a write: it may be short before the next one fails.
    fn call_write(&mut self, n_bytes: usize) -> io::Result<Fate> {
        let at = self.n_calls;
        let is_short = matches!(self.trouble, Trouble::Error(n) | Trouble::Full(n) if n == at);
        if !is_short || n_bytes < 2 {
            return self.call(true);
        }
        self.check_alive()?;
        self.n_calls += 1;
        self.trouble = match self.trouble {
            Trouble::Error(n) => Trouble::Error(n + 1),
            other => other,
        };
        Ok(Fate::Half)
    }

    fn check_alive(&self) -> io::Result<()> {
        match self.is_dead {
            true => Err(power_is_cut()),
            false => Ok(()),
        }
    }

    /// What stands by a name, and the number of the folder with its last part.
    fn find(&self, path: &Path) -> io::Result<(usize, OsString, Option<Entry>)> {
        let mut parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        });
        let Some(mut name) = parts.next() else {
            return Ok((0, OsString::new(), Some(Entry::Folder(0))));
        };
        let mut folder = 0;
        for next in parts {
            match self.names(folder).get(&name) {
                Some(Entry::Folder(below)) => folder = *below,
                _ => return Err(ErrorKind::NotFound.into()),
            }
            name = next;
        }
        let entry = self.names(folder).get(&name).copied();
        Ok((folder, name, entry))
    }

    fn names(&self, folder: usize) -> Names {
        self.folders[folder].names()
    }

    fn change(&mut self, folder: usize, change: Change) {
        self.folders[folder].changes.push(change);
    }

    /// Whether a sync of this kind is done.
    fn is_synced(&mut self, kind: String) -> bool {
        let is_ignored = self.ignored.as_ref() == Some(&kind);
        self.syncs.push((self.n_calls - 1, kind));
        !is_ignored
    }
}

impl TestDisk {
    pub fn new() -> TestDisk {
        TestDisk::of(vec![], vec![Folder::default()])
    }

    /// A disk with these files, all synced.
    pub fn of_files(files: &BTreeMap<PathBuf, Vec<u8>>) -> TestDisk {
        let disk = TestDisk::new();
        for (path, bytes) in files {
            whole::create_folders(&disk, path.parent().unwrap()).unwrap();
            whole::write(&disk, path, |file| file.write_all(bytes)).unwrap();
        }
        disk.after_power_cut(0)
    }

    fn of(contents: Vec<Content>, folders: Vec<Folder>) -> TestDisk {
        TestDisk(Arc::new(Mutex::new(State {
            contents,
            folders,
            n_calls: 0,
            trouble: Trouble::Nothing,
            is_dead: false,
            ignored: None,
            syncs: vec![],
        })))
    }

    /// The disk as a machine finds it after a power cut now. Seed 0: nothing but what was synced; 1:
    /// all that was done. Others: of the unsynced changes of names any, and of the unsynced bytes of
    /// a file none, all, the first, or any blocks with zeros between. No locks.
    pub fn after_power_cut(&self, seed: u64) -> TestDisk {
        let state = self.state();
        let extreme = (seed < 2).then_some(seed == 1);
        let mut rng = Rng::new(seed, Purpose::Test, 0);
        let contents = state.contents.iter();
        let contents = contents.map(|content| content.after_power_cut(&mut rng, extreme));
        let contents = contents.collect();
        let folders = state.folders.iter();
        let folders = folders.map(|folder| folder.after_power_cut(&mut rng, extreme));
        TestDisk::of(contents, folders.collect())
    }

    /// As it is now, unsynced changes too, without locks: what a kill leaves.
    pub fn after_kill(&self) -> TestDisk {
        let state = self.state();
        let mut contents = state.contents.clone();
        contents
            .iter_mut()
            .for_each(|content| content.is_locked = false);
        TestDisk::of(contents, state.folders.clone())
    }

    pub fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// From now on syncs of this kind do nothing.
    pub fn ignore(&self, kind: &str) {
        self.state().ignored = Some(kind.to_owned());
    }

    /// Calls so far that change something.
    pub fn n_calls(&self) -> usize {
        self.state().n_calls
    }

    /// The syncs so far: the number of the call, and the kind, such as `bytes of /run/weights/N`.
    pub fn syncs(&self) -> Vec<(usize, String)> {
        self.state().syncs.clone()
    }

    /// The files, with their bytes, below a folder.
    pub fn files(&self, folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for name in self.names(folder).unwrap_or_default() {
            let path = folder.join(name);
            match self.found(&path) {
                Ok(Some(Found::Folder)) => files.extend(self.files(&path)),
                _ => {
                    files.insert(path.clone(), self.read(&path).unwrap());
                }
            }
        }
        files
    }

    /// Gives a file other bytes, synced.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let Ok((_, _, Some(Entry::File(number)))) = state.find(path) else {
            panic!("{}: no file", path.display());
        };
        state.contents[number] = Content::of(bytes.into());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, path: &Path, number: usize) -> Box<dyn DiskFile> {
        Box::new(TestFile {
            disk: self.clone(),
            number,
            kind: kind(path),
        })
    }

    /// Makes a file that is not there.
    fn make(&self, state: &mut State, path: &Path) -> io::Result<usize> {
        let fate = state.call(true)?;
        let (folder, name, _) = state.find(path)?;
        let number = state.contents.len();
        state.contents.push(Content::default());
        state.change(folder, Change::Made(name, Entry::File(number)));
        fate.heard(number)
    }
}

impl Fate {
    fn heard<T>(self, value: T) -> io::Result<T> {
        match self {
            Fate::DoneUnheard => Err(power_is_cut()),
            Fate::Done | Fate::Half => Ok(value),
        }
    }
}

/// A path with `N` for its numbers; of a file that is being written, the one that it becomes.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".unfinished")?.rsplit_once('.'))
        .map_or(&*name, |(of, _)| of);
    let name = match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("N{}", name.trim_start_matches(|c: char| c.is_ascii_digit())),
        false => name.to_owned(),
    };
    path.with_file_name(name).display().to_string()
}

impl Disk for TestDisk {
    fn found(&self, path: &Path) -> io::Result<Option<Found>> {
        let state = self.state();
        state.check_alive()?;
        Ok(match state.find(path) {
            Ok((_, _, Some(Entry::File(number)))) => {
                Some(Found::File(state.contents[number].now.len() as u64))
            }
            Ok((_, _, Some(Entry::Folder(_)))) => Some(Found::Folder),
            Ok((_, _, None)) | Err(_) => None,
        })
    }

    fn target(&self, path: &Path) -> PathBuf {
        path.into()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        state.check_alive()?;
        match state.find(folder)? {
            (_, _, Some(Entry::Folder(number))) => Ok(state.names(number).into_keys().collect()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.check_alive()?;
        match state.find(path)? {
            (_, _, Some(Entry::File(number))) => Ok(state.contents[number].now.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn read_start(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        bytes.truncate(most as usize);
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.find(path)?.2.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let number = self.make(&mut state, path)?;
        Ok(self.open(path, number))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let number = match state.find(path)?.2 {
            Some(Entry::File(number)) => number,
            Some(Entry::Folder(_)) => return Err(ErrorKind::IsADirectory.into()),
            None => self.make(&mut state, path)?,
        };
        Ok(self.open(path, number))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (parent, name, found) = state.find(path)?;
        if found.is_some() {
            return Ok(());
        }
        let fate = state.call(true)?;
        let number = state.folders.len();
        state.folders.push(Folder::default());
        state.change(parent, Change::Made(name, Entry::Folder(number)));
        fate.heard(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fate = state.call(true)?;
        let (folder, from, entry) = state.find(from)?;
        let (other, to, _) = state.find(to)?;
        assert_eq!(folder, other, "the trait promises names within one folder");
        let entry = entry.ok_or(ErrorKind::NotFound)?;
        state.change(folder, Change::Moved(from, to, entry));
        fate.heard(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (folder, name, entry) = state.find(path)?;
        let entry = entry.ok_or(ErrorKind::NotFound)?;
        let fate = state.call(false)?;
        state.change(folder, Change::Removed(name, entry));
        fate.heard(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fate = state.call(false)?;
        let (_, _, Some(Entry::Folder(number))) = state.find(path)? else {
            return Err(ErrorKind::NotFound.into());
        };
        // By the change that it is made for.
        let last = state.folders[number].changes.last();
        let made = last.map(|change| match change {
            Change::Made(_, Entry::Folder(_)) => "name of a folder".to_owned(),
            _ => format!("name of {}", kind(&path.join(change.name()))),
        });
        let kind = made.unwrap_or_else(|| format!("names in {}", kind(path)));
        fate.heard(())?;
        if state.is_synced(kind) {
            let names = state.names(number);
            state.folders[number] = Folder {
                synced: names,
                changes: vec![],
            };
        }
        Ok(())
    }
}

/// Kinds of syncs, each once.
pub fn kinds(syncs: &[(usize, String)]) -> BTreeSet<String> {
    syncs.iter().map(|(_, kind)| kind.clone()).collect()
}
