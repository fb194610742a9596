//! Images or a text: what lies at a path, judged by the names of the files.

use std::fs;
use std::path::Path;

use super::{DataError, cifar, corpus, known_format};

/// What children are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Images, which convolutional networks tell apart: a folder with `data_batch_1.bin` …
    Images,
    /// A text, whose words cells predict: a file, or a folder in a layout of
    /// [`Corpus::open`](super::corpus::Corpus::open).
    Text,
}

impl DataKind {
    /// What a path is meant as. That all files are there and in order is not looked at.
    ///
    /// # Errors
    /// If there is nothing, a folder that cannot be read, one of neither kind, or one of both.
    pub fn of(path: &Path) -> Result<DataKind, DataError> {
        let owned = || path.to_path_buf();
        let exists = path.try_exists().map_err(|source| DataError::Read {
            path: owned(),
            source,
        })?;
        if !exists {
            let next = "it does not exist: give the folder of the data, or a text file".to_string();
            let path = owned();
            return Err(DataError::NotAFolder { path, next });
        }
        if path.is_dir() {
            // One that may not be read seems empty.
            fs::read_dir(path).map_err(|source| DataError::Read {
                path: owned(),
                source,
            })?;
        }
        if let Some(error) = known_format::refusal(path) {
            return Err(error);
        }
        if !path.is_dir() && !path.is_file() {
            return Err(DataError::NotAFile { path: owned() });
        }
        let images = cifar::holds_images(path);
        let text = match path.is_dir() {
            true => corpus::holds_text(path),
            false => !images,
        };
        match (images, text) {
            (true, false) => Ok(DataKind::Images),
            (false, true) => Ok(DataKind::Text),
            (true, true) => Err(DataError::BothKinds { path: owned() }),
            (false, false) => Err(DataError::NeitherKind {
                path: owned(),
                next: known_format::next_for_folder(path)
                    .unwrap_or_else(|| "give the folder of the files, or a text file".into()),
            }),
        }
    }
}
