//! Which buffers a step reads or writes: from the first to the last such step they must live.

use super::Plan;
use crate::graph::recurrent::{Decoder, Embedding, Recurrent, Stack};
use crate::graph::step::{BufferId, Contribution, Source, Step};

/// Every buffer that `step` reads or writes; some more than once.
pub fn touched(plan: &Plan, step: &Step) -> Vec<BufferId> {
    let Plan {
        weights,
        gradients,
        momentum,
        running,
        scratch,
        ..
    } = *plan;
    match step {
        Step::LoadBatch { images } => vec![*images],
        Step::Conv(id) => {
            let conv = plan.conv(*id);
            let own = [conv.y, conv.packed, conv.moments, scratch];
            with(&conv.sources, &own)
        }
        Step::ConvFilterGrad(id) => {
            let conv = plan.conv(*id);
            with(&conv.sources, &[conv.y, gradients, scratch])
        }
        Step::Pack(id) => vec![plan.conv(*id).packed, weights],
        Step::Moments(id) => vec![plan.norm(*id).x, plan.norm(*id).moments],
        Step::Norm(id) => {
            let norm = plan.norm(*id);
            let statistics = [norm.moments, norm.coefficients, running];
            [&[norm.x, norm.out, weights], &statistics[..]].concat()
        }
        Step::NormRunning(id) => {
            let norm = plan.norm(*id);
            vec![norm.x, norm.out, weights, norm.coefficients, running]
        }
        Step::NormGrad(id) => {
            let norm = plan.norm(*id);
            let statistics = [norm.dz_sums, norm.coefficients, weights, gradients];
            [&[norm.x, norm.dz, norm.dx], &statistics[..]].concat()
        }
        Step::Pool(pool) => vec![pool.x, pool.out],
        Step::Lcn { x, out, .. } => vec![*x, *out, scratch],
        Step::Concat { sources, out, .. } => with(sources, &[*out]),
        Step::GlobalAveragePool {
            sources, features, ..
        } => with(sources, &[*features]),
        Step::Classifier(c) => vec![c.features, c.logits, weights],
        Step::SoftmaxXent {
            logits, dlogits, ..
        } => vec![*logits, *dlogits],
        Step::ClassifierGrad(c) => vec![c.features, c.dfeatures, c.dlogits, weights, gradients],
        Step::Gather {
            out,
            contributions,
            norm,
            ..
        } => {
            let mut ids = vec![*out, scratch];
            if let Some(norm) = norm.map(|id| plan.norm(id)) {
                ids.extend([norm.x, norm.out, norm.coefficients, norm.dz_sums]);
            }
            let read = contributions.iter().flat_map(|c| contribution(plan, c));
            ids.extend(read);
            ids
        }
        Step::Update => vec![weights, gradients, momentum],
        Step::Advance => vec![],
        Step::LoadTokens {
            inputs, targets, ..
        } => vec![*inputs, *targets],
        Step::Embedding(Embedding { tokens, out, .. }) => vec![*tokens, *out, weights],
        Step::EmbeddingGrad(Embedding { tokens, dout, .. }) => vec![*tokens, *dout, gradients],
        Step::Unroll(stack) => {
            let forward = stack.layers.iter().flat_map(forward_buffers);
            [stack.input, stack.output, weights, scratch]
                .into_iter()
                .chain(forward)
                .collect()
        }
        Step::UnrollGrad(stack) => stack_buffers(stack, &[weights, gradients, scratch]),
        Step::Decoder(Decoder { x, dx, targets, .. }) => {
            vec![*x, *dx, *targets, weights, gradients, scratch]
        }
        Step::DecoderLoss(Decoder { x, targets, .. }) => vec![*x, *targets, weights, scratch],
        Step::Descend => vec![weights, gradients],
    }
}

/// What the forward pass of a recurrent layer reads and writes.
fn forward_buffers(layer: &Recurrent) -> [BufferId; 5] {
    [
        layer.x,
        layer.input_products,
        layer.hidden_products,
        layer.h,
        layer.c,
    ]
}

/// What the backward pass of a stack reads and writes.
fn stack_buffers(stack: &Stack, others: &[BufferId]) -> Vec<BufferId> {
    let layers = stack.layers.iter();
    let of_layer =
        |layer: &Recurrent| [&forward_buffers(layer)[..], &[layer.dx, layer.dh]].concat();
    let own = [stack.doutput, stack.dinput];
    layers
        .flat_map(of_layer)
        .chain(own)
        .chain(others.iter().copied())
        .collect()
}

fn with(sources: &[Source], others: &[BufferId]) -> Vec<BufferId> {
    let sources = sources.iter().map(|source| source.buffer);
    sources.chain(others.iter().copied()).collect()
}

/// What a contribution is made of.
fn contribution(plan: &Plan, contribution: &Contribution) -> Vec<BufferId> {
    match contribution {
        Contribution::Conv { conv, .. } => vec![plan.conv(*conv).y, plan.conv(*conv).packed],
        Contribution::Copy { dout, .. } => vec![*dout],
        Contribution::GlobalAveragePool { dfeatures, .. } => vec![*dfeatures],
        Contribution::Pool { pool, dout } => vec![pool.x, pool.out, *dout],
        Contribution::Lcn { x, dout } => vec![*x, *dout],
    }
}
