//! Where the parts of a text lie: in three files of a folder, or in one file.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::CorpusError;
use crate::disk::input;
use crate::text;

/// Bytes of a file: as many characters as tokens can be numbered, of four bytes.
const MOST_BYTES: u64 = 16 << 30;

/// How the parts of a text lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `ptb.{train,valid,test}.txt`
    Ptb,
    /// `wiki.{train,valid,test}.tokens`
    Wiki,
    /// `{train,valid,test}.txt`
    Parts,
    /// One file, split 90/5/5 by position.
    File,
}

impl Layout {
    /// Those of a folder, in the order in which they are looked for.
    const FOLDERS: [Layout; 3] = [Layout::Ptb, Layout::Wiki, Layout::Parts];

    /// Names of the three files; nothing where there is one of any name.
    pub(super) fn files(self) -> Option<[&'static str; 3]> {
        match self {
            Layout::Ptb => Some(["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]),
            Layout::Wiki => Some(["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"]),
            Layout::Parts => Some(["train.txt", "valid.txt", "test.txt"]),
            Layout::File => None,
        }
    }

    /// Its name for people.
    pub fn describe(self) -> &'static str {
        match self {
            Layout::Ptb => "ptb.{train,valid,test}.txt",
            Layout::Wiki => "wiki.{train,valid,test}.tokens",
            Layout::Parts => "{train,valid,test}.txt",
            Layout::File => "one file, split 90/5/5 by position",
        }
    }
}

/// Whether a folder holds a file that is a part of a text by its name.
pub(in crate::data) fn holds_text(folder: &Path) -> bool {
    let mut names = Layout::FOLDERS.iter().filter_map(|layout| layout.files());
    names.any(|names| names.iter().any(|name| folder.join(name).exists()))
}

/// The files of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFiles {
    /// What it is called.
    pub name: String,
    /// How they lie.
    pub layout: Layout,
    /// One for each part, or one for all of them.
    pub files: Vec<PathBuf>,
    /// What they hold, where they are in memory alone.
    pub(super) held: Option<Vec<Vec<u8>>>,
}

/// The texts of files.
pub(super) struct Texts {
    /// In the order of the files, without byte order marks.
    pub texts: Vec<String>,
    /// SHA-256, in hexadecimal, of all bytes of the files.
    pub sha256: String,
}

impl TextFiles {
    /// What lies at a path.
    pub fn find(path: &Path) -> Result<TextFiles, CorpusError> {
        let name = path.display().to_string();
        if path.is_file() {
            return Ok(TextFiles {
                name,
                layout: Layout::File,
                files: vec![path.to_path_buf()],
                held: None,
            });
        }
        let all = |layout: Layout| Some((layout, layout.files()?.map(|file| path.join(file))));
        let (layout, files) = Layout::FOLDERS
            .into_iter()
            .filter_map(all)
            .find(|(_, files)| files.iter().any(|file| file.exists()))
            .ok_or_else(|| CorpusError::Missing {
                path: path.to_path_buf(),
            })?;
        match files.iter().find(|file| !file.exists()) {
            Some(missing) => Err(CorpusError::MissingPart {
                path: missing.clone(),
            }),
            None => Ok(TextFiles {
                name,
                layout,
                files: files.into(),
                held: None,
            }),
        }
    }

    /// The texts of the files.
    pub(super) fn read(&self) -> Result<Texts, CorpusError> {
        let mut hash = Sha256::new();
        let mut texts = vec![];
        for (index, path) in self.files.iter().enumerate() {
            let bytes = self.bytes(index)?;
            hash.update(&bytes);
            texts.push(text_of(path, bytes)?);
        }
        Ok(Texts {
            texts,
            sha256: text::hex(&hash.finalize()),
        })
    }

    /// The bytes of a file.
    pub(super) fn bytes(&self, index: usize) -> Result<Vec<u8>, CorpusError> {
        match &self.held {
            Some(held) => Ok(held[index].clone()),
            None => read_bytes(&self.files[index]),
        }
    }
}

/// The bytes of a regular file.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, CorpusError> {
    input::read_file(path, MOST_BYTES).map_err(|error: io::Error| CorpusError::Read {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, CorpusError> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        CorpusError::NotUtf8 {
            path: path.to_path_buf(),
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        }
    })?;
    let mark = text.len() - text::strip_bom(&text).len();
    text.drain(..mark);
    Ok(text)
}
