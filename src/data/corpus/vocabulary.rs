//! The words of a corpus and their numbers.

use std::cmp::Reverse;
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::Level;
use crate::text;

/// The end of a line.
pub const END_OF_LINE: &str = "<eos>";
/// A word that is not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";

/// Words by number, in the order in which the training text first has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
    unknown: u32,
}

impl Vocabulary {
    /// Of a training text: all its words, or the `most` most frequent, `<unk>` counted; of words as
    /// frequent, those that come first.
    pub(super) fn new<'a>(text: impl Iterator<Item = &'a str>, most: Option<usize>) -> Vocabulary {
        let mut order: Vec<&str> = vec![];
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for word in text {
            *counts.entry(word).or_insert_with(|| {
                order.push(word);
                0
            }) += 1;
        }
        if let Some(most) = most {
            let mut ranked: Vec<usize> = (0..order.len()).collect();
            ranked.retain(|&i| order[i] != UNKNOWN);
            ranked.sort_by_key(|&i| (Reverse(counts[order[i]]), i));
            ranked.truncate(most - 1);
            ranked.extend(order.iter().position(|&word| word == UNKNOWN));
            ranked.sort_unstable();
            order = ranked.into_iter().map(|i| order[i]).collect();
        }
        if !order.contains(&UNKNOWN) {
            order.push(UNKNOWN);
        }
        Vocabulary::of(order.into_iter().map(String::from).collect())
            .expect("the words of a text differ, and <unk> is among them")
    }

    /// Of words in order; nothing where one stands twice or `<unk>` is missing.
    pub fn of(words: Vec<String>) -> Option<Vocabulary> {
        let numbers: HashMap<String, u32> = words.iter().cloned().zip(0..).collect();
        let unknown = *numbers.get(UNKNOWN)?;
        (numbers.len() == words.len()).then_some(Vocabulary {
            words,
            numbers,
            unknown,
        })
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never: `<unk>` is in every vocabulary.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, by number.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The number of a word, that of `<unk>` where it is not in the vocabulary.
    pub fn number(&self, word: &str) -> u32 {
        self.numbers.get(word).copied().unwrap_or(self.unknown)
    }

    /// Whether it has a word.
    pub fn has(&self, word: &str) -> bool {
        self.numbers.contains_key(word)
    }

    /// The number of `<unk>`.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The number of `<eos>`, if the vocabulary has it.
    pub fn end_of_line(&self) -> Option<u32> {
        self.numbers.get(END_OF_LINE).copied()
    }

    /// SHA-256 of the words joined by newlines.
    pub fn sha256(&self) -> String {
        text::hex(&Sha256::digest(self.words.join("\n").as_bytes()))
    }
}

/// The words of a text in order, [`END_OF_LINE`] for each newline.
pub fn words(text: &str, level: Level) -> Box<dyn Iterator<Item = &str> + '_> {
    let lines = text.split_inclusive('\n');
    match level {
        Level::Word => Box::new(lines.flat_map(|line| {
            let end = line.ends_with('\n').then_some(END_OF_LINE);
            line.split_whitespace().chain(end)
        })),
        Level::Char => Box::new(lines.flat_map(|line| {
            line.split_inclusive(|_: char| true)
                .map(|c| if c == "\n" { END_OF_LINE } else { c })
        })),
    }
}
