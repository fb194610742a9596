//! Joins tensors of different sizes by zero padding at the bottom and right, and the way back.

use super::layout::{image_len, plane_len, row_len};
use super::loops::{self, Loop};
use super::simd::Isa;
use crate::graph::Shape;

/// Copies one image of a tensor into its planes of an image of the concatenation.
pub fn fwd(source: &[f32], shape: &Shape, planes: &mut [f32], target: &Shape) {
    let sources = source.chunks_exact(plane_len(shape));
    for (plane, out) in sources.zip(planes.chunks_exact_mut(plane_len(target))) {
        let mut rows = plane.chunks_exact(row_len(shape));
        for out in out.chunks_exact_mut(row_len(target)) {
            let row = rows.next().unwrap_or(&[]);
            let (copy, padding) = out.split_at_mut(row.len());
            copy.copy_from_slice(row);
            padding.fill(0.0);
        }
    }
}

/// The gradient of [`fwd`]: from an image of the concatenation's gradient, the planes of one
/// tensor, cropped, are added to its gradient `out`, or, where they are the `first`, set it.
pub fn bwd(
    isa: Isa,
    dout: &[f32],
    concat: &Shape,
    first_plane: usize,
    out: &mut [f32],
    shape: &Shape,
    first: bool,
) {
    debug_assert_eq!(
        dout.len(),
        image_len(concat),
        "an image of the concatenation"
    );
    let dout = &dout[first_plane * plane_len(concat)..];
    loops::run(
        isa,
        Bwd {
            dout,
            concat,
            out,
            shape,
            first,
        },
    );
}

struct Bwd<'a> {
    dout: &'a [f32],
    concat: &'a Shape,
    out: &'a mut [f32],
    shape: &'a Shape,
    first: bool,
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            dout,
            concat,
            out,
            shape,
            first,
        } = self;
        let planes = dout.chunks_exact(plane_len(concat));
        for (dout, out) in planes.zip(out.chunks_exact_mut(plane_len(shape))) {
            let rows = dout.chunks_exact(row_len(concat));
            for (row, out) in rows.zip(out.chunks_exact_mut(row_len(shape))) {
                if first {
                    out.copy_from_slice(&row[..out.len()]);
                } else {
                    out.iter_mut().zip(row).for_each(|(out, d)| *out += d);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::PLANE;

    #[test]
    fn padding_is_zero_and_is_cropped_on_the_way_back() {
        let (shape, target) = (Shape::new(9, 1, 2), Shape::new(9, 2, 3));
        let image: Vec<f32> = (1..=2 * 2 * PLANE).map(|i| i as f32).collect();
        let mut out = vec![f32::NAN; image_len(&target)];
        fwd(&image, &shape, &mut out, &target);
        assert_eq!(out[..2 * PLANE], image[..2 * PLANE]);
        assert!(out[2 * PLANE..6 * PLANE].iter().all(|&x| x == 0.0));
        assert_eq!(out[6 * PLANE..8 * PLANE], image[2 * PLANE..]);
        let mut back = vec![f32::NAN; image.len()];
        bwd(Isa::detect(), &out, &target, 0, &mut back, &shape, true);
        bwd(Isa::detect(), &out, &target, 0, &mut back, &shape, false);
        let twice: Vec<f32> = image.iter().map(|x| 2.0 * x).collect();
        assert_eq!(back, twice);
    }
}
