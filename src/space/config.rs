//! Settings of a search space, of whichever kind, and the presets.

use serde::Serialize;

use super::cell::CellSpaceConfig;
use super::conv::ConvSpaceConfig;
use super::nas_bench_201::BenchSpaceConfig;

/// Which architectures the search may say. A preset decides the kind; settings change no kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum SpaceConfig {
    /// Convolutional networks.
    Conv(ConvSpaceConfig),
    /// Recurrent cells.
    Cell(CellSpaceConfig),
    /// The cells of NAS-Bench-201.
    Bench(BenchSpaceConfig),
}

/// The kinds of space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceKind {
    /// Convolutional networks.
    Conv,
    /// Recurrent cells.
    Cell,
    /// The cells of NAS-Bench-201, whose accuracies are in a table.
    Bench,
}

impl SpaceKind {
    /// Names of the kinds, as flags give them.
    pub const NAMES: [&str; 3] = ["conv", "cell", "nas-bench-201"];

    /// The kind of this name.
    pub fn named(name: &str) -> Option<SpaceKind> {
        match name {
            "conv" => Some(SpaceKind::Conv),
            "cell" => Some(SpaceKind::Cell),
            "nas-bench-201" => Some(SpaceKind::Bench),
            _ => None,
        }
    }

    /// Its name, in flags and in the JSON of architectures.
    pub fn name(self) -> &'static str {
        match self {
            SpaceKind::Conv => "conv",
            SpaceKind::Cell => "cell",
            SpaceKind::Bench => "nas-bench-201",
        }
    }

    /// What an architecture of this kind is called, in messages.
    pub fn noun(self) -> &'static str {
        match self {
            SpaceKind::Conv => "convolutional network",
            SpaceKind::Cell => "recurrent cell",
            SpaceKind::Bench => "NAS-Bench-201 cell",
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
pub const PRESETS: [&str; 7] = [
    "v1",
    "v2",
    "v3",
    "sample",
    "ptb",
    "cell-sample",
    "nas-bench-201",
];

impl SpaceConfig {
    /// A named space: the paper's `v1`, `v2`, `v3` and `ptb`, the small `sample` and `cell-sample`, or
    /// `nas-bench-201`.
    pub fn preset(name: &str) -> Option<Self> {
        let conv = ConvSpaceConfig::preset(name).map(SpaceConfig::Conv);
        conv.or_else(|| CellSpaceConfig::preset(name).map(SpaceConfig::Cell))
            .or_else(|| BenchSpaceConfig::preset(name).map(SpaceConfig::Bench))
    }

    /// What kind of architectures they are of.
    pub fn kind(&self) -> SpaceKind {
        match self {
            SpaceConfig::Conv(_) => SpaceKind::Conv,
            SpaceConfig::Cell(_) => SpaceKind::Cell,
            SpaceConfig::Bench(_) => SpaceKind::Bench,
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

impl From<BenchSpaceConfig> for SpaceConfig {
    fn from(config: BenchSpaceConfig) -> Self {
        SpaceConfig::Bench(config)
    }
}
