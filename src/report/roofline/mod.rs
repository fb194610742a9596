//! The least work of a child's training, pass by pass: FLOPs and bytes that no kernel can save, and
//! so the least time on a GPU. A pass is what one kernel could do: it reads each tensor once and
//! writes each result once.

pub mod gpu;
pub mod measured;

use serde_json::{Value, json};

use crate::data::RECORD_BYTES;
use crate::graph::{Costs, Graph, GraphLayer, Shape};
use crate::shape::PLANE;
use crate::space::LayerOp;
use gpu::Gpu;

/// Images of an epoch and of a validation: CIFAR-10's split.
pub const TRAINING_IMAGES: usize = 45_000;
/// As [`TRAINING_IMAGES`].
pub const VALIDATION_IMAGES: usize = 5_000;
/// Epochs of a child of the paper.
pub const EPOCHS: usize = 50;

/// Bytes that the optimizer moves for a parameter: weight, momentum and gradient in f32, the first
/// two written back, and two bfloat16 copies; 2 more for parts of gradients.
const UPDATE_BYTES: f64 = 26.0;

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The views of a batch's records.
    LoadBatch,
    /// The layer's operation.
    Forward,
    /// The batch's statistics applied: they are known when all of the operation's result is.
    Normalise,
    /// The gradient to the layer's result, gathered from all that read it.
    DataGradient,
    /// The gradient through a normalisation that is a layer of its own. A convolution's is a part
    /// of its filter gradient, which reads the same tensors.
    NormGradient,
    /// The gradient to the weights.
    FilterGradient,
    /// The optimizer's step.
    Update,
}

impl Kind {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Kind::LoadBatch => "load_batch",
            Kind::Forward => "forward",
            Kind::Normalise => "normalise",
            Kind::DataGradient => "data_gradient",
            Kind::NormGradient => "norm_gradient",
            Kind::FilterGradient => "filter_gradient",
            Kind::Update => "update",
        }
    }

    fn of_evaluation(self) -> bool {
        matches!(self, Kind::LoadBatch | Kind::Forward | Kind::Normalise)
    }
}

/// One pass of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// What it computes.
    pub kind: Kind,
    /// Two for each multiply-add, counted as [`Costs`] does: taps on padding count.
    pub flops: f64,
    /// The same without taps that fall outside of their source.
    pub exact_flops: f64,
    /// To and from memory.
    pub bytes: f64,
}

impl Pass {
    /// A pass whose FLOPs are not worth counting.
    fn moving(kind: Kind, bytes: f64) -> Pass {
        Pass {
            kind,
            flops: 0.0,
            exact_flops: 0.0,
            bytes,
        }
    }
}

/// Whose passes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A layer; 0 is the image.
    Layer(usize),
    /// The pooling over height and width, the last layer and the loss.
    Classifier,
    /// All parameters.
    Optimizer,
}

impl Place {
    /// A layer's number, or a word.
    pub fn json(self) -> Value {
        match self {
            Place::Layer(number) => json!(number),
            Place::Classifier => json!("classifier"),
            Place::Optimizer => json!("optimizer"),
        }
    }
}

/// The passes of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    /// Images of a batch.
    pub batch: usize,
    /// In the order of the layers, then classifier and optimizer.
    pub parts: Vec<(Place, Vec<Pass>)>,
}

impl Roofline {
    /// Of batches of `batch` images.
    pub fn new(graph: &Graph, batch: usize) -> Roofline {
        let child = Child::new(graph, batch);
        let layers = (0..graph.layers.len()).map(|i| (Place::Layer(i), child.layer(i)));
        let mut parts: Vec<_> = layers.collect();
        parts.push((Place::Classifier, child.classifier()));
        let update = UPDATE_BYTES * Costs::new(graph).parameters() as f64;
        parts.push((Place::Optimizer, vec![Pass::moving(Kind::Update, update)]));
        Roofline { batch, parts }
    }

    /// Every pass of a step.
    pub fn passes(&self) -> impl Iterator<Item = &Pass> {
        self.parts.iter().flat_map(|(_, passes)| passes)
    }

    /// FLOPs of a step.
    pub fn flops(&self) -> f64 {
        self.passes().map(|pass| pass.flops).sum()
    }

    /// FLOPs of a step without taps outside of their source.
    pub fn exact_flops(&self) -> f64 {
        self.passes().map(|pass| pass.exact_flops).sum()
    }

    /// Bytes of a step.
    pub fn bytes(&self) -> f64 {
        self.passes().map(|pass| pass.bytes).sum()
    }

    /// The least time of a step.
    pub fn step_seconds(&self, gpu: &Gpu) -> f64 {
        self.passes()
            .map(|pass| gpu.seconds(pass.flops, pass.bytes))
            .sum()
    }

    /// The least time of a step that computes no tap outside of its source.
    pub fn exact_step_seconds(&self, gpu: &Gpu) -> f64 {
        self.passes()
            .map(|pass| gpu.seconds(pass.exact_flops, pass.bytes))
            .sum()
    }

    /// Steps of an epoch; a last, smaller batch is dropped.
    pub fn steps(&self) -> usize {
        TRAINING_IMAGES / self.batch
    }

    /// The least time of a validation.
    pub fn validation_seconds(&self, gpu: &Gpu) -> f64 {
        let forward = self.passes().filter(|pass| pass.kind.of_evaluation());
        let batch: f64 = forward
            .map(|pass| gpu.seconds(pass.flops, pass.bytes))
            .sum();
        batch * VALIDATION_IMAGES as f64 / self.batch as f64
    }

    /// The least time of a child: its epochs, each with a validation.
    pub fn child_seconds(&self, gpu: &Gpu) -> f64 {
        let epoch = self.steps() as f64 * self.step_seconds(gpu) + self.validation_seconds(gpu);
        EPOCHS as f64 * epoch
    }
}

/// A graph with what its passes are counted from.
struct Child<'a> {
    graph: &'a Graph,
    n: f64,
    /// Of each layer, the layers that read it.
    readers: Vec<Vec<usize>>,
    /// Of each layer, whether a gradient to its result is needed.
    has_gradient: Vec<bool>,
}

impl<'a> Child<'a> {
    fn new(graph: &'a Graph, batch: usize) -> Child<'a> {
        let mut readers = vec![vec![]; graph.layers.len()];
        let mut has_gradient: Vec<bool> = vec![];
        for (i, layer) in graph.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&j| readers[j].push(i));
            has_gradient.push(match layer.op {
                None => false,
                Some(LayerOp::Conv { .. } | LayerOp::BatchNorm) => true,
                Some(_) => layer.inputs.iter().any(|&j| has_gradient[j]),
            });
        }
        Child {
            graph,
            n: batch as f64,
            readers,
            has_gradient,
        }
    }

    /// Bytes of a batch of images: bfloat16 in planes of 8 channels.
    fn images(&self, shape: &Shape) -> f64 {
        self.n * (2 * PLANE * shape.planes() * shape.h * shape.w) as f64
    }

    /// Bytes of the tensors that a layer reads.
    fn sources(&self, layer: &GraphLayer) -> f64 {
        let tensors = layer.inputs.iter().map(|&j| &self.graph.layers[j].output);
        tensors.map(|shape| self.images(shape)).sum()
    }

    /// FLOPs between a convolution and one of the tensors it reads, and those without the taps
    /// outside of that; none for other layers.
    fn products(&self, reader: &GraphLayer, source: &Shape) -> (f64, f64) {
        let Some(LayerOp::Conv { filter, stride, .. }) = reader.op else {
            return (0.0, 0.0);
        };
        let output = &reader.output;
        let pairs = 2.0 * self.n * (source.c() as f64) * output.c() as f64;
        let all = filter[0] * filter[1] * output.h * output.w;
        let inside = taps_inside(output.h, filter[0], stride[0], source.h)
            * taps_inside(output.w, filter[1], stride[1], source.w);
        (pairs * all as f64, pairs * inside as f64)
    }

    /// Bytes of a convolution's weights of `channels` input channels, 2 bytes each.
    fn weights(filter: [usize; 2], source: &Shape, output: &Shape) -> f64 {
        let lanes = (PLANE * source.planes()) as f64 * (PLANE * output.planes()) as f64;
        2.0 * lanes * (filter[0] * filter[1]) as f64
    }

    fn layer(&self, number: usize) -> Vec<Pass> {
        let layer = &self.graph.layers[number];
        let (sources, own) = (self.sources(layer), self.images(&layer.output));
        let mut passes = match layer.op {
            None => {
                let bytes = self.n * RECORD_BYTES as f64 + own;
                return vec![Pass::moving(Kind::LoadBatch, bytes)];
            }
            Some(LayerOp::Conv { filter, .. }) => {
                let weights = Self::weights(filter, &layer.input, &layer.output);
                let each = layer.inputs.iter().map(|&j| &self.graph.layers[j].output);
                let (flops, exact_flops) = each.fold((0.0, 0.0), |sum, source| {
                    let (flops, exact) = self.products(layer, source);
                    (sum.0 + flops, sum.1 + exact)
                });
                let pass = |kind, bytes| Pass {
                    kind,
                    flops,
                    exact_flops,
                    bytes,
                };
                vec![
                    pass(Kind::Forward, sources + own + weights),
                    Pass::moving(Kind::Normalise, 2.0 * own),
                    pass(Kind::FilterGradient, sources + 3.0 * own + 2.0 * weights),
                ]
            }
            Some(LayerOp::BatchNorm) => vec![
                Pass::moving(Kind::Forward, sources),
                Pass::moving(Kind::Normalise, sources + own),
                Pass::moving(Kind::NormGradient, sources + 2.0 * own),
            ],
            Some(_) => vec![Pass::moving(Kind::Forward, sources + own)],
        };
        if self.has_gradient[number] {
            let after = passes.iter().rposition(|pass| pass.kind.of_evaluation());
            let at = after.map_or(0, |i| i + 1);
            passes.insert(at, self.data_gradient(number));
        }
        passes
    }

    /// What the readers of a layer give back, gathered in one pass. Where the layer ends with a
    /// normalisation, that is masked by its ReLU and summed, for which its input is read.
    fn data_gradient(&self, number: usize) -> Pass {
        let layer = &self.graph.layers[number];
        let (shape, own) = (&layer.output, self.images(&layer.output));
        let has_norm = matches!(layer.op, Some(LayerOp::Conv { .. } | LayerOp::BatchNorm));
        let mut pass = Pass::moving(Kind::DataGradient, if has_norm { 2.0 * own } else { own });
        for reader in self.readers[number].iter().map(|&i| &self.graph.layers[i]) {
            let (flops, exact_flops) = self.products(reader, shape);
            pass.flops += flops;
            pass.exact_flops += exact_flops;
            let planes = shape.planes() as f64 / reader.output.planes() as f64;
            pass.bytes += match reader.op {
                Some(LayerOp::Conv { filter, .. }) => {
                    self.images(&reader.output) + Self::weights(filter, shape, &reader.output)
                }
                // Those that treat channels alone give back to each input its part; the largest of
                // a window, and what a contrast was normalised by, are found again in the input.
                Some(LayerOp::MaxPool { .. } | LayerOp::Lcn) => {
                    planes * self.images(&reader.output) + own
                }
                _ => planes * self.images(&reader.output),
            };
        }
        if self.graph.classifier_inputs.contains(&number) {
            pass.bytes += 4.0 * self.n * shape.c() as f64;
        }
        pass
    }

    fn classifier(&self) -> Vec<Pass> {
        let inputs = self.graph.classifier_inputs.iter();
        let images: f64 = inputs
            .map(|&j| self.images(&self.graph.layers[j].output))
            .sum();
        let (features, classes) = (self.graph.features() as f64, self.graph.classes as f64);
        let weights = 4.0 * (features + 1.0) * classes;
        let values = 4.0 * self.n * (features + classes);
        let flops = 2.0 * self.n * features * classes;
        let pass = |kind, bytes| Pass {
            kind,
            flops,
            exact_flops: flops,
            bytes,
        };
        vec![
            pass(Kind::Forward, images + values + weights),
            pass(Kind::DataGradient, values + weights),
            pass(Kind::FilterGradient, values + weights),
        ]
    }
}

/// Of one axis: the taps of all outputs that fall on one of the source's `size` rows.
fn taps_inside(outputs: usize, k: usize, stride: usize, size: usize) -> usize {
    let of = |i: usize| {
        // Row i stride + u - k/2 of the source, for taps u below k.
        let first = (k / 2).saturating_sub(i * stride);
        let end = (size + k / 2).saturating_sub(i * stride).min(k);
        end.saturating_sub(first)
    };
    (0..outputs).map(of).sum()
}

#[cfg(test)]
mod tests;
