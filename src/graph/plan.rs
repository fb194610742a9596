//! The plan: ordered steps with resolved buffers in one arena; all that a device runs.

use std::ops::Range;

use super::language::{LanguageModel, Spans};
use super::memory::{self, MemoryRequest};
use super::params::Params;
use super::recurrent::{Decoder, Stack};
use super::step::*;
use super::{Graph, Shape};
use crate::shape::PLANE;

mod build;
mod language;
mod touched;

pub use touched::touched;

/// What the planner asks of a device.
pub trait Storage {
    /// Bytes of `content` for a batch of `batch` images.
    fn bytes(&self, content: &Content, batch: usize) -> usize;
    /// Bytes of a convolution's packed weights.
    fn packed_bytes(&self, conv: &Conv, batch: usize) -> usize;
    /// Bytes that the steps of a convolution need while they run; one buffer serves all steps.
    fn scratch_bytes(&self, conv: &Conv, batch: usize) -> usize;
    /// Bytes that local contrast normalisation of `shape`, and its gradient, need while they run,
    /// in the same buffer.
    fn lcn_scratch_bytes(&self, shape: &Shape, batch: usize) -> usize;
    /// Bytes that the softmax over a vocabulary needs while it runs, in the same buffer.
    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize;
    /// Bytes that recurrent layers need while they run, in the same buffer.
    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize;
}

/// How a plan is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Images of a batch.
    pub batch: usize,
    /// Bytes left free after every buffer, for tests that look for stray writes.
    pub guard: usize,
    /// Whether buffers share memory when their lives do not meet. Off, every buffer can be read
    /// after a run.
    pub reuse: bool,
    /// Whether the plan only evaluates: no list to train, and no memory for gradients and momentum.
    pub evaluate_only: bool,
    /// Whether training keeps a momentum.
    pub momentum: bool,
    /// What batch normalisation adds to a variance.
    pub norm_epsilon: f64,
}

impl Options {
    /// What training uses.
    pub fn new(batch: usize) -> Self {
        Options {
            batch,
            guard: 0,
            reuse: true,
            evaluate_only: false,
            momentum: true,
            norm_epsilon: NORM_EPSILON,
        }
    }
}

/// An execution plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Images of a batch.
    pub batch: usize,
    /// Every buffer with its place in the arena.
    pub buffers: Vec<Buffer>,
    /// Convolutions by [`ConvId`].
    pub convs: Vec<Conv>,
    /// Batch normalisations by [`NormId`].
    pub norms: Vec<Norm>,
    /// Run once after weights were written.
    pub prepare: Vec<Step>,
    /// Forward, backward and update of one batch.
    pub train: Vec<Step>,
    /// Forward of one batch by the running statistics.
    pub evaluate: Vec<Step>,
    /// Flat vector of trained parameters.
    pub weights: BufferId,
    /// Their gradients.
    pub gradients: BufferId,
    /// Their momentum.
    pub momentum: BufferId,
    /// Flat vector of running statistics.
    pub running: BufferId,
    /// Memory that a step may use while it runs.
    pub scratch: BufferId,
    /// What training goes on from: weights, momentum, running statistics, then what layers carry
    /// from one batch to the next. All values, so that any device's session can be given them.
    pub state: Vec<BufferId>,
    /// Size of the arena in bytes.
    pub arena_bytes: usize,
}

impl Plan {
    /// The name of the buffer of a layer that a step is for, where it is for one: what a convolution or
    /// a normalisation writes, or the gradient that is gathered.
    pub fn written(&self, step: &Step) -> Option<&str> {
        let buffer = match step {
            Step::Conv(id) | Step::ConvFilterGrad(id) | Step::Pack(id) => self.conv(*id).y,
            Step::Moments(id) | Step::Norm(id) | Step::NormRunning(id) | Step::NormGrad(id) => {
                self.norm(*id).out
            }
            Step::Pool(pool) => pool.out,
            Step::Lcn { out, .. } | Step::Concat { out, .. } | Step::Gather { out, .. } => *out,
            _ => return None,
        };
        Some(&self.buffer(buffer).name)
    }

    /// Plans the training and the evaluation of `graph`.
    pub fn new(graph: &Graph, params: &Params, storage: &dyn Storage, options: Options) -> Plan {
        build::build(graph, params, storage, options)
    }

    /// Plans the training and the evaluation of a language model over windows of `steps` words of
    /// `options.batch` rows. There is no momentum.
    pub fn of_language(
        model: &LanguageModel,
        (params, spans): (&Params, &Spans),
        storage: &dyn Storage,
        options: Options,
        steps: usize,
    ) -> Plan {
        language::build(model, spans, params.n_trained(), storage, options, steps)
    }

    /// The buffer of an id.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// A convolution by its id.
    pub fn conv(&self, id: ConvId) -> &Conv {
        &self.convs[id.0]
    }

    /// A batch normalisation by its id.
    pub fn norm(&self, id: NormId) -> &Norm {
        &self.norms[id.0]
    }

    /// What was left free behind buffers, in bytes of whole words, with the number of the buffer:
    /// up to the next one, unless a buffer of another time reaches in.
    pub fn guard_bands(&self) -> Vec<(usize, Range<usize>)> {
        let end = |buffer: &Buffer| buffer.offset + buffer.bytes;
        let band = |(i, buffer): (usize, &Buffer)| {
            let start = end(buffer);
            let offsets = self.buffers.iter().map(|other| other.offset);
            let next = offsets.filter(|&at| at >= start).min();
            let until = next.unwrap_or(self.arena_bytes);
            let meets = |other: &Buffer| other.offset < start && end(other) > start;
            let free = start < until && !self.buffers.iter().any(meets);
            free.then_some((i, start.next_multiple_of(4)..until / 4 * 4))
        };
        self.buffers.iter().enumerate().filter_map(band).collect()
    }
}

/// Collects buffers and steps, then places the buffers. Graphs and test cases are built with it.
pub struct Builder<'a> {
    storage: &'a dyn Storage,
    options: Options,
    plan: Plan,
    /// Buffers that keep their contents from one run to the next.
    kept: Vec<BufferId>,
}

impl<'a> Builder<'a> {
    /// An empty plan with vectors for `n_trained` parameters and `n_running` statistics.
    pub fn new(
        storage: &'a dyn Storage,
        options: Options,
        n_trained: usize,
        n_running: usize,
    ) -> Self {
        let none = BufferId(usize::MAX);
        let plan = Plan {
            batch: options.batch,
            buffers: vec![],
            convs: vec![],
            norms: vec![],
            prepare: vec![],
            train: vec![],
            evaluate: vec![],
            weights: none,
            gradients: none,
            momentum: none,
            running: none,
            scratch: none,
            state: vec![],
            arena_bytes: 0,
        };
        let mut builder = Builder {
            storage,
            options,
            plan,
            kept: vec![],
        };
        builder.plan.weights = builder.keep("weights", Content::Values(n_trained));
        let n_updated = if options.evaluate_only { 0 } else { n_trained };
        builder.plan.gradients = builder.keep("gradients", Content::Values(n_updated));
        let n_kept = if options.momentum { n_updated } else { 0 };
        builder.plan.momentum = builder.keep("momentum", Content::Values(n_kept));
        builder.plan.running = builder.keep("running statistics", Content::Values(n_running));
        let Plan {
            weights,
            momentum,
            running,
            ..
        } = builder.plan;
        builder.plan.state = vec![weights, momentum, running];
        builder
    }

    /// A buffer that lives from the first to the last step that touches it.
    pub fn buffer(&mut self, name: impl Into<String>, content: Content) -> BufferId {
        let bytes = self.storage.bytes(&content, self.options.batch);
        self.plan.buffers.push(Buffer {
            name: name.into(),
            content,
            bytes,
            offset: 0,
        });
        BufferId(self.plan.buffers.len() - 1)
    }

    /// A buffer of images.
    pub fn images(&mut self, name: impl Into<String>, shape: &Shape) -> BufferId {
        self.buffer(name, Content::Images(shape.clone()))
    }

    /// A buffer of two rows of statistics for every image.
    pub fn statistics(&mut self, name: impl Into<String>, shape: &Shape) -> BufferId {
        self.buffer(name, Content::Statistics(shape.clone()))
    }

    /// A buffer of `per_image` values for every image of the batch.
    pub fn values(&mut self, name: impl Into<String>, per_image: usize) -> BufferId {
        self.buffer(name, Content::Values(per_image * self.options.batch))
    }

    /// A buffer that keeps its contents.
    pub fn keep(&mut self, name: impl Into<String>, content: Content) -> BufferId {
        let id = self.buffer(name, content);
        self.kept.push(id);
        id
    }

    /// A buffer of `n` values that one batch leaves for the next.
    pub fn carry(&mut self, name: impl Into<String>, n: usize) -> BufferId {
        let id = self.keep(name, Content::Values(n));
        self.plan.state.push(id);
        id
    }

    /// A convolution of `sources`; makes its buffers. The steps are the caller's.
    pub fn conv(
        &mut self,
        name: &str,
        sources: Vec<Source>,
        filter: [usize; 2],
        stride: [usize; 2],
        output: &Shape,
        weight: Span,
    ) -> ConvId {
        let shapes: Vec<&Shape> = sources.iter().map(|s| &s.shape).collect();
        let input = Shape::concat(&shapes);
        let y = self.images(format!("{name} y"), output);
        let moments = self.statistics(format!("{name} moments"), output);
        let mut conv = Conv {
            sources,
            input,
            output: output.clone(),
            filter,
            stride,
            weight,
            y,
            packed: y,
            moments,
            gradients: !self.options.evaluate_only,
        };
        let packed = Content::Bytes(self.storage.packed_bytes(&conv, self.options.batch));
        conv.packed = self.keep(format!("{name} packed weights"), packed);
        self.plan.convs.push(conv);
        ConvId(self.plan.convs.len() - 1)
    }

    /// A batch normalisation of `x`; makes its buffers. For a convolution's result, `x` takes the
    /// gradient in its own place.
    pub fn norm(&mut self, name: &str, x: NormInput, shape: &Shape, places: NormPlaces) -> NormId {
        let out = self.images(format!("{name} output"), shape);
        let dz = self.images(format!("{name} dz"), shape);
        let (x, moments, relu, dx) = match x {
            NormInput::Conv(conv) => {
                let conv = self.plan.conv(conv);
                (conv.y, conv.moments, true, conv.y)
            }
            NormInput::Tensor(x) => {
                let moments = self.statistics(format!("{name} moments"), shape);
                (x, moments, false, dz)
            }
        };
        let coefficients = Content::Values(COEFFICIENT_ROWS * PLANE * shape.planes());
        let coefficients = self.buffer(format!("{name} coefficients"), coefficients);
        let dz_sums = self.statistics(format!("{name} dz sums"), shape);
        let NormPlaces {
            scale,
            shift,
            running_mean,
            running_var,
        } = places;
        let epsilon = self.options.norm_epsilon;
        self.plan.norms.push(Norm {
            epsilon,
            x,
            out,
            shape: shape.clone(),
            relu,
            scale,
            shift,
            running_mean,
            running_var,
            moments,
            coefficients,
            dz,
            dz_sums,
            dx,
        });
        NormId(self.plan.norms.len() - 1)
    }

    /// The plan so far: its convolutions and normalisations, and the step lists to fill.
    pub fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// Bytes for whichever step needs most while it runs.
    fn scratch_bytes(&self) -> usize {
        let (plan, batch) = (&self.plan, self.options.batch);
        let convs = plan.convs.iter();
        let convs = convs.map(|conv| self.storage.scratch_bytes(conv, batch));
        let steps = plan.train.iter().chain(&plan.evaluate);
        let others = steps.filter_map(|step| match step {
            Step::Lcn { shape, .. } => Some(self.storage.lcn_scratch_bytes(shape, batch)),
            Step::Decoder(decoder) | Step::DecoderLoss(decoder) => {
                Some(self.storage.decoder_scratch_bytes(decoder))
            }
            Step::Unroll(stack) | Step::UnrollGrad(stack) => {
                Some(self.storage.recurrent_scratch_bytes(stack))
            }
            _ => None,
        });
        convs.chain(others).max().unwrap_or(0)
    }

    /// Places every buffer.
    pub fn finish(mut self) -> Plan {
        if self.options.evaluate_only {
            self.plan.train.clear();
        }
        let scratch = Content::Bytes(self.scratch_bytes());
        self.plan.scratch = self.keep("scratch", scratch);
        let mut lives = vec![None; self.plan.buffers.len()];
        // A batch of evaluation needs what one of training needs, and no buffer for longer.
        let steps = match self.options.evaluate_only {
            true => &self.plan.evaluate,
            false => &self.plan.train,
        };
        for (time, step) in steps.iter().enumerate() {
            for id in touched(&self.plan, step) {
                lives[id.0].get_or_insert((time, time)).1 = time;
            }
        }
        if self.options.reuse {
            self.kept
                .iter()
                .for_each(|id| lives[id.0] = Some((0, usize::MAX)));
        } else {
            lives.fill(Some((0, usize::MAX)));
        }
        let requests: Vec<MemoryRequest> = (self.plan.buffers.iter().zip(lives))
            .map(|(buffer, live)| MemoryRequest {
                // A buffer that no step touches takes no memory.
                bytes: if live.is_some() { buffer.bytes } else { 0 },
                live: live.unwrap_or((0, 0)),
            })
            .collect();
        let (offsets, total) = memory::place(&requests, self.options.guard);
        for (buffer, offset) in self.plan.buffers.iter_mut().zip(offsets) {
            buffer.offset = offset;
        }
        self.plan.arena_bytes = total;
        self.plan
    }
}

/// What a batch normalisation reads.
#[derive(Clone, Copy, Debug)]
pub enum NormInput {
    /// The result of a convolution, which gathers the moments; ReLU follows.
    Conv(ConvId),
    /// Any tensor; no ReLU.
    Tensor(BufferId),
}

/// Where the vectors of a batch normalisation lie in the flat vectors.
#[derive(Clone, Copy, Debug)]
pub struct NormPlaces {
    /// Scale in the vectors of weights and gradients.
    pub scale: Span,
    /// Shift in the same.
    pub shift: Span,
    /// Running mean in the vector of running statistics.
    pub running_mean: Span,
    /// Running variance in the same.
    pub running_var: Span,
}
