//! A child network: layers with known shapes, from an architecture and the three repairs.
//!
//! The repairs (the paper, section 3.3): a layer without inputs reads the image; outputs that no
//! layer reads go to the classifier together; inputs of unequal size are zero-padded at the bottom
//! and right to the largest. [`Graph::new`] is the one place that refuses a shape.

use crate::shape;
use crate::space::{ConvArchitecture, LayerOp};

pub mod buffer;
pub mod cost;
pub mod language;
pub mod memory;
pub mod params;
pub mod plan;
pub mod recurrent;
pub mod step;

pub use cost::Costs;
pub use params::{Init, Param, Params};
pub use plan::{Options, Plan, Storage};

/// Height and width of the image that a child reads.
pub const IMAGE_SIZE: usize = 32;
/// Channels of the image that a child reads.
pub const IMAGE_CHANNELS: usize = 3;
/// Most channels that a layer or the classifier reads. Convolutions cannot reach it (256 layers of
/// 4096 filters); layers that pass their channels on and read all before them double it each time.
pub const MAX_CHANNELS: usize = 1 << 20;
/// Most tensors that a layer or the classifier reads, those counted apart that its inputs pass on.
/// Convolutions are 256 at most; a plan lists them for each reader of each layer.
pub const MAX_TENSORS: usize = 1 << 12;

/// Channels, height and width of one image of a tensor.
///
/// `groups` are the channel counts of the tensors that a copied concat was made of; every group
/// begins a new plane of 8 channels, so a concat keeps the planes of its sources as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels of each group, in order; usually one group.
    pub groups: Vec<usize>,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
}

impl Shape {
    /// A tensor of one group of `c` channels.
    pub fn new(c: usize, h: usize, w: usize) -> Self {
        Shape {
            groups: vec![c],
            h,
            w,
        }
    }

    /// Channels of all groups.
    pub fn c(&self) -> usize {
        self.groups.iter().sum()
    }

    /// Planes of 8 channels of all groups.
    pub fn planes(&self) -> usize {
        self.groups.iter().map(|&c| shape::planes(c)).sum()
    }

    /// Position of every channel among the `8 planes` of a buffer of statistics.
    pub fn lanes(&self) -> impl Iterator<Item = usize> {
        let mut first = 0;
        self.groups.iter().flat_map(move |&c| {
            let lanes = first..first + c;
            first += shape::PLANE * shape::planes(c);
            lanes
        })
    }

    /// Values of two rows of statistics, with a place for every channel of the planes.
    pub fn statistics_len(&self) -> usize {
        2 * shape::PLANE * self.planes()
    }

    /// Values of one image without padding channels.
    pub fn len(&self) -> usize {
        self.c() * self.h * self.w
    }

    /// Whether an image holds no value; never so in a graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The zero-padded concatenation of `sources` in depth.
    // paper P2.4, P2.7
    pub fn concat(sources: &[&Shape]) -> Shape {
        Shape {
            groups: sources
                .iter()
                .flat_map(|s| s.groups.iter().copied())
                .collect(),
            h: sources.iter().map(|s| s.h).max().unwrap_or(0),
            w: sources.iter().map(|s| s.w).max().unwrap_or(0),
        }
    }
}

/// A layer of a child, or the image (number 0).
#[derive(Clone, Debug)]
pub struct GraphLayer {
    /// What it computes; `None` for the image.
    pub op: Option<LayerOp>,
    /// The layers that it reads, ascending; 0 is the image.
    pub inputs: Vec<usize>,
    /// The concatenation that it reads.
    pub input: Shape,
    /// What it gives.
    pub output: Shape,
}

/// A child network with the shape of every layer.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Layer 0 is the image; the others have the numbers of the architecture.
    pub layers: Vec<GraphLayer>,
    /// Layers that no layer reads, ascending: what the classifier reads.
    pub classifier_inputs: Vec<usize>,
    /// The padded concatenation of the classifier's inputs.
    pub classifier_input: Shape,
    /// Number of classes.
    pub classes: usize,
}

/// Why an architecture cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A pooling window does not fit its input.
    #[error(
        "layer {layer}: a pooling window of {window:?} is larger than its input of {input:?} \
         (height, width); use a smaller window or fewer strides before it"
    )]
    Window {
        /// Number of the layer.
        layer: usize,
        /// Height and width of the window.
        window: [usize; 2],
        /// Height and width of the input.
        input: [usize; 2],
    },
    /// The inputs hold more together than a network may read in one place.
    #[error(
        "{reader} reads {channels} channels of {tensors} tensors (pools and normalisations pass on \
         all that they read), but at most {MAX_CHANNELS} of {MAX_TENSORS} can be read together; \
         let it read fewer layers, or put convolutions before it"
    )]
    Channels {
        /// `layer 7` or `the classifier`.
        reader: String,
        /// Channels of all its inputs.
        channels: usize,
        /// Tensors that they come from.
        tensors: usize,
    },
}

impl Graph {
    /// Builds the network of `architecture` for `classes` classes.
    ///
    /// # Errors
    /// Where a pooling window is larger than its input, or a layer or the classifier reads more than
    /// [`MAX_CHANNELS`] or [`MAX_TENSORS`].
    pub fn new(architecture: &ConvArchitecture, classes: usize) -> Result<Graph, GraphError> {
        let image = Shape::new(IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE);
        let mut layers = vec![GraphLayer {
            op: None,
            inputs: vec![],
            input: image.clone(),
            output: image,
        }];
        for (i, layer) in architecture.layers.iter().enumerate() {
            let number = i + 1;
            // paper P2.5
            let inputs = if layer.inputs.is_empty() {
                vec![0]
            } else {
                layer.inputs.clone()
            };
            let input = read(&layers, &inputs, || format!("layer {number}"))?;
            let output = infer(number, &layer.op, &input)?;
            layers.push(GraphLayer {
                op: Some(layer.op),
                inputs,
                input,
                output,
            });
        }
        // paper P2.6
        let classifier_inputs = architecture.unread();
        let classifier_input = read(&layers, &classifier_inputs, || "the classifier".into())?;
        Ok(Graph {
            layers,
            classifier_inputs,
            classifier_input,
            classes,
        })
    }

    /// Features of the classifier: channels of its input.
    pub fn features(&self) -> usize {
        self.classifier_input.c()
    }
}

/// The concatenation of the outputs that `reader` reads.
fn read(
    layers: &[GraphLayer],
    inputs: &[usize],
    reader: impl Fn() -> String,
) -> Result<Shape, GraphError> {
    let sources: Vec<&Shape> = inputs.iter().map(|&j| &layers[j].output).collect();
    let channels = sources.iter().map(|source| source.c()).sum();
    let tensors = sources.iter().map(|source| source.groups.len()).sum();
    if channels > MAX_CHANNELS || tensors > MAX_TENSORS {
        let reader = reader();
        return Err(GraphError::Channels {
            reader,
            channels,
            tensors,
        });
    }
    Ok(Shape::concat(&sources))
}

/// The output shape of a layer.
fn infer(number: usize, op: &LayerOp, input: &Shape) -> Result<Shape, GraphError> {
    match *op {
        LayerOp::Conv {
            filters, stride, ..
        } => Ok(Shape::new(
            filters,
            shape::conv_output(input.h, stride[0]),
            shape::conv_output(input.w, stride[1]),
        )),
        LayerOp::MaxPool { pool, stride } | LayerOp::AvgPool { pool, stride } => {
            let h = shape::pool_output(input.h, pool[0], stride[0]);
            let w = shape::pool_output(input.w, pool[1], stride[1]);
            match (h, w) {
                (Some(h), Some(w)) => Ok(Shape {
                    groups: input.groups.clone(),
                    h,
                    w,
                }),
                _ => Err(GraphError::Window {
                    layer: number,
                    window: pool,
                    input: [input.h, input.w],
                }),
            }
        }
        LayerOp::Lcn | LayerOp::BatchNorm => Ok(input.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{FILTERS, LAYERS, Layer};

    const LCN: LayerOp = LayerOp::Lcn;
    const WIDEST: LayerOp = LayerOp::Conv {
        filter: [15, 15],
        filters: *FILTERS.end(),
        stride: [1, 1],
    };

    /// A layer of `first`, then `n` of `op`, each reading all layers and the image.
    fn dense(first: LayerOp, op: LayerOp, n: usize) -> ConvArchitecture {
        let layer = |number| Layer {
            op: if number == 1 { first } else { op },
            inputs: (0..number).collect(),
        };
        ConvArchitecture {
            layers: (1..=n + 1).map(layer).collect(),
            learning_rate: None,
        }
    }

    #[test]
    fn what_holds_no_value_is_empty() {
        for (c, h, w) in [(3, 2, 1), (0, 2, 1), (3, 0, 1), (3, 2, 0)] {
            let param = params::Param {
                name: "a".into(),
                shape: vec![c, h, w],
                offset: 7,
                init: params::Init::Constant(0.0),
            };
            let is_empty = c * h * w == 0;
            assert_eq!(Shape::new(c, h, w).is_empty(), is_empty, "{c} {h} {w}");
            assert_eq!(param.is_empty(), is_empty, "{c} {h} {w}");
        }
    }

    fn refusal(architecture: &ConvArchitecture) -> (String, usize, usize) {
        match Graph::new(architecture, 10).unwrap_err() {
            GraphError::Channels {
                reader,
                channels,
                tensors,
            } => (reader, channels, tensors),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_doubles_comes_to_an_end() {
        let pool = LayerOp::AvgPool {
            pool: [1, 1],
            stride: [1, 1],
        };
        for op in [LCN, LayerOp::BatchNorm, pool] {
            // 3, 6, 12, … channels of 1, 2, 4, … tensors.
            Graph::new(&dense(op, op, 12), 10).unwrap();
            for n in [13, 40, 255] {
                let (reader, channels, tensors) = refusal(&dense(op, op, n));
                assert_eq!(reader, "layer 14", "{op:?}");
                assert_eq!((channels, tensors), (3 << 13, 1 << 13), "{op:?}");
            }
            // 4099, 8198, … channels of 2, 4, … tensors.
            Graph::new(&dense(WIDEST, op, 8), 10).unwrap();
            let (reader, channels, tensors) = refusal(&dense(WIDEST, op, 40));
            assert_eq!(reader, "layer 10", "{op:?}");
            assert_eq!((channels, tensors), (4099 << 8, 1 << 9), "{op:?}");
        }
        // Two layers that each stay below pass it together.
        let mut two = dense(LCN, LCN, 12);
        two.layers.push(two.layers[12].clone());
        assert_eq!(refusal(&two).0, "the classifier");
        let message = Graph::new(&two, 10).unwrap_err().to_string();
        assert!(
            message.contains("24576 channels of 8192 tensors"),
            "{message}"
        );
        assert!(message.contains("at most 1048576 of 4096"), "{message}");
    }

    #[test]
    fn the_widest_convolutions_are_allowed() {
        let graph = Graph::new(&dense(WIDEST, WIDEST, LAYERS.end() - 1), 10).unwrap();
        assert_eq!(graph.layers[256].input.c(), 3 + 255 * 4096);
    }
}
