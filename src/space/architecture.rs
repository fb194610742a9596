//! What an architecture is, of whichever kind, and its JSON.

use serde::Serialize;

use super::cell::{self, CellArchitecture};
use super::config::SpaceKind;
use super::conv::{self, ConvArchitecture};
use super::fields::{EXAMPLE, Fields, TOP, rule};
use super::json::Json;
use super::nas_bench_201::{self, BenchCell};

/// A child as the search sees it: no weights, no sizes of images or of hidden states.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Architecture {
    /// A convolutional network, which tells images apart.
    Conv(ConvArchitecture),
    /// A recurrent cell, which models language.
    Cell(CellArchitecture),
    /// A cell of NAS-Bench-201.
    Bench(BenchCell),
}

impl Architecture {
    /// Reads an architecture. Keys may stand in any order; whatever the format does not name is
    /// refused.
    pub fn from_json(text: &str) -> Result<Self, ArchitectureError> {
        let json = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
        let mut top = Fields::new(TOP.to_owned(), json)?;
        match top.require("space", "write \"space\":\"conv\" or \"space\":\"cell\"")? {
            Json::Text(space) if space == "conv" => conv::read(top).map(Architecture::Conv),
            Json::Text(space) if space == "cell" => cell::read(top).map(Architecture::Cell),
            Json::Text(space) if space == SpaceKind::Bench.name() => {
                nas_bench_201::read(top).map(Architecture::Bench)
            }
            other => Err(rule(
                TOP,
                format!("`space` must be \"conv\", \"cell\" or \"nas-bench-201\", not {other}"),
            )),
        }
    }

    /// The canonical text: keys in a fixed order, defaults left out, no spaces. Two architectures
    /// are the same when their canonical texts are.
    pub fn to_json(&self) -> String {
        canonical(self)
    }

    /// The kind of space that it is of.
    pub fn kind(&self) -> SpaceKind {
        match self {
            Architecture::Conv(_) => SpaceKind::Conv,
            Architecture::Cell(_) => SpaceKind::Cell,
            Architecture::Bench(_) => SpaceKind::Bench,
        }
    }

    /// The convolutional network that it is.
    ///
    /// # Errors
    /// [`ArchitectureError::Cell`] where it is none.
    pub fn into_conv(self) -> Result<ConvArchitecture, ArchitectureError> {
        match self {
            Architecture::Conv(network) => Ok(network),
            Architecture::Cell(_) => Err(ArchitectureError::Cell),
            Architecture::Bench(_) => Err(ArchitectureError::Bench),
        }
    }
}

impl ConvArchitecture {
    /// As [`Architecture::from_json`], of this kind alone.
    pub fn from_json(text: &str) -> Result<Self, ArchitectureError> {
        Architecture::from_json(text)?.into_conv()
    }

    /// As [`Architecture::to_json`].
    pub fn to_json(&self) -> String {
        canonical(self)
    }
}

impl CellArchitecture {
    /// As [`Architecture::to_json`].
    pub fn to_json(&self) -> String {
        canonical(self)
    }
}

impl From<ConvArchitecture> for Architecture {
    fn from(network: ConvArchitecture) -> Self {
        Architecture::Conv(network)
    }
}

impl From<CellArchitecture> for Architecture {
    fn from(cell: CellArchitecture) -> Self {
        Architecture::Cell(cell)
    }
}

impl From<BenchCell> for Architecture {
    fn from(cell: BenchCell) -> Self {
        Architecture::Bench(cell)
    }
}

fn canonical(architecture: &impl Serialize) -> String {
    serde_json::to_string(architecture).expect("an architecture holds nothing that JSON cannot")
}

/// Why a text is not an architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    /// The text is not one JSON value.
    #[error(
        "the architecture is not valid JSON: {reason} at line {line}, column {column}, after \
         `{before}`; it must be one object such as {example}"
    )]
    NotJson {
        /// What the parser missed.
        reason: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Byte of the fault in its line, from 1.
        column: usize,
        /// The text just before the fault.
        before: String,
        /// A small architecture, to copy from.
        example: &'static str,
    },
    /// A recurrent cell where only a convolutional network will do.
    #[error(
        "the architecture is a recurrent cell (`\"space\":\"cell\"`); here it must be a \
         convolutional network, with `\"space\":\"conv\"`"
    )]
    Cell,
    /// A cell of NAS-Bench-201 where only a convolutional network will do.
    #[error(
        "the architecture is a cell of NAS-Bench-201, which is looked up and not trained; here it must be a \
         convolutional network, with `\"space\":\"conv\"`"
    )]
    Bench,
    /// The text is JSON but breaks a rule of architectures.
    #[error("{place}: {rule}")]
    Rule {
        /// `the architecture` or `layer 3`.
        place: String,
        /// The key, the rule it breaks and what to write instead.
        rule: String,
    },
}

fn not_json(text: &str, error: &serde_json::Error) -> ArchitectureError {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let reason = match message.split_once(" at line ") {
        _ if text.trim().is_empty() => "the text is empty",
        _ if error.is_eof() => "the text is cut short",
        Some(("recursion limit exceeded", _)) => "lists or objects are nested too deeply",
        Some((reason, _)) => reason,
        None => &message,
    };
    let line_text = text.split('\n').nth(line.saturating_sub(1)).unwrap_or("");
    let end = column.min(line_text.len());
    let bytes = &line_text.as_bytes()[end.saturating_sub(24)..end];
    ArchitectureError::NotJson {
        reason: reason.to_owned(),
        line,
        column,
        before: String::from_utf8_lossy(bytes).trim().to_owned(),
        example: EXAMPLE,
    }
}
