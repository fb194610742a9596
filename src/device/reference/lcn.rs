//! Local contrast normalisation (Jarrett et al. 2009), each channel alone: v = x - G*x,
//! s = sqrt(G*v²), y = v / max(s, mean of s over h and w, 1e-4).

use super::tensor::Tensor;

/// Largest offset of a tap: G is 9x9.
const REACH: usize = 4;
/// Deviation of the Gaussian, in pixels.
const DEVIATION: f64 = 2.0;
/// Least divisor.
const FLOOR: f64 = 1e-4;

/// Weights of G's taps around pixel (i, j) of an h x w image. Taps outside the image are left out
/// and the rest add up to 1.
fn taps(h: usize, w: usize, i: usize, j: usize) -> Vec<(usize, usize, f64)> {
    let mut taps = vec![];
    for p in i.saturating_sub(REACH)..h.min(i + REACH + 1) {
        for q in j.saturating_sub(REACH)..w.min(j + REACH + 1) {
            let distance_squared = (p.abs_diff(i).pow(2) + q.abs_diff(j).pow(2)) as f64;
            let weight = (-distance_squared / (2.0 * DEVIATION * DEVIATION)).exp();
            taps.push((p, q, weight));
        }
    }
    let total: f64 = taps.iter().map(|tap| tap.2).sum();
    taps.iter_mut().for_each(|tap| tap.2 /= total);
    taps
}

/// G*x.
fn blur(x: &Tensor) -> Tensor {
    let [.., h, w] = x.dims;
    let mut out = Tensor::zeros(x.dims);
    for [n, c, i, j] in out.positions() {
        for (p, q, weight) in taps(h, w, i, j) {
            out[[n, c, i, j]] += weight * x[[n, c, p, q]];
        }
    }
    out
}

/// Gradient to x from the gradient to G*x.
fn blur_bwd(dout: &Tensor) -> Tensor {
    let [.., h, w] = dout.dims;
    let mut dx = Tensor::zeros(dout.dims);
    for [n, c, i, j] in dout.positions() {
        for (p, q, weight) in taps(h, w, i, j) {
            dx[[n, c, p, q]] += weight * dout[[n, c, i, j]];
        }
    }
    dx
}

fn map(x: &Tensor, value: impl Fn([usize; 4]) -> f64) -> Tensor {
    Tensor {
        dims: x.dims,
        values: x.positions().map(value).collect(),
    }
}

/// What both passes need.
struct Parts {
    v: Tensor,
    s: Tensor,
    /// `[n][c][1][1]`.
    mean: Tensor,
}

impl Parts {
    fn new(x: &Tensor) -> Parts {
        let [n, c, h, w] = x.dims;
        let blurred = blur(x);
        let v = map(x, |at| x[at] - blurred[at]);
        let energy = blur(&map(&v, |at| v[at] * v[at]));
        let s = map(&v, |at| energy[at].sqrt());
        let mut mean = Tensor::zeros([n, c, 1, 1]);
        for at in s.positions() {
            mean[[at[0], at[1], 0, 0]] += s[at] / (h * w) as f64;
        }
        Parts { v, s, mean }
    }

    fn divisor(&self, at: [usize; 4]) -> f64 {
        let mean = self.mean[[at[0], at[1], 0, 0]];
        self.s[at].max(mean).max(FLOOR)
    }
}

/// y.
pub fn fwd(x: &Tensor) -> Tensor {
    let parts = Parts::new(x);
    map(x, |at| parts.v[at] / parts.divisor(at))
}

/// Gradient to x. The divisor's goes to whatever the divisor was: s of the pixel, the mean and so
/// s of every pixel, or the floor and so nowhere. A pixel with s = 0 passes none on.
pub fn bwd(x: &Tensor, dout: &Tensor) -> Tensor {
    let [n, c, h, w] = x.dims;
    let parts = Parts::new(x);
    let Parts { v, s, mean } = &parts;
    let mut ds = Tensor::zeros(x.dims);
    let mut dmean = Tensor::zeros([n, c, 1, 1]);
    for at in x.positions() {
        let [n, c, ..] = at;
        let divisor = parts.divisor(at);
        let ddivisor = -dout[at] * v[at] / (divisor * divisor);
        if divisor == s[at] {
            ds[at] += ddivisor;
        } else if divisor == mean[[n, c, 0, 0]] {
            dmean[[n, c, 0, 0]] += ddivisor;
        }
    }
    let denergy = map(x, |at| {
        let ds = ds[at] + dmean[[at[0], at[1], 0, 0]] / (h * w) as f64;
        if s[at] > 0.0 { ds / (2.0 * s[at]) } else { 0.0 }
    });
    let dsquare = blur_bwd(&denergy);
    let dv = map(x, |at| {
        dout[at] / parts.divisor(at) + dsquare[at] * 2.0 * v[at]
    });
    let dblurred = blur_bwd(&dv);
    map(x, |at| dv[at] - dblurred[at])
}
