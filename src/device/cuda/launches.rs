//! The launches of a plan's steps: kernels with their configurations and arguments, complete before
//! anything runs. Each operation's file adds its own; no device is needed to make them.

use std::collections::HashMap;

use bytemuck::NoUninit;

use super::declare::{Exchanged, In, Out};
use super::driver::{Launch, Limits};
use super::epoch::Epoch;
use super::tables::Tables;
use crate::graph::plan::Plan;
use crate::graph::step::{BufferId, Span, Step};

/// What the parts of a buffer of statistics are: tiles of each image, in row order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    /// Parts of an image.
    pub per_image: usize,
    /// Height and width of a tile; the last ones are cut off. Sums need no sizes.
    pub tile: [usize; 2],
}

/// Makes launches for the steps of a plan.
pub struct Launches<'a> {
    pub(super) plan: &'a Plan,
    pub(super) limits: Limits,
    /// Address of the plan's memory.
    pub(super) arena: u64,
    pub(super) tables: &'a Tables,
    pub(super) epoch: Epoch,
    /// How the parts of each buffer of statistics lie, as far as steps have written them.
    pub(super) parts: HashMap<BufferId, Parts>,
    /// Launches so far whose blocks wait for each other.
    n_cooperative: usize,
    list: Vec<Launch>,
}

impl<'a> Launches<'a> {
    /// For a plan at an address.
    pub fn new(
        plan: &'a Plan,
        limits: Limits,
        arena: u64,
        tables: &'a Tables,
        epoch: Epoch,
    ) -> Launches<'a> {
        Launches {
            plan,
            limits,
            arena,
            tables,
            epoch,
            parts: HashMap::new(),
            n_cooperative: 0,
            list: vec![],
        }
    }

    /// The launches of a step.
    pub fn of(&mut self, step: &Step) -> Vec<Launch> {
        self.step(step);
        std::mem::take(&mut self.list)
    }

    /// How the parts of the statistics lie that steps have written.
    pub fn into_parts(self) -> HashMap<BufferId, Parts> {
        self.parts
    }

    fn step(&mut self, step: &Step) {
        let plan = self.plan;
        match step {
            Step::LoadBatch { images } => self.load_batch(*images),
            Step::Conv(id) => self.conv_fwd(*id),
            Step::ConvFilterGrad(id) => self.conv_bwd_filter(*id),
            Step::Pack(id) => self.conv_pack(*id),
            Step::Moments(id) => {
                let norm = plan.norm(*id);
                self.batchnorm_moments(norm.x, &norm.shape, norm.moments);
            }
            Step::Norm(id) => self.batchnorm_fwd(plan.norm(*id)),
            Step::NormRunning(id) => self.batchnorm_fwd_running(plan.norm(*id)),
            Step::NormGrad(id) => self.batchnorm_bwd(plan.norm(*id)),
            Step::Pool(pool) => self.pool_fwd(pool),
            Step::Lcn { x, out, shape } => self.lcn_fwd(*x, *out, shape),
            Step::Concat {
                sources,
                out,
                shape,
            } => self.concat_pad_fwd(sources, *out, shape),
            Step::GlobalAveragePool {
                sources,
                pixels,
                features,
            } => self.global_average_pool_fwd(sources, *pixels, *features),
            Step::Classifier(classifier) => self.classifier_fwd(classifier),
            Step::ClassifierGrad(classifier) => self.classifier_bwd(classifier),
            Step::SoftmaxXent {
                logits,
                dlogits,
                n_classes,
            } => self.softmax_xent(*logits, *dlogits, *n_classes),
            Step::Gather {
                out,
                shape,
                contributions,
                norm,
            } => self.gather(*out, shape, contributions, norm.map(|id| plan.norm(id))),
            Step::Update => self.nesterov_step(),
            Step::Advance => self.advance(),
            Step::LoadTokens {
                inputs,
                targets,
                steps,
            } => self.load_tokens([*inputs, *targets], *steps),
            Step::Embedding(embedding) => self.embedding_fwd(embedding),
            Step::EmbeddingGrad(embedding) => self.embedding_bwd(embedding),
            Step::Decoder(decoder) => self.decoder(decoder),
            Step::DecoderLoss(decoder) => self.decoder_loss(decoder),
            Step::Descend => self.descend(),
            Step::Unroll(stack) => self.unroll(stack),
            Step::UnrollGrad(stack) => self.unroll_grad(stack),
        }
    }

    /// Adds a launch without shared memory.
    pub(super) fn push(
        &mut self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        args: &impl NoUninit,
    ) {
        self.push_shared(kernel, grid, threads, 0, args);
    }

    /// Adds a launch.
    ///
    /// # Panics
    /// Where a grid is larger than a GPU takes, which no plan within the contract has. Along x are
    /// planes of a tensor (up to 2^17 and one for each of 4096 tensors), places of a text, words or
    /// pieces of all parameters. Along y and z are only what has a small limit: images of a batch
    /// (16,384), pieces of a plane (1024 pixels), taps (225), planes of a convolution's result (512),
    /// classes, pieces of a layer's units or of a vocabulary. `tests/it/cuda/limits.rs` makes the
    /// launches at these limits.
    pub(super) fn push_shared(
        &mut self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        shared_bytes: usize,
        args: &impl NoUninit,
    ) {
        assert!(
            grid[0] < 1 << 31 && grid[1] <= MAX_GRID && grid[2] <= MAX_GRID,
            "the grid {grid:?} of {kernel} is one that a GPU takes"
        );
        self.list.push(Launch {
            kernel,
            grid: grid.map(|blocks| blocks as u32),
            threads,
            shared_bytes: shared_bytes as u32,
            cooperative: false,
            args: bytemuck::bytes_of(args).to_vec(),
        });
    }

    /// Adds a launch whose blocks, along x, wait for each other.
    pub(super) fn push_cooperative(
        &mut self,
        kernel: &'static str,
        blocks: usize,
        threads: u32,
        shared_bytes: usize,
        args: &impl NoUninit,
    ) {
        self.push_shared(kernel, [blocks, 1, 1], threads, shared_bytes, args);
        self.list.last_mut().expect("it was added").cooperative = true;
    }

    /// A count of arrivals of its own for the next such launch.
    pub(super) fn arrivals(&mut self) -> Out<u64> {
        let number = self.n_cooperative;
        self.n_cooperative += 1;
        assert!(
            self.n_cooperative <= most_cooperative(self.plan),
            "there is room for the count of arrivals {number}"
        );
        Out::at(self.epoch.arrivals + 8 * number as u64)
    }

    fn address(&self, buffer: BufferId) -> u64 {
        self.arena + self.plan.buffer(buffer).offset as u64
    }

    /// A buffer that a launch reads.
    pub(super) fn input<T>(&self, buffer: BufferId) -> In<T> {
        In::at(self.address(buffer))
    }

    /// A buffer that a launch writes.
    pub(super) fn output<T>(&self, buffer: BufferId) -> Out<T> {
        Out::at(self.address(buffer))
    }

    /// A buffer that the blocks of a launch exchange.
    pub(super) fn exchanged<T>(&self, buffer: BufferId) -> Exchanged<T> {
        Exchanged::at(self.address(buffer))
    }

    /// A part of a flat vector of floats that a launch reads.
    pub(super) fn input_span(&self, vector: BufferId, span: Span) -> In<f32> {
        In::at(self.address(vector) + 4 * span.start as u64)
    }

    /// A part of a flat vector of floats that a launch writes.
    pub(super) fn output_span(&self, vector: BufferId, span: Span) -> Out<f32> {
        Out::at(self.address(vector) + 4 * span.start as u64)
    }

    /// Images of a batch, or rows of text.
    pub(super) fn batch(&self) -> usize {
        self.plan.batch
    }
}

/// Launches of a plan whose blocks wait for each other, at most.
pub fn most_cooperative(plan: &Plan) -> usize {
    let steps = [&plan.prepare, &plan.train, &plan.evaluate];
    let of_text = |step: &&Step| matches!(step, Step::Unroll(_) | Step::UnrollGrad(_));
    steps.into_iter().flatten().filter(of_text).count()
}

/// Blocks along y and z at most.
pub const MAX_GRID: usize = 65_535;
