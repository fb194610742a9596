//! Cook-Toom transforms of one line: 4 outputs of a filter from products at a few points.
//!
//! A line of `points` inputs is evaluated as a polynomial's dual at 0, ±1, ±2, ±1/2 and infinity; the
//! filter at the same points; their products, summed over channels, give 4 outputs:
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

    /// What tap `tap` contributes to point `point` of part `part`.
    pub fn filter(&self, part: usize, point: usize, tap: usize) -> f64 {
        if tap / self.part != part {
            return 0.0;
        }
        let power = tap % self.part;
        let (finite, scale): (&[f64], &[f64]) = match self.points {
            1 => (&[], &[]),
            6 => (
                &[0.0, 1.0, -1.0, 2.0, -2.0],
                &[1.0 / 4.0, -1.0 / 6.0, -1.0 / 6.0, 1.0 / 24.0, 1.0 / 24.0],
            ),
            7 => (
                &[1.0, -1.0, 2.0, -2.0, 0.5, -0.5],
                &[
                    -2.0 / 9.0,
                    2.0 / 9.0,
                    1.0 / 45.0,
                    -1.0 / 45.0,
                    16.0 / 45.0,
                    -16.0 / 45.0,
                ],
            ),
            _ => (
                &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5],
                &[
                    1.0,
                    -2.0 / 9.0,
                    -2.0 / 9.0,
                    1.0 / 90.0,
                    1.0 / 90.0,
                    32.0 / 45.0,
                    32.0 / 45.0,
                ],
            ),
        };
        match finite.get(point) {
            Some(x) => scale[point] * x.powi(power as i32),
            None => f64::from(u8::from(power + 1 == self.part)), // infinity: the last tap
        }
    }
}

/// Pairs of points ±x, as they follow each other: x, and the sum and product of the squares of the
/// other two finite pairs (7 and 8 points).
const PAIRS: [(f32, f32, f32); 3] = [(1.0, 4.25, 1.0), (2.0, 1.25, 0.25), (0.5, 5.0, 4.0)];

/// Transforms `A` inputs of a line to the values at `A` points.
#[inline(always)]
pub(super) fn input<S: Simd, const A: usize>(d: [S; A]) -> [S; A] {
    // SAFETY: `d` exists, so the CPU has the instructions.
    let times = |a: S, x: f32, b: S| a.mul_add(unsafe { S::splat(x) }, b);
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
    // SAFETY: `s` exists, so the CPU has the instructions.
    let times = |a: S, x: f32, b: S| a.mul_add(unsafe { S::splat(x) }, b);
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

/// The transpose of [`output`]: gradients of `M` outputs to gradients of the products at `A` points.
#[inline(always)]
pub(super) fn output_transposed<S: Simd, const A: usize, const M: usize>(dy: [S; M]) -> [S; A] {
    // SAFETY: `dy` exists, so the CPU has the instructions.
    let times = |a: S, x: f32, b: S| a.mul_add(unsafe { S::splat(x) }, b);
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
    /// output transform is the transpose.
    fn check<const A: usize, const M: usize>(taps: usize) {
        let scheme = CookToom::new(taps).expect("a scheme for these taps");
        assert_eq!((scheme.points, scheme.tile), (A, M));
        let filter: Vec<f64> = (0..taps).map(|t| (t * 5 % 7) as f64 - 2.5).collect();
        let line: Vec<f64> = (0..A + (scheme.parts - 1) * M)
            .map(|i| (i * 3 % 11) as f64 - 4.0)
            .collect();
        let mut products = [0.0; A];
        for part in 0..scheme.parts {
            let v = input::<_, A>(std::array::from_fn(|i| splat(line[part * M + i])));
            for (point, product) in products.iter_mut().enumerate() {
                let u: f64 = (0..taps)
                    .map(|t| filter[t] * scheme.filter(part, point, t))
                    .sum();
                *product += u * value(v[point]);
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
        for i in 0..M {
            let unit = std::array::from_fn(|j| splat(f64::from(u8::from(i == j))));
            let row = output_transposed::<_, A, M>(unit).map(value);
            for (point, row) in row.into_iter().enumerate() {
                let unit = std::array::from_fn(|j| splat(f64::from(u8::from(point == j))));
                assert_eq!(row, value(output::<_, A, M>(unit)[i]), "{taps} taps");
            }
        }
    }

    #[test]
    fn every_scheme_gives_the_plain_sums() {
        check::<1, 1>(1);
        check::<6, 4>(3);
        check::<8, 4>(5);
        check::<7, 4>(7);
    }
}
