//! Launches of the optimizers' steps.

use super::declare::{In, Out, structs};
use super::epoch::Control;
use super::launches::Launches;
use crate::graph::step::Content;

structs! {
    /// Of `nesterov_step`.
    struct NesterovArgs {
        gradients: In<f32>,
        control: In<Control>,
        weights: Out<f32>,
        momentum: Out<f32>,
        not_finite: Out<i32>,
        counters: Out<i32>,
        n: i64,
    }

    /// Of `descend_squares`, `descend_rate` and `descend`.
    struct DescendArgs {
        gradients: In<f32>,
        control: In<Control>,
        squares: Out<f64>,
        rate: Out<f32>,
        weights: Out<f32>,
        not_finite: Out<i32>,
        counters: Out<i32>,
        n: i64,
        n_pieces: i64,
    }

    /// Rate and corrections of a step of `adam_step`.
    struct AdamControl {
        learning_rate: f64,
        correction1: f64,
        correction2: f64,
    }

    /// Of `adam_step`.
    struct AdamArgs {
        gradient: In<f64>,
        control: In<AdamControl>,
        weights: Out<f64>,
        mean: Out<f64>,
        square: Out<f64>,
        n: i64,
    }
}

/// Parameters of a block.
const PER_BLOCK: usize = 1024;

/// Parameters of a piece, of which the squares are summed.
const PER_PIECE: usize = 8192;

/// Pieces of `n` parameters.
fn n_pieces(n: usize) -> usize {
    n.div_ceil(PER_PIECE)
}

/// Bytes of [`Epoch::squares`](super::epoch::Epoch::squares).
pub fn squares_bytes(n: usize) -> usize {
    size_of::<f64>() * (n_pieces(n) + 1)
}

/// Blocks for `n` parameters.
pub fn n_blocks(n: usize) -> usize {
    n.div_ceil(PER_BLOCK)
}

impl Launches<'_> {
    fn n_weights(&self) -> usize {
        match self.plan.buffer(self.plan.weights).content {
            Content::Values(n) => n,
            _ => unreachable!("weights are values"),
        }
    }

    pub(super) fn nesterov_step(&mut self) {
        let (plan, n) = (self.plan, self.n_weights());
        let args = NesterovArgs {
            gradients: self.input(plan.gradients),
            control: self.epoch.control(),
            weights: self.output(plan.weights),
            momentum: self.output(plan.momentum),
            not_finite: Out::at(self.epoch.not_finite),
            counters: self.epoch.counters(),
            n: n as i64,
        };
        self.push_shared("nesterov_step", [n_blocks(n), 1, 1], 256, 8 * 4, &args);
    }

    pub(super) fn descend(&mut self) {
        let (plan, n) = (self.plan, self.n_weights());
        let n_pieces = n_pieces(n);
        let squares: Out<f64> = Out::at(self.epoch.squares);
        let args = DescendArgs {
            gradients: self.input(plan.gradients),
            control: self.epoch.control(),
            squares,
            rate: Out::at(squares.0 + (size_of::<f64>() * n_pieces) as u64),
            weights: self.output(plan.weights),
            not_finite: Out::at(self.epoch.not_finite),
            counters: self.epoch.counters(),
            n: n as i64,
            n_pieces: n_pieces as i64,
        };
        self.push_shared("descend_squares", [n_pieces, 1, 1], 256, 8 * 8, &args);
        self.push_shared("descend_rate", [1, 1, 1], 256, 8 * 8, &args);
        self.push_shared("descend", [n_blocks(n), 1, 1], 256, 8 * 4, &args);
    }
}
