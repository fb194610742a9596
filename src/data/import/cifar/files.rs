//! The files of CIFAR-10 and CIFAR-100 as they are published, and where people have them.

use std::path::{Path, PathBuf};

use crate::text::shell_path;

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cifar {
    /// Ten classes.
    Ten,
    /// A hundred fine classes, or twenty coarse ones.
    Hundred(Labels),
}

/// Which labels of CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A hundred classes.
    Fine,
    /// Twenty.
    Coarse,
}

/// How the images are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Records of labels and pixels.
    Binary,
    /// Pickles.
    Python,
}

/// What a file of a layout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Images; 0 the test file, n the n-th of training.
    Images(usize),
    /// Names of the classes.
    Names,
}

const TEN_BINARY: [&str; 7] = [
    "test_batch.bin",
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "batches.meta.txt",
];
const TEN_PYTHON: [&str; 7] = [
    "test_batch",
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
    "batches.meta",
];
const HUNDRED_FINE: [&str; 3] = ["test.bin", "train.bin", "fine_label_names.txt"];
const HUNDRED_COARSE: [&str; 3] = ["test.bin", "train.bin", "coarse_label_names.txt"];
const HUNDRED_PYTHON: [&str; 3] = ["test", "train", "meta"];

impl Cifar {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Cifar::Ten => "CIFAR-10",
            Cifar::Hundred(_) => "CIFAR-100",
        }
    }

    /// The files of a layout: the test file, those of training, the names of the classes.
    pub(super) fn files(self, layout: Layout) -> &'static [&'static str] {
        match (self, layout) {
            (Cifar::Ten, Layout::Binary) => &TEN_BINARY,
            (Cifar::Ten, Layout::Python) => &TEN_PYTHON,
            (Cifar::Hundred(Labels::Fine), Layout::Binary) => &HUNDRED_FINE,
            (Cifar::Hundred(Labels::Coarse), Layout::Binary) => &HUNDRED_COARSE,
            (Cifar::Hundred(_), Layout::Python) => &HUNDRED_PYTHON,
        }
    }

    /// What a file is, by its place in [`Cifar::files`].
    pub(super) fn role(self, file: usize) -> Role {
        match file <= self.n_train_files() {
            true => Role::Images(file),
            false => Role::Names,
        }
    }

    pub(super) fn n_train_files(self) -> usize {
        self.files(Layout::Binary).len() - 2
    }

    /// Bytes that no published file of it reaches, nor one that is pickled anew.
    pub(super) fn most_bytes(self) -> u64 {
        match self {
            Cifar::Ten => 32 << 20,
            Cifar::Hundred(_) => 160 << 20,
        }
    }

    /// Folders and archives below the one that is named, torchvision's among them; what is unpacked first.
    fn below(self) -> [&'static str; 4] {
        match self {
            Cifar::Ten => [
                "cifar-10-batches-bin",
                "cifar-10-batches-py",
                "cifar-10-binary.tar.gz",
                "cifar-10-python.tar.gz",
            ],
            Cifar::Hundred(_) => [
                "cifar-100-binary",
                "cifar-100-python",
                "cifar-100-binary.tar.gz",
                "cifar-100-python.tar.gz",
            ],
        }
    }

    /// The name of the other one's import, where a path looks like that.
    fn other(self) -> (Cifar, &'static str) {
        match self {
            Cifar::Ten => (Cifar::Hundred(Labels::Fine), "cifar100"),
            Cifar::Hundred(_) => (Cifar::Ten, "cifar10"),
        }
    }
}

/// Where the images are read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Folder(PathBuf, Layout),
    /// Its layout is known by its members.
    Archive(PathBuf),
}

/// Finds the images at a path, or in words what is there instead.
pub(super) fn find(cifar: Cifar, path: &Path) -> Result<Source, String> {
    if path.is_file() {
        return Ok(Source::Archive(path.into()));
    }
    if !path.is_dir() {
        return Err(
            "is neither a folder nor a regular file; give the folder or the archive".into(),
        );
    }
    if let Some(source) = find_in(cifar, path) {
        return Ok(source);
    }
    let (other, command) = cifar.other();
    if find_in(other, path).is_some() {
        return Err(format!(
            "holds {}, not {}; import it with nas-engine data import {command} {} --out DIR",
            other.name(),
            cifar.name(),
            shell_path(path)
        ));
    }
    let first = |layout| cifar.files(layout)[1];
    Err(format!(
        "holds no {}: neither {} nor {}, and none of {}; give the folder or the archive that was published",
        cifar.name(),
        first(Layout::Binary),
        first(Layout::Python),
        cifar.below().join(", ")
    ))
}

fn find_in(cifar: Cifar, folder: &Path) -> Option<Source> {
    let below = cifar.below().map(|name| folder.join(name));
    for place in [folder.to_path_buf()].into_iter().chain(below) {
        for layout in [Layout::Binary, Layout::Python] {
            // Any of them: what is missing is told by its name.
            let images = &cifar.files(layout)[..=cifar.n_train_files()];
            if images.iter().any(|name| place.join(name).is_file()) {
                return Some(Source::Folder(place, layout));
            }
        }
        if place.is_file() {
            return Some(Source::Archive(place));
        }
    }
    None
}
