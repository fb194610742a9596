//! What can be wrong with a text, told apart by what one does about it.

use std::path::PathBuf;

use super::super::CACHE_DIR_VARIABLE;

/// Why a corpus could not be opened. The message names the place and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// No text is there.
    #[error(
        "no text in {}; give a text file, or a folder with ptb.train.txt, wiki.train.tokens or \
         train.txt and the two parts beside it", path.display()
    )]
    Missing {
        /// What was given.
        path: PathBuf,
    },
    /// A part of a folder is not there.
    #[error("{} is missing; a text needs its training, validation and test file", path.display())]
    MissingPart {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A file is no UTF-8 text.
    #[error("{}: line {line} is not UTF-8; convert the file, or give another", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A part has no tokens.
    #[error("{}: the {part} part is empty; give a longer text", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The part.
        part: &'static str,
    },
    /// No word of a part is in the vocabulary.
    #[error(
        "{}: no {what} of it is in the vocabulary of the training text; are these parts of one \
         text, and is the vocabulary large enough?", path.display()
    )]
    AllUnknown {
        /// The file.
        path: PathBuf,
        /// A word or a character.
        what: String,
    },
    /// A vocabulary of too few words.
    #[error("a vocabulary of {most} leaves no word beside <unk>; give 2 or more")]
    Vocabulary {
        /// As asked for.
        most: usize,
    },
    /// The user has no cache folder.
    #[error(
        "no cache folder to keep the encoded text in; set {CACHE_DIR_VARIABLE} to a folder that \
         can be written"
    )]
    NoCacheFolder,
    /// What was encoded cannot be kept or read again.
    #[error(
        "cannot use {}: {reason}; remove it, or set {CACHE_DIR_VARIABLE} to another folder",
        path.display()
    )]
    Cache {
        /// The file.
        path: PathBuf,
        /// The system's words, or what is wrong with it.
        reason: String,
    },
}
