//! A text as token numbers, encoded once: a file of words and three of tokens in the cache folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::cache;
use super::super::mmap::{self, FileBytes};
use super::layout::TextFiles;
use super::vocabulary::{Vocabulary, words};
use super::{Corpus, CorpusError, Level, TextPart};
use crate::disk::{Real, input, whole};
use crate::text;

/// Part of the folder's name. To be raised when what is written changes.
const LAYOUT: u32 = 1;

/// Bytes of a file of words: more than any vocabulary has that a model can be of.
const MOST_INDEX_BYTES: u64 = 1 << 30;

/// The tokens of a part.
#[derive(Debug)]
pub(super) enum Tokens {
    /// Little-endian `u32`, as they lie in a file.
    Mapped(FileBytes),
    /// Of a text that is not kept.
    InMemory(Vec<u32>),
}

impl Tokens {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Tokens::Mapped(mapped) => bytemuck::cast_slice(mapped),
            Tokens::InMemory(tokens) => tokens,
        }
    }
}

/// The corpus of a source, from the cache where it has been encoded before or can be kept.
pub(super) fn open(
    source: TextFiles,
    level: Level,
    most: Option<usize>,
    cache: Option<&Path>,
) -> Result<Corpus, CorpusError> {
    if let Some(most) = most.filter(|&most| most < 2) {
        return Err(CorpusError::Vocabulary { most });
    }
    let read = source.read()?;
    let texts = &read.texts;
    let kept = cache.and_then(|cache| kept(texts, level, most, cache));
    let (vocabulary, parts) = kept.unwrap_or_else(|| in_memory(texts, level, most));
    let corpus = Corpus {
        level,
        limit: most,
        vocabulary,
        parts,
        n_lines: std::array::from_fn(|i| match texts.len() {
            1 => 0,
            _ => texts[i].matches('\n').count(),
        }),
        sha256: read.sha256,
        source,
    };
    check(&corpus)?;
    Ok(corpus)
}

/// What the cache has of texts, or now has; nothing where they cannot be kept there.
fn kept(
    texts: &[String],
    level: Level,
    most: Option<usize>,
    cache: &Path,
) -> Option<(Vocabulary, [Tokens; 3])> {
    let folder = cache.join(name(texts, level, most));
    if let Some(found) = self::read(&folder) {
        cache::touch(&index_file(&folder));
        return Some(found);
    }
    match write(texts, level, most, &folder) {
        Ok(()) => cache::bound_texts(cache, &folder, cache::MOST_TEXT_BYTES),
        Err(error) => {
            cache::note_not_kept("the encoded text", &error);
            // A part of it has no use, and may be all the room that there was.
            let _ = fs::remove_dir_all(&folder);
        }
    }
    self::read(&folder)
}

fn in_memory(texts: &[String], level: Level, most: Option<usize>) -> (Vocabulary, [Tokens; 3]) {
    let vocabulary = Vocabulary::new(words_of(texts, TextPart::Train, level), most);
    let part = |part| {
        let words = words_of(texts, part, level);
        Tokens::InMemory(words.map(|word| vocabulary.number(word)).collect())
    };
    let parts = TextPart::ALL.map(part);
    (vocabulary, parts)
}

/// A function of all that decides the tokens.
fn name(texts: &[String], level: Level, most: Option<usize>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(format!("{level} {most:?}"));
    let digest = text::hex(&hash.finalize());
    format!("{}{LAYOUT}-{}", cache::TEXT_PREFIX, &digest[..16])
}

fn index_file(folder: &Path) -> PathBuf {
    folder.join("words.json")
}

fn tokens_file(folder: &Path, part: TextPart) -> PathBuf {
    folder.join(format!("{}.tokens", part.name()))
}

/// The file of words.
#[derive(Serialize, Deserialize)]
struct Index {
    words: Vec<String>,
    /// CRC-32 of the files of tokens.
    crc32: [u32; 3],
}

/// What a folder holds, if it is whole and in order.
fn read(folder: &Path) -> Option<(Vocabulary, [Tokens; 3])> {
    let bytes = input::read_file(&index_file(folder), MOST_INDEX_BYTES).ok()?;
    let index: Index = serde_json::from_slice(&bytes).ok()?;
    let vocabulary = Vocabulary::of(index.words)?;
    let part = |part| {
        let mapped = mmap::map(&tokens_file(folder, part)).ok()?;
        let tokens: &[u32] = bytemuck::try_cast_slice(&mapped).ok()?;
        let known = |&token: &u32| (token as usize) < vocabulary.len();
        let intact = crc32fast::hash(&mapped) == index.crc32[part as usize];
        (intact && tokens.iter().all(known)).then_some(mapped)
    };
    let [train, validation, test] = TextPart::ALL.map(part);
    let parts = [train?, validation?, test?].map(Tokens::Mapped);
    Some((vocabulary, parts))
}

fn write(texts: &[String], level: Level, most: Option<usize>, folder: &Path) -> io::Result<()> {
    let vocabulary = Vocabulary::new(words_of(texts, TextPart::Train, level), most);
    fs::create_dir_all(folder)?;
    let mut crc32 = [0; 3];
    for part in TextPart::ALL {
        let mut hash = crc32fast::Hasher::new();
        let mut tokens = words_of(texts, part, level).map(|word| vocabulary.number(word));
        whole::write(&Real, &tokens_file(folder, part), |file| {
            tokens.try_for_each(|token| {
                hash.update(&token.to_le_bytes());
                file.write_all(&token.to_le_bytes())
            })
        })?;
        crc32[part as usize] = hash.finalize();
    }
    // Last: where it is, all that it needs is whole.
    let words = vocabulary.words().to_vec();
    let json = serde_json::to_vec(&Index { words, crc32 }).expect("words are text");
    whole::write(&Real, &index_file(folder), |file| file.write_all(&json))
}

/// The words of a part: those of its file, or 90, 5 and 5 of a hundred of the one file.
fn words_of(texts: &[String], part: TextPart, level: Level) -> Box<dyn Iterator<Item = &str> + '_> {
    let [text] = texts else {
        return words(&texts[part as usize], level);
    };
    let n = words(text, level).count();
    let (train, validation) = (n * 90 / 100, n * 5 / 100);
    let (skip, take) = match part {
        TextPart::Train => (0, train),
        TextPart::Validation => (train, validation),
        TextPart::Test => (train + validation, n),
    };
    Box::new(words(text, level).skip(skip).take(take))
}

/// That every part has a token to predict, and the validation part words that are known.
fn check(corpus: &Corpus) -> Result<(), CorpusError> {
    for part in TextPart::ALL {
        let path = corpus.file(part).to_path_buf();
        let (part_name, what) = (part.name(), corpus.level.noun());
        let tokens = corpus.tokens(part);
        match tokens.len() {
            0 => {
                return Err(CorpusError::Empty {
                    path,
                    part: part_name,
                });
            }
            1 => {
                return Err(CorpusError::OneToken {
                    path,
                    part: part_name,
                    what,
                });
            }
            _ => {}
        }
        let vocabulary = &corpus.vocabulary;
        // The end of a line is known nearly always and says nothing.
        let end = vocabulary.end_of_line();
        let is_known = |&token: &u32| token != vocabulary.unknown() && Some(token) != end;
        if part == TextPart::Validation && !tokens.iter().any(is_known) {
            return Err(CorpusError::AllUnknown { path, what });
        }
    }
    Ok(())
}
