//! One step of one LSTM layer, and its gradient.
//!
//! `z = x W + h U + b` in four parts: input gate, forget gate, candidate, output gate. Then
//! `c' = sigmoid(f) c + sigmoid(i) tanh(g)` and `h' = sigmoid(o) tanh(c')`.

use super::products::{add_product, add_product_bwd_data, add_product_bwd_weights};

/// A step that was taken: all that its gradient needs.
#[derive(Clone, Debug)]
pub(super) struct LstmStep {
    x: Vec<f64>,
    h_before: Vec<f64>,
    c_before: Vec<f64>,
    /// The four gates after their activations: `[4H]`.
    gates: Vec<f64>,
    tanh_c: Vec<f64>,
    /// The state after the step.
    pub h: Vec<f64>,
    pub c: Vec<f64>,
}

/// Takes a step from state (`h_before`, `c_before`), each `[H]`. `weights` are W `[H][4H]`,
/// U `[H][4H]` and b `[4H]`, one after the other.
pub(super) fn step(weights: &[f64], x: Vec<f64>, h_before: &[f64], c_before: &[f64]) -> LstmStep {
    let n = h_before.len();
    let (input, rest) = weights.split_at(x.len() * 4 * n);
    let (hidden, bias) = rest.split_at(n * 4 * n);
    let mut gates = bias.to_vec();
    add_product(&mut gates, &x, input);
    add_product(&mut gates, h_before, hidden);
    for (i, gate) in gates.iter_mut().enumerate() {
        *gate = if i / n == 2 {
            gate.tanh()
        } else {
            sigmoid(*gate)
        };
    }
    let (i, f, g, o) = parts(&gates);
    let c: Vec<f64> = (0..n).map(|k| f[k] * c_before[k] + i[k] * g[k]).collect();
    let tanh_c: Vec<f64> = c.iter().map(|c| c.tanh()).collect();
    let h = (0..n).map(|k| o[k] * tanh_c[k]).collect();
    LstmStep {
        x,
        h_before: h_before.to_vec(),
        c_before: c_before.to_vec(),
        gates,
        tanh_c,
        h,
        c,
    }
}

/// Carries gradients back through a step. `dh` and `dc` are those of the state after it and become
/// those of the state before it; adds to `dweights`; returns the gradient of `x`.
pub(super) fn step_bwd(
    weights: &[f64],
    step: &LstmStep,
    dh: &mut [f64],
    dc: &mut [f64],
    dweights: &mut [f64],
) -> Vec<f64> {
    let n = dh.len();
    let (i, f, g, o) = parts(&step.gates);
    let mut dz = vec![0.0; 4 * n];
    for k in 0..n {
        let tanh_c = step.tanh_c[k];
        let dc_k = dc[k] + dh[k] * o[k] * (1.0 - tanh_c * tanh_c);
        dz[k] = dc_k * g[k] * i[k] * (1.0 - i[k]);
        dz[n + k] = dc_k * step.c_before[k] * f[k] * (1.0 - f[k]);
        dz[2 * n + k] = dc_k * i[k] * (1.0 - g[k] * g[k]);
        dz[3 * n + k] = dh[k] * tanh_c * o[k] * (1.0 - o[k]);
        dc[k] = dc_k * f[k];
    }
    let (input, rest) = weights.split_at(step.x.len() * 4 * n);
    let (hidden, _) = rest.split_at(n * 4 * n);
    let (dinput, drest) = dweights.split_at_mut(input.len());
    let (dhidden, dbias) = drest.split_at_mut(hidden.len());
    add_product_bwd_weights(dinput, &step.x, &dz);
    add_product_bwd_weights(dhidden, &step.h_before, &dz);
    add_product_bwd_weights(dbias, &[1.0], &dz);
    let mut dx = vec![0.0; step.x.len()];
    add_product_bwd_data(&mut dx, &dz, input);
    dh.fill(0.0);
    add_product_bwd_data(dh, &dz, hidden);
    dx
}

/// Input gate, forget gate, candidate, output gate.
fn parts(gates: &[f64]) -> (&[f64], &[f64], &[f64], &[f64]) {
    let (first, second) = gates.split_at(gates.len() / 2);
    let ((i, f), (g, o)) = (
        first.split_at(first.len() / 2),
        second.split_at(second.len() / 2),
    );
    (i, f, g, o)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
