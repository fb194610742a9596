//! A text as token numbers, encoded once: a file of words and three of tokens in the cache folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::TextFiles;
use super::vocabulary::{Vocabulary, words};
use super::{Corpus, CorpusError, Level, TextPart, map};
use crate::data::mmap::FileBytes;
use crate::disk::{Real, whole};
use crate::text;

/// Part of the folder's name. To be raised when what is written changes.
const LAYOUT: u32 = 1;

/// The corpus of a source, from the cache where it has been encoded before.
pub(super) fn open(
    source: &TextFiles,
    level: Level,
    most: Option<usize>,
    cache: &Path,
) -> Result<Corpus, CorpusError> {
    if let Some(most) = most.filter(|&most| most < 2) {
        return Err(CorpusError::Vocabulary { most });
    }
    let texts = source.read()?;
    let folder = cache.join(name(&texts, level, most));
    let (vocabulary, parts) = match read(&folder) {
        Some(found) => found,
        None => {
            write(&texts, level, most, &folder)?;
            read(&folder).ok_or_else(|| CorpusError::Cache {
                path: folder.clone(),
                reason: "it does not hold what was just written".to_string(),
            })?
        }
    };
    let corpus = Corpus {
        source: source.clone(),
        level,
        limit: most,
        vocabulary,
        parts,
        n_lines: std::array::from_fn(|i| match texts.len() {
            1 => 0,
            _ => texts[i].matches('\n').count(),
        }),
        sha256: sha256(&texts),
    };
    check(&corpus)?;
    Ok(corpus)
}

/// A function of all that decides the tokens.
fn name(texts: &[String], level: Level, most: Option<usize>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(format!("{level} {most:?}"));
    format!("text-{LAYOUT}-{}", &text::hex(&hash.finalize())[..16])
}

/// SHA-256 of the files in order, in hexadecimal.
fn sha256(texts: &[String]) -> String {
    let mut hash = Sha256::new();
    texts.iter().for_each(|text| hash.update(text));
    text::hex(&hash.finalize())
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
fn read(folder: &Path) -> Option<(Vocabulary, [FileBytes; 3])> {
    let bytes = fs::read(index_file(folder)).ok()?;
    let index: Index = serde_json::from_slice(&bytes).ok()?;
    let vocabulary = Vocabulary::of(index.words)?;
    let part = |part| {
        let mapped = map(&tokens_file(folder, part)).ok()?;
        let tokens: &[u32] = bytemuck::try_cast_slice(&mapped).ok()?;
        let known = |&token: &u32| (token as usize) < vocabulary.len();
        let intact = crc32fast::hash(&mapped) == index.crc32[part as usize];
        (intact && tokens.iter().all(known)).then_some(mapped)
    };
    let [train, validation, test] = TextPart::ALL.map(part);
    let parts = [train?, validation?, test?];
    Some((vocabulary, parts))
}

fn write(
    texts: &[String],
    level: Level,
    most: Option<usize>,
    folder: &Path,
) -> Result<(), CorpusError> {
    let vocabulary = Vocabulary::new(words_of(texts, TextPart::Train, level), most);
    let failed = |path: &Path, error: io::Error| CorpusError::Cache {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    let mut crc32 = [0; 3];
    for part in TextPart::ALL {
        let path = tokens_file(folder, part);
        let mut hash = crc32fast::Hasher::new();
        let mut tokens = words_of(texts, part, level).map(|word| vocabulary.number(word));
        let written = whole::write(&Real, &path, |file| {
            tokens.try_for_each(|token| {
                hash.update(&token.to_le_bytes());
                file.write_all(&token.to_le_bytes())
            })
        });
        written.map_err(|e| failed(&path, e))?;
        crc32[part as usize] = hash.finalize();
    }
    // Last: where it is, all that it needs is whole.
    let path = index_file(folder);
    let words = vocabulary.words().to_vec();
    let json = serde_json::to_vec(&Index { words, crc32 }).expect("words are text");
    whole::write(&Real, &path, |file| file.write_all(&json)).map_err(|e| failed(&path, e))
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
