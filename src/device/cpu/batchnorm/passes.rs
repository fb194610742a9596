//! The passes of batch normalisation over one image, whose loops the compiler vectorises.

use super::Coefficients;
use crate::device::cpu::loops::{
    self, Loop, Pixel, ZERO, pixels, pixels_mut, sum, sum_of_two, zip,
};
use crate::device::cpu::simd::Isa;

/// Pixels whose sums are taken at once, while they are in the first-level cache.
const BLOCK: usize = 64;

/// Writes the moments of one image, `[2][8 planes]`: the mean over its pixels and the sum of
/// squared differences from it.
pub fn image_moments(isa: Isa, image: &[f32], moments: &mut [f32]) {
    loops::run(isa, ImageMoments { image, moments });
}

struct ImageMoments<'a> {
    image: &'a [f32],
    moments: &'a mut [f32],
}

impl Loop for ImageMoments<'_> {
    #[inline(always)]
    fn run(self) {
        let (means, squares) = self.moments.split_at_mut(self.moments.len() / 2);
        let (means, squares) = (pixels_mut(means), pixels_mut(squares));
        let image = pixels(self.image);
        let planes = image.chunks_exact(image.len() / means.len());
        for ((plane, mean), square) in planes.zip(means).zip(squares) {
            (*mean, *square) = (ZERO, ZERO);
            let mut n = 0.0;
            for block in plane.chunks(BLOCK) {
                let b = block.len() as f32;
                let block_mean = sum(block, |x| *x).map(|x| x / b);
                let block_square = sum(block, |x| zip(x, &block_mean, |x, m| (x - m) * (x - m)));
                // Chan's formula: the moments of two sets from those of each.
                let part = b / (n + b);
                let delta = zip(&block_mean, mean, |a, b| a - b);
                *mean = zip(mean, &delta, |mean, d| mean + d * part);
                let between = delta.map(|d| d * d * n * part);
                *square = zip(
                    &zip(square, &block_square, |a, b| a + b),
                    &between,
                    |a, b| a + b,
                );
                n += b;
            }
        }
    }
}

/// out = factor x + summand for an image, then perhaps max(0, ·).
pub fn fwd(isa: Isa, x: &[f32], coefficients: &[f32], relu: bool, out: &mut [f32]) {
    let rows = Coefficients::read(coefficients);
    loops::run(isa, Fwd { x, rows, relu, out });
}

struct Fwd<'a> {
    x: &'a [f32],
    rows: Coefficients<&'a [Pixel]>,
    relu: bool,
    out: &'a mut [f32],
}

impl Loop for Fwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Fwd { x, rows, relu, out } = self;
        if relu {
            // Unlike `max`, this lets what is not a number through.
            affine_planes(x, &rows, out, |z| if z < 0.0 { 0.0 } else { z });
        } else {
            affine_planes(x, &rows, out, |z| z);
        }
    }
}

#[inline(always)]
fn affine_planes(
    x: &[f32],
    rows: &Coefficients<&[Pixel]>,
    out: &mut [f32],
    then: impl Fn(f32) -> f32,
) {
    let n = x.len() / rows.factor.len();
    for (plane, (x, out)) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)).enumerate() {
        let (factor, summand) = (rows.factor[plane], rows.summand[plane]);
        for (out, x) in pixels_mut(out).iter_mut().zip(pixels(x)) {
            *out = affine(x, &factor, &summand).map(&then);
        }
    }
}

/// Masks an image's `dz` where the ReLU gave zero, and writes its sums of dz and of dz xhat,
/// `[2][8 planes]`. The mask is computed again from x, which is read for xhat anyway.
pub fn mask_and_sum(
    isa: Isa,
    x: &[f32],
    coefficients: &[f32],
    relu: bool,
    dz: &mut [f32],
    sums: &mut [f32],
) {
    let rows = Coefficients::read(coefficients);
    loops::run(
        isa,
        MaskAndSum {
            x,
            rows,
            relu,
            dz,
            sums,
        },
    );
}

struct MaskAndSum<'a> {
    x: &'a [f32],
    rows: Coefficients<&'a [Pixel]>,
    relu: bool,
    dz: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Loop for MaskAndSum<'_> {
    #[inline(always)]
    fn run(self) {
        if self.relu {
            self.masked(where_positive);
        } else {
            self.masked(|dz, _| dz);
        }
    }
}

impl MaskAndSum<'_> {
    #[inline(always)]
    fn masked(self, mask: impl Fn(f32, f32) -> f32) {
        let MaskAndSum {
            x, rows, dz, sums, ..
        } = self;
        let (sums, xhat_sums) = sums.split_at_mut(sums.len() / 2);
        let (sums, xhat_sums) = (pixels_mut(sums), pixels_mut(xhat_sums));
        let n = x.len() / rows.factor.len();
        for (plane, (x, dz)) in x.chunks_exact(n).zip(dz.chunks_exact_mut(n)).enumerate() {
            // Copies, so that the compiler sees that writing to dz does not change them.
            let (factor, summand, mean) =
                (rows.factor[plane], rows.summand[plane], rows.mean[plane]);
            let (mut total, mut xhat_total) = (ZERO, ZERO);
            let blocks = pixels_mut(dz).chunks_mut(BLOCK);
            for (x, dz) in pixels(x).chunks(BLOCK).zip(blocks) {
                // One thing at a time: the compiler vectorises no loop that does all of it.
                for (x, dz) in x.iter().zip(&mut *dz) {
                    *dz = zip(dz, &affine(x, &factor, &summand), &mask);
                }
                total = zip(&total, &sum(dz, |dz| *dz), |a, b| a + b);
                let products = sum_of_two(dz, x, |dz, x| {
                    zip(dz, &zip(x, &mean, |x, m| x - m), |dz, x| dz * x)
                });
                xhat_total = zip(&xhat_total, &products, |a, b| a + b);
            }
            sums[plane] = total;
            xhat_sums[plane] = zip(&xhat_total, &rows.inv_std[plane], |a, b| a * b);
        }
    }
}

/// x where z is above 0, else 0: by bits, since the compiler does not vectorise a choice. As whole
/// numbers the bits of floats above 0 are above 0; the sum makes a zero of -0.
#[inline(always)]
fn where_positive(x: f32, z: f32) -> f32 {
    let bits = (z + 0.0).to_bits().cast_signed();
    let mask = bits.wrapping_neg() >> 31;
    f32::from_bits(x.to_bits() & mask.cast_unsigned())
}

/// factor x + summand.
#[inline(always)]
fn affine(x: &Pixel, factor: &Pixel, summand: &Pixel) -> Pixel {
    zip(&zip(x, factor, |x, f| x * f), summand, |a, b| a + b)
}

/// What [`bwd`] overwrites.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum InPlaceOf {
    /// `dx` holds x.
    X,
    /// `dx` holds dz.
    Dz,
}

/// dx of an image; `dx` holds one of x and dz, `other` the other one.
pub fn bwd(isa: Isa, place: InPlaceOf, other: &[f32], coefficients: &[f32], dx: &mut [f32]) {
    let rows = Coefficients::read(coefficients);
    let (own, others) = match place {
        InPlaceOf::X => (rows.x_factor, rows.dz_factor),
        InPlaceOf::Dz => (rows.dz_factor, rows.x_factor),
    };
    loops::run(
        isa,
        Bwd {
            other,
            own,
            others,
            constant: rows.constant,
            dx,
        },
    );
}

struct Bwd<'a> {
    other: &'a [f32],
    own: &'a [Pixel],
    others: &'a [Pixel],
    constant: &'a [Pixel],
    dx: &'a mut [f32],
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            other,
            own,
            others,
            constant,
            dx,
        } = self;
        let n = dx.len() / own.len();
        for (plane, (dx, other)) in dx
            .chunks_exact_mut(n)
            .zip(other.chunks_exact(n))
            .enumerate()
        {
            let (own, others, constant) = (own[plane], others[plane], constant[plane]);
            for (dx, other) in pixels_mut(dx).iter_mut().zip(pixels(other)) {
                let rest = affine(other, &others, &constant);
                *dx = affine(dx, &own, &rest);
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::ROWS;
    use super::*;

    /// One channel, one row of pixels: values in lane 0, the rest zero.
    pub fn plane(values: &[f32]) -> Vec<f32> {
        values
            .iter()
            .flat_map(|&x| [x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            .collect()
    }

    #[test]
    fn relu_masks_what_is_not_above_zero() {
        let isa = Isa::detect();
        let mut coefficients = vec![0.0; ROWS * 8];
        let rows = Coefficients::write(&mut coefficients);
        rows.inv_std.fill(1.0);
        rows.factor.fill(1.0);
        rows.summand.fill(-0.0);
        let values = [-1.0, -0.0, 0.0, 1e-45, 2.0, f32::INFINITY];
        let x = plane(&values);
        let mut out = vec![f32::NAN; x.len()];
        fwd(isa, &x, &coefficients, true, &mut out);
        assert_eq!(out, plane(&values.map(|x| x.max(0.0))));
        let (mut dz, mut sums) = (plane(&[5.0, 6.0, 7.0, 8.0, 9.0, 0.0]), [f32::NAN; 16]);
        mask_and_sum(isa, &x[..40], &coefficients, true, &mut dz[..40], &mut sums);
        assert_eq!(dz, plane(&[0.0, 0.0, 0.0, 8.0, 9.0, 0.0]));
        assert_eq!((sums[0], sums[8]), (17.0, 18.0));
    }

    #[test]
    fn what_is_not_a_number_passes_the_relu_and_reaches_the_gradient_of_the_scale() {
        let isa = Isa::detect();
        let x = plane(&[1.0, f32::NAN, -1.0]);
        let mut z = vec![0.0; x.len()];
        fwd(isa, &x, &[1.0; ROWS * 8], true, &mut z);
        assert!(z[0] > 0.0 && z[8].is_nan());
        let mut moments = [0.0; 16];
        image_moments(isa, &plane(&[1.0, f32::NAN]), &mut moments);
        assert!(moments[0].is_nan() && moments[8].is_nan());
        let coefficients = vec![1.0; ROWS * 8];
        let (mut dz, mut sums) = (plane(&[1.0, 1.0]), [0.0; 16]);
        mask_and_sum(
            isa,
            &plane(&[1.0, f32::NAN]),
            &coefficients,
            true,
            &mut dz,
            &mut sums,
        );
        assert!(sums[8].is_nan());
    }
}
