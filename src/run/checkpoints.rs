//! The checkpoints of a run: of the controller, and of every child under way. They are taken away
//! once what they stand for is on record, and may be missing or damaged: that costs time alone.

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
    /// Opens the folder, or makes it; removes the checkpoints of children that are on record, and
    /// what a killed search left half-written.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        history: &History,
    ) -> Result<Checkpoints, RunError> {
        let wrong = |error| RunError::write(&folder, error);
        whole::create_folders(&*disk, &folder).map_err(wrong)?;
        let is_ours = |name: &str| name.starts_with(CONTROLLER) || sample(name).is_some();
        whole::remove_unfinished(&*disk, &folder, is_ours).map_err(wrong)?;
        for name in disk.names(&folder).map_err(wrong)? {
            let of = name.to_str().and_then(sample);
            if of.is_some_and(|sample| history.children.contains_key(&sample)) {
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
fn sample(name: &str) -> Option<u64> {
    name.strip_suffix(".2").unwrap_or(name).parse().ok()
}
