//! Folders that are created on the way to a place, and go again where nothing comes to lie in them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folders that were not there. Dropped, those that are empty by then are removed.
#[derive(Debug)]
pub(in crate::data) struct Created {
    /// The innermost first.
    folders: Vec<PathBuf>,
}

impl Created {
    /// The folders that are missing on the way to `folder`, and itself; before they are created.
    pub(in crate::data) fn on_the_way_to(folder: &Path) -> Created {
        let is_missing = |folder: &&Path| {
            let found = fs::symlink_metadata(folder);
            found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        let missing = folder.ancestors().take_while(is_missing);
        let missing = missing.filter(|folder| !folder.as_os_str().is_empty());
        Created {
            folders: missing.map(PathBuf::from).collect(),
        }
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for folder in &self.folders {
            // One that holds something stays, and so do those that it lies in.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_folders_go_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("a/b/c");
        let created = Created::on_the_way_to(&inner);
        fs::create_dir_all(&inner).unwrap();
        fs::write(parent.path().join("a/file"), "x").unwrap();
        drop(Created::on_the_way_to(&inner));
        assert!(inner.is_dir(), "it was there");
        drop(created);
        assert!(!parent.path().join("a/b").exists());
        assert!(parent.path().join("a/file").exists());
    }
}
