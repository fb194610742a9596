//! Launches that load the words of a batch's windows.

use super::declare::{In, Out, structs};
use super::launches::Launches;
use crate::graph::step::BufferId;

structs! {
    /// Of `load_tokens`.
    struct LoadTokensArgs {
        tokens: In<u32>,
        order: In<u32>,
        counters: Out<i32>,
        inputs: Out<f32>,
        targets: Out<f32>,
        n_tokens: i64,
        steps: i32,
        rows: i32,
    }
}

impl Launches<'_> {
    pub(super) fn load_tokens(&mut self, [inputs, targets]: [BufferId; 2], steps: usize) {
        let epoch = self.epoch;
        let args = LoadTokensArgs {
            tokens: In::at(epoch.records),
            order: In::at(epoch.order),
            counters: epoch.counters(),
            inputs: self.output(inputs),
            targets: self.output(targets),
            n_tokens: epoch.n_tokens as i64,
            steps: steps as i32,
            rows: self.batch() as i32,
        };
        self.push_shared("load_tokens", [self.batch(), 1, 1], 128, 4 * 128, &args);
    }
}
