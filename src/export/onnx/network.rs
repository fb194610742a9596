//! A network as ONNX. Of several ways to say the same, that one is taken that readers agree on: pads are numbers,
//! an average never counts padding, statistics of an image are over one axis, and what does nothing is left out.

use std::collections::HashSet;

use super::builder::{Attribute, Builder, Size};
use super::proto::{FLOAT, GraphProto, UINT8};
use crate::data::{Augment, IMAGE_BYTES};
use crate::export::model::NetworkModel;
use crate::graph::params::Param;
use crate::graph::{IMAGE_CHANNELS, IMAGE_SIZE, Shape};
use crate::space::LayerOp;

/// Height and width that an image is resized to before its middle is taken.
const WIDE: usize = 40;
/// Largest distance of a tap of local contrast normalisation, its deviation, and its least divisor.
const REACH: usize = 4;
const DEVIATION: f64 = 2.0;
const FLOOR: f32 = 1e-4;

/// What a network is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageInput {
    /// Bytes as in a data folder; the view of evaluation is part of the graph.
    #[default]
    Bytes,
    /// The view of evaluation.
    View,
}

/// Name of the input and of the output.
const IMAGES: &str = "images";
const LOGITS: &str = "logits";

/// The graph of a network.
pub fn graph(model: &NetworkModel, input: ImageInput) -> GraphProto {
    let mut writer = Writer {
        model,
        builder: Builder::default(),
        shared: HashSet::new(),
    };
    let sizes = [IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE].map(Size::Of);
    let shape: Vec<Size> = [Size::Any("N")].into_iter().chain(sizes).collect();
    let image = match input {
        ImageInput::Bytes => {
            writer.builder.input(IMAGES, UINT8, &shape);
            writer.view()
        }
        ImageInput::View => {
            writer.builder.input(IMAGES, FLOAT, &shape);
            IMAGES.to_owned()
        }
    };
    writer.layers(image);
    let n_classes = Size::Of(model.graph.classes);
    writer
        .builder
        .output(LOGITS, FLOAT, &[Size::Any("N"), n_classes]);
    writer.builder.finish("network")
}

struct Writer<'a> {
    model: &'a NetworkModel,
    builder: Builder,
    /// Constants that several layers read.
    shared: HashSet<String>,
}

impl Writer<'_> {
    /// The view of evaluation of bytes.
    fn view(&mut self) -> String {
        let builder = &mut self.builder;
        let to_float = Attribute::Int("to", FLOAT.into());
        let bytes = builder.node("Cast", "view/float", &[IMAGES], vec![to_float]);
        // Sums of bytes are exact: whitening is done in bytes, and 255 falls out of it. Statistics are of one axis,
        // and brought to the image's shape, not the image to theirs: tract-onnx 0.23 cannot optimise a convolution
        // of 1x1 with a stride that reads a `Reshape`.
        let mean = self::mean(builder, "view/mean", &bytes);
        let centred = builder.node("Sub", "view/centred", &[&bytes, &mean], vec![]);
        let squares = builder.node("Mul", "view/squares", &[&centred, &centred], vec![]);
        let variance = self::mean(builder, "view/variance", &squares);
        let deviation = builder.node("Sqrt", "view/deviation", &[&variance], vec![]);
        let least = 255.0 / (IMAGE_BYTES as f64).sqrt();
        let least = builder.floats("view/least", &[1], &[least as f32]);
        let divisor = builder.node("Max", "view/divisor", &[&deviation, &least], vec![]);
        let image = builder.node("Div", "view/white", &[&centred, &divisor], vec![]);
        match self.model.augment {
            Augment::PadCrop => image,
            Augment::UpsampleCrop | Augment::None => {
                let middle = self.shared_matrix("view/middle", &middle_of_resized());
                self.along_axes("view/resized", &image, [&middle, &middle])
            }
        }
    }

    /// All layers and the classifier.
    fn layers(&mut self, image: String) {
        let graph = &self.model.graph;
        let mut outputs = vec![image];
        for (number, layer) in graph.layers.iter().enumerate().skip(1) {
            let prefix = format!("layer{number}/");
            let x = self.concat(&prefix, &outputs, &layer.inputs, &layer.input);
            let output = match layer.op {
                // Layer 0 alone has none.
                None => x,
                Some(LayerOp::Conv { filter, stride, .. }) => {
                    self.conv(number, &prefix, &x, filter, stride)
                }
                Some(LayerOp::MaxPool { pool, stride }) => {
                    self.pool("MaxPool", &prefix, &x, pool, stride)
                }
                Some(LayerOp::AvgPool { pool, stride }) => {
                    self.pool("AveragePool", &prefix, &x, pool, stride)
                }
                Some(LayerOp::Lcn) => self.lcn(&prefix, &x, &layer.output),
                Some(LayerOp::BatchNorm) => self.batch_norm(number, &prefix, &x),
            };
            outputs.push(output);
        }
        let inputs = &graph.classifier_inputs;
        let x = self.concat("classifier/", &outputs, inputs, &graph.classifier_input);
        let average = self
            .builder
            .node("GlobalAveragePool", "classifier/average", &[&x], vec![]);
        let axis = vec![Attribute::Int("axis", 1)];
        let features = self
            .builder
            .node("Flatten", "classifier/features", &[&average], axis);
        let params = &self.model.params;
        let [weight, bias] = [params.classifier, params.classifier + 1]
            .map(|position| self.trained(&params.trained[position]));
        self.builder.product(LOGITS, &features, &weight, &bias);
    }

    /// The zero-padded concatenation of what a layer reads.
    fn concat(&mut self, prefix: &str, outputs: &[String], inputs: &[usize], to: &Shape) -> String {
        let mut parts = vec![];
        for &input in inputs {
            let shape = &self.model.graph.layers[input].output;
            let (below, right) = (to.h - shape.h, to.w - shape.w);
            parts.push(match (below, right) {
                (0, 0) => outputs[input].clone(),
                _ => {
                    let name = format!("{prefix}pad{input}");
                    let pads = [0, 0, 0, 0, 0, 0, below as i64, right as i64];
                    let pads = self.builder.integers(format!("{name}.pads"), &pads);
                    self.builder
                        .node("Pad", name, &[&outputs[input], &pads], vec![])
                }
            });
        }
        match &parts[..] {
            [one] => one.clone(),
            parts => {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let axis = vec![Attribute::Int("axis", 1)];
                self.builder
                    .node("Concat", format!("{prefix}concat"), &parts, axis)
            }
        }
    }

    fn conv(
        &mut self,
        number: usize,
        prefix: &str,
        x: &str,
        filter: [usize; 2],
        stride: [usize; 2],
    ) -> String {
        let params = &self.model.params;
        let position = params.layers[number].conv;
        let position = position.expect("a convolution has weights");
        let weight = self.trained(&params.trained[position]);
        let [top, left] = filter.map(|side| side / 2);
        let attributes = vec![
            Attribute::Ints("kernel_shape", filter.to_vec()),
            Attribute::Ints("strides", stride.to_vec()),
            Attribute::Ints("pads", vec![top, left, top, left]),
        ];
        let y = self
            .builder
            .node("Conv", format!("{prefix}conv"), &[x, &weight], attributes);
        let normalised = self.batch_norm(number, prefix, &y);
        self.builder
            .node("Relu", format!("{prefix}relu"), &[&normalised], vec![])
    }

    fn batch_norm(&mut self, number: usize, prefix: &str, x: &str) -> String {
        let params = &self.model.params;
        let places = params.layers[number];
        let norm = places.norm.expect("a normalisation has a scale");
        let running = places.running.expect("a normalisation has statistics");
        let scale = self.trained(&params.trained[norm]);
        let shift = self.trained(&params.trained[norm + 1]);
        let mean = self.running(&params.running[running]);
        let variance = self.running(&params.running[running + 1]);
        self.builder.node(
            "BatchNormalization",
            format!("{prefix}bn"),
            &[x, &scale, &shift, &mean, &variance],
            vec![Attribute::Float("epsilon", self.model.norm_epsilon as f32)],
        )
    }

    fn pool(
        &mut self,
        op: &str,
        prefix: &str,
        x: &str,
        window: [usize; 2],
        stride: [usize; 2],
    ) -> String {
        let attributes = vec![
            Attribute::Ints("kernel_shape", window.to_vec()),
            Attribute::Ints("strides", stride.to_vec()),
            Attribute::Ints("pads", vec![0; 4]),
        ];
        self.builder
            .node(op, format!("{prefix}pool"), &[x], attributes)
    }

    /// v = x - G*x, s = sqrt(G*v²), y = v / max(s, mean of s, 1e-4), with G as a product along each axis:
    /// taps that are left out at the edges and the others' sum are part of its matrices.
    fn lcn(&mut self, prefix: &str, x: &str, shape: &Shape) -> String {
        let matrices = [shape.h, shape.w].map(|n| {
            let name = format!("gaussian{n}");
            self.shared_matrix(&name, &gaussian(n))
        });
        let matrices = [matrices[0].as_str(), matrices[1].as_str()];
        let name = |what: &str| format!("{prefix}{what}");
        let blurred = self.along_axes(&name("blurred"), x, matrices);
        let v = self.builder.node("Sub", name("v"), &[x, &blurred], vec![]);
        let squares = self.builder.node("Mul", name("squares"), &[&v, &v], vec![]);
        let energy = self.along_axes(&name("energy"), &squares, matrices);
        let builder = &mut self.builder;
        let s = builder.node("Sqrt", name("s"), &[&energy], vec![]);
        let mean = builder.node("GlobalAveragePool", name("mean"), &[&s], vec![]);
        let floor = builder.floats(name("floor"), &[1], &[FLOOR]);
        let least = builder.node("Max", name("least"), &[&mean, &floor], vec![]);
        let divisor = builder.node("Max", name("divisor"), &[&s, &least], vec![]);
        builder.node("Div", name("normalised"), &[&v, &divisor], vec![])
    }

    /// The same linear map of every column, and another of every row, of `[n][c][h][w]`. The matrices are
    /// transposed: `[h][h_out]` and `[w][w_out]`.
    fn along_axes(&mut self, name: &str, x: &str, [down, along]: [&str; 2]) -> String {
        let builder = &mut self.builder;
        let turn = || vec![Attribute::Ints("perm", vec![0, 1, 3, 2])];
        let rows = builder.node("MatMul", format!("{name}.rows"), &[x, along], vec![]);
        let turned = builder.node("Transpose", format!("{name}.turned"), &[&rows], turn());
        let columns = builder.node(
            "MatMul",
            format!("{name}.columns"),
            &[&turned, down],
            vec![],
        );
        builder.node("Transpose", name, &[&columns], turn())
    }

    /// A constant matrix, transposed, that is written once.
    fn shared_matrix(&mut self, name: &str, rows: &[Vec<f64>]) -> String {
        if self.shared.insert(name.to_owned()) {
            let n_in = rows.first().map_or(0, Vec::len);
            let column = |i: usize| rows.iter().map(move |row| row[i] as f32);
            let values: Vec<f32> = (0..n_in).flat_map(column).collect();
            self.builder.floats(name, &[n_in, rows.len()], &values);
        }
        name.to_owned()
    }

    fn trained(&mut self, param: &Param) -> String {
        let values = &self.model.weights.trained[param.range()];
        self.builder.floats(&*param.name, &param.shape, values)
    }

    fn running(&mut self, param: &Param) -> String {
        let values = &self.model.weights.running[param.range()];
        self.builder.floats(&*param.name, &param.shape, values)
    }
}

/// The mean of each image's values, `[n][1][1][1]`.
fn mean(builder: &mut Builder, name: &str, x: &str) -> String {
    let flat = vec![Attribute::Int("axis", 1)];
    let flat = builder.node("Flatten", format!("{name}.flat"), &[x], flat);
    let attributes = vec![
        Attribute::Ints("axes", vec![1]),
        Attribute::Int("keepdims", 1),
    ];
    let mean = builder.node("ReduceMean", format!("{name}.row"), &[&flat], attributes);
    builder.reshape(name, &mean, &[-1, 1, 1, 1])
}

/// The middle 32 of 40 places that 32 values are resized to, as a row of weights each: bilinear, by the centres of
/// pixels.
fn middle_of_resized() -> Vec<Vec<f64>> {
    let first = (WIDE - IMAGE_SIZE) / 2;
    let last = (IMAGE_SIZE - 1) as f64;
    let row = |i: usize| {
        let place = (i as f64 + 0.5) * IMAGE_SIZE as f64 / WIDE as f64 - 0.5;
        let place = place.clamp(0.0, last);
        let low = place.floor();
        let mut weights = vec![0.0; IMAGE_SIZE];
        weights[low as usize] += 1.0 - (place - low);
        weights[(low as usize + 1).min(IMAGE_SIZE - 1)] += place - low;
        weights
    };
    (first..first + IMAGE_SIZE).map(row).collect()
}

/// The Gaussian along an axis of n pixels, a row of weights a pixel: taps outside are left out, and the rest add up
/// to 1. The product of two axes is the Gaussian of the plane, whose taps are left out in rows and columns.
fn gaussian(n: usize) -> Vec<Vec<f64>> {
    let row = |i: usize| {
        let weight = |j: usize| match i.abs_diff(j) {
            distance if distance <= REACH => {
                (-(distance as f64).powi(2) / (2.0 * DEVIATION * DEVIATION)).exp()
            }
            _ => 0.0,
        };
        let weights: Vec<f64> = (0..n).map(weight).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    };
    (0..n).map(row).collect()
}
