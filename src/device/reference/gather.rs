//! The gradient of a tensor: the sum of what each of its consumers adds.

use super::tensor::{Memory, Tensor};
use super::{batchnorm, concat_pad, conv, global_average_pool, lcn, pool};
use crate::graph::Shape;
use crate::graph::plan::Plan;
use crate::graph::step::{BufferId, Contribution, NormId};

/// Writes the gradient `out` of a tensor of `shape`. With `norm`, whose result the tensor is, only
/// where the ReLU let it through, and the sums that the normalisation's gradient needs as well.
pub fn step(
    plan: &Plan,
    memory: &mut Memory,
    out: BufferId,
    shape: &Shape,
    contributions: &[Contribution],
    norm: Option<NormId>,
) {
    let mut gradient = Tensor::images(plan.batch, shape);
    for contribution in contributions {
        let part = part(plan, memory, shape, contribution);
        for at in gradient.positions() {
            gradient[at] += part[at];
        }
    }
    let Some(norm) = norm.map(|id| plan.norm(id)) else {
        memory[out] = gradient;
        return;
    };
    if norm.relu {
        for at in gradient.positions() {
            if memory[norm.out][at] <= 0.0 {
                gradient[at] = 0.0;
            }
        }
    }
    memory[out] = gradient;
    memory[norm.dz_sums].values = batchnorm::dz_sums(norm, memory);
}

/// What one consumer adds.
fn part(plan: &Plan, memory: &Memory, tensor: &Shape, contribution: &Contribution) -> Tensor {
    match contribution {
        Contribution::Conv { conv, source } => {
            let conv = plan.conv(*conv);
            let w = conv::filters(conv, &memory[plan.weights]);
            let dconcat = conv::bwd_data(conv, &w, &memory[conv.y]);
            let first_channel = conv.sources[*source].first_channel;
            concat_pad::bwd(&dconcat, first_channel, tensor)
        }
        Contribution::Copy {
            dout,
            shape,
            first_plane,
        } => {
            let first_channel = concat_pad::first_channel(shape, *first_plane);
            concat_pad::bwd(&memory[*dout], first_channel, tensor)
        }
        Contribution::GlobalAveragePool {
            dfeatures,
            first_feature,
            n_features,
            pixels,
        } => {
            let dfeatures = &memory[*dfeatures];
            global_average_pool::bwd(dfeatures, tensor, *first_feature, *n_features, *pixels)
        }
        Contribution::Pool { pool, dout } => pool::bwd(pool, &memory[pool.x], &memory[*dout]),
        Contribution::Lcn { x, dout } => lcn::bwd(&memory[*x], &memory[*dout]),
    }
}
