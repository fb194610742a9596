//! Launches of dropout on what recurrent layers read.

use super::declare::{In, Out, structs};
use super::epoch::Control;
use super::launches::Launches;
use crate::graph::recurrent::{Dropout, Stack};
use crate::graph::step::BufferId;

structs! {
    /// What masks are made of, but for epoch, batch and place.
    struct DropoutRate {
        seed: u64,
        threshold: u32,
        factor: f32,
    }

    /// Of `dropout`.
    struct DropoutArgs {
        x: In<f32>,
        control: In<Control>,
        counters: In<i32>,
        out: Out<f32>,
        rate: DropoutRate,
        n: i64,
        n_mask: i64,
        place: i32,
        reserved: i32,
    }
}

impl Launches<'_> {
    /// The rate of masks with the seed of the epoch.
    pub(super) fn dropout_rate(&self, dropout: Dropout) -> DropoutRate {
        DropoutRate {
            seed: self.epoch.seed,
            // As `rng::Mask` has it.
            threshold: (dropout.rate * (1u64 << 32) as f64) as u32,
            factor: (1.0 / (1.0 - dropout.rate)) as f32,
        }
    }

    /// `out` = `x` `[t][b][width]` with some values dropped, or the gradient back through that;
    /// `x` begins so many values behind the start of its buffer.
    pub(super) fn dropout(
        &mut self,
        stack: &Stack,
        place: usize,
        width: usize,
        (x, skip): (BufferId, usize),
        out: BufferId,
    ) {
        let a_step = stack.rows * width;
        let n = stack.steps * a_step;
        let args = DropoutArgs {
            x: self.input_at(x, skip),
            control: self.epoch.control(),
            counters: In::at(self.epoch.counters),
            out: self.output(out),
            rate: self.dropout_rate(stack.dropout),
            n: n as i64,
            n_mask: if stack.dropout.variational { a_step } else { n } as i64,
            place: place as i32,
            reserved: 0,
        };
        self.push("dropout", [n.div_ceil(256), 1, 1], 256, &args);
    }
}
