//! Which kernel a convolution runs by: decided here alone, for plans and for launches. By its shapes, the
//! device's shared memory, and what its architecture has code for.

use super::conv_args::sources;
use super::conv_filter_tiling::FilterTiling;
use super::conv_tiling::{Gathered, Tiling, fitting};
use super::driver::Limits;
use super::support::is_compiled_for;
use crate::graph::step::Conv;

/// How a convolution, or its gradient to data, is computed.
pub(super) enum Gathering {
    /// By `conv_tiled`.
    Tiled(Tiling),
    /// By `conv_direct`.
    Direct,
}

/// How sources that fit one launch are gathered.
pub(super) fn gathering(gathered: &Gathered, limits: &Limits) -> Gathering {
    let tiling = gathered.best(limits.shared_bytes);
    match tiling.filter(|_| is_compiled_for("conv", limits.capability)) {
        Some(tiling) => Gathering::Tiled(tiling),
        None => Gathering::Direct,
    }
}

/// How the gradient of a convolution to its filters is computed.
pub(super) enum FilterGradient {
    /// By `conv_filter_tiled`, in one launch.
    Tiled(FilterTiling),
    /// By `conv_filter_direct`.
    Direct,
}

impl FilterGradient {
    /// Bytes of scratch memory.
    pub fn scratch_bytes(&self, conv: &Conv, batch: usize) -> usize {
        match self {
            FilterGradient::Tiled(tiling) => tiling.partials_bytes(conv, batch),
            FilterGradient::Direct => 0,
        }
    }
}

/// How the gradient to filters is computed from a batch.
pub(super) fn filter_gradient(conv: &Conv, batch: usize, limits: &Limits) -> FilterGradient {
    let is_one_launch = fitting(sources(conv, 0, &|_| 0)).len() == 1;
    let tiling = FilterTiling::new(conv, batch, limits.shared_bytes);
    match tiling.filter(|_| is_one_launch && is_compiled_for("conv_filter", limits.capability)) {
        Some(tiling) => FilterGradient::Tiled(tiling),
        None => FilterGradient::Direct,
    }
}
