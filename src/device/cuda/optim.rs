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

/// Blocks for `n` parameters.
pub fn n_blocks(n: usize) -> usize {
    n.div_ceil(PER_BLOCK)
}

impl Launches<'_> {
    pub(super) fn nesterov_step(&mut self) {
        let plan = self.plan;
        let Content::Values(n) = plan.buffer(plan.weights).content else {
            unreachable!("weights are values");
        };
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
}
