//! The reference device: the specification. Plain f64 loops in the order of the formulas, never
//! made clever; images are `[n][c][h][w]`, and every buffer is a vector of its own, so that a write
//! past its end stops the program and guard bands have nothing to find.

use super::{Control, Device, DeviceError, Input, List, Moment, Results, Session};
use crate::data::Draw;
use crate::graph::Shape;
use crate::graph::plan::{Plan, Storage};
use crate::graph::recurrent::{Decoder, Stack};
use crate::graph::step::{BufferId, Content, Conv, Step};
use tensor::{Memory, Tensor};

mod batchnorm;
mod classifier;
mod concat_pad;
mod conv;
mod decoder;
mod dropout;
mod embedding;
mod gather;
mod global_average_pool;
mod lcn;
mod load_batch;
mod load_tokens;
mod optim;
mod pool;
mod recurrent;
mod softmax_xent;
mod tensor;

/// The specification as a device.
pub struct Reference;

impl Storage for Reference {
    fn bytes(&self, content: &Content, batch: usize) -> usize {
        match content {
            Content::Images(shape) => shape.len() * batch * size_of::<f64>(),
            Content::Values(n) => n * size_of::<f64>(),
            Content::Statistics(shape) => shape.statistics_len() * batch * size_of::<f64>(),
            Content::Bytes(n) => *n,
        }
    }

    fn packed_bytes(&self, _: &Conv, _: usize) -> usize {
        0
    }

    fn scratch_bytes(&self, _: &Conv, _: usize) -> usize {
        0
    }

    fn lcn_scratch_bytes(&self, _: &Shape, _: usize) -> usize {
        0
    }

    fn decoder_scratch_bytes(&self, _: &Decoder) -> usize {
        0
    }

    fn recurrent_scratch_bytes(&self, _: &Stack) -> usize {
        0
    }
}

impl Device for Reference {
    fn describe(&self) -> String {
        "reference (f64, 1 thread)".to_string()
    }

    fn load<'a>(
        &'a self,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<Box<dyn Session + 'a>, DeviceError> {
        let buffers = plan.buffers.iter().map(|buffer| match &buffer.content {
            Content::Images(shape) => Tensor::images(plan.batch, shape),
            Content::Values(n) => Tensor::vector(vec![0.0; *n]),
            Content::Statistics(shape) => {
                Tensor::vector(vec![0.0; plan.batch * shape.statistics_len()])
            }
            Content::Bytes(_) => Tensor::vector(vec![]),
        });
        let mut session = Running {
            plan,
            input,
            memory: Memory(buffers.collect()),
            control: Control::EVALUATE,
            order: vec![],
            offset: 0,
            labels: vec![],
            results: Results::default(),
            kept: vec![],
        };
        session.begin(&[], Control::EVALUATE);
        Ok(Box::new(session))
    }
}

/// A plan on the reference.
struct Running<'a> {
    plan: &'a Plan,
    input: Option<Input<'a>>,
    memory: Memory,
    control: Control,
    /// Records of the epoch, and how many of them earlier batches took.
    order: Vec<u32>,
    offset: usize,
    /// Labels of the batch's images; fewer than images in the last batch of an evaluation.
    labels: Vec<u8>,
    results: Results,
    kept: Vec<Vec<f64>>,
}

impl Session for Running<'_> {
    fn write(&mut self, buffer: BufferId, values: &[f64]) {
        self.memory[buffer].values.copy_from_slice(values);
    }

    fn read(&mut self, buffer: BufferId) -> Result<Vec<f64>, DeviceError> {
        Ok(self.memory[buffer].values.clone())
    }

    fn begin_at(&mut self, order: &[u32], n_batches: usize, control: Control) {
        self.order = order.to_vec();
        self.offset = n_batches * self.plan.batch;
        self.control = control;
        self.results = Results {
            finite: true,
            ..Results::default()
        };
    }

    fn set_labels(&mut self, labels: &[u8]) {
        self.labels = labels.to_vec();
    }

    fn run(&mut self, list: List, times: usize) {
        self.run_until(list, times, &|| false);
    }

    fn run_until(&mut self, list: List, times: usize, stop: &(dyn Fn() -> bool + Sync)) -> usize {
        let steps = list.steps(self.plan);
        let mut n_run = 0;
        while n_run < times && !stop() {
            steps.iter().for_each(|step| self.step(step));
            n_run += 1;
        }
        n_run
    }

    fn keep(&mut self) {
        let state = self.plan.state.iter();
        self.kept = state.map(|&id| self.memory[id].values.clone()).collect();
    }

    fn kept(&mut self) -> Result<Vec<Vec<f64>>, DeviceError> {
        Ok(self.kept.clone())
    }

    fn results(&mut self) -> Result<Results, DeviceError> {
        Ok(self.results.clone())
    }

    fn broken_guard(&mut self) -> Option<String> {
        None
    }
}

impl Running<'_> {
    fn step(&mut self, step: &Step) {
        let (plan, memory) = (self.plan, &mut self.memory);
        let n = plan.batch;
        match step {
            Step::LoadBatch { images } => self.load_batch(*images),
            Step::Conv(id) => {
                let conv = plan.conv(*id);
                let x = concat_pad::fwd(&conv.sources, &conv.input, n, memory);
                let w = conv::filters(conv, &memory[plan.weights]);
                memory[conv.y] = conv::fwd(conv, &x, &w);
                memory[conv.moments].values = batchnorm::moments(&conv.output, &memory[conv.y]);
            }
            Step::ConvFilterGrad(id) => {
                let conv = plan.conv(*id);
                let x = concat_pad::fwd(&conv.sources, &conv.input, n, memory);
                let dw = conv::bwd_filter(conv, &x, &memory[conv.y]);
                let gradients = &mut memory[plan.gradients].values;
                gradients[conv.weight.range()].copy_from_slice(&dw.values);
            }
            Step::Moments(id) => {
                let norm = plan.norm(*id);
                memory[norm.moments].values = batchnorm::moments(&norm.shape, &memory[norm.x]);
            }
            Step::Norm(id) => batchnorm::fwd(plan, plan.norm(*id), memory),
            Step::NormRunning(id) => batchnorm::fwd_running(plan, plan.norm(*id), memory),
            Step::NormGrad(id) => batchnorm::bwd(plan, plan.norm(*id), memory),
            Step::Pool(pool) => memory[pool.out] = pool::fwd(pool, &memory[pool.x]),
            Step::Lcn { x, out, .. } => memory[*out] = lcn::fwd(&memory[*x]),
            Step::Concat {
                sources,
                out,
                shape,
            } => memory[*out] = concat_pad::fwd(sources, shape, n, memory),
            Step::GlobalAveragePool {
                sources,
                pixels,
                features,
            } => {
                memory[*features].values = global_average_pool::fwd(sources, *pixels, n, memory);
            }
            Step::Classifier(classifier) => classifier::fwd(plan, classifier, memory),
            Step::ClassifierGrad(classifier) => classifier::bwd(plan, classifier, memory),
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
            } => gather::step(plan, memory, *out, shape, contributions, *norm),
            Step::Update => {
                self.results.finite &= optim::step(plan, &self.control, memory);
                self.offset += n;
            }
            Step::Pack(_) => {} // steps read the weights themselves
            Step::Advance => self.offset += n,
            Step::LoadTokens {
                inputs,
                targets,
                steps,
            } => self.load_tokens(*inputs, *targets, *steps),
            Step::Embedding(embedding) => embedding::fwd(plan, embedding, memory),
            Step::EmbeddingGrad(embedding) => embedding::bwd(plan, embedding, memory),
            Step::Unroll(stack) => {
                let moment = self.moment();
                recurrent::fwd(plan, stack, &moment, &mut self.memory);
            }
            Step::UnrollGrad(stack) => {
                let moment = self.moment();
                recurrent::bwd(plan, stack, &moment, &mut self.memory);
            }
            Step::Decoder(decoder) => {
                let loss = decoder::loss_and_gradients(plan, decoder, memory);
                self.add_loss(loss);
            }
            Step::DecoderLoss(decoder) => {
                let loss = decoder::loss(plan, decoder, memory);
                self.add_loss(loss);
            }
            Step::Descend => {
                self.results.finite &= optim::descend(plan, &self.control, memory);
                self.offset += n;
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            seed: self.input.map_or(0, |input| input.seed),
            epoch: self.control.epoch,
            batch: (self.offset / self.plan.batch) as u32,
        }
    }

    fn add_loss(&mut self, loss: f64) {
        self.results.finite &= loss.is_finite();
        self.results.loss_sums.push(loss);
    }

    fn load_tokens(&mut self, inputs: BufferId, targets: BufferId, steps: usize) {
        let input = self.input.expect("a plan that loads words has an input");
        let starts = &self.order[self.offset..][..self.plan.batch];
        let window = load_tokens::window(input.tokens(), starts, steps, self.plan.batch);
        for (buffer, values) in [inputs, targets].into_iter().zip(window) {
            self.memory[buffer].values = values;
        }
    }

    /// Views and labels of the batch's records; zeros where the last batch has none.
    fn load_batch(&mut self, images: BufferId) {
        let input = self.input.expect("a plan that loads batches has an input");
        let left = &self.order[self.offset.min(self.order.len())..];
        let records = &left[..left.len().min(self.plan.batch)];
        let (dataset, augment) = input.images();
        self.labels.clear();
        let mut values = vec![];
        for &record in records {
            let (label, image) = dataset.record(record as usize);
            let draw = (self.control.epoch).map(|epoch| Draw::new(input.seed, epoch, record));
            values.extend(load_batch::view(image, augment, draw).values);
            self.labels.push(label);
        }
        values.resize(self.memory[images].values.len(), 0.0);
        self.memory[images].values = values;
    }

    fn softmax_xent(&mut self, logits: BufferId, dlogits: BufferId, n_classes: usize) {
        let logits = &self.memory[logits].values;
        let xent = softmax_xent::fwd_bwd(logits, &self.labels, n_classes);
        self.results.finite &= xent.loss_sum.is_finite();
        self.results.loss_sums.push(xent.loss_sum);
        self.results.correct += xent.correct;
        self.memory[dlogits].values = xent.dlogits;
    }
}
