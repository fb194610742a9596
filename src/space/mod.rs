//! Architectures and the search space: decisions in, architecture out, and back.
//!
//! A space is a sequence of [`Decision`]s, each answered with tokens. The controller knows no
//! more of it: it walks the decisions, and the space alone knows what tokens mean.

mod architecture;
mod cell;
mod codec;
mod config;
mod conv;
mod decisions;
mod json;
mod read;
mod write;

pub use architecture::{
    Architecture, ArchitectureError, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp, LayerType,
    POOL_SIDE, STRIDE,
};
pub use cell::{Activation, Combination};
pub use config::{PRESETS, SpaceConfig, SpaceError};
pub use conv::ConvSpace;
pub use decisions::{Decision, Decisions, Kind, State, Walk};

/// The index of a choice, or an anchor's bit.
pub type Token = u32;
