//! Cook-Toom transforms of one line: 4 outputs of a filter from products at a few points.
//!
//! A line of `points` inputs is evaluated as a polynomial's dual at 0, ±1, ±2, ±1/2 and infinity;
//! the filter at the same points; their products, summed over channels, give 4 outputs:
//!
//! | taps | parts | points | products for 4 outputs, plain |
//! |---|---|---|---|
//! | 1 | 1 | 1 (one output) | 4, 4 |
//! | 3 | 1 | 6: 0, ±1, ±2, ∞ | 6, 12 |
//! | 5 | 1 | 8: 0, ±1, ±2, ±1/2, ∞ | 8, 20 |
//! | 7 | 2 of 4 taps (the last is zero) | 7: ±1, ±2, ±1/2, ∞ | 14, 28 |
//!
//! Seven taps are two parts, shifted by one tile, so that both read the same transformed inputs:
//! one part would need 10 points, which round ten times worse. In two dimensions the transforms
//! apply to rows and to columns, and the savings multiply.

use crate::device::cpu::simd::Simd;

/// The scheme for one axis of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CookToom {
    /// Taps of the filter.
    pub taps: usize,
    /// Parts that the taps are cut into.
    pub parts: usize,
    /// Taps of a part.
    pub part: usize,
    /// Outputs of a tile.
    pub tile: usize,
    /// Points: `tile + part - 1`.
    pub points: usize,
}

impl CookToom {
    /// The scheme for a filter of `taps`, if there is one.
    pub fn new(taps: usize) -> Option<CookToom> {
        let (parts, part, tile) = match taps {
            1 => (1, 1, 1),
            3 => (1, 3, 4),
            5 => (1, 5, 4),
            7 => (2, 4, 4),
            _ => return None,
        };
        Some(CookToom {
            taps,
            parts,
            part,
            tile,
            points: tile + part - 1,
        })
    }
}

/// Finite points, and the filter's scale there, of a transform of `A` points.
const fn finite_points<const A: usize>() -> &'static [(f64, f64)] {
    match A {
        1 => &[],
        6 => &[
            (0.0, 1.0 / 4.0),
            (1.0, -1.0 / 6.0),
            (-1.0, -1.0 / 6.0),
            (2.0, 1.0 / 24.0),
            (-2.0, 1.0 / 24.0),
        ],
        7 => &[
            (1.0, -2.0 / 9.0),
            (-1.0, 2.0 / 9.0),
            (2.0, 1.0 / 45.0),
            (-2.0, -1.0 / 45.0),
            (0.5, 16.0 / 45.0),
            (-0.5, -16.0 / 45.0),
        ],
        8 => &[
            (0.0, 1.0),
            (1.0, -2.0 / 9.0),
            (-1.0, -2.0 / 9.0),
            (2.0, 1.0 / 90.0),
            (-2.0, 1.0 / 90.0),
            (0.5, 32.0 / 45.0),
            (-0.5, 32.0 / 45.0),
        ],
        _ => panic!("schemes have 1, 6, 7 or 8 points"),
    }
}

/// What each of the `R` taps of a part contributes to each of `A` points: a power of the point,
/// scaled; at infinity, the last tap.
const fn filter_matrix<const A: usize, const R: usize>() -> [[f32; R]; A] {
    let mut matrix = [[0.0; R]; A];
    matrix[A - 1][R - 1] = 1.0;
    let points = finite_points::<A>();
    let mut point = 0;
    while point < points.len() {
        let (x, scale) = points[point];
        let (mut tap, mut power) = (0, scale);
        while tap < R {
            matrix[point][tap] = power as f32;
            power *= x;
            tap += 1;
        }
        point += 1;
    }
    matrix
}

/// Transforms the `R` taps of a part to `A` points.
#[inline(always)]
pub(super) fn filter<S: Simd, const A: usize, const R: usize>(taps: [S; R]) -> [S; A] {
    let matrix = const { &filter_matrix::<A, R>() };
    let mut u = [taps[0]; A];
    for (u, row) in u.iter_mut().zip(matrix) {
        *u = taps[0].scale(row[0]);
        for (tap, &g) in taps.iter().zip(row).skip(1) {
            *u = tap.mul_add_scaled(g, *u);
        }
    }
    u
}

/// The transpose of [`filter`]: gradients at `A` points to gradients of the `R` taps of a part.
#[inline(always)]
pub(super) fn filter_transposed<S: Simd, const A: usize, const R: usize>(du: [S; A]) -> [S; R] {
    let matrix = const { &filter_matrix::<A, R>() };
    let mut taps = [du[0]; R];
    for (tap, sum) in taps.iter_mut().enumerate() {
        *sum = du[0].scale(matrix[0][tap]);
        for (du, row) in du.iter().zip(matrix).skip(1) {
            *sum = du.mul_add_scaled(row[tap], *sum);
        }
    }
    taps
}

/// Pairs of points ±x, as they follow each other: x, and the sum and product of the squares of the
/// other two finite pairs (7 and 8 points).
const PAIRS: [(f32, f32, f32); 3] = [(1.0, 4.25, 1.0), (2.0, 1.25, 0.25), (0.5, 5.0, 4.0)];

/// Transforms `A` inputs of a line to the values at `A` points.
#[inline(always)]
pub(super) fn input<S: Simd, const A: usize>(d: [S; A]) -> [S; A] {
    let times = |a: S, x: f32, b: S| a.mul_add_scaled(x, b);
    let mut v = d;
    match A {
        1 => {}
        6 => {
            v[0] = times(d[0], 4.0, times(d[2], -5.0, d[4]));
            for (i, x, other) in [(1, 1.0, -4.0), (3, 2.0, -1.0)] {
                let even = times(d[2], other, d[4]);
                let odd = times(d[1], other, d[3]);
                v[i] = times(odd, x, even);
                v[i + 1] = times(odd, -x, even);
            }
            v[5] = times(d[1], 4.0, times(d[3], -5.0, d[5]));
        }
        7 => {
            for (i, (x, sum, product)) in PAIRS.into_iter().enumerate() {
                let even = times(d[2], -sum, times(d[0], product, d[4]));
                let odd = times(d[3], -sum, times(d[1], product, d[5]));
                v[2 * i] = times(even, x, odd);
                v[2 * i + 1] = times(even, -x, odd);
            }
            v[6] = times(d[2] - d[4], 5.25, d[6] - d[0]);
        }
        8 => {
            v[0] = times(d[4] - d[2], 5.25, d[0] - d[6]);
            for (i, (x, sum, product)) in PAIRS.into_iter().enumerate() {
                let even = times(d[4], -sum, times(d[2], product, d[6]));
                let odd = times(d[3], -sum, times(d[1], product, d[5]));
                v[1 + 2 * i] = times(odd, x, even);
                v[2 + 2 * i] = times(odd, -x, even);
            }
            v[7] = times(d[3] - d[5], 5.25, d[7] - d[1]);
        }
        _ => unreachable!("schemes have 1, 6, 7 or 8 points"),
    }
    v
}

/// The `M` outputs from the products at `A` points: output `i` is the sum over the points of
/// `x^i` times the product there, and infinity counts for the last output alone.
#[inline(always)]
pub(super) fn output<S: Simd, const A: usize, const M: usize>(s: [S; A]) -> [S; M] {
    let times = |a: S, x: f32, b: S| a.mul_add_scaled(x, b);
    let mut y = [s[0]; M];
    if A == 1 {
        return y;
    }
    let zero = zero_point(A);
    let pair = |q: usize| {
        (
            s[zero + 2 * q] + s[zero + 2 * q + 1],
            s[zero + 2 * q] - s[zero + 2 * q + 1],
        )
    };
    let (even1, odd1) = pair(0);
    let (even2, odd2) = pair(1);
    for (i, y) in y.iter_mut().enumerate() {
        let power = (1 << i) as f32; // of 2; that of 1/2 is its inverse
        let (one, two) = if i % 2 == 0 {
            (even1, even2)
        } else {
            (odd1, odd2)
        };
        *y = times(two, power, one);
        if A > 6 {
            let (even, odd) = pair(2);
            *y = times(if i % 2 == 0 { even } else { odd }, 1.0 / power, *y);
        }
        if i == 0 && zero == 1 {
            *y = *y + s[0];
        }
        if i == M - 1 {
            *y = *y + s[A - 1];
        }
    }
    y
}

/// The transpose of [`output`]: gradients of `M` outputs to gradients of the products at `A`
/// points.
#[inline(always)]
pub(super) fn output_transposed<S: Simd, const A: usize, const M: usize>(dy: [S; M]) -> [S; A] {
    let times = |a: S, x: f32, b: S| a.mul_add_scaled(x, b);
    let mut ds = [dy[0]; A]; // right for the point 0, and for one point
    if A == 1 {
        return ds;
    }
    let zero = zero_point(A);
    for q in 0..(A - 1) / 2 {
        let x = PAIRS[q].0;
        let even = times(dy[2], x * x, dy[0]);
        let odd = times(dy[3], x * x, dy[1]);
        ds[zero + 2 * q] = times(odd, x, even);
        ds[zero + 2 * q + 1] = times(odd, -x, even);
    }
    ds[A - 1] = dy[M - 1];
    ds
}

/// Places that the point 0 takes at the front.
#[inline(always)]
const fn zero_point(points: usize) -> usize {
    if points == 7 { 0 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::simd::Portable;

    fn splat(x: f64) -> Portable<8> {
        // SAFETY: portable vectors need no instructions.
        unsafe { Portable::splat(x as f32) }
    }

    fn value(x: Portable<8>) -> f64 {
        let mut lanes = [0f32; 8];
        // SAFETY: `lanes` holds 8 floats; portable vectors need no instructions.
        unsafe { x.store(lanes.as_mut_ptr()) }
        f64::from(lanes[5])
    }

    /// A line of inputs through the scheme for `taps` equals the plain sums, and the transposed
    /// transforms are the transposes.
    fn check<const A: usize, const M: usize, const R: usize>(taps: usize) {
        let scheme = CookToom::new(taps).expect("a scheme for these taps");
        assert_eq!((scheme.points, scheme.tile, scheme.part), (A, M, R));
        let filter: Vec<f64> = (0..scheme.parts * R)
            .map(|t| {
                if t < taps {
                    (t * 5 % 7) as f64 - 2.5
                } else {
                    0.0
                }
            })
            .collect();
        let line: Vec<f64> = (0..A + (scheme.parts - 1) * M)
            .map(|i| (i * 3 % 11) as f64 - 4.0)
            .collect();
        let mut products = [0.0; A];
        for part in 0..scheme.parts {
            let v = input::<_, A>(std::array::from_fn(|i| splat(line[part * M + i])));
            let taps = std::array::from_fn(|t| splat(filter[part * R + t]));
            let u = super::filter::<_, A, R>(taps);
            for (product, (u, v)) in products.iter_mut().zip(u.into_iter().zip(v)) {
                *product += value(u) * value(v);
            }
        }
        let y = output::<_, A, M>(products.map(splat)).map(value);
        for i in 0..M {
            let want: f64 = (0..taps).map(|t| filter[t] * line[i + t]).sum();
            assert!(
                (y[i] - want).abs() < 1e-4,
                "{taps} taps, output {i}: {} is not {want}",
                y[i]
            );
        }
        transposed::<A, M>(output, output_transposed);
        transposed::<R, A>(super::filter, filter_transposed);
    }

    /// Checks that `back` is the transpose of `forward`, by unit vectors.
    fn transposed<const I: usize, const O: usize>(
        forward: impl Fn([Portable<8>; I]) -> [Portable<8>; O],
        back: impl Fn([Portable<8>; O]) -> [Portable<8>; I],
    ) {
        for i in 0..I {
            let column = forward(unit(i)).map(value);
            for (o, &element) in column.iter().enumerate() {
                assert_eq!(
                    value(back(unit(o))[i]),
                    element,
                    "{I} to {O}, element ({o}, {i})"
                );
            }
        }
    }

    fn unit<const N: usize>(i: usize) -> [Portable<8>; N] {
        std::array::from_fn(|j| splat(f64::from(u8::from(i == j))))
    }

    #[test]
    fn every_scheme_gives_the_plain_sums() {
        check::<1, 1, 1>(1);
        check::<6, 4, 3>(3);
        check::<8, 4, 5>(5);
        check::<7, 4, 4>(7);
    }
}
