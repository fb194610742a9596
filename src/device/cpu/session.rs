//! A plan on the CPU: its memory, the epoch's counters, and what an epoch leaves.

use std::ops::Range;

use super::batch::{Batch, floats};
use super::conv::PlannedConv;
use super::layout::{from_planes, to_planes};
use super::timings::Timings;
use super::workers::each;
use super::{Cpu, decoder, embedding, load_batch, load_tokens, optim, recurrent, softmax_xent};
use crate::device::arena::Arena;
use crate::device::{Control, DeviceError, Input, List, Moment, Results, Session};
use crate::graph::plan::Plan;
use crate::graph::recurrent::{Decoder, Embedding};
use crate::graph::step::{BufferId, Content, Step};

/// A plan with all that it needs to run.
pub struct CpuSession<'a> {
    cpu: &'a Cpu,
    plan: &'a Plan,
    input: Option<Input<'a>>,
    arena: Arena,
    /// By [`ConvId`](crate::graph::step::ConvId).
    convs: Vec<PlannedConv>,
    /// Guard bands in floats, each with the number of the buffer before it.
    guards: Vec<(usize, Range<usize>)>,
    control: Control,
    /// Records of the epoch.
    order: Vec<u32>,
    /// Batches of the epoch that have been run.
    batch_idx: usize,
    /// Images of the current batch.
    images: usize,
    /// Their labels.
    labels: Vec<u8>,
    results: Results,
    kept: Vec<Vec<f64>>,
    timings: Timings,
}

impl<'a> CpuSession<'a> {
    pub fn new(
        cpu: &'a Cpu,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<CpuSession<'a>, DeviceError> {
        let arena = Arena::new(plan.arena_bytes);
        let arena = arena.ok_or_else(|| DeviceError::OutOfMemory {
            device: "cpu".to_string(),
            bytes: plan.arena_bytes as u64,
            free: None,
        })?;
        let mut session = CpuSession {
            arena,
            convs: plan
                .convs
                .iter()
                .map(|conv| {
                    let planned = cpu.conv(conv, plan.batch);
                    if conv.gradients {
                        planned.make_tables();
                    }
                    planned
                })
                .collect(),
            guards: plan
                .guard_bands()
                .into_iter()
                .map(|(buffer, band)| (buffer, band.start / 4..band.end / 4))
                .collect(),
            control: Control::EVALUATE,
            order: vec![],
            batch_idx: 0,
            images: plan.batch,
            labels: vec![0; plan.batch],
            results: Results {
                finite: true,
                ..Results::default()
            },
            kept: vec![],
            timings: Timings::default(),
            cpu,
            plan,
            input,
        };
        for (_, band) in &session.guards {
            session.arena.guard(band.clone());
        }
        Ok(session)
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            isa: self.cpu.isa,
            threads: self.cpu.threads(),
            plan: self.plan,
            convs: &self.convs,
            images: self.images,
            arena: &self.arena,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::LoadBatch { images } => self.load_batch(*images),
            Step::SoftmaxXent {
                logits,
                dlogits,
                n_classes,
            } => {
                self.softmax_xent(*logits, *dlogits, *n_classes);
            }
            Step::Update => {
                self.update();
                self.batch_idx += 1;
            }
            Step::Advance => self.batch_idx += 1,
            Step::LoadTokens {
                inputs, targets, ..
            } => self.load_tokens(*inputs, *targets),
            Step::Embedding(e) => self.embedding(e),
            Step::EmbeddingGrad(e) => self.embedding_grad(e),
            // SAFETY: `&mut self`, so no other step runs.
            Step::Unroll(stack) => unsafe { recurrent::fwd(&self.batch(), stack, &self.moment()) },
            // SAFETY: as above.
            Step::UnrollGrad(stack) => unsafe {
                recurrent::bwd(&self.batch(), stack, &self.moment());
            },
            Step::Decoder(decoder) => self.decoder(decoder, true),
            Step::DecoderLoss(decoder) => self.decoder(decoder, false),
            Step::Descend => {
                self.descend();
                self.batch_idx += 1;
            }
            // SAFETY: `&mut self`, so no other step runs.
            _ => unsafe { self.batch().run(step) },
        }
    }

    fn load_batch(&mut self, images: BufferId) {
        let first = self.batch_idx * self.plan.batch;
        self.images = self.plan.batch.min(self.order.len().saturating_sub(first));
        assert!(
            self.images > 0,
            "an epoch has records for every batch that is run"
        );
        let input = self
            .input
            .expect("a session that loads batches was given a data set");
        let epoch = self.control.epoch;
        // SAFETY: no other view of the buffer lives: steps take views anew, and one runs at a time.
        let images = unsafe { self.arena.view_mut(floats(self.plan, images)) };
        let images = images.chunks_exact_mut(load_batch::IMAGE_LEN);
        let records = &self.order[first..first + self.images];
        each(
            records.iter().zip(images).zip(&mut self.labels),
            |((&record, image), label)| {
                *label = load_batch::load(&input, record, epoch, image);
            },
        );
    }

    fn softmax_xent(&mut self, logits: BufferId, dlogits: BufferId, n_classes: usize) {
        let batch = self.batch();
        // SAFETY: the planner keeps the two apart, and steps take views anew.
        let (logits, dlogits) = unsafe { (batch.get(logits), batch.get_mut(dlogits)) };
        let labels = &self.labels[..self.images];
        let loss = softmax_xent::fwd_bwd(logits, labels, n_classes, dlogits);
        self.results.loss_sums.push(loss.sum);
        self.results.correct += loss.correct;
        self.results.finite &= loss.sum.is_finite();
    }

    fn update(&mut self) {
        let (batch, plan) = (self.batch(), self.plan);
        // SAFETY: the planner keeps the three apart, and steps take views anew.
        let (weights, gradients, velocities) = unsafe {
            let (weights, velocities) = (batch.get_mut(plan.weights), batch.get_mut(plan.momentum));
            (weights, batch.get(plan.gradients), velocities)
        };
        let (isa, control) = (self.cpu.isa, &self.control);
        self.results.finite &= optim::step(isa, control, weights, gradients, velocities);
    }

    fn moment(&self) -> Moment {
        Moment {
            seed: self.input.map_or(0, |input| input.seed),
            epoch: self.control.epoch,
            batch: self.batch_idx as u32,
        }
    }

    fn load_tokens(&mut self, inputs: BufferId, targets: BufferId) {
        let input = self
            .input
            .expect("a session that loads words was given a text");
        let rows = self.plan.batch;
        let starts = &self.order[self.batch_idx * rows..][..rows];
        let batch = self.batch();
        // SAFETY: the planner keeps the two apart, and steps take views anew.
        let (inputs, targets) = unsafe { (batch.get_mut(inputs), batch.get_mut(targets)) };
        load_tokens::load(input.tokens(), starts, inputs, targets);
    }

    fn embedding(&mut self, e: &Embedding) {
        let (batch, plan) = (self.batch(), self.plan);
        // SAFETY: the planner keeps the three apart, and steps take views anew.
        let (tokens, weights, out) = unsafe {
            (
                batch.get(e.tokens),
                batch.get(plan.weights),
                batch.get_mut(e.out),
            )
        };
        embedding::fwd(e, tokens, &weights[e.weight.range()], out);
    }

    fn embedding_grad(&mut self, e: &Embedding) {
        let (batch, plan) = (self.batch(), self.plan);
        // SAFETY: the planner keeps the three apart, and steps take views anew.
        let (tokens, dout, gradients) = unsafe {
            (
                batch.get(e.tokens),
                batch.get(e.dout),
                batch.get_mut(plan.gradients),
            )
        };
        embedding::bwd(e, tokens, dout, &mut gradients[e.weight.range()]);
    }

    fn decoder(&mut self, d: &Decoder, with_gradients: bool) {
        let (batch, plan) = (self.batch(), self.plan);
        // SAFETY: the planner keeps them apart, and steps take views anew.
        let (x, targets, weights, scratch) = unsafe {
            let (x, targets) = (batch.get(d.x), batch.get(d.targets));
            (
                x,
                targets,
                batch.get(plan.weights),
                batch.get_mut(plan.scratch),
            )
        };
        let gradients = with_gradients.then(|| {
            // SAFETY: as above.
            let (dx, gradients) = unsafe { (batch.get_mut(d.dx), batch.get_mut(plan.gradients)) };
            let [dweight, dbias] = gradients
                .get_disjoint_mut([d.weight.range(), d.bias.range()])
                .expect("each gradient has a place of its own");
            decoder::Gradients { dx, dweight, dbias }
        });
        let buffers = decoder::Buffers {
            x,
            targets,
            weight: &weights[d.weight.range()],
            bias: &weights[d.bias.range()],
            scratch,
            gradients,
        };
        let loss = decoder::run(self.cpu.isa, d, buffers);
        self.results.loss_sums.push(loss);
        self.results.finite &= loss.is_finite();
    }

    fn descend(&mut self) {
        let (batch, plan) = (self.batch(), self.plan);
        // SAFETY: the planner keeps the two apart, and steps take views anew.
        let (weights, gradients) =
            unsafe { (batch.get_mut(plan.weights), batch.get(plan.gradients)) };
        let (isa, control) = (self.cpu.isa, &self.control);
        self.results.finite &= optim::descend(isa, control, weights, gradients);
    }

    /// A buffer in the form of [`Session::read`].
    fn values(&mut self, buffer: BufferId) -> Vec<f64> {
        let plan = self.plan;
        let floats = self.buffer_mut(buffer);
        match &plan.buffer(buffer).content {
            Content::Images(shape) => from_planes(shape, floats),
            Content::Values(_) | Content::Statistics(_) | Content::Bytes(_) => {
                floats.iter().map(|&x| f64::from(x)).collect()
            }
        }
    }

    /// The buffer as floats, while no step runs.
    fn buffer_mut(&mut self, id: BufferId) -> &mut [f32] {
        // SAFETY: `&mut self`, so no step runs and no other view lives.
        unsafe { self.arena.view_mut(floats(self.plan, id)) }
    }
}

impl Session for CpuSession<'_> {
    fn write(&mut self, buffer: BufferId, values: &[f64]) {
        let plan = self.plan;
        let floats = self.buffer_mut(buffer);
        match &plan.buffer(buffer).content {
            Content::Images(shape) => to_planes(shape, values, floats),
            Content::Values(_) | Content::Statistics(_) | Content::Bytes(_) => {
                assert_eq!(
                    values.len(),
                    floats.len(),
                    "values of {}",
                    plan.buffer(buffer).name
                );
                floats
                    .iter_mut()
                    .zip(values)
                    .for_each(|(x, &value)| *x = value as f32);
            }
        }
    }

    fn read(&mut self, buffer: BufferId) -> Result<Vec<f64>, DeviceError> {
        Ok(self.values(buffer))
    }

    fn begin_at(&mut self, order: &[u32], n_batches: usize, control: Control) {
        self.order.clear();
        self.order.extend_from_slice(order);
        self.control = control;
        self.batch_idx = n_batches;
        self.results.loss_sums.clear();
        self.results
            .loss_sums
            .reserve(order.len().div_ceil(self.plan.batch));
        self.results.correct = 0;
        self.results.finite = true;
    }

    fn set_labels(&mut self, labels: &[u8]) {
        self.images = labels.len();
        self.labels[..labels.len()].copy_from_slice(labels);
    }

    fn run(&mut self, list: List, times: usize) {
        self.run_until(list, times, &|| false);
    }

    fn run_until(&mut self, list: List, times: usize, stop: &(dyn Fn() -> bool + Sync)) -> usize {
        let steps = list.steps(self.plan);
        let mut n_run = 0;
        // All in one go: entering the pool wakes a thread, which costs as much as a step.
        let pool = &self.cpu.pool;
        pool.install(|| {
            while n_run < times && !stop() {
                for step in steps {
                    let start = self.timings.start();
                    self.step(step);
                    let written = || self.plan.written(step);
                    self.timings.stop(step.name(), written, start);
                }
                n_run += 1;
            }
        });
        n_run
    }

    fn keep(&mut self) {
        let plan = self.plan;
        self.kept = plan.state.iter().map(|&id| self.values(id)).collect();
    }

    fn kept(&mut self) -> Result<Vec<Vec<f64>>, DeviceError> {
        Ok(self.kept.clone())
    }

    fn results(&mut self) -> Result<Results, DeviceError> {
        self.timings.log();
        Ok(self.results.clone())
    }

    fn broken_guard(&mut self) -> Option<String> {
        let arena = &mut self.arena;
        let mut guards = self.guards.iter();
        let broken = guards.find(|(_, band)| !arena.is_guard(band.clone()));
        broken.map(|(buffer, _)| self.plan.buffers[*buffer].name.clone())
    }
}
