//! Max and average pooling of one image.

use super::layout::plane_len;
use super::loops::{self, Loop, Pixel, ZERO, pixels, pixels_mut, zip};
use super::simd::Isa;
use crate::graph::step::{Pool, PoolKind};
use crate::shape::PLANE;

/// The pool of an image `x` into `out`.
pub fn fwd(isa: Isa, pool: &Pool, x: &[f32], out: &mut [f32]) {
    loops::run(isa, Fwd { pool, x, out });
}

/// Positions of the windows' first pixels in a plane of the input, in the order of the outputs.
#[inline(always)]
fn windows(pool: &Pool) -> impl Iterator<Item = usize> {
    let ([rows, columns], width) = (pool.stride, pool.input.w);
    let output = &pool.output;
    (0..output.h).flat_map(move |y| (0..output.w).map(move |x| y * rows * width + x * columns))
}

/// Positions in a window relative to its first pixel, in row order.
#[inline(always)]
fn window(pool: &Pool) -> impl Iterator<Item = usize> {
    let ([rows, columns], width) = (pool.window, pool.input.w);
    (0..rows).flat_map(move |y| (0..columns).map(move |x| y * width + x))
}

/// 1 / pixels of a window.
fn part(pool: &Pool) -> f32 {
    1.0 / (pool.window[0] * pool.window[1]) as f32
}

struct Fwd<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for Fwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Fwd { pool, x, out } = self;
        let part = part(pool);
        let planes = x.chunks_exact(plane_len(&pool.input));
        for (x, out) in planes.zip(out.chunks_exact_mut(plane_len(&pool.output))) {
            let x = pixels(x);
            for (out, first) in pixels_mut(out).iter_mut().zip(windows(pool)) {
                *out = match pool.kind {
                    PoolKind::Max => {
                        window(pool).fold(x[first], |top, at| zip(&top, &x[first + at], larger))
                    }
                    PoolKind::Avg => window(pool)
                        .fold(ZERO, |sum, at| zip(&sum, &x[first + at], |a, b| a + b))
                        .map(|sum| sum * part),
                };
            }
        }
    }
}

/// The larger value, or the first of two equal ones. What is not a number counts as the largest, so
/// that it is not hidden.
#[inline(always)]
fn larger(top: f32, x: f32) -> f32 {
    let top = if x > top { x } else { top };
    if x.is_nan() { x } else { top }
}

/// The gradient to the input of an image from `dout`: added to `dx`, or, where it is the `first`,
/// in place of what is there. Of equal values of a window the first in row order is the largest.
pub fn bwd(
    isa: Isa,
    pool: &Pool,
    x: &[f32],
    out: &[f32],
    dout: &[f32],
    dx: &mut [f32],
    first: bool,
) {
    if first {
        dx.fill(0.0);
    }
    loops::run(
        isa,
        Bwd {
            pool,
            x,
            out,
            dout,
            dx,
        },
    );
}

struct Bwd<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
    dx: &'a mut [f32],
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            pool,
            x,
            out,
            dout,
            dx,
        } = self;
        let (plane, out_plane) = (plane_len(&pool.input), plane_len(&pool.output));
        let part = part(pool);
        let inputs = x.chunks_exact(plane).zip(dx.chunks_exact_mut(plane));
        let outputs = out
            .chunks_exact(out_plane)
            .zip(dout.chunks_exact(out_plane));
        for ((x, dx), (out, dout)) in inputs.zip(outputs) {
            let (x, dx) = (pixels(x), pixels_mut(dx));
            let outputs = pixels(out).iter().zip(pixels(dout)).zip(windows(pool));
            for ((out, dout), first) in outputs {
                match pool.kind {
                    PoolKind::Max => {
                        let mut left = *dout; // what no pixel of the window has taken
                        for at in window(pool).map(|at| first + at) {
                            take(&x[at], out, &mut left, &mut dx[at]);
                        }
                    }
                    PoolKind::Avg => {
                        for at in window(pool).map(|at| first + at) {
                            dx[at] = zip(&dx[at], dout, |dx, d| dx + d * part);
                        }
                    }
                }
            }
        }
    }
}

/// A pixel takes what is left of the gradient in the channels where it is the largest.
#[inline(always)]
fn take(x: &Pixel, out: &Pixel, left: &mut Pixel, dx: &mut Pixel) {
    // By bits, since the compiler does not vectorise a choice. Those of `out` are those of the first
    // largest value: d is 0 there, and elsewhere one of d and -d is below 0.
    let taken: [u32; PLANE] = std::array::from_fn(|i| {
        let d = (out[i].to_bits() ^ x[i].to_bits()).cast_signed();
        left[i].to_bits() & !((d | d.wrapping_neg()) >> 31).cast_unsigned()
    });
    *left = std::array::from_fn(|i| f32::from_bits(left[i].to_bits() ^ taken[i]));
    *dx = zip(dx, &taken.map(f32::from_bits), |dx, d| dx + d);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Shape;
    use crate::graph::step::BufferId;

    fn plane(values: &[f32]) -> Vec<f32> {
        values.iter().flat_map(|&x| [x; 8]).collect()
    }

    /// Windows of 2 x 2 that overlap, over 3 x 3 pixels.
    fn run(kind: PoolKind, x: [f32; 9]) -> (Vec<f32>, Vec<f32>) {
        let pool = Pool {
            kind,
            window: [2, 2],
            stride: [1, 1],
            x: BufferId(0),
            input: Shape::new(8, 3, 3),
            out: BufferId(0),
            output: Shape::new(8, 2, 2),
        };
        let x = plane(&x);
        let mut out = vec![0.0; 4 * 8];
        let isa = Isa::detect();
        fwd(isa, &pool, &x, &mut out);
        let dout = plane(&[4.0, 8.0, 16.0, 32.0]);
        let mut dx = vec![f32::NAN; 9 * 8];
        bwd(isa, &pool, &x, &out, &dout, &mut dx, true);
        let lane = |values: &[f32]| values.iter().copied().skip(3).step_by(8).collect();
        (lane(&out), lane(&dx))
    }

    /// Two equal maxima.
    const TIE: [f32; 9] = [0.0, 4.0, 1.0, 2.0, 4.0, 8.0, 0.0, 0.0, 0.0];

    #[test]
    fn the_first_largest_value_takes_the_gradient() {
        let (out, dx) = run(PoolKind::Max, TIE);
        assert_eq!(out, [4.0, 8.0, 4.0, 8.0]);
        assert_eq!(dx, [0.0, 4.0, 0.0, 0.0, 16.0, 40.0, 0.0, 0.0, 0.0]);
        // Zeros of either sign are equal.
        let (out, dx) = run(
            PoolKind::Max,
            [-0.0, 0.0, -0.0, 0.0, -0.0, -1.0, -1.0, -1.0, -1.0],
        );
        assert!(out.iter().all(|&x| x == 0.0), "{out:?}");
        assert_eq!(dx, [4.0, 8.0, 0.0, 16.0, 32.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_not_a_number_is_the_largest_wherever_it_stands() {
        for at in [0, 1, 3, 4] {
            let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, f32::INFINITY];
            x[at] = f32::NAN;
            let (out, dx) = run(PoolKind::Max, x);
            assert!(out[0].is_nan(), "pixel {at}: {out:?}");
            assert!(
                dx[at] >= 4.0 && dx.iter().sum::<f32>() == 60.0,
                "pixel {at}: {dx:?}"
            );
        }
    }

    #[test]
    fn every_pixel_of_a_mean_takes_its_part() {
        let (out, dx) = run(PoolKind::Avg, TIE);
        assert_eq!(out, [2.5, 4.25, 1.5, 3.0]);
        assert_eq!(dx, [1.0, 3.0, 2.0, 5.0, 15.0, 10.0, 4.0, 12.0, 8.0]);
    }
}
