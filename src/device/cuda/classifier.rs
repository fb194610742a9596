//! Launches of the last layer.

use super::declare::{In, Out, structs};
use super::launches::Launches;
use crate::graph::step::Classifier;

structs! {
    /// Of `classifier_fwd`, `classifier_bwd_data` and `classifier_bwd_filter`.
    struct ClassifierArgs {
        features: In<f32>,
        weight: In<f32>,
        bias: In<f32>,
        dlogits: In<f32>,
        logits: Out<f32>,
        dfeatures: Out<f32>,
        dweight: Out<f32>,
        dbias: Out<f32>,
        n_images: i32,
        n_features: i32,
        n_classes: i32,
        reserved: i32,
    }
}

impl Launches<'_> {
    fn classifier_args(&self, c: &Classifier) -> ClassifierArgs {
        let plan = self.plan;
        ClassifierArgs {
            features: self.input(c.features),
            weight: self.input_span(plan.weights, c.weight),
            bias: self.input_span(plan.weights, c.bias),
            dlogits: self.input(c.dlogits),
            logits: self.output(c.logits),
            dfeatures: self.output(c.dfeatures),
            dweight: self.output_span(plan.gradients, c.weight),
            dbias: self.output_span(plan.gradients, c.bias),
            n_images: self.batch() as i32,
            n_features: c.n_features as i32,
            n_classes: c.n_classes as i32,
            reserved: 0,
        }
    }

    pub(super) fn classifier_fwd(&mut self, c: &Classifier) {
        let args = self.classifier_args(c);
        self.push("classifier_fwd", [self.batch(), 1, 1], 256, &args);
    }

    pub(super) fn classifier_bwd(&mut self, c: &Classifier) {
        let args = self.classifier_args(c);
        let features = c.n_features.div_ceil(128);
        self.push(
            "classifier_bwd_data",
            [features, self.batch(), 1],
            128,
            &args,
        );
        let weights = (c.n_features + 1).div_ceil(128);
        self.push(
            "classifier_bwd_filter",
            [weights, c.n_classes, 1],
            128,
            &args,
        );
    }
}
