//! What can be wrong with a text, told apart by what one does about it.

use std::io;
use std::path::PathBuf;

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
    #[error("cannot read {}: {reason}; give a text that can be read", path.display())]
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
    /// A part has one token.
    #[error(
        "{}: the {part} part is a single {what}, and a model predicts each from the one before; \
         give a longer text", path.display()
    )]
    OneToken {
        /// The file.
        path: PathBuf,
        /// The part.
        part: &'static str,
        /// A word or a character.
        what: &'static str,
    },
    /// No word of the validation part is in the vocabulary.
    #[error(
        "{}: no {what} of the validation part is in the vocabulary of the training part; give parts \
         of one text, or a larger --vocabulary", path.display()
    )]
    AllUnknown {
        /// The file.
        path: PathBuf,
        /// A word or a character.
        what: &'static str,
    },
    /// A part has too few tokens for a window.
    #[error(
        "{}: the {part} part has {tokens} tokens, and {rows} rows of {steps} steps need {}; use a \
         smaller train.batch (`train --batch`) or train.steps of --config, or a longer text",
        path.display(),
        (*rows as u128) * (*steps as u128 + 1)
    )]
    ShorterThanBatch {
        /// The file.
        path: PathBuf,
        /// The part.
        part: &'static str,
        /// Its tokens.
        tokens: usize,
        /// Rows of a batch.
        rows: usize,
        /// Steps of a window.
        steps: usize,
    },
    /// More tokens than can be numbered.
    #[error("{}: a text of more than 4,294,967,295 tokens; give a shorter one", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The files to import are not there.
    #[error(
        "no ptb.train.txt in {}, nor in the folders below it where it is kept; give the folder that \
         simple-examples.tgz unpacks to, or the one of ptb.{{train,valid,test}}.txt", path.display()
    )]
    NothingToImport {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not the one of the known corpus.
    #[error(
        "{} is not the {corpus}'s {name}: its md5 is {found}, not {expected} ({difference}); get the \
         original file, or train on the text as it is with --data", path.display()
    )]
    NotOfficial {
        /// The file.
        path: PathBuf,
        /// The corpus.
        corpus: &'static str,
        /// The file's name in it.
        name: &'static str,
        /// Digest of the file.
        found: String,
        /// Digest of the corpus' file.
        expected: &'static str,
        /// What is different, as far as can be told.
        difference: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}; choose a folder that can be written with --out", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A vocabulary of too few words.
    #[error("a vocabulary of {most} leaves no word beside <unk>; give --vocabulary 2 or more")]
    Vocabulary {
        /// As asked for.
        most: usize,
    },
}
