//! Text for language models: a corpus of tokens in three parts, and the vocabulary they are of.
//!
//! A corpus is read from a folder in a known layout or from one file, encoded once into the user's
//! cache folder, and mapped from there; where that cannot be written, it is encoded in memory.

mod encode;
mod error;
mod import;
mod known;
mod layout;
mod sample;
mod vocabulary;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::CorpusError;
pub use import::{Imported, import_ptb};
pub use known::{Known, KnownBy, TextFileFacts};
pub use layout::Layout;
pub(super) use layout::holds_text;
pub use vocabulary::{END_OF_LINE, UNKNOWN, Vocabulary, words};

use super::cache;
use crate::text;
use encode::Tokens;
use layout::TextFiles;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What stands between white space; the end of a line is a word too.
    Word,
    /// A character; the end of a line is one too.
    Char,
}

impl Level {
    /// Its names.
    pub const NAMES: [&str; 2] = ["word", "char"];

    /// A token of it, for people.
    pub fn noun(self) -> &'static str {
        match self {
            Level::Word => "word",
            Level::Char => "character",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Level::Word => "word",
            Level::Char => "char",
        })
    }
}

/// A part of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPart {
    /// What is trained on, and what the vocabulary is made of.
    Train,
    /// What models are compared by.
    Validation,
    /// What is looked at once, at the end.
    Test,
}

impl TextPart {
    /// Every part, in the order of the files.
    pub const ALL: [TextPart; 3] = [TextPart::Train, TextPart::Validation, TextPart::Test];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            TextPart::Train => "training",
            TextPart::Validation => "validation",
            TextPart::Test => "test",
        }
    }
}

/// A text as token numbers. Reading needs no lock: share it by `&`.
#[derive(Debug)]
pub struct Corpus {
    source: TextFiles,
    level: Level,
    limit: Option<usize>,
    vocabulary: Vocabulary,
    /// Checked to be of the vocabulary.
    parts: [Tokens; 3],
    n_lines: [usize; 3],
    sha256: String,
}

impl Corpus {
    /// Opens a folder that holds `ptb.{train,valid,test}.txt`, `wiki.{train,valid,test}.tokens` or
    /// `{train,valid,test}.txt`, or a single file, whose tokens are split 90/5/5 by position.
    ///
    /// With `most`, the vocabulary has at most so many words, the most frequent of the training
    /// part; the others are `<unk>`. What is encoded is kept below `cache`.
    ///
    /// # Errors
    /// Names the file, the line of what is wrong, and what to do about it.
    pub fn open(
        path: &Path,
        level: Level,
        most: Option<usize>,
        cache: &Path,
    ) -> Result<Corpus, CorpusError> {
        encode::open(TextFiles::find(path)?, level, most, Some(cache))
    }

    /// As [`Corpus::open`], kept in the user's cache folder, if there is one.
    ///
    /// # Errors
    /// As there.
    pub fn open_cached(
        path: &Path,
        level: Level,
        most: Option<usize>,
    ) -> Result<Corpus, CorpusError> {
        encode::open(TextFiles::find(path)?, level, most, cache::dir().as_deref())
    }

    /// Opens the text that the program carries: the four Gospels of the King James Bible, 80,000
    /// words in lower case to train on. The first use unpacks it into the user's cache folder, if there
    /// is one.
    ///
    /// # Errors
    /// As of any text.
    pub fn bundled(level: Level, most: Option<usize>) -> Result<Corpus, CorpusError> {
        let cache = cache::dir();
        encode::open(
            sample::open(cache.as_deref()),
            level,
            most,
            cache.as_deref(),
        )
    }

    /// As [`Corpus::bundled`], unpacked and encoded below `cache`.
    ///
    /// # Errors
    /// As there.
    pub fn bundled_in(
        cache: &Path,
        level: Level,
        most: Option<usize>,
    ) -> Result<Corpus, CorpusError> {
        encode::open(sample::open(Some(cache)), level, most, Some(cache))
    }

    /// How its parts lie in files.
    pub fn layout(&self) -> Layout {
        self.source.layout
    }

    /// Its files: one for each part in order, or one for all of them.
    pub fn files(&self) -> &[PathBuf] {
        &self.source.files
    }

    /// The file that a part lies in.
    pub(super) fn file(&self, part: TextPart) -> &Path {
        let files = self.files();
        files.get(part as usize).unwrap_or(&files[0])
    }

    /// SHA-256, in hexadecimal, of the files one after another.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What tokens are.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Most words that were to be told apart, where that was limited.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The words, by token.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens of a part.
    pub fn tokens(&self, part: TextPart) -> &[u32] {
        self.parts[part as usize].as_slice()
    }

    /// Tokens of the training, validation and test part.
    pub fn part_tokens(&self) -> [usize; 3] {
        [TextPart::Train, TextPart::Validation, TextPart::Test].map(|part| self.tokens(part).len())
    }

    /// Lines of a part; 0 where a single file was split, whose parts do not end with a line.
    pub fn n_lines(&self, part: TextPart) -> usize {
        self.n_lines[part as usize]
    }

    /// How many tokens of a part are `<unk>`.
    pub fn n_unknown(&self, part: TextPart) -> usize {
        let unknown = self.vocabulary.unknown();
        let tokens = self.tokens(part).iter();
        tokens.filter(|&&token| token == unknown).count()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Name, size and vocabulary, in a line.
    pub fn describe(&self) -> String {
        let n_tokens = |part| text::count(self.tokens(part).len() as u64);
        let [train, validation, test] = TextPart::ALL.map(n_tokens);
        format!(
            "{}, {train} + {validation} + {test} {}s, vocabulary {}",
            self.name(),
            self.level.noun(),
            text::count(self.vocabulary.len() as u64)
        )
    }
}
