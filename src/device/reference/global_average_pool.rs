//! Global average pooling of a padded concatenation, its zeros counted, and the gradient.

use super::tensor::{Memory, Tensor};
use crate::graph::Shape;
use crate::graph::step::Source;

/// features[n,c] = sum over h and w of the sources / pixels, `[n][n_features]`.
pub fn fwd(sources: &[Source], pixels: usize, n: usize, memory: &Memory) -> Vec<f64> {
    let n_features: usize = sources.iter().map(|source| source.shape.c()).sum();
    let mut out = Tensor::zeros([1, 1, n, n_features]);
    for source in sources {
        let x = &memory[source.buffer];
        for at in x.positions() {
            let [n, c, ..] = at;
            out[[0, 0, n, source.first_channel + c]] += x[at] / pixels as f64;
        }
    }
    out.values
}

/// Gradient to a source of `shape`, whose first feature of `n_features` is `first_feature`.
pub fn bwd(
    dfeatures: &Tensor,
    shape: &Shape,
    first_feature: usize,
    n_features: usize,
    pixels: usize,
) -> Tensor {
    let n = dfeatures.values.len() / n_features;
    let mut dx = Tensor::images(n, shape);
    for at in dx.positions() {
        let [n, c, ..] = at;
        dx[at] = dfeatures.values[n * n_features + first_feature + c] / pixels as f64;
    }
    dx
}
