//! Other people's layouts of images, brought into a data folder: records of 3,073 bytes, and
//! `dataset.toml` to say what they are.

mod archive;
mod cifar;
mod created;
mod error;
mod fit;
mod folder;
mod gz;
mod idx;
mod order;
mod packed;
pub mod pickle;
pub mod picture;
mod pipeline;
mod site;
mod stop;
mod writer;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cifar::{Cifar, Labels, import_cifar};
pub(in crate::data) use created::Created;
pub use error::ImportError;
pub use fit::Fit;
pub use folder::{FolderOptions, Pictures, Ready, files, folder};
pub use idx::{IdxOptions, import_idx};
pub use order::{DEFAULT_TEST_SHARE, Part, order, split_off_test};
pub use writer::{NewFolder, Place};

/// What was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Where it lies now.
    pub folder: PathBuf,
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// Images of each class, training and test together.
    pub class_counts: Vec<u64>,
    /// Training images.
    pub training: u64,
    /// Test images.
    pub test: u64,
    /// Files that were left out.
    pub skipped: Vec<Skipped>,
    /// What people should know, a sentence each.
    pub notes: Vec<String>,
}

/// A file that is no image that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its path, as found.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Skipped {
    /// What is wrong with the file at a path.
    pub fn new(path: &Path, reason: impl Into<String>) -> Skipped {
        Skipped {
            file: name(path),
            reason: reason.into(),
        }
    }
}

/// A path as a text; bytes of it that are not UTF-8 as `\xNN`.
pub fn name(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Bytes as a text; those that are not UTF-8 as `\xNN`.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}
