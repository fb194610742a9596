//! Local contrast normalisation of one image, each channel alone.
//!
//! v = x - G x, s = sqrt(G v²), y = v / max(s, mean of s, 1e-4), where G blurs with a Gaussian. Taps
//! outside of the image are left out and the rest renormalised: G = D K with the blur K over zero
//! padding and a diagonal D, both products of one part per axis. The transpose is K D.

use super::layout::plane_len;
use super::loops::{self, Loop, Pixel, ZERO, pixels, pixels_mut, sum, zip};
use super::simd::Isa;
use crate::graph::Shape;
use crate::shape::PLANE;

/// exp(-k² / (2 · 2²)) for distances of 0 to 4: 9 taps, deviation 2.
const GAUSSIAN: [f32; 5] = [1.0, 0.882_496_9, 0.606_530_66, 0.324_652_47, 0.135_335_28];
/// Taps on each side.
const REACH: usize = GAUSSIAN.len() - 1;
/// Nothing is divided by less.
const FLOOR: f32 = 1e-4;
/// Planes of workspace.
const PLANES: usize = 4;

/// Floats that an image's normalisation, or its gradient, works in.
pub fn workspace_len(shape: &Shape) -> usize {
    (PLANES * plane_len(shape) + shape.h + shape.w).next_multiple_of(16)
}

/// Normalises an image.
pub fn fwd(isa: Isa, shape: &Shape, x: &[f32], out: &mut [f32], workspace: &mut [f32]) {
    loops::run(
        isa,
        Fwd {
            shape,
            x,
            out,
            workspace,
        },
    );
}

/// The gradient to x, added to `dx`, or, where it is the `first`, in place of what is there.
pub fn bwd(
    isa: Isa,
    shape: &Shape,
    x: &[f32],
    dout: &[f32],
    dx: &mut [f32],
    first: bool,
    workspace: &mut [f32],
) {
    loops::run(
        isa,
        Bwd {
            shape,
            x,
            dout,
            dx,
            first,
            workspace,
        },
    );
}

/// The blur of a size of planes.
struct Blur<'a> {
    w: usize,
    /// 1 / sum of the taps inside of the image, of every row and every column.
    rows: &'a [f32],
    columns: &'a [f32],
    /// A plane between the two axes.
    between: &'a mut [Pixel],
}

/// The planes of a workspace and the blur.
#[inline(always)]
fn cut<'a>(shape: &Shape, workspace: &'a mut [f32]) -> ([&'a mut [Pixel]; PLANES - 1], Blur<'a>) {
    let plane = plane_len(shape);
    let (planes, rest) = workspace.split_at_mut(PLANES * plane);
    let (a, planes) = planes.split_at_mut(plane);
    let (b, planes) = planes.split_at_mut(plane);
    let (c, between) = planes.split_at_mut(plane);
    let (rows, rest) = rest.split_at_mut(shape.h);
    let columns = &mut rest[..shape.w];
    for axis in [&mut *rows, &mut *columns] {
        let n = axis.len();
        for (i, value) in axis.iter_mut().enumerate() {
            *value = 1.0 / taps(i, n).map(|j| GAUSSIAN[i.abs_diff(j)]).sum::<f32>();
        }
    }
    let blur = Blur {
        w: shape.w,
        rows,
        columns,
        between: pixels_mut(between),
    };
    ([a, b, c].map(pixels_mut), blur)
}

/// Positions that a tap of position `i` of `n` meets.
#[inline(always)]
fn taps(i: usize, n: usize) -> std::ops::Range<usize> {
    i.saturating_sub(REACH)..(i + REACH + 1).min(n)
}

impl Blur<'_> {
    /// G x in place.
    #[inline(always)]
    fn apply(&mut self, plane: &mut [Pixel]) {
        self.convolve(plane);
        self.scale(plane);
    }

    /// Gᵀ x in place.
    #[inline(always)]
    fn apply_transposed(&mut self, plane: &mut [Pixel]) {
        self.scale(plane);
        self.convolve(plane);
    }

    /// D x in place.
    #[inline(always)]
    fn scale(&self, plane: &mut [Pixel]) {
        for (row, row_part) in plane.chunks_exact_mut(self.w).zip(self.rows) {
            for (pixel, column_part) in row.iter_mut().zip(self.columns) {
                *pixel = pixel.map(|x| x * (row_part * column_part));
            }
        }
    }

    /// K x in place.
    #[inline(always)]
    fn convolve(&mut self, plane: &mut [Pixel]) {
        let (h, w) = (self.rows.len(), self.w);
        let rows = plane.chunks_exact(w).zip(self.between.chunks_exact_mut(w));
        for (row, between) in rows {
            for (x, between) in between.iter_mut().enumerate() {
                let mut sum = ZERO;
                for j in taps(x, w) {
                    let tap = GAUSSIAN[x.abs_diff(j)];
                    sum = zip(&sum, &row[j], |sum, x| sum + tap * x);
                }
                *between = sum;
            }
        }
        for (y, row) in plane.chunks_exact_mut(w).enumerate() {
            row.fill(ZERO);
            for j in taps(y, h) {
                let tap = GAUSSIAN[y.abs_diff(j)];
                for (out, between) in row.iter_mut().zip(&self.between[j * w..]) {
                    *out = zip(out, between, |sum, x| sum + tap * x);
                }
            }
        }
    }
}

/// v and s of a plane, and the mean of s.
#[inline(always)]
fn contrast(x: &[Pixel], blur: &mut Blur, v: &mut [Pixel], s: &mut [Pixel]) -> Pixel {
    v.copy_from_slice(x);
    blur.apply(v);
    for ((v, s), x) in v.iter_mut().zip(&mut *s).zip(x) {
        *v = zip(x, v, |x, mean| x - mean);
        *s = v.map(|v| v * v);
    }
    blur.apply(s);
    for s in &mut *s {
        *s = s.map(f32::sqrt);
    }
    let n = s.len() as f32;
    sum(s, |s| *s).map(|sum| sum / n)
}

struct Fwd<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    out: &'a mut [f32],
    workspace: &'a mut [f32],
}

impl Loop for Fwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Fwd {
            shape,
            x,
            out,
            workspace,
        } = self;
        let ([v, s, _], mut blur) = cut(shape, workspace);
        let plane = plane_len(shape);
        for (x, out) in x.chunks_exact(plane).zip(out.chunks_exact_mut(plane)) {
            let mean = contrast(pixels(x), &mut blur, v, s);
            let floor = mean.map(|mean| mean.max(FLOOR));
            for ((out, v), s) in pixels_mut(out).iter_mut().zip(&*v).zip(&*s) {
                *out = std::array::from_fn(|i| v[i] / s[i].max(floor[i]));
            }
        }
    }
}

struct Bwd<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    dout: &'a [f32],
    dx: &'a mut [f32],
    first: bool,
    workspace: &'a mut [f32],
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            shape,
            x,
            dout,
            dx,
            first,
            workspace,
        } = self;
        let ([v, s, dv], mut blur) = cut(shape, workspace);
        let plane = plane_len(shape);
        let planes = x.chunks_exact(plane).zip(dout.chunks_exact(plane));
        for ((x, dout), dx) in planes.zip(dx.chunks_exact_mut(plane)) {
            let mean = contrast(pixels(x), &mut blur, v, s);
            dv.copy_from_slice(pixels(dout));
            through_divisor(v, s, dv, &mean);
            // s now holds the gradient to G v².
            blur.apply_transposed(s);
            for ((dv, s), v) in dv.iter_mut().zip(&mut *s).zip(&*v) {
                for i in 0..PLANE {
                    dv[i] += 2.0 * v[i] * s[i];
                }
                *s = *dv;
            }
            blur.apply_transposed(s);
            for ((dx, dv), blurred) in pixels_mut(dx).iter_mut().zip(&*dv).zip(&*s) {
                for i in 0..PLANE {
                    let before = if first { 0.0 } else { dx[i] };
                    dx[i] = before + (dv[i] - blurred[i]);
                }
            }
        }
    }
}

/// Back through y = v / max(s, mean, floor) and s = sqrt(·): `dv` holds dy and becomes the gradient
/// to the numerator; `s` becomes the gradient to the square of s.
#[inline(always)]
fn through_divisor(v: &[Pixel], s: &mut [Pixel], dv: &mut [Pixel], mean: &Pixel) {
    let floor = mean.map(|mean| mean.max(FLOOR));
    // Of pixels where s is not the largest, the gradient goes to the mean, unless the floor is.
    let mut dmean = ZERO;
    for ((v, s), dy) in v.iter().zip(&*s).zip(&*dv) {
        for i in 0..PLANE {
            let to_mean = s[i] < floor[i] && mean[i] >= FLOOR;
            dmean[i] -= if to_mean {
                dy[i] * v[i] / (floor[i] * floor[i])
            } else {
                0.0
            };
        }
    }
    let share = dmean.map(|dmean| dmean / v.len() as f32);
    for ((v, s), dv) in v.iter().zip(s).zip(dv) {
        for i in 0..PLANE {
            let divisor = s[i].max(floor[i]);
            let own = if s[i] >= floor[i] {
                -dv[i] * v[i] / (divisor * divisor)
            } else {
                0.0
            };
            dv[i] /= divisor;
            // Where s is 0, so is every v in reach, and nothing arrives at them.
            s[i] = if s[i] > 0.0 {
                0.5 * (own + share[i]) / s[i]
            } else {
                0.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// The formula as it is written, for one channel, without separating anything.
    fn formula(x: &[f64], h: usize, w: usize) -> Vec<f64> {
        let blur = |x: &[f64]| -> Vec<f64> {
            let pixel = |p: usize| {
                let (mut sum, mut weights) = (0.0, 0.0);
                for (q, x) in x.iter().enumerate() {
                    let (dy, dx) = ((p / w).abs_diff(q / w), (p % w).abs_diff(q % w));
                    if dy <= 4 && dx <= 4 {
                        let weight = (-((dy * dy + dx * dx) as f64) / 8.0).exp();
                        sum += weight * x;
                        weights += weight;
                    }
                }
                sum / weights
            };
            (0..h * w).map(pixel).collect()
        };
        let v: Vec<f64> = x.iter().zip(blur(x)).map(|(x, mean)| x - mean).collect();
        let squares: Vec<f64> = v.iter().map(|v| v * v).collect();
        let s: Vec<f64> = blur(&squares).into_iter().map(f64::sqrt).collect();
        let mean = s.iter().sum::<f64>() / s.len() as f64;
        v.iter()
            .zip(s)
            .map(|(v, s)| v / s.max(mean).max(1e-4))
            .collect()
    }

    #[test]
    fn forward_is_the_formula_and_backward_its_derivative() {
        let isa = Isa::detect();
        for (h, w) in [(1, 1), (3, 11), (12, 5)] {
            let shape = Shape::new(8, h, w);
            let mut rng = Rng::new(1, Purpose::Test, (h * w) as u64);
            // Contrast grows from left to right, so that in part of the image the mean wins.
            let lane: Vec<f64> = (0..h * w)
                .map(|p| rng.normal() * (p % w) as f64 + 3.0)
                .collect();
            let planes: Vec<f32> = lane.iter().flat_map(|&x| [x as f32; 8]).collect();
            let mut workspace = vec![f32::NAN; workspace_len(&shape)];
            let mut out = vec![f32::NAN; planes.len()];
            fwd(isa, &shape, &planes, &mut out, &mut workspace);
            for (p, want) in formula(&lane, h, w).into_iter().enumerate() {
                assert!(
                    (f64::from(out[p * 8 + 5]) - want).abs() < 1e-5,
                    "{h}x{w}, pixel {p}"
                );
            }
            let dout: Vec<f64> = (0..h * w).map(|_| rng.normal()).collect();
            let loss =
                |x: &[f64]| -> f64 { formula(x, h, w).iter().zip(&dout).map(|(y, d)| y * d).sum() };
            let douts: Vec<f32> = dout.iter().flat_map(|&d| [d as f32; 8]).collect();
            let mut dx = vec![1.0; planes.len()];
            bwd(isa, &shape, &planes, &douts, &mut dx, false, &mut workspace);
            for p in 0..h * w {
                let mut moved = lane.clone();
                let mut at = |step: f64| {
                    moved[p] = lane[p] + step;
                    loss(&moved)
                };
                let want = 1.0 + (at(1e-5) - at(-1e-5)) / 2e-5;
                let got = f64::from(dx[p * 8 + 2]);
                assert!(
                    (got - want).abs() < 2e-4,
                    "{h}x{w}, pixel {p}: {got} for {want}"
                );
            }
        }
    }
}
