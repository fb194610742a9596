//! Which IDX files belong together: by their headers images or labels, by their names a pair, and its part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::ImportError;
use super::{failed, open};

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

/// The files of all parts: by the data set, and whether it is the test part.
type Parts = BTreeMap<(String, bool), Files>;

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
    let (parts, only) = sorted(&files)?;
    // Two files need no names to belong together.
    if let ([_, _], Some(training)) = (&files[..], only.pair()) {
        return Ok(Found {
            name,
            training,
            test: None,
        });
    }
    let unusable = |problem: String| ImportError::unusable(&first, problem);
    let set = only_set(&parts).map_err(unusable)?;
    let part = |is_test: bool| match parts.get(&(set.clone(), is_test)) {
        None => Ok(None),
        Some(files) => files.both().map(Some),
    };
    let training = part(false).map_err(unusable)?;
    let test = part(true).map_err(unusable)?;
    let training = training.ok_or_else(|| {
        unusable(
            "holds a test part, but no training images; give them too (train-images-idx3-ubyte)"
                .into(),
        )
    })?;
    Ok(Found {
        name,
        training,
        test,
    })
}

/// The files by part, each images or labels by its header; and what there would be of one part alone.
fn sorted(files: &[PathBuf]) -> Result<(Parts, Files), ImportError> {
    let mut parts = Parts::new();
    let mut only = Files::default();
    for path in files {
        let is_images = !open(path)?.0.item().is_empty();
        let Name { set, is_test } = Name::of(path);
        let part = parts.entry((set, is_test)).or_default();
        for files in [&mut only, part] {
            files.add(path, is_images);
        }
    }
    Ok((parts, only))
}

/// The one data set that the files are of.
fn only_set(parts: &Parts) -> Result<String, String> {
    let mut sets: Vec<&str> = parts.keys().map(|(set, _)| set.as_str()).collect();
    sets.dedup();
    match sets[..] {
        [] => Err("holds no IDX files; name them one by one".into()),
        [set] => Ok(set.to_owned()),
        _ => {
            let sets = sets.iter().map(|set| format!("`{set}`"));
            let sets = sets.collect::<Vec<_>>().join(", ");
            Err(format!(
                "holds files of several data sets ({sets}); name the files of one of them, images and \
                 labels, one by one"
            ))
        }
    }
}

impl Files {
    /// Adds a file; of one that is there compressed and not, the one that is not counts, which whoever
    /// downloaded it has unpacked.
    fn add(&mut self, path: &Path, is_images: bool) {
        let place = match is_images {
            true => &mut self.images,
            false => &mut self.labels,
        };
        let is_unpacked = |other: &PathBuf| stem(other) == stem(path) && is_gz(other);
        if place.as_ref().is_none_or(is_unpacked) {
            *place = Some(path.into());
        }
    }

    /// Both, where both are there.
    fn pair(&self) -> Option<Pair> {
        Some(Pair {
            images: self.images.clone()?,
            labels: self.labels.clone()?,
        })
    }

    /// Both, or in words which is missing.
    fn both(&self) -> Result<Pair, String> {
        self.pair().ok_or_else(|| {
            let (has, lacks) = match self.images {
                Some(_) => ("images", "labels"),
                None => ("labels", "images"),
            };
            let found = self.images.as_ref().or(self.labels.as_ref());
            let found = found.map_or(Path::new(""), PathBuf::as_path);
            format!(
                "the {lacks} to the {has} in {} are missing; give them too: both have one name but for \
                 these words",
                found.display()
            )
        })
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
        Some(error) => failed(folder, &error),
        None => ImportError::unusable(
            folder,
            "holds no IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, … or their .gz); \
             name them one by one where they are called otherwise",
        ),
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
        for kind in ["images", "labels", "idx1", "idx3", "idx4", "ubyte", ".idx"] {
            set = set.replace(kind, "-");
        }
        let words = set.split(|c: char| !c.is_alphanumeric());
        let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        // The last: what stands before it is the name of the set.
        let part = words
            .iter()
            .rposition(|word| matches!(*word, "t10k" | "test" | "train"));
        let part = part.map(|part| words.remove(part));
        Name {
            set: words.join("-"),
            is_test: part.is_some_and(|part| part != "train"),
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
            ("contest-train-images-idx3-ubyte", "contest", false),
            ("contest-test-labels-idx1-ubyte", "contest", true),
            ("test-images-train-images-idx3-ubyte", "test", false),
            ("trains-t10k-labels-idx1-ubyte", "trains", true),
            ("testimages.idx", "", true),
            ("Train_Labels.IDX", "", false),
        ] {
            let set = set.to_string();
            assert_eq!(Name::of(Path::new(name)), Name { set, is_test }, "{name}");
        }
    }
}
