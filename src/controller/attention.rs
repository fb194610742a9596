//! Anchor attention: how likely a layer is to read an earlier one.
//!
//! P(j is read by i) = sigmoid(v . tanh(W_prev h_j + W_curr h_i)); only its logit is made here.

use super::products::{add, add_product, add_product_bwd_data, add_product_bwd_weights, dot};

/// W_prev `[H][H]`, W_curr `[H][H]` and v `[H]`, or their gradients.
fn parts(weights: &[f64], n: usize) -> (&[f64], &[f64], &[f64]) {
    let (previous, rest) = weights.split_at(n * n);
    let (current, v) = rest.split_at(n * n);
    (previous, current, v)
}

/// What an anchor contributes as the earlier one of a pair: `W_prev h`.
pub(super) fn as_previous(weights: &[f64], h: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; h.len()];
    add_product(&mut y, h, parts(weights, h.len()).0);
    y
}

/// What an anchor contributes as the later one of a pair: `W_curr h`.
pub(super) fn as_current(weights: &[f64], h: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; h.len()];
    add_product(&mut y, h, parts(weights, h.len()).1);
    y
}

/// The logit of a pair, with the tanh that its gradient needs.
// paper P2.2
pub(super) fn score(weights: &[f64], previous: &[f64], current: &[f64]) -> (f64, Vec<f64>) {
    let sums = previous.iter().zip(current);
    let u: Vec<f64> = sums.map(|(a, b)| (a + b).tanh()).collect();
    (dot(parts(weights, u.len()).2, &u), u)
}

/// The gradient of [`score`] and [`as_previous`], given that of the logit. Adds to `dweights`, to
/// the gradient `dh_previous` of the earlier anchor and to `dcurrent`, that of `W_curr h_i`.
pub(super) fn score_bwd(
    weights: &[f64],
    u: &[f64],
    h_previous: &[f64],
    dlogit: f64,
    dweights: &mut [f64],
    dh_previous: &mut [f64],
    dcurrent: &mut [f64],
) {
    let n = u.len();
    let (previous, _, v) = parts(weights, n);
    let (dprevious, rest) = dweights.split_at_mut(n * n);
    let dv = &mut rest[n * n..];
    add_product_bwd_weights(dv, &[dlogit], u);
    let du: Vec<f64> = v
        .iter()
        .zip(u)
        .map(|(v, u)| dlogit * v * (1.0 - u * u))
        .collect();
    add_product_bwd_weights(dprevious, h_previous, &du);
    add_product_bwd_data(dh_previous, &du, previous);
    add(dcurrent, &du);
}

/// The gradient of [`as_current`]: adds to `dweights` and to `dh`.
pub(super) fn as_current_bwd(
    weights: &[f64],
    h: &[f64],
    dcurrent: &[f64],
    dweights: &mut [f64],
    dh: &mut [f64],
) {
    let n = h.len();
    add_product_bwd_weights(&mut dweights[n * n..2 * n * n], h, dcurrent);
    add_product_bwd_data(dh, dcurrent, parts(weights, n).1);
}
