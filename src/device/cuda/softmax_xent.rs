//! Launches of softmax with cross-entropy, and of the counters.

use super::declare::{In, Out, structs};
use super::launches::Launches;
use crate::graph::step::BufferId;

structs! {
    /// Of `softmax_xent`.
    struct SoftmaxXentArgs {
        logits: In<f32>,
        labels: In<i32>,
        counters: Out<i32>,
        loss_sums: Out<f64>,
        dlogits: Out<f32>,
        n_images: i32,
        n_classes: i32,
    }

    /// Of `advance`.
    struct AdvanceArgs {
        counters: Out<i32>,
    }
}

impl Launches<'_> {
    pub(super) fn softmax_xent(&mut self, logits: BufferId, dlogits: BufferId, n_classes: usize) {
        let args = SoftmaxXentArgs {
            logits: self.input(logits),
            labels: In::at(self.epoch.labels),
            counters: self.epoch.counters(),
            loss_sums: Out::at(self.epoch.loss_sums),
            dlogits: self.output(dlogits),
            n_images: self.batch() as i32,
            n_classes: n_classes as i32,
        };
        self.push_shared("softmax_xent", [1, 1, 1], 256, 256 * (8 + 4), &args);
    }

    pub(super) fn advance(&mut self) {
        let counters = self.epoch.counters();
        self.push("advance", [1, 1, 1], 32, &AdvanceArgs { counters });
    }
}
