//! Where the parts of a text lie: in three files of a folder, or in one file.

use std::fs;
use std::path::{Path, PathBuf};

use super::CorpusError;

/// Names of the three parts in the layouts that are known.
const LAYOUTS: [[&str; 3]; 3] = [
    ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"],
    ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"],
    ["train.txt", "valid.txt", "test.txt"],
];

/// The files of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called.
    pub name: String,
    /// One for each part, or one for all of them.
    pub files: Vec<PathBuf>,
}

impl Source {
    /// What lies at a path.
    pub fn find(path: &Path) -> Result<Source, CorpusError> {
        let name = path.display().to_string();
        if path.is_file() {
            return Ok(Source {
                name,
                files: vec![path.to_path_buf()],
            });
        }
        let layout = LAYOUTS
            .iter()
            .find(|layout| path.join(layout[0]).exists())
            .ok_or_else(|| CorpusError::Missing {
                path: path.to_path_buf(),
            })?;
        let files: Vec<PathBuf> = layout.iter().map(|file| path.join(file)).collect();
        match files.iter().find(|file| !file.exists()) {
            Some(missing) => Err(CorpusError::MissingPart {
                path: missing.clone(),
            }),
            None => Ok(Source { name, files }),
        }
    }

    /// The texts of the files.
    pub fn read(&self) -> Result<Vec<String>, CorpusError> {
        self.files.iter().map(|path| read(path)).collect()
    }
}

fn read(path: &Path) -> Result<String, CorpusError> {
    let failed = |reason: String| CorpusError::Read {
        path: path.to_path_buf(),
        reason,
    };
    // Asked by path first: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|e| failed(e.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a regular file".to_string()));
    }
    let bytes = fs::read(path).map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        CorpusError::NotUtf8 {
            path: path.to_path_buf(),
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        }
    })
}
