//! The checkpoints of a run: of the controller, and of every child under way, whose are taken away once
//! its outcome is on record. They may be missing or damaged: that costs time alone.

use std::path::PathBuf;
use std::sync::Arc;

use super::RunError;
use super::history::History;
use crate::checkpoint::Slots;
use crate::disk::{Disk, whole};

/// Name of the folder within a run's directory.
pub const FOLDER: &str = "checkpoints";

/// Name of the controller's checkpoint.
const CONTROLLER: &str = "controller";

/// A folder of `controller` and `<sample>`, each in two slots.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Checkpoints {
    /// Opens the folder, or makes it; removes the checkpoints of children that are on record and
    /// not to be tried again, and what a killed search left half-written.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        history: &History,
    ) -> Result<Checkpoints, RunError> {
        Checkpoints::open_for(disk, folder, history, &[])
    }

    /// As [`Checkpoints::open`], but leaves those of `again`, whose children are on record and are
    /// trained again for their weights.
    ///
    /// # Errors
    /// As [`Checkpoints::open`].
    pub fn open_for(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        history: &History,
        again: &[u64],
    ) -> Result<Checkpoints, RunError> {
        let wrong = |error| RunError::keep(&folder, error);
        whole::create_folders(&*disk, &folder).map_err(wrong)?;
        let is_ours = |name: &str| name.starts_with(CONTROLLER) || sample(name).is_some();
        whole::remove_unfinished(&*disk, &folder, is_ours).map_err(wrong)?;
        for name in disk.names(&folder).map_err(wrong)? {
            let of = name.to_str().and_then(sample);
            let of = of.filter(|sample| !again.contains(sample));
            let child = of.and_then(|sample| history.children.get(&sample));
            if child.is_some_and(|child| !child.status.is_tried_again()) {
                disk.remove(&folder.join(name)).map_err(wrong)?;
            }
        }
        Ok(Checkpoints { disk, folder })
    }

    /// Those of the controller.
    pub fn controller(&self) -> Slots {
        self.slots(CONTROLLER)
    }

    /// Those of a child.
    pub fn child(&self, sample: u64) -> Slots {
        self.slots(&sample.to_string())
    }

    /// Removes those of a child that is on record now.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn recorded(&self, sample: u64) -> Result<(), RunError> {
        let removed = self.child(sample).remove();
        removed.map_err(|(path, error)| RunError::keep(&path, error))
    }

    fn slots(&self, name: &str) -> Slots {
        Slots::new(Arc::clone(&self.disk), self.folder.join(name))
    }
}

/// The sample of a child's checkpoint, by the name of the file.
pub(super) fn sample(name: &str) -> Option<u64> {
    name.strip_suffix(".2").unwrap_or(name).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::disk::Real;
    use crate::run::Status;
    use crate::run::entry::{Child, Entry, Timing};
    use crate::train::Scores;

    fn child(sample: u64, status: Status) -> Entry {
        Entry::Child(Child {
            sample,
            batch: 0,
            tokens: vec![],
            architecture: json!({}),
            status,
            scores: Scores::Accuracies(vec![]),
            reward: None,
            duplicate_of: None,
            parameters: None,
            message: None,
            writer: None,
            attempts: None,
            staleness: None,
            timing: Timing::default(),
        })
    }

    #[test]
    fn those_of_children_that_are_done_with_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::default();
        history.add(child(0, Status::Ok)).unwrap();
        history.add(child(1, Status::Crash)).unwrap(); // tried again
        let names = [
            "0",
            "0.2",
            "1",
            "1.2",
            "2",
            "controller",
            ".2.abc.unfinished",
            ".other.abc.unfinished",
        ];
        names
            .iter()
            .for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        Checkpoints::open(Arc::new(Real), folder.path().into(), &history).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [".other.abc.unfinished", "1", "1.2", "2", "controller"]
        );
    }
}
