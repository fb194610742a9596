//! Settings of a search space, of whichever kind, and the presets.

use serde::Serialize;

use super::cell::CellSpaceConfig;
use super::conv::ConvSpaceConfig;

/// Which architectures the search may say. A preset decides the kind; settings change no kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum SpaceConfig {
    /// Convolutional networks.
    Conv(ConvSpaceConfig),
    /// Recurrent cells.
    Cell(CellSpaceConfig),
}

/// The kinds of space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceKind {
    /// Convolutional networks.
    Conv,
    /// Recurrent cells.
    Cell,
}

impl SpaceKind {
    /// Names of the kinds, as flags give them.
    pub const NAMES: [&str; 2] = ["conv", "cell"];

    /// The kind of this name.
    pub fn named(name: &str) -> Option<SpaceKind> {
        match name {
            "conv" => Some(SpaceKind::Conv),
            "cell" => Some(SpaceKind::Cell),
            _ => None,
        }
    }

    /// Its name, in flags and in the JSON of architectures.
    pub fn name(self) -> &'static str {
        match self {
            SpaceKind::Conv => "conv",
            SpaceKind::Cell => "cell",
        }
    }

    /// The presets of this kind.
    pub fn presets(self) -> Vec<&'static str> {
        let of_kind =
            |name: &&str| SpaceConfig::preset(name).is_some_and(|config| config.kind() == self);
        PRESETS.into_iter().filter(of_kind).collect()
    }
}

/// Names of the presets.
pub const PRESETS: [&str; 6] = ["v1", "v2", "v3", "sample", "ptb", "cell-sample"];

impl SpaceConfig {
    /// A named space: the paper's `v1`, `v2`, `v3` and `ptb`, or the small `sample` and
    /// `cell-sample`.
    pub fn preset(name: &str) -> Option<Self> {
        let conv = ConvSpaceConfig::preset(name).map(SpaceConfig::Conv);
        conv.or_else(|| CellSpaceConfig::preset(name).map(SpaceConfig::Cell))
    }

    /// What kind of architectures they are of.
    pub fn kind(&self) -> SpaceKind {
        match self {
            SpaceConfig::Conv(_) => SpaceKind::Conv,
            SpaceConfig::Cell(_) => SpaceKind::Cell,
        }
    }
}

impl From<ConvSpaceConfig> for SpaceConfig {
    fn from(config: ConvSpaceConfig) -> Self {
        SpaceConfig::Conv(config)
    }
}

impl From<CellSpaceConfig> for SpaceConfig {
    fn from(config: CellSpaceConfig) -> Self {
        SpaceConfig::Cell(config)
    }
}
