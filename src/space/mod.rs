//! Architectures and the search space: decisions in, architecture out, and back.
//!
//! A space is a sequence of [`Decision`]s, each answered with tokens. The controller knows no
//! more of it: it walks the decisions, and the space alone knows what tokens mean.

mod architecture;
mod codec;
mod config;
mod conv;
mod json;
mod program;
mod read;
mod write;

pub use architecture::{
    Architecture, ArchitectureError, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp, LayerType,
    POOL_SIDE, STRIDE,
};
pub use config::{PRESETS, SpaceConfig, SpaceError};
pub use conv::{ConvSpace, Walk};
pub use program::{Program, State};

/// The index of a choice, or an anchor's bit.
pub type Token = u32;

/// A kind of choice: one softmax head and one embedding, shared by all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What is chosen, for messages.
    pub name: &'static str,
    /// Among how many.
    pub n_choices: usize,
}

/// What is to be decided next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One token: a choice of this kind, an index into the space's kinds.
    Choice {
        /// Index of the kind.
        kind: usize,
    },
    /// The end of a layer: a bit for each earlier layer, lowest first, whether it is read. The
    /// first layer's has none, and yet is a step.
    Anchor {
        /// Number of earlier layers.
        n_candidates: usize,
    },
}

impl Decision {
    /// Tokens that answer it.
    pub fn n_tokens(&self) -> usize {
        match *self {
            Decision::Choice { .. } => 1,
            Decision::Anchor { n_candidates } => n_candidates,
        }
    }
}
