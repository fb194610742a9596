//! The pictures of a folder: which classes there are, which part a picture belongs to, and what is no
//! file that can be read. Nothing is decoded.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{ImportError, Part, Skipped, printable};
use crate::data::{MAX_CLASSES, known_format};

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

/// A folder of class folders.
struct Root {
    folders: Vec<Entry>,
    part: Option<Part>,
}

/// An entry of a folder that is not passed over.
struct Entry {
    path: PathBuf,
    /// Of what a link leads to.
    metadata: Result<Metadata, String>,
}

impl Entry {
    fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_bytes()
    }

    fn is_folder(&self) -> bool {
        self.metadata.as_ref().is_ok_and(Metadata::is_dir)
    }
}

/// Looks through `dir`.
///
/// # Errors
/// Where it holds fewer than two classes or more than 256, or parts of which it cannot be said which
/// is which.
pub(super) fn find(dir: &Path) -> Result<Content, ImportError> {
    let mut content = Content::default();
    let roots = roots(dir, &mut content)?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    for folder in roots.iter().flat_map(|root| &root.folders) {
        names.push(folder.name().to_vec());
    }
    names.sort();
    names.dedup();
    let unusable = |problem: String| ImportError::unusable(dir, problem);
    match names.len() {
        1 => {
            return Err(unusable(format!(
                "holds pictures of one class only, `{}`; two at least are needed, each in a folder of its \
                 own",
                printable(&names[0])
            )));
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

/// What the folder of a part is called, and which part it is; `val` beside `test` trains.
fn part_named(name: &[u8], has_test: bool) -> Option<Part> {
    match name {
        b"train" | b"training" => Some(Part::Training),
        b"test" => Some(Part::Test),
        b"val" | b"valid" | b"validation" if has_test => Some(Part::Training),
        b"val" | b"valid" | b"validation" => Some(Part::Test),
        _ => None,
    }
}

/// The folders of class folders: `dir` itself, or those of its parts.
fn roots(dir: &Path, content: &mut Content) -> Result<Vec<Root>, ImportError> {
    let (folders, files) = folders_and_files(dir)?;
    if folders.is_empty() {
        let next = known_format::next_for_folder(dir).unwrap_or_else(|| {
            "put the pictures of each class into a folder of its own, named as the class".into()
        });
        let problem = format!("holds no class folders; {next}");
        return Err(ImportError::unusable(dir, problem));
    }
    let Some(parts) = parts_named(&folders) else {
        note_strays(&files, content);
        return Ok(vec![Root {
            folders,
            part: None,
        }]);
    };
    let roots = roots_of_parts(&folders, &parts, content)?;
    for part in [Part::Training, Part::Test] {
        check_names(dir, &folders, &parts, part, content)?;
    }
    Ok(roots)
}

/// The part that each folder is by its name; nothing where one is none, or none is to train on.
fn parts_named(folders: &[Entry]) -> Option<Vec<Part>> {
    let has_test = folders.iter().any(|folder| folder.name() == b"test");
    let is_train = |folder: &Entry| matches!(folder.name(), b"train" | b"training");
    let parts = folders
        .iter()
        .map(|folder| part_named(folder.name(), has_test));
    let parts: Option<Vec<Part>> = parts.collect();
    parts.filter(|_| folders.iter().any(is_train))
}

/// The class folders of each part.
fn roots_of_parts(
    folders: &[Entry],
    parts: &[Part],
    content: &mut Content,
) -> Result<Vec<Root>, ImportError> {
    let mut roots = Vec::new();
    for (folder, part) in folders.iter().zip(parts) {
        let (classes, files) = folders_and_files(&folder.path)?;
        if classes.is_empty() {
            return Err(ImportError::unusable(
                &folder.path,
                "holds no class folders; put the pictures of each class into a folder of its own \
                 there, named as the class",
            ));
        }
        note_strays(&files, content);
        roots.push(Root {
            folders: classes,
            part: Some(*part).filter(|_| parts.contains(&Part::Test)),
        });
    }
    Ok(roots)
}

/// That no part is there by two names, but for a validation part that trains, of which it is told.
fn check_names(
    dir: &Path,
    folders: &[Entry],
    parts: &[Part],
    part: Part,
    content: &mut Content,
) -> Result<(), ImportError> {
    let has_test = folders.iter().any(|folder| folder.name() == b"test");
    let named: Vec<_> = folders
        .iter()
        .zip(parts)
        .filter(|(_, named)| **named == part)
        .map(|(folder, _)| printable(folder.name()))
        .collect();
    let is_usual = named.len() < 2 || has_test && named.len() == 2 && part == Part::Training;
    let is_train = |name: &&String| name.starts_with("train");
    let has_two_names = named.iter().filter(is_train).count() > 1;
    if !is_usual || has_two_names {
        let problem = format!(
            "holds {}, which are one part by their names; join them",
            named.join(" and ")
        );
        return Err(ImportError::unusable(dir, problem));
    }
    if let ([a, b], Part::Training) = (named.as_slice(), part) {
        content.notes.push(format!(
            "the pictures of {a} and {b} make up the training part; a search holds its own validation \
             images out of it"
        ));
    }
    Ok(())
}

/// Says that pictures lie where they belong to no class.
fn note_strays(files: &[Entry], content: &mut Content) {
    let is_picture = |entry: &&Entry| {
        known_format::of_file(&entry.path) == Some(known_format::KnownFormat::Picture)
    };
    let strays: Vec<_> = files.iter().filter(is_picture).collect();
    if let Some(first) = strays.first() {
        content.notes.push(format!(
            "{} beside the class folders, such as {}: of no class, and left out",
            match strays.len() {
                1 => "1 picture lies".into(),
                n => format!("{n} pictures lie"),
            },
            printable(first.path.as_os_str().as_bytes())
        ));
    }
}

fn folders_and_files(dir: &Path) -> Result<(Vec<Entry>, Vec<Entry>), ImportError> {
    let entries = list(dir).map_err(|source| ImportError::Read {
        path: dir.into(),
        source,
    })?;
    Ok(entries.into_iter().partition(Entry::is_folder))
}

/// What a folder holds but hidden files and what systems leave, in the order of the names' bytes.
fn list(dir: &Path) -> std::io::Result<Vec<Entry>> {
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
fn reason(path: &Path, error: &std::io::Error) -> String {
    let is_link = path.is_symlink();
    match error.kind() {
        ErrorKind::NotFound if is_link => "is a link that leads nowhere".into(),
        _ if is_link && error.raw_os_error() == Some(libc::ELOOP) => {
            "is a link that leads to itself".into()
        }
        _ => format!("cannot be read: {error}"),
    }
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
        return skip(folder, "is a link to a folder that it lies in".into());
    }
    above.push(id);
    for entry in entries {
        match &entry.metadata {
            Err(reason) => bad.push(Skipped::new(&entry.path, reason.as_str())),
            Ok(metadata) if metadata.is_dir() => walk(&entry.path, above, add, bad),
            Ok(metadata) if metadata.is_file() => add(entry.path),
            Ok(_) => {
                let reason = "is no file but a pipe, a socket or a device";
                bad.push(Skipped::new(&entry.path, reason));
            }
        }
    }
    above.pop();
}
