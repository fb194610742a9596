//! The steps of a plan as operations on the buffers of a batch.
//!
//! Views of buffers are sound for one reason, which every `SAFETY` here means by "one step, apart":
//! one step runs at a time ([`Batch::run`]'s callers promise it), the planner keeps apart the
//! buffers that a step touches, and a step takes one view of each; where it works in place, it takes
//! one under one of the two names.

use super::batch::Batch;
use super::batchnorm::{self, Coefficients, InPlaceOf, Vectors};
use super::layout::{image_len, plane_len};
use super::workers::{each, each_with};
use super::{classifier, concat_pad, gather, global_average_pool, lcn, pool};
use crate::graph::Shape;
use crate::graph::step::{BufferId, Classifier, ConvId, Norm, Source, Step};

impl<'a> Batch<'a> {
    /// Runs a step that works on buffers alone: all but those that the session's counters are for.
    ///
    /// # Safety
    /// Until it returns, no other step runs on the arena and no view of a buffer lives. The plan is
    /// the planner's, which keeps apart the buffers that a step touches.
    pub unsafe fn run(&self, step: &Step) {
        match step {
            Step::Conv(id) => self.conv_fwd(*id),
            Step::ConvFilterGrad(id) => self.conv_bwd_filter(*id),
            Step::Pack(id) => self.pack(*id),
            Step::Moments(id) => {
                let norm = self.plan.norm(*id);
                self.moments(norm.x, &norm.shape, norm.moments);
            }
            Step::Norm(id) => self.norm_fwd(self.plan.norm(*id), true),
            Step::NormRunning(id) => self.norm_fwd(self.plan.norm(*id), false),
            Step::NormGrad(id) => self.norm_bwd(self.plan.norm(*id)),
            Step::Pool(p) => {
                let run = |x: &[f32], out: &mut [f32], _: &mut [f32]| {
                    pool::fwd(self.isa, p, x, out);
                };
                self.image_wise(p.x, &p.input, p.out, &p.output, run);
            }
            Step::Lcn { x, out, shape } => {
                let run = |x: &[f32], out: &mut [f32], scratch: &mut [f32]| {
                    lcn::fwd(self.isa, shape, x, out, scratch);
                };
                self.image_wise(*x, shape, *out, shape, run);
            }
            Step::Concat {
                sources,
                out,
                shape,
            } => self.concat(sources, *out, shape),
            Step::GlobalAveragePool {
                sources,
                pixels,
                features,
            } => {
                self.global_average_pool(sources, *pixels, *features);
            }
            Step::Classifier(classifier) => self.classifier_fwd(classifier),
            Step::ClassifierGrad(classifier) => self.classifier_bwd(classifier),
            Step::Gather {
                out,
                shape,
                contributions,
                norm,
            } => {
                let norm = norm.map(|id| self.plan.norm(id));
                // SAFETY: one step, apart.
                unsafe {
                    gather::step(self, *out, shape, contributions, norm, self.pieces());
                }
            }
            // What the session's counters or results are for, and the steps of text.
            Step::LoadBatch { .. }
            | Step::SoftmaxXent { .. }
            | Step::Update
            | Step::Advance
            | Step::LoadTokens { .. }
            | Step::Embedding(_)
            | Step::EmbeddingGrad(_)
            | Step::Unroll(_)
            | Step::UnrollGrad(_)
            | Step::Decoder(_)
            | Step::DecoderLoss(_)
            | Step::Descend => unreachable!("the session runs {}", step.name()),
        }
    }

    fn pack(&self, id: ConvId) {
        let conv = self.plan.conv(id);
        // SAFETY: one step, apart.
        let (weights, packed) = unsafe { (self.get(self.plan.weights), self.get_mut(conv.packed)) };
        self.convs[id.0].pack(&weights[conv.weight.range()], packed);
    }

    fn conv_fwd(&self, id: ConvId) {
        let conv = self.plan.conv(id);
        // SAFETY: one step, apart.
        unsafe {
            let (packed, y) = (self.get(conv.packed), self.get_mut(conv.y));
            let (sources, scratch) = (self.sources(&conv.sources), self.scratch());
            self.convs[id.0].fwd(self.images, &sources, packed, scratch, y);
        }
        self.moments(conv.y, &conv.output, conv.moments);
    }

    fn conv_bwd_filter(&self, id: ConvId) {
        let (step, conv) = (self.plan.conv(id), &self.convs[id.0]);
        // SAFETY: one step, apart.
        unsafe {
            let dw = &mut self.get_mut(self.plan.gradients)[step.weight.range()];
            let (sources, dy) = (self.sources(&step.sources), self.get(step.y));
            let scratch = self.scratch();
            let (partials, scratch) = scratch.split_at_mut(conv.partials_len());
            conv.bwd_filter(&sources, dy, scratch, partials, dw);
        }
    }

    /// # Safety
    /// Nothing writes to the sources while the views live.
    unsafe fn sources(&self, sources: &[Source]) -> Vec<&'a [f32]> {
        // SAFETY: the caller's promise.
        sources
            .iter()
            .map(|source| unsafe { self.get(source.buffer) })
            .collect()
    }

    fn moments(&self, x: BufferId, shape: &Shape, moments: BufferId) {
        // SAFETY: one step, apart.
        let (x, moments) = unsafe { (self.get(x), self.get_mut(moments)) };
        let images = x.chunks_exact(image_len(shape)).take(self.images);
        let tasks = images.zip(moments.chunks_exact_mut(shape.statistics_len()));
        each(tasks, |(x, moments)| {
            batchnorm::image_moments(self.isa, x, moments)
        });
    }

    /// Normalises by the batch's statistics, or by the running ones.
    fn norm_fwd(&self, norm: &Norm, of_batch: bool) {
        let (shape, len) = (&norm.shape, image_len(&norm.shape));
        // SAFETY: one step, apart.
        let (weights, running, coefficients) = unsafe {
            let (weights, running) = (self.get(self.plan.weights), self.get_mut(self.plan.running));
            (weights, running, self.get_mut(norm.coefficients))
        };
        let [running_mean, running_var] = running
            .get_disjoint_mut([norm.running_mean.range(), norm.running_var.range()])
            .expect("each statistic has a place of its own");
        let vectors = Vectors {
            shape,
            epsilon: norm.epsilon,
            scale: &weights[norm.scale.range()],
            shift: &weights[norm.shift.range()],
            running_mean,
            running_var,
        };
        let mut rows = Coefficients::write(coefficients);
        if of_batch {
            // SAFETY: one step, apart.
            let moments = unsafe { self.get(norm.moments) };
            let moments = &moments[..self.images * shape.statistics_len()];
            batchnorm::batch_statistics(moments, vectors, &mut rows);
        } else {
            batchnorm::running_statistics(vectors, &mut rows);
        }
        let coefficients = &*coefficients;
        // SAFETY: one step, apart.
        let (x, out) = unsafe { (self.get(norm.x), self.get_mut(norm.out)) };
        let tasks = x
            .chunks_exact(len)
            .zip(out.chunks_exact_mut(len))
            .take(self.images);
        each(tasks, |(x, out)| {
            batchnorm::fwd(self.isa, x, coefficients, norm.relu, out)
        });
    }

    fn norm_bwd(&self, norm: &Norm) {
        let (shape, len) = (&norm.shape, image_len(&norm.shape));
        // SAFETY: one step, apart.
        let (gradients, coefficients, sums) = unsafe {
            let gradients = self.get_mut(self.plan.gradients);
            (
                gradients,
                self.get_mut(norm.coefficients),
                self.get(norm.dz_sums),
            )
        };
        let [dscale, dshift] = gradients
            .get_disjoint_mut([norm.scale.range(), norm.shift.range()])
            .expect("each gradient has a place of its own");
        let sums = &sums[..self.images * shape.statistics_len()];
        let mut rows = Coefficients::write(coefficients);
        batchnorm::gradient_statistics(sums, shape, dscale, dshift, &mut rows);
        let coefficients = &*coefficients;
        let (place, other) = match norm.dx == norm.x {
            true => (InPlaceOf::X, norm.dz),
            false => (InPlaceOf::Dz, norm.x),
        };
        // SAFETY: one step, apart: `dx` is one of `x` and `dz`, `other` the other one.
        let (other, dx) = unsafe { (self.get(other), self.get_mut(norm.dx)) };
        let tasks = other
            .chunks_exact(len)
            .zip(dx.chunks_exact_mut(len))
            .take(self.images);
        each(tasks, |(other, dx)| {
            batchnorm::bwd(self.isa, place, other, coefficients, dx)
        });
    }

    /// Runs an operation that makes each image of `out` from an image of `x`.
    fn image_wise(
        &self,
        x: BufferId,
        input: &Shape,
        out: BufferId,
        output: &Shape,
        run: impl Fn(&[f32], &mut [f32], &mut [f32]) + Sync,
    ) {
        // SAFETY: one step, apart.
        let (x, out, scratch) = unsafe { (self.get(x), self.get_mut(out), self.pieces()) };
        let images = x.chunks_exact(image_len(input)).take(self.images);
        let tasks = images.zip(out.chunks_exact_mut(image_len(output)));
        each_with(tasks, scratch, |(x, out), scratch| run(x, out, scratch));
    }

    fn concat(&self, sources: &[Source], out: BufferId, shape: &Shape) {
        // SAFETY: one step, apart.
        let out = unsafe { self.get_mut(out) };
        let images = out.chunks_exact_mut(image_len(shape)).take(self.images);
        each(images.enumerate(), |(i, mut out)| {
            for source in sources {
                let len = image_len(&source.shape);
                // SAFETY: one step, apart.
                let x = &unsafe { self.get(source.buffer) }[i * len..][..len];
                let planes = source.shape.planes() * plane_len(shape);
                let (planes, rest) = std::mem::take(&mut out).split_at_mut(planes);
                concat_pad::fwd(x, &source.shape, planes, shape);
                out = rest;
            }
        });
    }

    fn global_average_pool(&self, sources: &[Source], pixels: usize, features: BufferId) {
        let n_features = sources.iter().map(|source| source.shape.c()).sum();
        // SAFETY: one step, apart.
        let features = unsafe { self.get_mut(features) };
        let images = features.chunks_exact_mut(n_features).take(self.images);
        each(images.enumerate(), |(i, features)| {
            for Source {
                buffer,
                shape,
                first_channel,
            } in sources
            {
                let len = image_len(shape);
                // SAFETY: one step, apart.
                let x = &unsafe { self.get(*buffer) }[i * len..][..len];
                let features = &mut features[*first_channel..][..shape.c()];
                global_average_pool::fwd(self.isa, shape, pixels, x, features);
            }
        });
    }

    fn classifier_fwd(&self, c: &Classifier) {
        // SAFETY: one step, apart.
        let (features, weights, logits) = unsafe {
            (
                self.get(c.features),
                self.get(self.plan.weights),
                self.get_mut(c.logits),
            )
        };
        let features = &features[..self.images * c.n_features];
        let (weight, bias) = (&weights[c.weight.range()], &weights[c.bias.range()]);
        classifier::fwd(self.isa, features, weight, bias, logits);
    }

    fn classifier_bwd(&self, c: &Classifier) {
        // SAFETY: one step, apart.
        let (weights, gradients, features, dlogits, dfeatures) = unsafe {
            let (weights, gradients) = (
                self.get(self.plan.weights),
                self.get_mut(self.plan.gradients),
            );
            let (features, dlogits) = (self.get(c.features), self.get(c.dlogits));
            (
                weights,
                gradients,
                features,
                dlogits,
                self.get_mut(c.dfeatures),
            )
        };
        let [dweight, dbias] = gradients
            .get_disjoint_mut([c.weight.range(), c.bias.range()])
            .expect("each gradient has a place of its own");
        let arguments = classifier::Bwd {
            features: &features[..self.images * c.n_features],
            dlogits: &dlogits[..self.images * c.n_classes],
            weight: &weights[c.weight.range()],
            dfeatures,
            dweight,
            dbias,
        };
        classifier::bwd(self.isa, arguments);
    }
}
