//! Launches of batch normalisation.

use super::declare::{In, Out, Pixel, structs};
use super::launches::{Launches, Parts};
use crate::graph::Shape;
use crate::graph::step::{BufferId, NORM_RUNNING, Norm};
use crate::shape::PLANE;

structs! {
    /// Of `batchnorm_moments`.
    struct BatchnormMomentsArgs {
        x: In<Pixel>,
        parts: Out<f32>,
        planes: i32,
        pixels: i32,
    }

    /// Of `batchnorm_statistics`.
    struct BatchnormStatisticsArgs {
        parts: In<f32>,
        channels: In<i32>,
        scale: In<f32>,
        shift: In<f32>,
        running_mean: Out<f32>,
        running_var: Out<f32>,
        coefficients: Out<f32>,
        n_images: i32,
        planes: i32,
        h: i32,
        w: i32,
        tile_h: i32,
        tile_w: i32,
        epsilon: f32,
        reserved: i32,
    }

    /// Of `batchnorm_running`.
    struct BatchnormRunningArgs {
        channels: In<i32>,
        scale: In<f32>,
        shift: In<f32>,
        running_mean: In<f32>,
        running_var: In<f32>,
        coefficients: Out<f32>,
        planes: i32,
        epsilon: f32,
    }

    /// Of `batchnorm_fwd`.
    struct BatchnormFwdArgs {
        x: In<Pixel>,
        coefficients: In<f32>,
        out: Out<Pixel>,
        planes: i32,
        pixels: i32,
        relu: i32,
        reserved: i32,
    }

    /// Of `batchnorm_mask`.
    struct BatchnormMaskArgs {
        x: In<Pixel>,
        coefficients: In<f32>,
        dz: Out<Pixel>,
        parts: Out<f32>,
        planes: i32,
        pixels: i32,
        relu: i32,
        reserved: i32,
    }

    /// Of `batchnorm_bwd_statistics`.
    struct BatchnormBwdStatisticsArgs {
        parts: In<f32>,
        channels: In<i32>,
        coefficients: Out<f32>,
        dscale: Out<f32>,
        dshift: Out<f32>,
        n_parts: i32,
        planes: i32,
        count: f32,
        reserved: i32,
    }

    /// Of `batchnorm_bwd`.
    struct BatchnormBwdArgs {
        dx: Out<Pixel>,
        other: In<Pixel>,
        coefficients: In<f32>,
        planes: i32,
        pixels: i32,
        in_place_of_x: i32,
        reserved: i32,
    }
}

/// Bytes of the sums of 8 channels of 4 warps.
const SUMS_BYTES: usize = 4 * 8 * 4;

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    vec![("RUNNING", format!("{NORM_RUNNING}f"))]
}

impl Launches<'_> {
    /// Moments of `x`, one part an image.
    pub(super) fn batchnorm_moments(&mut self, x: BufferId, shape: &Shape, moments: BufferId) {
        let args = BatchnormMomentsArgs {
            x: self.input(x),
            parts: self.output(moments),
            planes: shape.planes() as i32,
            pixels: (shape.h * shape.w) as i32,
        };
        let grid = [shape.planes(), self.batch(), 1];
        self.push_shared("batchnorm_moments", grid, 128, SUMS_BYTES, &args);
        let parts = Parts {
            per_image: 1,
            tile: [shape.h, shape.w],
        };
        self.parts.insert(moments, parts);
    }

    /// Statistics of the batch and the normalisation by them.
    pub(super) fn batchnorm_fwd(&mut self, norm: &Norm) {
        let (plan, shape) = (self.plan, &norm.shape);
        let parts = self.parts[&norm.moments];
        let args = BatchnormStatisticsArgs {
            parts: self.input(norm.moments),
            channels: self.tables.channels(shape),
            scale: self.input_span(plan.weights, norm.scale),
            shift: self.input_span(plan.weights, norm.shift),
            running_mean: self.output_span(plan.running, norm.running_mean),
            running_var: self.output_span(plan.running, norm.running_var),
            coefficients: self.output(norm.coefficients),
            n_images: self.batch() as i32,
            planes: shape.planes() as i32,
            h: shape.h as i32,
            w: shape.w as i32,
            tile_h: parts.tile[0] as i32,
            tile_w: parts.tile[1] as i32,
            epsilon: norm.epsilon as f32,
            reserved: 0,
        };
        let grid = [shape.planes(), 1, 1];
        self.push_shared("batchnorm_statistics", grid, 256, 256 * 3 * 4, &args);
        self.normalise(norm);
    }

    /// The normalisation by the running statistics.
    pub(super) fn batchnorm_fwd_running(&mut self, norm: &Norm) {
        let (plan, planes) = (self.plan, norm.shape.planes());
        let args = BatchnormRunningArgs {
            channels: self.tables.channels(&norm.shape),
            scale: self.input_span(plan.weights, norm.scale),
            shift: self.input_span(plan.weights, norm.shift),
            running_mean: self.input_span(plan.running, norm.running_mean),
            running_var: self.input_span(plan.running, norm.running_var),
            coefficients: self.output(norm.coefficients),
            planes: planes as i32,
            epsilon: norm.epsilon as f32,
        };
        let grid = [(PLANE * planes).div_ceil(128), 1, 1];
        self.push("batchnorm_running", grid, 128, &args);
        self.normalise(norm);
    }

    fn normalise(&mut self, norm: &Norm) {
        let (planes, pixels) = (norm.shape.planes(), norm.shape.h * norm.shape.w);
        let args = BatchnormFwdArgs {
            x: self.input(norm.x),
            coefficients: self.input(norm.coefficients),
            out: self.output(norm.out),
            planes: planes as i32,
            pixels: pixels as i32,
            relu: i32::from(norm.relu),
            reserved: 0,
        };
        let grid = [planes, pixels.div_ceil(256), self.batch()];
        self.push("batchnorm_fwd", grid, 256, &args);
    }

    /// Masks a gathered gradient and sums it, one part an image.
    pub(super) fn batchnorm_mask(&mut self, norm: &Norm) {
        let shape = &norm.shape;
        let args = BatchnormMaskArgs {
            x: self.input(norm.x),
            coefficients: self.input(norm.coefficients),
            dz: self.output(norm.dz),
            parts: self.output(norm.dz_sums),
            planes: shape.planes() as i32,
            pixels: (shape.h * shape.w) as i32,
            relu: i32::from(norm.relu),
            reserved: 0,
        };
        let grid = [shape.planes(), self.batch(), 1];
        self.push_shared("batchnorm_mask", grid, 128, SUMS_BYTES, &args);
        let parts = Parts {
            per_image: 1,
            tile: [shape.h, shape.w],
        };
        self.parts.insert(norm.dz_sums, parts);
    }

    pub(super) fn batchnorm_bwd(&mut self, norm: &Norm) {
        let (plan, shape) = (self.plan, &norm.shape);
        let (planes, pixels) = (shape.planes(), shape.h * shape.w);
        let n_parts = self.batch() * self.parts[&norm.dz_sums].per_image;
        let args = BatchnormBwdStatisticsArgs {
            parts: self.input(norm.dz_sums),
            channels: self.tables.channels(shape),
            coefficients: self.output(norm.coefficients),
            dscale: self.output_span(plan.gradients, norm.scale),
            dshift: self.output_span(plan.gradients, norm.shift),
            n_parts: n_parts as i32,
            planes: planes as i32,
            count: (self.batch() * pixels) as f32,
            reserved: 0,
        };
        let grid = [planes, 1, 1];
        self.push_shared("batchnorm_bwd_statistics", grid, 256, 2 * 256 * 4, &args);
        let in_place_of_x = norm.dx == norm.x;
        let args = BatchnormBwdArgs {
            dx: self.output(norm.dx),
            other: self.input(if in_place_of_x { norm.dz } else { norm.x }),
            coefficients: self.input(norm.coefficients),
            planes: planes as i32,
            pixels: pixels as i32,
            in_place_of_x: i32::from(in_place_of_x),
            reserved: 0,
        };
        let grid = [planes, pixels.div_ceil(256), self.batch()];
        self.push("batchnorm_bwd", grid, 256, &args);
    }
}
