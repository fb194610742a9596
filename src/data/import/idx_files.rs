//! Which IDX files belong together: by their headers images or labels, by their names a pair, and its part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ImportError;
use super::idx::{failed, open};

/// Folders below the one that is named where programs put the files: torchvision's `MNIST/raw` and others.
const BELOW: [&str; 7] = [
    "raw",
    "MNIST/raw",
    "FashionMNIST/raw",
    "KMNIST/raw",
    "EMNIST/raw",
    "data",
    "gzip",
];

/// Files of images and of their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub images: PathBuf,
    pub labels: PathBuf,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What the data set may be called.
    pub name: String,
    pub training: Pair,
    /// Nothing where it is to be split off.
    pub test: Option<Pair>,
}

/// The files of one part of one data set.
#[derive(Default)]
struct Files {
    images: Option<PathBuf>,
    labels: Option<PathBuf>,
}

/// What a name says.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    /// All but the part and the kind: what files of one data set have in common.
    set: String,
    is_test: bool,
}

/// Finds the files of one data set.
///
/// # Errors
/// In words where they are not all there, or those of several data sets are.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found, ImportError> {
    let first = paths.first().cloned().unwrap_or_else(|| PathBuf::from("."));
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    let name = set_name(&first);
    let unusable = |problem: String| ImportError::Unusable {
        path: first.clone(),
        problem,
    };
    let mut parts: BTreeMap<(String, bool), Files> = BTreeMap::new();
    let mut only = Files::default();
    for path in &files {
        let is_images = !open(path)?.0.item().is_empty();
        let Name { set, is_test } = Name::of(path);
        let part = parts.entry((set, is_test)).or_default();
        for files in [&mut only, part] {
            let place = match is_images {
                true => &mut files.images,
                false => &mut files.labels,
            };
            match place {
                // Compressed and not: unpacked by whoever downloaded it.
                Some(other) if stem(other) == stem(path) => {
                    if is_gz(other) {
                        *place = Some(path.clone());
                    }
                }
                place => {
                    place.get_or_insert(path.clone());
                }
            }
        }
    }
    // Two files need no names to belong together.
    if let (
        [_, _],
        Files {
            images: Some(images),
            labels: Some(labels),
        },
    ) = (&files[..], only)
    {
        let training = Pair { images, labels };
        return Ok(Found {
            name,
            training,
            test: None,
        });
    }
    let sets: Vec<&String> = parts.keys().map(|(set, _)| set).collect();
    let mut sets: Vec<&str> = sets.into_iter().map(String::as_str).collect();
    sets.dedup();
    let set = match sets[..] {
        [] => return Err(unusable("holds no IDX files".into())),
        [set] => set.to_owned(),
        _ => {
            let sets = sets.iter().map(|set| format!("`{set}`"));
            let sets = sets.collect::<Vec<_>>().join(", ");
            return Err(unusable(format!(
                "holds files of several data sets ({sets}); name the files of one of them, images and \
                 labels, one by one"
            )));
        }
    };
    let pair = |is_test: bool| -> Result<Option<Pair>, ImportError> {
        match parts.get(&(set.clone(), is_test)) {
            None => Ok(None),
            Some(Files {
                images: Some(images),
                labels: Some(labels),
            }) => Ok(Some(Pair {
                images: images.clone(),
                labels: labels.clone(),
            })),
            Some(Files {
                images: Some(found),
                ..
            })
            | Some(Files {
                labels: Some(found),
                ..
            }) => {
                let (has, lacks) = match parts[&(set.clone(), is_test)].images {
                    Some(_) => ("images", "labels"),
                    None => ("labels", "images"),
                };
                Err(unusable(format!(
                    "the {lacks} to the {has} in {} are missing; both have one name but for these words",
                    found.display()
                )))
            }
            Some(_) => Ok(None),
        }
    };
    match (pair(false)?, pair(true)?) {
        (Some(training), test) => Ok(Found {
            name,
            training,
            test,
        }),
        (None, _) => Err(unusable(
            "holds a test part, but no training images (train-images-idx3-ubyte)".into(),
        )),
    }
}

/// The IDX files in a folder, or in one below it where programs put them.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let below = BELOW.iter().map(|below| folder.join(below));
    for folder in [folder.to_path_buf()].into_iter().chain(below) {
        let Ok(entries) = folder.read_dir() else {
            continue;
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = paths
            .filter(|path| is_idx_name(path) && path.is_file())
            .collect();
        files.sort();
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let error = folder.read_dir().err();
    Err(match error {
        Some(error) => failed(folder, error),
        None => ImportError::Unusable {
            path: folder.into(),
            problem: "holds no IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, … or their .gz); \
                      name them one by one where they are called otherwise"
                .into(),
        },
    })
}

/// Whether a file is called as IDX files are.
fn is_idx_name(path: &Path) -> bool {
    let name = stem(path);
    let kinds = ["idx1-", "idx2-", "idx3-", "idx4-"];
    !name.starts_with('.')
        && (kinds.iter().any(|kind| name.contains(kind)) || name.ends_with(".idx"))
}

/// The name of a file in lower case, without the ending of what is compressed.
fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    name.strip_suffix(".gz").map(str::to_owned).unwrap_or(name)
}

fn is_gz(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// What a data set may be called: as its folder.
fn set_name(path: &Path) -> String {
    let folder = match path.is_dir() {
        true => Some(path),
        false => path.parent(),
    };
    let whole = folder.and_then(|folder| folder.canonicalize().ok());
    let mut names = whole.iter().flat_map(|path| path.iter().rev());
    let plain = |name: &&std::ffi::OsStr| *name != "raw" && *name != "gzip" && *name != "data";
    names
        .find(plain)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

impl Name {
    fn of(path: &Path) -> Name {
        let mut set = stem(path);
        let mut cut = |word: &str| {
            let at = set.find(word);
            if let Some(at) = at {
                set.replace_range(at..at + word.len(), "");
            }
            at.is_some()
        };
        for word in ["images", "labels", "idx1", "idx3", "idx4", "ubyte", ".idx"] {
            cut(word);
        }
        let is_test = cut("t10k") || cut("test");
        if !is_test {
            cut("train");
        }
        let plain = |c: char| c.is_alphanumeric();
        let set = set.split(|c| !plain(c)).filter(|word| !word.is_empty());
        Name {
            set: set.collect::<Vec<_>>().join("-"),
            is_test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_part_and_set() {
        for (name, set, is_test) in [
            ("train-images-idx3-ubyte", "", false),
            ("train-labels-idx1-ubyte.gz", "", false),
            ("t10k-images.idx3-ubyte", "", true),
            ("t10k-labels-idx1-ubyte", "", true),
            (
                "emnist-letters-train-images-idx3-ubyte.gz",
                "emnist-letters",
                false,
            ),
            (
                "emnist-letters-test-labels-idx1-ubyte",
                "emnist-letters",
                true,
            ),
            ("my_images.idx", "my", false),
            ("Train_Labels.IDX", "", false),
        ] {
            let set = set.to_string();
            assert_eq!(Name::of(Path::new(name)), Name { set, is_test }, "{name}");
        }
    }
}
