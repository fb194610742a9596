//! Max and average pooling without padding, and their gradients.

use super::tensor::Tensor;
use crate::graph::step::{Pool, PoolKind};

/// Positions of the window of result `[n, c, i, j]` in row order.
fn window(pool: &Pool, [n, c, i, j]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> + Clone {
    let [kh, kw] = pool.window;
    let [s, t] = pool.stride;
    (0..kh * kw).map(move |tap| [n, c, i * s + tap / kw, j * t + tap % kw])
}

/// The first largest value of a window. A NaN counts as the largest.
fn largest(x: &Tensor, window: impl Iterator<Item = [usize; 4]>) -> [usize; 4] {
    let larger = |x: f64, best: f64| x > best || (x.is_nan() && !best.is_nan());
    window
        .reduce(|best, at| if larger(x[at], x[best]) { at } else { best })
        .expect("a window holds a value")
}

/// The largest value of each window, or its mean.
pub fn fwd(pool: &Pool, x: &Tensor) -> Tensor {
    let mut out = Tensor::images(x.dims[0], &pool.output);
    let size = (pool.window[0] * pool.window[1]) as f64;
    for at in out.positions() {
        let window = window(pool, at);
        out[at] = match pool.kind {
            PoolKind::Max => x[largest(x, window)],
            PoolKind::Avg => window.map(|at| x[at]).sum::<f64>() / size,
        };
    }
    out
}

/// Gradient to x: the first largest value of a window takes all of it, or each its share.
pub fn bwd(pool: &Pool, x: &Tensor, dout: &Tensor) -> Tensor {
    let mut dx = Tensor::zeros(x.dims);
    let size = (pool.window[0] * pool.window[1]) as f64;
    for at in dout.positions() {
        let window = window(pool, at);
        match pool.kind {
            PoolKind::Max => dx[largest(x, window)] += dout[at],
            PoolKind::Avg => window.for_each(|tap| dx[tap] += dout[at] / size),
        }
    }
    dx
}
