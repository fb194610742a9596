//! Architectures and the search space: decisions in, architecture out, and back.
//!
//! A space is a sequence of [`Decision`]s, each answered with tokens. The controller knows no
//! more of it: it walks the decisions, and the space alone knows what tokens mean. There are two
//! kinds of space, [`conv`] and [`cell`]; [`Space`] and [`Architecture`] are either of them.

mod architecture;
pub mod cell;
mod config;
pub mod conv;
mod decisions;
mod error;
mod fields;
mod json;

pub use architecture::{Architecture, ArchitectureError};
pub use cell::{CellArchitecture, CellSpace, CellSpaceConfig};
pub use config::{PRESETS, SpaceConfig, SpaceKind};
pub use conv::{
    ConvArchitecture, ConvSpace, ConvSpaceConfig, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp,
    LayerType, POOL_SIDE, STRIDE,
};
pub use decisions::{Decision, DecisionKind, DecisionStep, Decisions, State, Walk};
pub use error::SpaceError;

use crate::rng::{Purpose, Rng};

/// The index of a choice, or an anchor's bit.
pub type Token = u32;

/// A search space of either kind.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum Space {
    /// Convolutional networks.
    Conv(ConvSpace),
    /// Recurrent cells.
    Cell(CellSpace),
}

impl Space {
    /// The space of a configuration, if that keeps the rules.
    pub fn new(config: &SpaceConfig) -> Result<Self, SpaceError> {
        match config {
            SpaceConfig::Conv(config) => ConvSpace::new(config).map(Space::Conv),
            SpaceConfig::Cell(config) => CellSpace::new(config).map(Space::Cell),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> SpaceKind {
        match self {
            Space::Conv(_) => SpaceKind::Conv,
            Space::Cell(_) => SpaceKind::Cell,
        }
    }

    /// What is decided, and in which order.
    pub fn decisions(&self) -> &Decisions {
        match self {
            Space::Conv(space) => space.decisions(),
            Space::Cell(space) => space.decisions(),
        }
    }

    /// Depth of a sample, counted from 0: layers, or blocks where they are on; a cell has no
    /// schedule, and is one.
    pub fn depth(&self, sample: u64) -> usize {
        match self {
            Space::Conv(space) => space.depth(sample),
            Space::Cell(_) => 1,
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
        }
    }

    /// The tokens of an architecture, or the reason why this space has none for it.
    pub fn encode(&self, architecture: &Architecture) -> Result<Vec<Token>, SpaceError> {
        match (self, architecture) {
            (Space::Conv(space), Architecture::Conv(network)) => space.encode(network),
            (Space::Cell(space), Architecture::Cell(cell)) => space.encode(cell),
            (Space::Conv(_), Architecture::Cell(_)) => Err(SpaceError::cannot_say(
                "it is a recurrent cell, and the space is one of convolutional networks",
            )),
            (Space::Cell(_), Architecture::Conv(_)) => Err(SpaceError::cannot_say(
                "it is a convolutional network, and the space is one of recurrent cells",
            )),
        }
    }

    /// What the choices of a kind, an index into the kinds, stand for, in the order of their tokens:
    /// numbers or names.
    pub fn choices(&self, kind: usize) -> Vec<serde_json::Value> {
        match self {
            Space::Conv(space) => space.choices(kind),
            Space::Cell(space) => space.choices(kind),
        }
    }

    /// The decimal logarithm of the number of token sequences of this depth.
    pub fn log10_size(&self, depth: usize) -> f64 {
        match self {
            Space::Conv(space) => space.log10_size(depth),
            Space::Cell(space) => space.log10_size(),
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
