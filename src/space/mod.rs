//! Architectures and the search space: decisions in, architecture out, and back.

mod architecture;
mod json;
mod read;
mod write;

pub use architecture::{
    Architecture, ArchitectureError, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp, POOL_SIDE,
    STRIDE,
};
