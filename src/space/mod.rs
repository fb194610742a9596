//! Architectures and the search space: decisions in, architecture out, and back.
//!
//! A space is a sequence of [`Decision`]s, each answered with tokens. The controller knows no
//! more of it: it walks the decisions, and the space alone knows what tokens mean. There are three
//! kinds of space, [`conv`], [`cell`] and [`nas_bench_201`]; [`Space`] and [`Architecture`] are any of them.

mod architecture;
pub mod cell;
mod config;
pub mod conv;
mod decisions;
mod error;
mod fields;
mod json;
pub mod nas_bench_201;

pub use architecture::{Architecture, ArchitectureError};
pub use cell::{CellArchitecture, CellSpace, CellSpaceConfig};
pub use config::{PRESETS, SpaceConfig, SpaceKind};
pub use conv::{
    ConvArchitecture, ConvSpace, ConvSpaceConfig, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp,
    LayerType, POOL_SIDE, STRIDE, Variant, VariantError,
};
pub use decisions::{Decision, DecisionKind, DecisionStep, Decisions, State, Walk};
pub use error::SpaceError;
pub use nas_bench_201::{BenchCell, BenchSpace, BenchSpaceConfig};

use crate::rng::{Purpose, Rng};

/// The index of a choice, or an anchor's bit.
pub type Token = u32;

/// A search space of any kind.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum Space {
    /// Convolutional networks.
    Conv(ConvSpace),
    /// Recurrent cells.
    Cell(CellSpace),
    /// The cells of NAS-Bench-201.
    Bench(BenchSpace),
}

impl Space {
    /// The space of a configuration, if that keeps the rules.
    pub fn new(config: &SpaceConfig) -> Result<Self, SpaceError> {
        match config {
            SpaceConfig::Conv(config) => ConvSpace::new(config).map(Space::Conv),
            SpaceConfig::Cell(config) => CellSpace::new(config).map(Space::Cell),
            SpaceConfig::Bench(_) => Ok(Space::Bench(BenchSpace::new())),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> SpaceKind {
        match self {
            Space::Conv(_) => SpaceKind::Conv,
            Space::Cell(_) => SpaceKind::Cell,
            Space::Bench(_) => SpaceKind::Bench,
        }
    }

    /// What is decided, and in which order.
    pub fn decisions(&self) -> &Decisions {
        match self {
            Space::Conv(space) => space.decisions(),
            Space::Cell(space) => space.decisions(),
            Space::Bench(space) => space.decisions(),
        }
    }

    /// Depth of a sample, counted from 0: layers, or blocks where they are on; a cell has no
    /// schedule, and is one.
    pub fn depth(&self, sample: u64) -> usize {
        match self {
            Space::Conv(space) => space.depth(sample),
            Space::Cell(_) | Space::Bench(_) => 1,
        }
    }

    /// The tokens of a sample drawn uniformly, each anchor bit with probability 0.5; a function of
    /// (seed, sample) alone.
    // paper P9.5
    pub fn random(&self, seed: u64, sample: u64) -> Vec<Token> {
        let mut rng = Rng::new(seed, Purpose::Sample, sample);
        self.decisions().draw(self.depth(sample), &mut rng)
    }

    /// The architecture that tokens stand for.
    pub fn decode(&self, tokens: &[Token]) -> Result<Architecture, SpaceError> {
        match self {
            Space::Conv(space) => space.decode(tokens).map(Architecture::Conv),
            Space::Cell(space) => space.decode(tokens).map(Architecture::Cell),
            Space::Bench(space) => space.decode(tokens).map(Architecture::Bench),
        }
    }

    /// The tokens of an architecture, or the reason why this space has none for it.
    pub fn encode(&self, architecture: &Architecture) -> Result<Vec<Token>, SpaceError> {
        match (self, architecture) {
            (Space::Conv(space), Architecture::Conv(network)) => space.encode(network),
            (Space::Cell(space), Architecture::Cell(cell)) => space.encode(cell),
            (Space::Bench(space), Architecture::Bench(cell)) => Ok(space.encode(cell)),
            (space, architecture) => Err(SpaceError::cannot_say(format!(
                "it is a {}, and the space is one of {}s",
                architecture.kind().noun(),
                space.kind().noun()
            ))),
        }
    }

    /// What the choices of a kind, an index into the kinds, stand for, in the order of their tokens:
    /// numbers or names.
    pub fn choices(&self, kind: usize) -> Vec<serde_json::Value> {
        match self {
            Space::Conv(space) => space.choices(kind),
            Space::Cell(space) => space.choices(kind),
            Space::Bench(space) => space.choices(),
        }
    }

    /// The decimal logarithm of the number of token sequences of this depth.
    pub fn log10_size(&self, depth: usize) -> f64 {
        match self {
            Space::Conv(space) => space.log10_size(depth),
            Space::Cell(space) => space.log10_size(),
            Space::Bench(space) => space.log10_size(),
        }
    }
}

impl From<ConvSpace> for Space {
    fn from(space: ConvSpace) -> Self {
        Space::Conv(space)
    }
}

impl From<CellSpace> for Space {
    fn from(space: CellSpace) -> Self {
        Space::Cell(space)
    }
}

impl From<BenchSpace> for Space {
    fn from(space: BenchSpace) -> Self {
        Space::Bench(space)
    }
}
