//! `nas-engine sample`: text that a trained cell writes.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, SeedFlags, whole};
use super::output::Output;
use crate::config;
use crate::data::corpus::{self, END_OF_LINE, Level, UNKNOWN, Vocabulary};
use crate::graph::language::LanguageModel;
use crate::graph::params::Weights;
use crate::space::Architecture;
use crate::train::generate::{Reader, draw};
use crate::train::language;
use crate::train::metadata::Facts;
use crate::train::weights_file::WeightsFile;

/// Words or characters that are written.
const TOKENS: RangeInclusive<u64> = 1..=1_000_000;

/// Flags of `sample`.
#[derive(Args)]
pub struct Flags {
    /// Weights of a cell that `train --save` wrote
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Words to write, or characters
    #[arg(
        long,
        allow_negative_numbers = true,
        default_value = "100",
        value_parser = whole(TOKENS),
        value_name = "N"
    )]
    tokens: i64,
    /// What the text begins with; a new line by default
    #[arg(long, default_value = "", value_name = "TEXT")]
    prompt: String,
    /// Below 1 the probable is more probable still; 0 always takes the most probable
    #[arg(
        long,
        allow_negative_numbers = true,
        default_value = "1",
        value_name = "X"
    )]
    temperature: f64,
    #[command(flatten)]
    seed: SeedFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let n_tokens = flags::in_range("--tokens", flags.tokens, &TOKENS)?;
    let seed = flags::in_range("--seed", flags.seed.seed.unwrap_or(0), &config::SEED)? as u64;
    if !(flags.temperature.is_finite() && flags.temperature >= 0.0) {
        let message = format!(
            "--temperature is {}; give a number of 0 or more",
            flags.temperature
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let Trained {
        model,
        weights,
        vocabulary,
        level,
    } = Trained::read(&flags.weights)?;
    let mut reader = Reader::new(&model, &weights.trained);
    let words = || corpus::words(&flags.prompt, level);
    let prompt: Vec<u32> = words().map(|word| vocabulary.number(word)).collect();
    let is_unknown = |word: &&str| *word != UNKNOWN && !vocabulary.has(word);
    let n_unknown = words().filter(is_unknown).count();
    if n_unknown > 0 {
        tracing::warn!(
            "--prompt: {n_unknown} of {} {}s are not in the vocabulary, and are read as {UNKNOWN}",
            prompt.len(),
            level.noun()
        );
    }
    let mut logits = vec![];
    for &word in vocabulary.end_of_line().iter().chain(&prompt) {
        logits = reader.read(word);
    }
    if logits.is_empty() {
        logits = reader.read(0);
    }
    let mut text = flags.prompt.clone();
    for position in 0..n_tokens {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Failure::not_finite(&flags.weights));
        }
        let token = draw(&logits, flags.temperature, seed, position as u64);
        write(&mut text, &vocabulary.words()[token as usize], level);
        logits = reader.read(token);
    }
    let json = json!({"text": text, "tokens": n_tokens});
    output.result(&json, &format!("{text}\n"))
}

/// A trained language model and its words.
struct Trained {
    model: LanguageModel,
    weights: Weights,
    vocabulary: Vocabulary,
    level: Level,
}

impl Trained {
    fn read(path: &Path) -> Result<Trained, Failure> {
        let file = WeightsFile::read(path)?;
        let metadata = file.metadata()?;
        let (
            Architecture::Cell(cell),
            Facts::Text {
                level,
                words,
                vocabulary_sha256,
                ..
            },
        ) = (&metadata.architecture, &metadata.facts)
        else {
            let message = format!(
                "{} holds a convolutional network, which writes no text; give weights of a cell",
                path.display()
            );
            return Err(Failure::new(Kind::Weights, message));
        };
        let sizes = file.language_sizes()?;
        let vocabulary = Vocabulary::of(words.clone())
            .filter(|vocabulary| vocabulary.len() == sizes.vocabulary)
            .filter(|vocabulary| vocabulary.sha256() == *vocabulary_sha256)
            .ok_or_else(|| {
                let message = format!(
                    "{} does not say its {} words (metadata `classes`, whose digest is \
                     `vocabulary_sha256`); use a file written by `train --save`",
                    path.display(),
                    sizes.vocabulary
                );
                Failure::new(Kind::Weights, message)
            })?;
        let (model, weights) = language::of_file::<Failure>(&file, cell)?;
        Ok(Trained {
            model,
            weights,
            vocabulary,
            level: *level,
        })
    }
}

/// Writes a token after a text: a word with a space before it, a line where it ends.
fn write(text: &mut String, word: &str, level: Level) {
    if word == END_OF_LINE {
        text.push('\n');
        return;
    }
    if level == Level::Word && !(text.is_empty() || text.ends_with(char::is_whitespace)) {
        text.push(' ');
    }
    text.push_str(word);
}
