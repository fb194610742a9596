//! Batch normalisation: out = scale (x - mean) / sqrt(var + eps) + shift, over n, h and w.
//!
//! Statistics for other devices to compare with (`moments`, `coefficients`, `dz_sums`) have the
//! layout that the step documents, channels at their places among the planes of 8; what lies
//! between is 0. The values themselves come from the formula over the whole batch.

use super::tensor::{Memory, Tensor, positions};
use crate::graph::Shape;
use crate::graph::plan::Plan;
use crate::graph::step::{NORM_RUNNING, Norm};
use crate::shape::PLANE;

/// Sums over h and w of `first` and `second` of every value, `[n][2][8 planes]`.
fn sums(shape: &Shape, x: &Tensor, value: impl Fn([usize; 4]) -> [f64; 2]) -> Tensor {
    let width = PLANE * shape.planes();
    let lanes: Vec<usize> = shape.lanes().collect();
    let mut sums = Tensor::zeros([1, x.dims[0], 2, width]);
    for position in x.positions() {
        let [n, c, ..] = position;
        let [first, second] = value(position);
        sums[[0, n, 0, lanes[c]]] += first;
        sums[[0, n, 1, lanes[c]]] += second;
    }
    sums
}

/// Of each image and channel, the mean over h and w and the sum of squared differences from it.
pub fn moments(shape: &Shape, x: &Tensor) -> Vec<f64> {
    let pixels = (shape.h * shape.w) as f64;
    let lanes: Vec<usize> = shape.lanes().collect();
    let mut mean = sums(shape, x, |at| [x[at] / pixels, 0.0]);
    let squares = sums(shape, x, |at| {
        let [n, c, ..] = at;
        [0.0, (x[at] - mean[[0, n, 0, lanes[c]]]).powi(2)]
    });
    for (mean, square) in mean.values.iter_mut().zip(&squares.values) {
        *mean += square; // the mean's rows and the squares' rows are 0 in each other
    }
    mean.values
}

/// Positions of channel `c`.
fn channel(x: &Tensor, c: usize) -> impl Iterator<Item = [usize; 4]> + use<> {
    let [n, _, h, w] = x.dims;
    positions([n, 1, h, w]).map(move |[n, _, i, j]| [n, c, i, j])
}

/// Mean and biased variance of channel `c` over the batch.
fn statistics(x: &Tensor, c: usize) -> (f64, f64) {
    let [n, _, h, w] = x.dims;
    let count = (n * h * w) as f64;
    let channel = || channel(x, c).map(|at| x[at]);
    let mean = channel().sum::<f64>() / count;
    let var = channel().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, var)
}

/// Normalises by the batch's statistics and moves the running ones towards them.
pub fn fwd(plan: &Plan, norm: &Norm, memory: &mut Memory) {
    let [n, channels, h, w] = memory[norm.x].dims;
    let count = (n * h * w) as f64;
    for c in 0..channels {
        let (mean, var) = statistics(&memory[norm.x], c);
        normalise(plan, norm, memory, c, mean, var);
        let unbiased = if count > 1.0 {
            var * count / (count - 1.0)
        } else {
            var
        };
        let running = &mut memory[plan.running].values;
        let mut blend = |start: usize, batch: f64| {
            running[start + c] = (1.0 - NORM_RUNNING) * running[start + c] + NORM_RUNNING * batch;
        };
        blend(norm.running_mean.start, mean);
        blend(norm.running_var.start, unbiased);
    }
}

/// Normalises by the running statistics.
pub fn fwd_running(plan: &Plan, norm: &Norm, memory: &mut Memory) {
    for c in 0..norm.shape.c() {
        let running = &memory[plan.running].values;
        let mean = running[norm.running_mean.start + c];
        let var = running[norm.running_var.start + c];
        normalise(plan, norm, memory, c, mean, var);
    }
}

/// Channel `c` of the result, and its first four coefficients.
fn normalise(plan: &Plan, norm: &Norm, memory: &mut Memory, c: usize, mean: f64, var: f64) {
    let scale = memory[plan.weights].values[norm.scale.start + c];
    let shift = memory[plan.weights].values[norm.shift.start + c];
    let inverse = 1.0 / (var + norm.epsilon).sqrt();
    for at in channel(&memory[norm.x], c) {
        let z = scale * (memory[norm.x][at] - mean) * inverse + shift;
        // Not max(): a NaN must come through.
        memory[norm.out][at] = if norm.relu && z < 0.0 { 0.0 } else { z };
    }
    let factor = scale * inverse;
    let rows = [mean, inverse, factor, shift - factor * mean];
    set_coefficients(norm, memory, c, 0, &rows);
}

/// Writes rows from `first` of channel `c`.
fn set_coefficients(norm: &Norm, memory: &mut Memory, c: usize, first: usize, rows: &[f64]) {
    let width = PLANE * norm.shape.planes();
    let lane = norm.shape.lanes().nth(c).expect("a lane for every channel");
    for (row, &value) in rows.iter().enumerate() {
        memory[norm.coefficients].values[(first + row) * width + lane] = value;
    }
}

/// Mean and 1 / sqrt(var + eps) of every channel, as the forward pass left them.
fn means_and_inverses(norm: &Norm, memory: &Memory) -> Vec<(f64, f64)> {
    let width = PLANE * norm.shape.planes();
    let coefficients = &memory[norm.coefficients].values;
    let lanes = norm.shape.lanes();
    lanes
        .map(|lane| (coefficients[lane], coefficients[width + lane]))
        .collect()
}

/// Of each image and channel, the sums of dz and of dz (x - mean) / sqrt(var + eps).
pub fn dz_sums(norm: &Norm, memory: &Memory) -> Vec<f64> {
    let (x, dz) = (&memory[norm.x], &memory[norm.dz]);
    let channels = means_and_inverses(norm, memory);
    let value = |at: [usize; 4]| {
        let (mean, inverse) = channels[at[1]];
        [dz[at], dz[at] * (x[at] - mean) * inverse]
    };
    sums(&norm.shape, dz, value).values
}

/// Gradients to x, scale and shift. With m values in a channel and xn = (x - mean) / sqrt(var +
/// eps): dx = scale / sqrt(var + eps) (dz - sum of dz / m - xn · sum of dz xn / m).
pub fn bwd(plan: &Plan, norm: &Norm, memory: &mut Memory) {
    let [n, channels, h, w] = memory[norm.x].dims;
    let count = (n * h * w) as f64;
    let mut dx = Tensor::zeros([n, channels, h, w]);
    for (c, (mean, inverse)) in means_and_inverses(norm, memory).into_iter().enumerate() {
        let (x, dz) = (&memory[norm.x], &memory[norm.dz]);
        let channel = || channel(dz, c);
        let xn = |at: [usize; 4]| (x[at] - mean) * inverse;
        let sum: f64 = channel().map(|at| dz[at]).sum();
        let sum_xn: f64 = channel().map(|at| dz[at] * xn(at)).sum();
        let factor = memory[plan.weights].values[norm.scale.start + c] * inverse;
        for at in channel() {
            dx[at] = factor * (dz[at] - sum / count - xn(at) * sum_xn / count);
        }
        let slope = -factor * inverse * sum_xn / count;
        let rows = [factor, slope, -factor * sum / count - slope * mean];
        set_coefficients(norm, memory, c, 4, &rows);
        let gradients = &mut memory[plan.gradients].values;
        gradients[norm.scale.start + c] = sum_xn;
        gradients[norm.shift.start + c] = sum;
    }
    memory[norm.dx] = dx;
}
