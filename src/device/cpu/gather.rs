//! The gradient of a tensor: gathers what all its consumers add, a few images at a time, while the
//! gradient of those images stays in the second-level cache.

use std::ops::Range;

use super::batch::Batch;
use super::conv::DataGradient;
use super::layout::image_len;
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
pub unsafe fn step<'s>(
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
    // Parts of `len` values of a buffer, one for each of the images.
    let parts = |id, len| get(id).chunks_exact(len).skip(images.start);
    let (isa, outs) = (batch.isa, out.chunks_exact_mut(image_len(shape)));
    match contribution {
        Contribution::Conv { conv: id, source } => {
            let conv = batch.plan.conv(*id);
            let gradient = DataGradient {
                source: *source,
                dx: out,
                first,
            };
            let (dy, packed) = (get(conv.y), get(conv.packed));
            batch.convs[id.0].bwd_data(images, dy, packed, scratch, gradient);
        }
        Contribution::Copy {
            dout,
            shape: concat,
            first_plane,
        } => {
            for (dout, out) in parts(*dout, image_len(concat)).zip(outs) {
                concat_pad::bwd(isa, dout, concat, *first_plane, out, shape, first);
            }
        }
        Contribution::GlobalAveragePool {
            dfeatures,
            first_feature,
            n_features,
            pixels,
        } => {
            for (dfeatures, out) in parts(*dfeatures, *n_features).zip(outs) {
                let dfeatures = &dfeatures[*first_feature..][..shape.c()];
                global_average_pool::bwd(isa, shape, *pixels, dfeatures, out, first);
            }
        }
        Contribution::Pool { pool, dout } => {
            let (len, out_len) = (image_len(&pool.input), image_len(&pool.output));
            let inputs = parts(pool.x, len).zip(parts(pool.out, out_len));
            for (((x, y), dout), out) in inputs.zip(parts(*dout, out_len)).zip(outs) {
                pool::bwd(isa, pool, x, y, dout, out, first);
            }
        }
        Contribution::Lcn { x, dout } => {
            let len = image_len(shape);
            for ((x, dout), out) in parts(*x, len).zip(parts(*dout, len)).zip(outs) {
                lcn::bwd(isa, shape, x, dout, out, first, scratch);
            }
        }
    }
}
