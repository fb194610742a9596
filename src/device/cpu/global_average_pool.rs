//! Global average pooling of one image: sums over height and width to features, and the way back.

use super::layout::{plane_channels, plane_len};
use super::loops::{self, Loop, ZERO, pixels, pixels_mut, sum};
use super::simd::Isa;
use crate::graph::Shape;
use crate::shape::PLANE;

/// features[c] = sum of the channel / `pixels`; `features` begins at the tensor's first.
pub fn fwd(isa: Isa, shape: &Shape, pixels: usize, x: &[f32], features: &mut [f32]) {
    loops::run(
        isa,
        Fwd {
            shape,
            part: 1.0 / pixels as f32,
            x,
            features,
        },
    );
}

struct Fwd<'a> {
    shape: &'a Shape,
    part: f32,
    x: &'a [f32],
    features: &'a mut [f32],
}

impl Loop for Fwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Fwd {
            shape,
            part,
            x,
            features,
        } = self;
        let planes = x.chunks_exact(plane_len(shape));
        for (plane, (first, n)) in planes.zip(plane_channels(shape)) {
            let mean = sum(pixels(plane), |x| *x).map(|sum| sum * part);
            features[first..first + n].copy_from_slice(&mean[..n]);
        }
    }
}

/// dx = dfeatures / `pixels` in every pixel: added to `dx`, or, where it is the `first`, in place of
/// what is there.
pub fn bwd(isa: Isa, shape: &Shape, pixels: usize, dfeatures: &[f32], dx: &mut [f32], first: bool) {
    loops::run(
        isa,
        Bwd {
            shape,
            part: 1.0 / pixels as f32,
            dfeatures,
            dx,
            first,
        },
    );
}

struct Bwd<'a> {
    shape: &'a Shape,
    part: f32,
    dfeatures: &'a [f32],
    dx: &'a mut [f32],
    first: bool,
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            shape,
            part,
            dfeatures,
            dx,
            first,
        } = self;
        let planes = dx.chunks_exact_mut(plane_len(shape));
        for (plane, (channel, n)) in planes.zip(plane_channels(shape)) {
            let mut d = ZERO;
            for (d, df) in d.iter_mut().zip(&dfeatures[channel..channel + n]) {
                *d = df * part;
            }
            if first {
                pixels_mut(plane).fill(d);
                continue;
            }
            for pixel in pixels_mut(plane) {
                for i in 0..PLANE {
                    pixel[i] += d[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_skip_what_pads_a_plane() {
        let shape = Shape {
            groups: vec![1, 2],
            h: 1,
            w: 3,
        };
        let x: Vec<f32> = (0..48).map(|i| (i % 8 + i / 24 * 10) as f32).collect();
        let mut features = [f32::NAN; 3];
        fwd(Isa::detect(), &shape, 6, &x, &mut features);
        assert_eq!(features, [0.0, 5.0, 5.5]);
        let mut dx = vec![1.0; 48];
        bwd(Isa::detect(), &shape, 2, &[2.0, 4.0, 6.0], &mut dx, false);
        assert_eq!(dx[16..18], [2.0, 1.0]);
        assert_eq!(dx[40..43], [3.0, 4.0, 1.0]);
    }
}
