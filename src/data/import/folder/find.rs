//! The pictures of a folder: which classes there are, which part a picture belongs to, and what is no
//! file that can be read. Nothing is decoded.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{ImportError, Part, Skipped, packed, printable};
use super::entries::{list, only_folders, reason};
use super::parts::roots;
use super::ready::NO_FILE;
use crate::data::MAX_CLASSES;
use crate::text::shell_path;

/// Why a link is not followed.
pub(super) const OWN_FOLDER: &str = "is a link to a folder that it lies in";

/// How deep a folder of class folders is looked for, to name it.
const MOST_LEVELS: usize = 16;

/// A file that should be a picture.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Position of its class.
    pub class: usize,
    pub path: PathBuf,
    /// The part that its folder names; nothing where one is to be drawn.
    pub part: Option<Part>,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Names in the order of their bytes.
    pub classes: Vec<String>,
    /// In the order of the classes, then of the bytes of their paths.
    pub files: Vec<Found>,
    /// Whether there is a part for the test.
    pub has_test: bool,
    /// What is there and cannot be read.
    pub bad: Vec<Skipped>,
    pub notes: Vec<String>,
}

/// Looks through `dir`. Where bad files are not left out, they are named before too few classes are.
///
/// # Errors
/// Where it is no folder, holds fewer than two classes or more than 256, or parts of which it cannot be said which
/// is which.
pub(super) fn find(dir: &Path, skip_bad: bool) -> Result<Content, ImportError> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(ImportError::Read {
                path: dir.into(),
                source,
            });
        }
        _ => return Err(ImportError::unusable(dir, no_folder(dir))),
    }
    let mut content = Content::default();
    let roots = match roots(dir, &mut content) {
        Err(ImportError::Unusable { .. }) if !skip_bad && !content.bad.is_empty() => Vec::new(),
        roots => roots?,
    };
    let mut names: Vec<Vec<u8>> = Vec::new();
    for folder in roots.iter().flat_map(|root| &root.folders) {
        names.push(folder.name().to_vec());
    }
    names.sort();
    names.dedup();
    let unusable = |problem: String| ImportError::unusable(dir, problem);
    match names.len() {
        ..=1 if !skip_bad && !content.bad.is_empty() => {
            return Err(ImportError::Bad { files: content.bad });
        }
        ..=1 => {
            let name = names.first().map_or(String::new(), |name| printable(name));
            let only = roots.iter().flat_map(|root| &root.folders).next();
            return Err(unusable(
                match only.and_then(|folder| inner(&folder.path)) {
                    Some(inner) => format!(
                        "holds only the folder `{name}`, in which there are folders again; import {}",
                        shell_path(&inner)
                    ),
                    None => format!(
                        "holds pictures of one class only, `{name}`; two at least are needed, each in a folder of \
                     its own"
                    ),
                },
            ));
        }
        n if n > MAX_CLASSES => {
            return Err(unusable(format!(
                "holds {n} class folders, and a data folder has at most {MAX_CLASSES} classes; put some \
                 together, or import a part of them"
            )));
        }
        _ => {}
    }
    for root in &roots {
        let mut above = root
            .folders
            .first()
            .map_or(Vec::new(), |folder| all_above(&folder.path));
        for folder in &root.folders {
            let class = names.binary_search_by(|name| name.as_slice().cmp(folder.name()));
            let class = class.expect("every folder's name is among them");
            let mut add = |path| {
                content.files.push(Found {
                    class,
                    path,
                    part: root.part,
                });
            };
            walk(&folder.path, &mut above, &mut add, &mut content.bad);
        }
    }
    content.files.sort_by(|a, b| {
        (a.class, a.path.as_os_str().as_bytes()).cmp(&(b.class, b.path.as_os_str().as_bytes()))
    });
    content.classes = names.iter().map(|name| printable(name)).collect();
    content.has_test = roots.iter().any(|root| root.part == Some(Part::Test));
    Ok(content)
}

/// What to give in place of what is no folder.
fn no_folder(path: &Path) -> String {
    let folder = "the folder that holds a folder of pictures for each class";
    if !path.exists() {
        return format!("there is nothing of this name; give {folder}");
    }
    if let Some(problem) = packed::archive(path) {
        return problem;
    }
    match packed::is_tar(path) {
        true => format!(
            "is an archive; unpack it with tar -xf {}, and import the folder that comes of it (those of CIFAR \
             are imported as they are, with data import cifar10 or cifar100)",
            shell_path(path)
        ),
        false => format!("is no folder; give {folder}"),
    }
}

/// The folder of several folders in a folder that holds no files, where there is one.
fn inner(folder: &Path) -> Option<PathBuf> {
    let mut folder = folder.to_path_buf();
    for _ in 0..MOST_LEVELS {
        let mut entries = only_folders(&folder)?;
        match entries.len() {
            1 => folder = entries.remove(0).path,
            _ => return Some(folder),
        }
    }
    None
}

/// Device and number of the folders that something lies in.
fn all_above(path: &Path) -> Vec<(u64, u64)> {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let folders = folder.iter().flat_map(|folder| folder.ancestors());
    let metadata = folders.filter_map(|folder| fs::metadata(folder).ok());
    metadata
        .map(|metadata| (metadata.dev(), metadata.ino()))
        .collect()
}

/// Every file below a class's folder, links to folders followed. `above` are the folders that it lies
/// in, by device and number.
fn walk(
    folder: &Path,
    above: &mut Vec<(u64, u64)>,
    add: &mut impl FnMut(PathBuf),
    bad: &mut Vec<Skipped>,
) {
    let mut skip = |path: &Path, reason: String| bad.push(Skipped::new(path, reason));
    let looked_at = fs::metadata(folder).and_then(|metadata| Ok((metadata, list(folder)?)));
    let (metadata, entries) = match looked_at {
        Ok(found) => found,
        Err(error) => return skip(folder, reason(folder, &error)),
    };
    let id = (metadata.dev(), metadata.ino());
    if above.contains(&id) {
        return skip(folder, OWN_FOLDER.into());
    }
    above.push(id);
    for entry in entries {
        match &entry.metadata {
            Err(reason) => bad.push(Skipped::new(&entry.path, reason.as_str())),
            Ok(metadata) if metadata.is_dir() => walk(&entry.path, above, add, bad),
            Ok(metadata) if metadata.is_file() => add(entry.path),
            Ok(_) => bad.push(Skipped::new(&entry.path, NO_FILE)),
        }
    }
    above.pop();
}
