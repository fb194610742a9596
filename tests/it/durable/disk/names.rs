//! The names in a folder of the test disk, and what becomes of them in a power cut.

use std::collections::BTreeMap;
use std::ffi::OsString;

use nas_engine::rng::Rng;

/// What stands by a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry {
    File(usize),
    Folder(usize),
}

/// A change of a folder's names that is not synced.
#[derive(Clone, Debug)]
pub enum Change {
    Made(OsString, Entry),
    Moved(OsString, OsString, Entry),
    Removed(OsString, Entry),
}

pub type Names = BTreeMap<OsString, Entry>;

#[derive(Clone, Debug, Default)]
pub struct Folder {
    pub synced: Names,
    pub changes: Vec<Change>,
}

impl Folder {
    /// Its names, unsynced changes too.
    pub fn names(&self) -> Names {
        let mut names = self.synced.clone();
        self.changes
            .iter()
            .for_each(|change| change.apply(&mut names));
        names
    }

    /// What a power cut leaves: of the unsynced changes all or none where `extreme` says so, else any.
    pub fn after_power_cut(&self, rng: &mut Rng, extreme: Option<bool>) -> Folder {
        let mut synced = self.synced.clone();
        for change in &self.changes {
            if extreme.unwrap_or_else(|| rng.below(2) == 1) {
                change.apply(&mut synced);
            }
        }
        Folder {
            synced,
            changes: vec![],
        }
    }
}

impl Change {
    pub fn apply(&self, names: &mut Names) {
        let mut drop = |name: &OsString, entry: Entry| {
            if names.get(name) == Some(&entry) {
                names.remove(name);
            }
        };
        match self {
            Change::Made(name, entry) => {
                names.insert(name.clone(), *entry);
            }
            Change::Moved(from, to, entry) => {
                drop(from, *entry);
                names.insert(to.clone(), *entry);
            }
            Change::Removed(name, entry) => drop(name, *entry),
        }
    }

    pub fn name(&self) -> &OsString {
        match self {
            Change::Made(name, _) | Change::Moved(_, name, _) | Change::Removed(name, _) => name,
        }
    }
}
