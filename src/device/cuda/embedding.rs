//! Launches of the embedding.

use super::declare::{In, Out, structs};
use super::launches::Launches;
use crate::graph::recurrent::Embedding;

structs! {
    /// Of `embedding_fwd`, `embedding_clear` and `embedding_bwd`.
    struct EmbeddingArgs {
        tokens: In<f32>,
        weight: In<f32>,
        dout: In<f32>,
        out: Out<f32>,
        dweight: Out<f32>,
        n_weights: i64,
        n: i32,
        hidden: i32,
    }
}

impl Launches<'_> {
    fn embedding_args(&self, embedding: &Embedding) -> EmbeddingArgs {
        let plan = self.plan;
        EmbeddingArgs {
            tokens: self.input(embedding.tokens),
            weight: self.input_span(plan.weights, embedding.weight),
            dout: self.input(embedding.dout),
            out: self.output(embedding.out),
            dweight: self.output_span(plan.gradients, embedding.weight),
            n_weights: embedding.weight.len as i64,
            n: embedding.n as i32,
            hidden: embedding.hidden as i32,
        }
    }

    pub(super) fn embedding_fwd(&mut self, embedding: &Embedding) {
        let args = self.embedding_args(embedding);
        self.push("embedding_fwd", [embedding.n, 1, 1], 128, &args);
    }

    pub(super) fn embedding_bwd(&mut self, embedding: &Embedding) {
        let args = self.embedding_args(embedding);
        if !embedding.tied {
            let blocks = embedding.weight.len.div_ceil(1024);
            self.push("embedding_clear", [blocks, 1, 1], 256, &args);
        }
        let grid = [embedding.n, embedding.hidden.div_ceil(128), 1];
        self.push_shared("embedding_bwd", grid, 128, 4 * (4 + 128), &args);
    }
}
