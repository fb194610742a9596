//! `nas-engine inspect` of a recurrent cell: equations, drawn tree, tokens, parameters.

use serde_json::json;

use super::Flags;
use crate::cli::failure::Failure;
use crate::cli::flags::in_range;
use crate::cli::output::Output;
use crate::config::{Config, HIDDEN, VOCABULARY};
use crate::graph::language;
use crate::report::cell::{LETTERS, drawing, equations};
use crate::space::{CellArchitecture, Token};
use crate::text;
use crate::train::{TrainConfig, TrainError};

/// The language model around a cell.
pub struct Size {
    /// Recurrent layers.
    layers: usize,
    /// Units of a layer.
    hidden: usize,
    /// Words.
    vocabulary: usize,
    /// Whether the decoder's matrix is the embedding.
    tied: bool,
}

impl Size {
    /// The size that the flags name, over that of a file of settings where one is given; without units
    /// there is none.
    pub fn new(
        flags: &Flags,
        config: &Config,
        cell: &CellArchitecture,
    ) -> Result<Option<Size>, Failure> {
        let train = match &config.train {
            TrainConfig::Language(train) if flags.config.config.is_some() => Some(train),
            _ => None,
        };
        let vocabulary = match flags.vocabulary {
            Some(words) => in_range("--vocabulary", words, &VOCABULARY)?,
            None => train.and(config.data.vocabulary).unwrap_or(10_000),
        };
        let layers = train.map_or(2, |train| train.layers);
        let tied = train.is_some_and(|train| train.tied);
        let budget = train.and_then(|train| train.parameters);
        let hidden = match (flags.hidden, budget) {
            (Some(units), _) => Some(in_range("--hidden", units, &HIDDEN)?),
            (None, Some(budget)) => {
                let within = language::hidden_within(cell, layers, vocabulary, tied, budget);
                Some(within.map_err(TrainError::from)?)
            }
            (None, None) => train.and_then(|train| train.hidden),
        };
        Ok(hidden.map(|hidden| Size {
            layers,
            hidden,
            vocabulary,
            tied,
        }))
    }
}

/// Shows a cell; its parameters where the size of the model is known.
pub fn show(
    cell: &CellArchitecture,
    tokens: &Result<Vec<Token>, String>,
    size: Option<&Size>,
    output: &Output,
) -> Result<(), Failure> {
    let (equations, tree) = (equations(cell), drawing(cell));
    let parameters = size.map(|size| {
        let [layers, hidden, words] = [size.layers, size.hidden, size.vocabulary].map(|n| n as u64);
        cell.parameters(layers, hidden, words, size.tied)
    });
    let (kind, base) = match cell {
        CellArchitecture::Tree(tree) => ("tree", Some(tree.base())),
        CellArchitecture::Lstm => ("lstm", None),
    };
    let json = json!({
        "kind": kind,
        "base": base,
        "equations": equations,
        "tree": tree,
        "parameters": parameters,
        "layers": size.map(|size| size.layers),
        "hidden": size.map(|size| size.hidden),
        "vocabulary": size.map(|size| size.vocabulary),
        "tied": size.map(|size| size.tied),
        "tokens": tokens.as_ref().ok(),
        "tokens_reason": tokens.as_ref().err(),
    });
    let parameters = match (parameters, size) {
        (Some(n), Some(size)) => format!(
            "{} ({} of {} units, {} words{})",
            text::count(n),
            match size.layers {
                1 => "1 layer".to_owned(),
                layers => format!("{layers} layers"),
            },
            text::count(size.hidden as u64),
            text::count(size.vocabulary as u64),
            if size.tied { ", tied" } else { "" },
        ),
        _ => "give --hidden or --config".to_owned(),
    };
    let gap = if tree.is_empty() { "" } else { "\n" };
    let words = format!(
        "{}\n\nwhere {LETTERS}\n\n{tree}{gap}parameters  {parameters}\ntokens      {}\n",
        equations.join("\n"),
        super::tokens_in_words(tokens),
    );
    output.result(&json, &words)
}
