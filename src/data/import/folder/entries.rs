//! What a folder holds but hidden files and what systems leave, and links that lead nowhere apart.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::{ImportError, Skipped};

/// An entry of a folder that is not passed over.
pub(super) struct Entry {
    pub path: PathBuf,
    /// Of what a link leads to.
    pub metadata: Result<Metadata, String>,
}

impl Entry {
    pub fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_bytes()
    }

    pub fn is_folder(&self) -> bool {
        self.metadata.as_ref().is_ok_and(Metadata::is_dir)
    }
}

/// The folders in a folder, and what else is there; what cannot be looked at is bad: a class, perhaps.
pub(super) fn folders_and_files(
    dir: &Path,
    bad: &mut Vec<Skipped>,
) -> Result<(Vec<Entry>, Vec<Entry>), ImportError> {
    let entries = list(dir).map_err(|source| ImportError::Read {
        path: dir.into(),
        source,
    })?;
    let (known, unknown): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| entry.metadata.is_ok());
    for Entry { path, metadata } in unknown {
        bad.extend(metadata.err().map(|reason| Skipped::new(&path, reason)));
    }
    Ok(known.into_iter().partition(Entry::is_folder))
}

/// The folders in a folder that holds nothing else; nothing of any other.
pub(super) fn only_folders(folder: &Path) -> Option<Vec<Entry>> {
    let entries = list(folder).ok()?;
    let is_only_folders = !entries.is_empty() && entries.iter().all(Entry::is_folder);
    is_only_folders.then_some(entries)
}

/// What a folder holds but hidden files and what systems leave, in the order of the names' bytes.
pub(super) fn list(dir: &Path) -> std::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let left_by_systems = [
            "thumbs.db",
            "ehthumbs.db",
            "desktop.ini",
            "__macosx",
            "@eadir",
        ];
        let is_left = left_by_systems
            .iter()
            .any(|left| name.eq_ignore_ascii_case(left));
        if is_left || name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let metadata = fs::metadata(&path).map_err(|error| reason(&path, &error));
        entries.push(Entry { path, metadata });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Why what is at a path cannot be looked at.
pub(super) fn reason(path: &Path, error: &std::io::Error) -> String {
    let is_link = path.is_symlink();
    match error.kind() {
        ErrorKind::NotFound if is_link => "is a link that leads nowhere".into(),
        _ if is_link && error.raw_os_error() == Some(libc::ELOOP) => {
            "is a link that leads to itself".into()
        }
        _ => format!("cannot be read: {error}"),
    }
}
