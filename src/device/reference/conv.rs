//! Convolution: y[n,f,i,j] = sum over c, u, v of w[f,c,u,v] x[n,c, i s - kh/2 + u, j t - kw/2 + v].

use super::tensor::Tensor;
use crate::graph::step::Conv;

/// One product of the sum: y at `y` takes w at `w` times x at `x`.
struct Tap {
    y: [usize; 4],
    w: [usize; 4],
    x: [usize; 4],
}

/// Calls `visit` with every product of `n` images, leaving out those with the padding's zeros.
fn each_tap(conv: &Conv, n: usize, mut visit: impl FnMut(Tap)) {
    let [kh, kw] = conv.filter;
    let [s, t] = conv.stride;
    let inside = |place: usize, half: usize, size: usize| {
        place.checked_sub(half).filter(|&place| place < size)
    };
    for y in Tensor::images(n, &conv.output).positions() {
        let [n, f, i, j] = y;
        for u in 0..kh {
            for v in 0..kw {
                let row = inside(i * s + u, kh / 2, conv.input.h);
                let column = inside(j * t + v, kw / 2, conv.input.w);
                let (Some(row), Some(column)) = (row, column) else {
                    continue;
                };
                for c in 0..conv.input.c() {
                    let (w, x) = ([f, c, u, v], [n, c, row, column]);
                    visit(Tap { y, w, x });
                }
            }
        }
    }
}

/// The weights of `conv` as filters `[f][c][kh][kw]`, out of the vector of all weights.
pub fn filters(conv: &Conv, weights: &Tensor) -> Tensor {
    let [kh, kw] = conv.filter;
    Tensor {
        dims: [conv.output.c(), conv.input.c(), kh, kw],
        values: weights.values[conv.weight.range()].to_vec(),
    }
}

/// y of the concatenation x and the filters w.
pub fn fwd(conv: &Conv, x: &Tensor, w: &Tensor) -> Tensor {
    let n = x.dims[0];
    let mut y = Tensor::images(n, &conv.output);
    each_tap(conv, n, |tap| y[tap.y] += w[tap.w] * x[tap.x]);
    y
}

/// Gradient to the concatenation.
pub fn bwd_data(conv: &Conv, w: &Tensor, dy: &Tensor) -> Tensor {
    let n = dy.dims[0];
    let mut dx = Tensor::images(n, &conv.input);
    each_tap(conv, n, |tap| dx[tap.x] += w[tap.w] * dy[tap.y]);
    dx
}

/// Gradient to the filters.
pub fn bwd_filter(conv: &Conv, x: &Tensor, dy: &Tensor) -> Tensor {
    let [kh, kw] = conv.filter;
    let mut dw = Tensor::zeros([conv.output.c(), conv.input.c(), kh, kw]);
    each_tap(conv, x.dims[0], |tap| {
        dw[tap.w] += x[tap.x] * dy[tap.y];
    });
    dw
}
