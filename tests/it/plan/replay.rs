//! Replays a plan's steps on an arena of owners: a step may read a buffer only while no other
//! buffer has been written over it. What a step reads and writes is said here again, from the
//! documentation of the steps, and not taken from the planner.

use nas_engine::graph::Plan;
use nas_engine::graph::step::{BufferId, Contribution, Source, Step};

/// Buffers that a step reads, and those that it writes whole. A buffer in both is read first.
#[derive(Default)]
struct Access {
    reads: Vec<BufferId>,
    writes: Vec<BufferId>,
}

impl Access {
    fn reads(mut self, ids: impl IntoIterator<Item = BufferId>) -> Access {
        self.reads.extend(ids);
        self
    }

    fn writes(mut self, ids: impl IntoIterator<Item = BufferId>) -> Access {
        self.writes.extend(ids);
        self
    }
}

fn buffers(sources: &[Source]) -> impl Iterator<Item = BufferId> {
    sources.iter().map(|source| source.buffer)
}

/// Vectors of which a step writes a part count as read: the rest must still be there.
fn access(plan: &Plan, step: &Step) -> Access {
    let access = Access::default();
    match step {
        Step::LoadBatch { images } => access.writes([*images]),
        Step::Conv(id) => {
            let conv = plan.conv(*id);
            let access = access.reads(buffers(&conv.sources)).reads([conv.packed]);
            access.writes([conv.y, conv.moments, plan.scratch])
        }
        Step::Moments(id) => {
            let norm = plan.norm(*id);
            access.reads([norm.x]).writes([norm.moments])
        }
        Step::Norm(id) => {
            let norm = plan.norm(*id);
            let reads = [norm.x, norm.moments, plan.weights, plan.running];
            access.reads(reads).writes([norm.out, norm.coefficients])
        }
        Step::NormRunning(id) => {
            let norm = plan.norm(*id);
            let reads = [norm.x, plan.weights, plan.running];
            access.reads(reads).writes([norm.out, norm.coefficients])
        }
        Step::Pool(pool) => access.reads([pool.x]).writes([pool.out]),
        Step::Lcn { x, out, .. } => access.reads([*x]).writes([*out, plan.scratch]),
        Step::Concat { sources, out, .. } => access.reads(buffers(sources)).writes([*out]),
        Step::GlobalAveragePool {
            sources, features, ..
        } => access.reads(buffers(sources)).writes([*features]),
        Step::Classifier(c) => access.reads([c.features, plan.weights]).writes([c.logits]),
        Step::SoftmaxXent {
            logits, dlogits, ..
        } => access.reads([*logits]).writes([*dlogits]),
        Step::ClassifierGrad(c) => {
            let reads = [c.features, c.dlogits, plan.weights, plan.gradients];
            access.reads(reads).writes([c.dfeatures])
        }
        Step::Gather {
            out,
            contributions,
            norm,
            ..
        } => {
            let mut access = access.reads(contributions.iter().flat_map(|c| read(plan, c)));
            access.writes.extend([*out, plan.scratch]);
            if let Some(norm) = norm.map(|id| plan.norm(id)) {
                access.reads.extend([norm.x, norm.out, norm.coefficients]);
                access.writes.push(norm.dz_sums);
            }
            access
        }
        Step::NormGrad(id) => {
            let norm = plan.norm(*id);
            let reads = [norm.x, norm.dz, norm.dz_sums, norm.coefficients];
            let access = access.reads(reads).reads([plan.weights, plan.gradients]);
            access.writes([norm.coefficients, norm.dx])
        }
        Step::ConvFilterGrad(id) => {
            let conv = plan.conv(*id);
            let access = access.reads(buffers(&conv.sources));
            access
                .reads([conv.y, plan.gradients])
                .writes([plan.scratch])
        }
        Step::Update => access.reads([plan.weights, plan.gradients, plan.momentum]),
        Step::Pack(id) => access.reads([plan.weights]).writes([plan.conv(*id).packed]),
        Step::Advance => access,
        _ => unreachable!("{} is no step of an image's network", step.name()),
    }
}

fn read(plan: &Plan, contribution: &Contribution) -> Vec<BufferId> {
    match contribution {
        Contribution::Conv { conv, .. } => vec![plan.conv(*conv).y, plan.conv(*conv).packed],
        Contribution::Copy { dout, .. } => vec![*dout],
        Contribution::GlobalAveragePool { dfeatures, .. } => vec![*dfeatures],
        Contribution::Pool { pool, dout } => vec![pool.x, *dout],
        Contribution::Lcn { x, dout } => vec![*x, *dout],
    }
}

/// Replays preparation, training, evaluation and training again.
///
/// # Errors
/// The first step that reads what is not there any more, or was never written.
pub fn replay(plan: &Plan) -> Result<(), String> {
    let mut whole = vec![false; plan.buffers.len()];
    // Written by the host, or all zeros at first and changed in parts.
    for id in [plan.weights, plan.gradients, plan.momentum, plan.running] {
        whole[id.0] = true;
    }
    let lists = [
        ("prepare", &plan.prepare),
        ("train", &plan.train),
        ("train", &plan.train),
        ("evaluate", &plan.evaluate),
        ("evaluate", &plan.evaluate),
        ("train", &plan.train),
    ];
    for (name, list) in lists {
        for (number, step) in list.iter().enumerate() {
            let Access { reads, writes } = access(plan, step);
            let place = format!("{name} step {number} ({})", step.name());
            if let Some(id) = reads.iter().find(|id| !whole[id.0]) {
                let buffer = &plan.buffer(*id).name;
                return Err(format!("{place} reads '{buffer}', overwritten"));
            }
            // What a step reads and writes must be there together.
            let all: Vec<BufferId> = reads.into_iter().chain(writes.iter().copied()).collect();
            for (i, &a) in all.iter().enumerate() {
                if let Some(b) = all[..i].iter().find(|&&b| b != a && overlap(plan, a, b)) {
                    let (a, b) = (&plan.buffer(a).name, &plan.buffer(*b).name);
                    return Err(format!("{place}: '{a}' meets '{b}'"));
                }
            }
            for id in writes {
                for (other, whole) in whole.iter_mut().enumerate() {
                    let other = BufferId(other);
                    *whole = other == id || (*whole && !overlap(plan, id, other));
                }
            }
        }
    }
    Ok(())
}

fn overlap(plan: &Plan, a: BufferId, b: BufferId) -> bool {
    let (a, b) = (plan.buffer(a), plan.buffer(b));
    a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
}
