//! Whether the folders in a folder are classes or parts, and which part each is.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::{ImportError, Part, printable};
use super::entries::{Entry, folders_and_files, only_folders};
use super::find::Content;
use crate::data::known_format;

/// A folder of class folders.
pub(super) struct Root {
    pub folders: Vec<Entry>,
    pub part: Option<Part>,
}

/// What the folder of a part is called, and which part it is; `val` beside `test` trains.
fn part_named(name: &[u8], has_test: bool) -> Option<Part> {
    match &name.to_ascii_lowercase()[..] {
        b"train" | b"training" => Some(Part::Training),
        b"test" => Some(Part::Test),
        b"val" | b"valid" | b"validation" if has_test => Some(Part::Training),
        b"val" | b"valid" | b"validation" => Some(Part::Test),
        _ => None,
    }
}

fn has_test(folders: &[Entry]) -> bool {
    let mut names = folders.iter().map(Entry::name);
    names.any(|name| name.eq_ignore_ascii_case(b"test"))
}

/// The folders of class folders: `dir` itself, or those of its parts.
pub(super) fn roots(dir: &Path, content: &mut Content) -> Result<Vec<Root>, ImportError> {
    let (folders, files) = folders_and_files(dir, &mut content.bad)?;
    if folders.is_empty() {
        let next = known_format::next_for_folder(dir).unwrap_or_else(|| {
            "put the pictures of each class into a folder of its own, named as the class".into()
        });
        let problem = format!("holds no class folders; {next}");
        return Err(ImportError::unusable(dir, problem));
    }
    let Some(parts) = parts_named(&folders) else {
        check_no_parts(dir, &folders)?;
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
    let has_test = has_test(folders);
    let is_train = |folder: &Entry| part_named(folder.name(), false) == Some(Part::Training);
    let parts = folders
        .iter()
        .map(|folder| part_named(folder.name(), has_test));
    let parts: Option<Vec<Part>> = parts.collect();
    parts.filter(|_| folders.iter().any(is_train))
}

/// That the folders which are called as parts are classes, where not all are parts: those hold pictures.
fn check_no_parts(dir: &Path, folders: &[Entry]) -> Result<(), ImportError> {
    let (called, others): (Vec<&Entry>, Vec<&Entry>) = folders
        .iter()
        .partition(|folder| part_named(folder.name(), false).is_some());
    let hold_classes = |folder: &&Entry| only_folders(&folder.path).is_some();
    if called.is_empty() || !called.iter().all(hold_classes) {
        return Ok(());
    }
    let problem = match others.is_empty() {
        true => format!(
            "holds {} and nothing to train on; call the training part `train`",
            listed(&called)
        ),
        false => format!(
            "holds {} beside {}, which hold folders as parts do; move {} elsewhere, or give folders that are \
             classes other names",
            listed(&others),
            listed(&called),
            if others.len() == 1 { "it" } else { "them" }
        ),
    };
    Err(ImportError::unusable(dir, problem))
}

/// The names of folders, the first of many.
fn listed(folders: &[&Entry]) -> String {
    let names = folders.iter().take(5);
    let names = names.map(|folder| format!("`{}`", printable(folder.name())));
    let names = names.collect::<Vec<_>>().join(", ");
    match folders.len() {
        ..=5 => names,
        n => format!("{names} and {} more", n - 5),
    }
}

/// The class folders of each part.
fn roots_of_parts(
    folders: &[Entry],
    parts: &[Part],
    content: &mut Content,
) -> Result<Vec<Root>, ImportError> {
    let mut roots = Vec::new();
    for (folder, part) in folders.iter().zip(parts) {
        let (classes, files) = folders_and_files(&folder.path, &mut content.bad)?;
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
    let has_test = has_test(folders);
    let named: Vec<_> = folders
        .iter()
        .zip(parts)
        .filter(|(_, named)| **named == part)
        .map(|(folder, _)| printable(folder.name()))
        .collect();
    let is_usual = named.len() < 2 || has_test && named.len() == 2 && part == Part::Training;
    let is_train = |name: &&String| part_named(name.as_bytes(), false) == Some(Part::Training);
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
