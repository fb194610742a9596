//! The parameters of a child: names, shapes, initial values, and their place in one flat vector.

use super::Graph;
use crate::rng::{Purpose, Rng};
use crate::space::LayerOp;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this deviation.
    Normal(f64),
    /// Uniform in plus or minus this bound.
    Uniform(f64),
    /// The same value everywhere.
    Constant(f64),
}

/// A tensor of parameters or of running statistics.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name in a weights file, such as `layers.3.conv.weight`.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
    /// Initial values.
    pub init: Init,
}

impl Param {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor holds no value; never so in a graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where its values lie in the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Where the parameters of a layer are in [`Params`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerParams {
    /// Position of the convolution's weights in `trained`.
    pub conv: Option<usize>,
    /// Position of the scale in `trained`; the shift follows.
    pub norm: Option<usize>,
    /// Position of the running mean in `running`; the variance follows.
    pub running: Option<usize>,
}

/// All parameters of a child in the order of a weights file: of a network those of the layers, the
/// classifier last. A language model's are in [`language`](super::language), with no place in `layers`
/// and no classifier.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// What the optimiser changes.
    pub trained: Vec<Param>,
    /// Running means and variances of batch normalisation.
    pub running: Vec<Param>,
    /// For each layer (0 is the image) its places in the two lists.
    pub layers: Vec<LayerParams>,
    /// Position of the classifier's weights in `trained`; its bias follows.
    pub classifier: usize,
}

impl Params {
    /// The parameters of `graph`, with the initial values of formats.md, section 1.
    pub fn new(graph: &Graph) -> Params {
        let mut params = Params::default();
        for (number, layer) in graph.layers.iter().enumerate() {
            let mut places = LayerParams::default();
            if let Some(LayerOp::Conv {
                filter: [kh, kw],
                filters,
                ..
            }) = layer.op
            {
                let c = layer.input.c();
                let deviation = (2.0 / (c * kh * kw) as f64).sqrt();
                let name = format!("layers.{number}.conv.weight");
                let shape = vec![filters, c, kh, kw];
                places.conv = Some(push(
                    &mut params.trained,
                    name,
                    shape,
                    Init::Normal(deviation),
                ));
            }
            if matches!(layer.op, Some(LayerOp::Conv { .. } | LayerOp::BatchNorm)) {
                let c = layer.output.c();
                let add = |list: &mut Vec<Param>, what: &str, value| {
                    let name = format!("layers.{number}.bn.{what}");
                    push(list, name, vec![c], Init::Constant(value))
                };
                places.norm = Some(add(&mut params.trained, "weight", 1.0));
                add(&mut params.trained, "bias", 0.0);
                places.running = Some(add(&mut params.running, "running_mean", 0.0));
                add(&mut params.running, "running_var", 1.0);
            }
            params.layers.push(places);
        }
        let (classes, features) = (graph.classes, graph.features());
        let bound = 1.0 / (features as f64).sqrt();
        let weight = ("classifier.weight".to_string(), vec![classes, features]);
        params.classifier = push(
            &mut params.trained,
            weight.0,
            weight.1,
            Init::Uniform(bound),
        );
        let bias = "classifier.bias".to_string();
        push(
            &mut params.trained,
            bias,
            vec![classes],
            Init::Constant(0.0),
        );
        params
    }

    /// Number of trained parameters.
    pub fn n_trained(&self) -> usize {
        self.trained.last().map_or(0, |p| p.range().end)
    }

    /// Number of running statistics.
    pub fn n_running(&self) -> usize {
        self.running.last().map_or(0, |p| p.range().end)
    }

    /// Initial values of `trained`, each tensor from its own stream (seed, init, position).
    pub fn initial(&self, seed: u64) -> Weights {
        let mut trained = Vec::with_capacity(self.n_trained());
        for (position, param) in self.trained.iter().enumerate() {
            let mut rng = Rng::new(seed, Purpose::Init, position as u64);
            trained.extend((0..param.len()).map(|_| match param.init {
                Init::Normal(deviation) => (deviation * rng.normal()) as f32,
                Init::Uniform(bound) => rng.uniform_in(-bound, bound) as f32,
                Init::Constant(value) => value as f32,
            }));
        }
        let running = self.running.iter().flat_map(|param| {
            let Init::Constant(value) = param.init else {
                unreachable!("statistics are constant")
            };
            std::iter::repeat_n(value as f32, param.len())
        });
        Weights {
            trained,
            running: running.collect(),
        }
    }
}

/// The values of a child's parameters, flat, in the order of its [`Params`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Trained parameters.
    pub trained: Vec<f32>,
    /// Running means and variances.
    pub running: Vec<f32>,
}

/// Appends a tensor after the last one and returns its position.
pub(super) fn push(list: &mut Vec<Param>, name: String, shape: Vec<usize>, init: Init) -> usize {
    let offset = list.last().map_or(0, |p| p.range().end);
    list.push(Param {
        name,
        shape,
        offset,
        init,
    });
    list.len() - 1
}
