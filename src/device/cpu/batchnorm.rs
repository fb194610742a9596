//! Batch normalisation: from sums over images to the numbers that the passes over pixels need.
//!
//! Per channel, with m values: out = scale (x - mean) / sqrt(var + eps) + shift, then perhaps ReLU;
//! the gradient is dx = scale / sqrt(var + eps) (dz - sum dz / m - xhat sum(dz xhat) / m). Both are
//! affine in what varies over pixels, so that [`passes`] over them need a few numbers per channel:
//! the rows of [`Coefficients`].

use super::loops::{Pixel, pixels};
use crate::graph::Shape;
use crate::graph::step::NORM_RUNNING;

mod passes;

pub use passes::{InPlaceOf, bwd, fwd, image_moments, mask_and_sum};

/// Part of the running statistics that a batch leaves as they are.
const KEEP: f64 = 1.0 - NORM_RUNNING;

/// Rows of 8 lanes for every plane, as [`Norm::coefficients`](crate::graph::step::Norm) lists them.
pub struct Coefficients<T> {
    pub mean: T,
    pub inv_std: T,
    /// out = factor x + summand.
    pub factor: T,
    pub summand: T,
    /// dx = dz_factor dz + x_factor x + constant.
    pub dz_factor: T,
    pub x_factor: T,
    pub constant: T,
}

impl<'a> Coefficients<&'a mut [f32]> {
    /// The rows of a buffer.
    pub fn write(buffer: &'a mut [f32]) -> Self {
        let mut rows = buffer.chunks_exact_mut(buffer.len() / ROWS);
        let mut row = || rows.next().expect("seven rows");
        Coefficients {
            mean: row(),
            inv_std: row(),
            factor: row(),
            summand: row(),
            dz_factor: row(),
            x_factor: row(),
            constant: row(),
        }
    }
}

impl<'a> Coefficients<&'a [Pixel]> {
    /// The rows of a buffer, a pixel for every plane.
    pub fn read(buffer: &'a [f32]) -> Self {
        let mut rows = buffer.chunks_exact(buffer.len() / ROWS);
        let mut row = || pixels(rows.next().expect("seven rows"));
        Coefficients {
            mean: row(),
            inv_std: row(),
            factor: row(),
            summand: row(),
            dz_factor: row(),
            x_factor: row(),
            constant: row(),
        }
    }
}

const ROWS: usize = crate::graph::step::COEFFICIENT_ROWS;

/// Vectors of one value per channel.
pub struct Vectors<'a> {
    /// Shape of an image.
    pub shape: &'a Shape,
    /// What is added to a variance.
    pub epsilon: f64,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub running_mean: &'a mut [f32],
    pub running_var: &'a mut [f32],
}

/// Statistics of a batch from the moments of its images, `[n][2][8 planes]`; moves the running ones
/// towards them.
pub fn batch_statistics(
    moments: &[f32],
    vectors: Vectors,
    coefficients: &mut Coefficients<&mut [f32]>,
) {
    let Vectors {
        shape,
        epsilon,
        scale,
        shift,
        running_mean,
        running_var,
    } = vectors;
    let width = coefficients.mean.len();
    let images = || moments.chunks_exact(2 * width);
    let (n, m) = (images().len() as f64, (shape.h * shape.w) as f64);
    clear(coefficients);
    for (c, lane) in shape.lanes().enumerate() {
        // Chan's formula for sets of equal size.
        let mean = images().map(|image| f64::from(image[lane])).sum::<f64>() / n;
        let squares: f64 = images()
            .map(|image| {
                let between = f64::from(image[lane]) - mean;
                f64::from(image[width + lane]) + m * between * between
            })
            .sum();
        let var = squares / (n * m);
        set_forward(coefficients, lane, mean, var, (scale[c], shift[c], epsilon));
        let unbiased = squares / (n * m - 1.0).max(1.0);
        let step = |running: &mut f32, value: f64| {
            *running = (KEEP * f64::from(*running) + (1.0 - KEEP) * value) as f32;
        };
        step(&mut running_mean[c], mean);
        step(&mut running_var[c], unbiased);
    }
}

/// Statistics for evaluation: the running ones.
pub fn running_statistics(vectors: Vectors, coefficients: &mut Coefficients<&mut [f32]>) {
    clear(coefficients);
    for (c, lane) in vectors.shape.lanes().enumerate() {
        let mean = f64::from(vectors.running_mean[c]);
        let var = f64::from(vectors.running_var[c]);
        set_forward(
            coefficients,
            lane,
            mean,
            var,
            (vectors.scale[c], vectors.shift[c], vectors.epsilon),
        );
    }
}

/// Lanes that pad a plane give zeros, forward and backward.
fn clear(coefficients: &mut Coefficients<&mut [f32]>) {
    let Coefficients {
        mean,
        inv_std,
        factor,
        summand,
        dz_factor,
        x_factor,
        constant,
    } = coefficients;
    for row in [
        mean, inv_std, factor, summand, dz_factor, x_factor, constant,
    ] {
        row.fill(0.0);
    }
}

fn set_forward(
    coefficients: &mut Coefficients<&mut [f32]>,
    lane: usize,
    mean: f64,
    var: f64,
    (scale, shift, epsilon): (f32, f32, f64),
) {
    let inv_std = 1.0 / (var + epsilon).sqrt();
    let factor = f64::from(scale) * inv_std;
    coefficients.mean[lane] = mean as f32;
    coefficients.inv_std[lane] = inv_std as f32;
    coefficients.factor[lane] = factor as f32;
    coefficients.summand[lane] = (f64::from(shift) - factor * mean) as f32;
}

/// Gradients of scale and shift from the sums of every image, `[n][2][8 planes]`, and the rows of
/// the gradient to x.
pub fn gradient_statistics(
    dz_sums: &[f32],
    shape: &Shape,
    dscale: &mut [f32],
    dshift: &mut [f32],
    coefficients: &mut Coefficients<&mut [f32]>,
) {
    let width = coefficients.mean.len();
    let images = || dz_sums.chunks_exact(2 * width);
    let m = (images().len() * shape.h * shape.w) as f64;
    for (c, lane) in shape.lanes().enumerate() {
        let total = |at: usize| images().map(|image| f64::from(image[at])).sum::<f64>();
        let (sum_dz, sum_dz_xhat) = (total(lane), total(width + lane));
        dshift[c] = sum_dz as f32;
        dscale[c] = sum_dz_xhat as f32;
        let mean = f64::from(coefficients.mean[lane]);
        let inv_std = f64::from(coefficients.inv_std[lane]);
        let dz_factor = f64::from(coefficients.factor[lane]);
        let x_factor = -dz_factor * inv_std * sum_dz_xhat / m;
        coefficients.dz_factor[lane] = dz_factor as f32;
        coefficients.x_factor[lane] = x_factor as f32;
        coefficients.constant[lane] = (-dz_factor * sum_dz / m - x_factor * mean) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::passes::tests::plane;
    use super::*;
    use crate::device::cpu::simd::Isa;
    use crate::graph::step::NORM_EPSILON;

    #[test]
    fn moments_of_images_become_statistics_of_the_batch() {
        // Far from zero, and more than a block of pixels.
        let images: Vec<Vec<f32>> = (0..3)
            .map(|n| {
                (0..100)
                    .map(|i| 1000.0 + (i * (n + 1) % 7) as f32)
                    .collect()
            })
            .collect();
        let mut moments = vec![0.0; 3 * 16];
        for (image, moments) in images.iter().zip(moments.chunks_exact_mut(16)) {
            image_moments(Isa::detect(), &plane(image), moments);
        }
        let all: Vec<f64> = images.iter().flatten().map(|&x| f64::from(x)).collect();
        let mean = all.iter().sum::<f64>() / 300.0;
        let squares: f64 = all.iter().map(|x| (x - mean) * (x - mean)).sum();
        let mut buffer = vec![f32::NAN; ROWS * 8];
        let mut rows = Coefficients::write(&mut buffer);
        let (mut running_mean, mut running_var) = ([0.0], [1.0]);
        let vectors = Vectors {
            epsilon: NORM_EPSILON,
            shape: &Shape::new(1, 10, 10),
            scale: &[2.0],
            shift: &[0.5],
            running_mean: &mut running_mean,
            running_var: &mut running_var,
        };
        batch_statistics(&moments, vectors, &mut rows);
        let inv_std = 1.0 / (squares / 300.0 + NORM_EPSILON).sqrt();
        assert!((f64::from(rows.mean[0]) - mean).abs() < 1e-4);
        assert!((f64::from(rows.inv_std[0]) / inv_std - 1.0).abs() < 1e-5);
        assert_eq!(rows.factor[1..], [0.0; 7]);
        assert!((f64::from(running_mean[0]) - 0.1 * mean).abs() < 1e-4);
        assert!((f64::from(running_var[0]) - 0.9 - 0.1 * squares / 299.0).abs() < 1e-5);
    }

    #[test]
    fn one_value_alone_has_no_variance() {
        let mut buffer = vec![f32::NAN; ROWS * 8];
        let (mut running_mean, mut running_var) = ([0.0], [1.0]);
        let vectors = Vectors {
            epsilon: NORM_EPSILON,
            shape: &Shape::new(1, 1, 1),
            scale: &[1.0],
            shift: &[0.0],
            running_mean: &mut running_mean,
            running_var: &mut running_var,
        };
        let mut moments = [0.0; 16];
        moments[0] = 3.0;
        batch_statistics(&moments, vectors, &mut Coefficients::write(&mut buffer));
        assert_eq!((running_mean, running_var), ([0.3], [0.9]));
    }
}
