//! The gradient of a tensor: gathers what all its consumers add, a few images at a time, while the
//! gradient of those images stays in the second-level cache.

use std::ops::Range;

use super::conv::DataGradient;
use super::layout::image_len;
use super::steps::Batch;
use super::workers::each_with;
use super::{batchnorm, concat_pad, global_average_pool, lcn, pool};
use crate::graph::Shape;
use crate::graph::step::{BufferId, Contribution, Norm};

/// Floats of the gradients of the images that are worked on together.
const GROUP_FLOATS: usize = 32 << 10;

/// Writes the gradient `out` of a tensor of `shape`; with `norm`, the tensor is that
/// normalisation's result, whose ReLU masks the gradient and whose `dz_sums` are written.
///
/// # Safety
/// No view of `out`, of `dz_sums`, or of a buffer of which a contribution reads, is written to
/// meanwhile.
pub unsafe fn gather<'s>(
    batch: &Batch,
    out: BufferId,
    shape: &Shape,
    contributions: &[Contribution],
    norm: Option<&Norm>,
    scratch: impl Iterator<Item = &'s mut [f32]> + Send,
) {
    let image = image_len(shape);
    let group = (GROUP_FLOATS / image).clamp(1, batch.plan.batch.div_ceil(4));
    // SAFETY: the caller's promise; of all buffers here these two alone are written.
    let (out, sums) = unsafe {
        let sums = norm.map(|norm| batch.get_mut(norm.dz_sums));
        (batch.get_mut(out), sums.unwrap_or(&mut []))
    };
    let width = shape.statistics_len();
    let mut sums = sums.chunks_mut(group * width);
    let outs = out[..batch.images * image].chunks_mut(group * image);
    let tasks = outs.map(move |out| (out, sums.next())).enumerate();
    each_with(tasks, scratch, |(i, (out, sums)), scratch| {
        let first = i * group;
        let images = first..first + out.len() / image;
        for (i, contribution) in contributions.iter().enumerate() {
            // SAFETY: the caller's promise for what contributions read.
            unsafe {
                add(
                    batch,
                    contribution,
                    shape,
                    images.clone(),
                    out,
                    i == 0,
                    scratch,
                )
            }
        }
        let Some((norm, sums)) = norm.zip(sums) else {
            return;
        };
        // SAFETY: the caller's promise.
        let (x, coefficients) = unsafe { (batch.get(norm.x), batch.get(norm.coefficients)) };
        let images = x[images.start * image..].chunks_exact(image);
        let dzs = out
            .chunks_exact_mut(image)
            .zip(sums.chunks_exact_mut(width));
        for (x, (dz, sums)) in images.zip(dzs) {
            batchnorm::mask_and_sum(batch.isa, x, coefficients, norm.relu, dz, sums);
        }
    });
}

/// Adds one contribution to the gradients `out` of `images`, or, where it is the `first`, sets them.
///
/// # Safety
/// Nothing writes to the buffers of the contribution meanwhile.
unsafe fn add(
    batch: &Batch,
    contribution: &Contribution,
    shape: &Shape,
    images: Range<usize>,
    out: &mut [f32],
    first: bool,
    scratch: &mut [f32],
) {
    // SAFETY: the caller's promise.
    let get = |id| unsafe { batch.get(id) };
    let isa = batch.isa;
    if let Contribution::Conv { conv: id, source } = contribution {
        let conv = batch.plan.conv(*id);
        let gradient = DataGradient {
            source: *source,
            dx: out,
            first,
        };
        let (dy, packed) = (get(conv.y), get(conv.packed));
        batch.convs[id.0].data_gradient(images, dy, packed, scratch, &mut [gradient]);
        return;
    }
    let outs = images.zip(out.chunks_exact_mut(image_len(shape)));
    match contribution {
        Contribution::Conv { .. } => unreachable!("done above"),
        Contribution::Copy {
            dout,
            shape: concat,
            first_plane,
        } => {
            let (dout, len) = (get(*dout), image_len(concat));
            for (i, out) in outs {
                let dout = &dout[i * len..][..len];
                concat_pad::add_cropped(isa, dout, concat, *first_plane, out, shape, first);
            }
        }
        Contribution::GlobalAveragePool {
            dfeatures,
            first_feature,
            n_features,
            pixels,
        } => {
            let dfeatures = get(*dfeatures);
            for (i, out) in outs {
                let dfeatures = &dfeatures[i * n_features + first_feature..][..shape.c()];
                global_average_pool::backward(isa, shape, *pixels, dfeatures, out, first);
            }
        }
        Contribution::Pool { pool, dout } => {
            let (x, y, dout) = (get(pool.x), get(pool.out), get(*dout));
            let (len, out_len) = (image_len(&pool.input), image_len(&pool.output));
            for (i, out) in outs {
                let part = i * out_len..(i + 1) * out_len;
                let x = &x[i * len..][..len];
                pool::backward(isa, pool, x, &y[part.clone()], &dout[part], out, first);
            }
        }
        Contribution::Lcn { x, dout } => {
            let (x, dout, len) = (get(*x), get(*dout), image_len(shape));
            for (i, out) in outs {
                let part = i * len..(i + 1) * len;
                lcn::backward(
                    isa,
                    shape,
                    &x[part.clone()],
                    &dout[part],
                    out,
                    first,
                    scratch,
                );
            }
        }
    }
}
