//! Graph to plan: the steps of training and evaluation, and who reads which gradient.

use super::*;
use crate::graph::GraphLayer;
use crate::graph::params::LayerParams;
use crate::space::LayerOp;

/// What building a layer leaves for the layers that read it and for the backward pass.
struct BuiltLayer {
    /// Its output and the shape of it.
    out: BufferId,
    shape: Shape,
    /// What its consumers add to the gradient of `out`, in the order of the consumers.
    contributions: Vec<Contribution>,
    backward: BackwardPath,
}

/// How the gradient goes on from a layer's output to its inputs.
enum BackwardPath {
    /// Nowhere: the image, and what is made of it without parameters.
    None,
    /// Convolution, normalisation, ReLU.
    Conv(ConvId, NormId),
    /// Normalisation alone.
    Norm(NormId),
    /// Through contributions to the inputs; `dout` is the gradient to the layer's output.
    PerChannel {
        dout: BufferId,
        /// The gradient to a copied concat, and what the layer adds to it.
        concat: Option<(BufferId, Shape, Contribution)>,
    },
}

/// What treats each channel alone and has no parameters.
enum ChannelOp {
    /// A pool of this kind, window and stride.
    Pool(PoolKind, [usize; 2], [usize; 2]),
    /// Local contrast normalisation.
    Lcn,
}

struct NetworkBuilder<'a> {
    builder: Builder<'a>,
    params: &'a Params,
    layers: Vec<BuiltLayer>,
}

pub(super) fn build(
    graph: &Graph,
    params: &Params,
    storage: &dyn Storage,
    options: Options,
) -> Plan {
    let builder = Builder::new(storage, options, params.n_trained(), params.n_running());
    let mut child = NetworkBuilder {
        builder,
        params,
        layers: vec![],
    };
    child.forward(graph);
    child.head(graph);
    child.backward();
    child.finish()
}

impl NetworkBuilder<'_> {
    fn span(&self, position: usize) -> Span {
        let param = &self.params.trained[position];
        Span {
            start: param.offset,
            len: param.len(),
        }
    }

    fn running_span(&self, position: usize) -> Span {
        let param = &self.params.running[position];
        Span {
            start: param.offset,
            len: param.len(),
        }
    }

    /// Adds a step to the forward pass of training and of evaluation.
    fn both(&mut self, step: Step) {
        self.builder.plan.train.push(step.clone());
        self.builder.plan.evaluate.push(step);
    }

    fn sources(&self, inputs: &[usize]) -> Vec<Source> {
        let mut first_channel = 0;
        let source = |&j: &usize| {
            let BuiltLayer { out, shape, .. } = &self.layers[j];
            let source = Source {
                buffer: *out,
                shape: shape.clone(),
                first_channel,
            };
            first_channel += shape.c();
            source
        };
        inputs.iter().map(source).collect()
    }

    fn forward(&mut self, graph: &Graph) {
        for (number, layer) in graph.layers.iter().enumerate() {
            let name = format!("layer {number}");
            let built = match &layer.op {
                None => {
                    let images = self.builder.images("image", &layer.output);
                    self.both(Step::LoadBatch { images });
                    (images, BackwardPath::None)
                }
                Some(LayerOp::Conv { filter, stride, .. }) => {
                    self.conv(&name, number, layer, *filter, *stride)
                }
                Some(LayerOp::BatchNorm) => self.batch_norm(&name, number, layer),
                Some(LayerOp::MaxPool { pool, stride }) => {
                    let op = ChannelOp::Pool(PoolKind::Max, *pool, *stride);
                    self.per_channel(&name, layer, op)
                }
                Some(LayerOp::AvgPool { pool, stride }) => {
                    let op = ChannelOp::Pool(PoolKind::Avg, *pool, *stride);
                    self.per_channel(&name, layer, op)
                }
                Some(LayerOp::Lcn) => self.per_channel(&name, layer, ChannelOp::Lcn),
            };
            self.layers.push(BuiltLayer {
                out: built.0,
                shape: layer.output.clone(),
                contributions: vec![],
                backward: built.1,
            });
        }
    }

    fn norm(&mut self, name: &str, number: usize, x: NormInput, shape: &Shape) -> NormId {
        let LayerParams { norm, running, .. } = self.params.layers[number];
        let (norm, running) = norm
            .zip(running)
            .expect("a normalised layer has its parameters");
        let places = NormPlaces {
            scale: self.span(norm),
            shift: self.span(norm + 1),
            running_mean: self.running_span(running),
            running_var: self.running_span(running + 1),
        };
        self.builder.norm(name, x, shape, places)
    }

    // paper P1.4
    fn conv(
        &mut self,
        name: &str,
        number: usize,
        layer: &GraphLayer,
        filter: [usize; 2],
        stride: [usize; 2],
    ) -> (BufferId, BackwardPath) {
        let sources = self.sources(&layer.inputs);
        let position = self.params.layers[number]
            .conv
            .expect("a convolution has weights");
        let weight = self.span(position);
        let conv = self
            .builder
            .conv(name, sources, filter, stride, &layer.output, weight);
        let norm = self.norm(name, number, NormInput::Conv(conv), &layer.output);
        self.both(Step::Conv(conv));
        self.builder.plan.train.push(Step::Norm(norm));
        self.builder.plan.evaluate.push(Step::NormRunning(norm));
        for (source, &j) in layer.inputs.iter().enumerate() {
            self.layers[j]
                .contributions
                .push(Contribution::Conv { conv, source });
        }
        (
            self.builder.plan.norm(norm).out,
            BackwardPath::Conv(conv, norm),
        )
    }

    /// The tensor that a layer reads which treats each channel alone; several inputs are copied
    /// into one.
    fn one_input(&mut self, name: &str, layer: &GraphLayer) -> BufferId {
        let sources = self.sources(&layer.inputs);
        if let [source] = &sources[..] {
            return source.buffer;
        }
        let shape = layer.input.clone();
        let out = self.builder.images(format!("{name} concat"), &shape);
        self.both(Step::Concat {
            sources,
            out,
            shape,
        });
        out
    }

    fn batch_norm(
        &mut self,
        name: &str,
        number: usize,
        layer: &GraphLayer,
    ) -> (BufferId, BackwardPath) {
        let x = self.one_input(name, layer);
        let norm = self.norm(name, number, NormInput::Tensor(x), &layer.output);
        let plan = &mut self.builder.plan;
        plan.train.extend([Step::Moments(norm), Step::Norm(norm)]);
        plan.evaluate.push(Step::NormRunning(norm));
        let Norm { out, dx, .. } = *plan.norm(norm);
        self.contribute_copies(layer, dx);
        (out, BackwardPath::Norm(norm))
    }

    /// Pools and local contrast normalisation.
    fn per_channel(
        &mut self,
        name: &str,
        layer: &GraphLayer,
        op: ChannelOp,
    ) -> (BufferId, BackwardPath) {
        let x = self.one_input(name, layer);
        let no_gradient = |&j: &usize| matches!(self.layers[j].backward, BackwardPath::None);
        let stop = layer.inputs.iter().all(no_gradient);
        let shape = layer.output.clone();
        let out = self.builder.images(format!("{name} output"), &shape);
        let dout = self.builder.images(format!("{name} gradient"), &shape);
        let contribution = match op {
            ChannelOp::Pool(kind, window, stride) => {
                self.pool(kind, window, stride, (x, out, dout), layer)
            }
            ChannelOp::Lcn => {
                self.both(Step::Lcn { x, out, shape });
                Contribution::Lcn { x, dout }
            }
        };
        if stop {
            return (out, BackwardPath::None); // nothing before this layer has parameters
        }
        if let [input] = layer.inputs[..] {
            self.layers[input].contributions.push(contribution);
            return (out, BackwardPath::PerChannel { dout, concat: None });
        }
        let dconcat = format!("{name} concat gradient");
        let dconcat = self.builder.images(dconcat, &layer.input);
        self.contribute_copies(layer, dconcat);
        let concat = Some((dconcat, layer.input.clone(), contribution));
        (out, BackwardPath::PerChannel { dout, concat })
    }

    fn pool(
        &mut self,
        kind: PoolKind,
        window: [usize; 2],
        stride: [usize; 2],
        (x, out, dout): (BufferId, BufferId, BufferId),
        layer: &GraphLayer,
    ) -> Contribution {
        let (input, output) = (layer.input.clone(), layer.output.clone());
        let pool = Pool {
            kind,
            window,
            stride,
            x,
            input,
            out,
            output,
        };
        self.both(Step::Pool(pool.clone()));
        Contribution::Pool { pool, dout }
    }

    /// Each input of `layer` takes its planes of `dout`, the gradient to the layer's concat.
    fn contribute_copies(&mut self, layer: &GraphLayer, dout: BufferId) {
        let mut first_plane = 0;
        for &j in &layer.inputs {
            let shape = layer.input.clone();
            let planes = self.layers[j].shape.planes();
            self.layers[j].contributions.push(Contribution::Copy {
                dout,
                shape,
                first_plane,
            });
            first_plane += planes;
        }
    }

    fn head(&mut self, graph: &Graph) {
        let (n_features, n_classes) = (graph.features(), graph.classes);
        let pixels = graph.classifier_input.h * graph.classifier_input.w;
        let sources = self.sources(&graph.classifier_inputs);
        let features = self.builder.values("features", n_features);
        let dfeatures = self.builder.values("features gradient", n_features);
        let logits = self.builder.values("logits", n_classes);
        let dlogits = self.builder.values("logits gradient", n_classes);
        for (&j, source) in graph.classifier_inputs.iter().zip(&sources) {
            self.layers[j]
                .contributions
                .push(Contribution::GlobalAveragePool {
                    dfeatures,
                    first_feature: source.first_channel,
                    n_features,
                    pixels,
                });
        }
        let position = self.params.classifier;
        let classifier = Classifier {
            features,
            dfeatures,
            logits,
            dlogits,
            n_features,
            n_classes,
            weight: self.span(position),
            bias: self.span(position + 1),
        };
        self.both(Step::GlobalAveragePool {
            sources,
            pixels,
            features,
        });
        self.both(Step::Classifier(classifier.clone()));
        self.both(Step::SoftmaxXent {
            logits,
            dlogits,
            n_classes,
        });
        self.builder
            .plan
            .train
            .push(Step::ClassifierGrad(classifier));
        self.builder.plan.evaluate.push(Step::Advance);
    }

    fn backward(&mut self) {
        for built in std::mem::take(&mut self.layers).into_iter().rev() {
            let BuiltLayer {
                out: _,
                shape,
                contributions,
                backward,
            } = built;
            let gather = |out, norm| Step::Gather {
                out,
                shape,
                contributions,
                norm,
            };
            let plan = &mut self.builder.plan;
            match backward {
                BackwardPath::None => {}
                BackwardPath::Conv(conv, id) => {
                    let dz = plan.norm(id).dz;
                    plan.train
                        .extend([gather(dz, Some(id)), Step::NormGrad(id)]);
                    plan.train.push(Step::ConvFilterGrad(conv));
                }
                BackwardPath::Norm(id) => {
                    let dz = plan.norm(id).dz;
                    plan.train
                        .extend([gather(dz, Some(id)), Step::NormGrad(id)]);
                }
                BackwardPath::PerChannel { dout, concat } => {
                    plan.train.push(gather(dout, None));
                    if let Some((out, shape, contribution)) = concat {
                        let contributions = vec![contribution];
                        plan.train.push(Step::Gather {
                            out,
                            shape,
                            contributions,
                            norm: None,
                        });
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Plan {
        let plan = &mut self.builder.plan;
        plan.train.push(Step::Update);
        let packs: Vec<Step> = (0..plan.convs.len())
            .map(|i| Step::Pack(ConvId(i)))
            .collect();
        plan.train.extend(packs.iter().cloned());
        plan.prepare = packs;
        self.builder.finish()
    }
}
