//! Tokens to architecture and back, exact both ways.

use super::config::BLOCK_LAYERS;
use super::{ConvArchitecture, ConvSpace, LAYERS, Layer, LayerOp, LayerType, Role};
use crate::space::{Decision, SpaceError, Token};

/// The tokens of a layer's choices, by role; 0 where the role is not decided.
type Chosen = [Token; Role::COUNT];

impl ConvSpace {
    /// The architecture that tokens stand for. Their number says how many layers there are: any
    /// depth is read, whatever the schedule.
    // paper P1.1
    pub fn decode(&self, tokens: &[Token]) -> Result<ConvArchitecture, SpaceError> {
        let mut walk = self.decisions().walk(usize::MAX);
        let mut chosen = Chosen::default();
        let mut built = DecodedLayers::default();
        let mut learning_rate = None;
        let mut at = 0;
        let mut within_layer = true; // an architecture has at least one
        while within_layer || at < tokens.len() {
            let decision = walk.decision().expect("a walk without a depth has no end");
            let n = decision.n_tokens();
            let Some(taken) = tokens.get(at..at + n) else {
                let fault = format!("is missing: the list ends within layer {}", walk.layer());
                return Err(SpaceError::Tokens {
                    position: tokens.len(),
                    fault,
                });
            };
            self.check_tokens(&decision, taken, at)?;
            match decision {
                Decision::Choice { kind } => {
                    chosen[self.roles[kind] as usize] = taken[0];
                    if self.roles[kind] == Role::LearningRate {
                        learning_rate = Some(self.config.learning_rates[taken[0] as usize]);
                    }
                }
                Decision::Anchor { .. } => {
                    let op = self.op(walk.layer() == 1, &chosen);
                    self.append(&mut built, op, taken);
                    if built.layers.len() > *LAYERS.end() {
                        let fault = format!("makes more than {} layers", LAYERS.end());
                        return Err(SpaceError::Tokens {
                            position: at,
                            fault,
                        });
                    }
                }
            }
            within_layer = matches!(decision, Decision::Choice { .. });
            walk.take(taken);
            at += n;
        }
        Ok(ConvArchitecture {
            layers: built.layers,
            learning_rate,
        })
    }

    fn check_tokens(
        &self,
        decision: &Decision,
        tokens: &[Token],
        at: usize,
    ) -> Result<(), SpaceError> {
        let (name, n_choices) = match *decision {
            Decision::Choice { kind } => {
                let kind = &self.decisions().kinds[kind];
                (kind.name, kind.n_choices)
            }
            Decision::Anchor { .. } => ("a skip connection", 2),
        };
        match tokens.iter().position(|&token| token as usize >= n_choices) {
            None => Ok(()),
            Some(i) => Err(SpaceError::Tokens {
                position: at + i,
                fault: format!("is {}, but {name} has {n_choices} choices", tokens[i]),
            }),
        }
    }

    /// What a layer with these choices computes.
    fn op(&self, first: bool, chosen: &Chosen) -> LayerOp {
        let config = &self.config;
        let pick = |list: &[usize], role: Role| list[chosen[role as usize] as usize];
        let pool = [
            pick(&config.pool_windows, Role::PoolHeight),
            pick(&config.pool_windows, Role::PoolWidth),
        ];
        let pool_stride = [
            pick(&config.pool_strides, Role::PoolStrideHeight),
            pick(&config.pool_strides, Role::PoolStrideWidth),
        ];
        let layer_type = match config.predict_layer_type {
            true => config.layer_types[chosen[Role::LayerType as usize] as usize],
            false => LayerType::Conv,
        };
        match layer_type {
            LayerType::Conv => LayerOp::Conv {
                filter: [
                    pick(&config.filter_heights, Role::FilterHeight),
                    pick(&config.filter_widths, Role::FilterWidth),
                ],
                filters: pick(&config.filters, Role::Filters),
                stride: match config.first_stride.filter(|_| first) {
                    Some(stride) => [stride; 2],
                    None => [
                        pick(&config.strides, Role::StrideHeight),
                        pick(&config.strides, Role::StrideWidth),
                    ],
                },
            },
            LayerType::MaxPool => LayerOp::MaxPool {
                pool,
                stride: pool_stride,
            },
            LayerType::AvgPool => LayerOp::AvgPool {
                pool,
                stride: pool_stride,
            },
            LayerType::Lcn => LayerOp::Lcn,
            LayerType::BatchNorm => LayerOp::BatchNorm,
        }
    }

    /// Appends the layer that was decided, or the block of such layers and its pool.
    fn append(&self, built: &mut DecodedLayers, op: LayerOp, bits: &[Token]) {
        let mut inputs: Vec<usize> = match self.config.anchors {
            true => {
                let chosen = built.outputs.iter().zip(bits).filter(|(_, bit)| **bit == 1);
                chosen.flat_map(|(outputs, _)| outputs).copied().collect()
            }
            false => built.outputs.last().cloned().unwrap_or_default(),
        };
        // paper P2.5
        if inputs.is_empty() {
            inputs.push(0);
        }
        if !self.config.blocks {
            let number = built.push(op, inputs);
            built.outputs.push(vec![number]);
            return;
        }
        let mut outputs = Vec::new();
        // paper P3.2
        for _ in 0..BLOCK_LAYERS {
            let number = built.push(op, [inputs.as_slice(), &outputs].concat());
            outputs.push(number);
        }
        if self
            .config
            .pool_after_blocks
            .contains(&(built.outputs.len() + 1))
        {
            // paper P3.4
            let pool = LayerOp::MaxPool {
                pool: [2, 2],
                stride: [2, 2],
            };
            outputs = vec![built.push(pool, outputs)];
        }
        built.outputs.push(outputs);
    }

    /// The tokens of an architecture of any depth, or the reason why this space has none for it.
    pub fn encode(&self, architecture: &ConvArchitecture) -> Result<Vec<Token>, SpaceError> {
        let mut tokens = Vec::new();
        self.encode_learning_rate(architecture, &mut tokens)?;
        let mut n_decided = 0; // layers or blocks so far
        let mut at = 0;
        let mut outputs: Vec<usize> = Vec::new(); // a layer that stands for each of them
        while let Some(layer) = architecture.layers.get(at) {
            self.encode_op(at + 1, &layer.op, &mut tokens)?;
            if self.config.anchors {
                let bit = |output: &usize| Token::from(layer.inputs.contains(output));
                tokens.extend(outputs.iter().map(bit));
            }
            n_decided += 1;
            let n_layers = self.config.n_layers(n_decided) - self.config.n_layers(n_decided - 1);
            at += n_layers;
            outputs.push(at); // the last of a block, or the pool in its place
        }
        let said = self
            .decode(&tokens)
            .map_err(|error| cannot_say(error.to_string()))?;
        difference(&said, architecture).map_or(Ok(tokens), |text| Err(cannot_say(text)))
    }

    fn encode_learning_rate(
        &self,
        architecture: &ConvArchitecture,
        tokens: &mut Vec<Token>,
    ) -> Result<(), SpaceError> {
        let choices = &self.config.learning_rates;
        match (
            architecture.learning_rate,
            self.config.predict_learning_rate,
        ) {
            (None, false) => {}
            (Some(rate), true) => tokens.push(index("learning_rate", &rate, choices)?),
            (Some(rate), false) => {
                let text = format!("it has a learning_rate ({rate}), which is not predicted here");
                return Err(cannot_say(text));
            }
            (None, true) => {
                let text = format!("it has no learning_rate, which is one of {choices:?} here");
                return Err(cannot_say(text));
            }
        }
        Ok(())
    }

    /// The tokens of a layer's type and its own choices.
    fn encode_op(
        &self,
        layer: usize,
        op: &LayerOp,
        tokens: &mut Vec<Token>,
    ) -> Result<(), SpaceError> {
        let config = &self.config;
        let of = |what: &str| format!("layer {layer}: {what}");
        let types: Vec<_> = self.types().iter().map(LayerType::name).collect();
        let type_token = index(&of("type"), &op.layer_type().name(), &types)?;
        if config.predict_layer_type {
            tokens.push(type_token);
        }
        match op {
            LayerOp::Conv {
                filter,
                filters,
                stride,
            } => {
                tokens.push(index(
                    &of("filter height"),
                    &filter[0],
                    &config.filter_heights,
                )?);
                tokens.push(index(
                    &of("filter width"),
                    &filter[1],
                    &config.filter_widths,
                )?);
                let fixed = layer == 1 && config.first_stride.is_some();
                if !fixed && config.strides.len() > 1 {
                    tokens.push(index(&of("stride height"), &stride[0], &config.strides)?);
                    tokens.push(index(&of("stride width"), &stride[1], &config.strides)?);
                }
                tokens.push(index(&of("filters"), filters, &config.filters)?);
            }
            LayerOp::MaxPool { pool, stride } | LayerOp::AvgPool { pool, stride } => {
                tokens.push(index(&of("pool height"), &pool[0], &config.pool_windows)?);
                tokens.push(index(&of("pool width"), &pool[1], &config.pool_windows)?);
                tokens.push(index(
                    &of("stride height"),
                    &stride[0],
                    &config.pool_strides,
                )?);
                tokens.push(index(
                    &of("stride width"),
                    &stride[1],
                    &config.pool_strides,
                )?);
            }
            LayerOp::Lcn | LayerOp::BatchNorm => {}
        }
        Ok(())
    }
}

/// An architecture being built from decisions.
#[derive(Default)]
struct DecodedLayers {
    layers: Vec<Layer>,
    /// For each decided layer or block, the layers that an anchor to it means.
    outputs: Vec<Vec<usize>>,
}

impl DecodedLayers {
    /// Appends a layer and returns its number.
    fn push(&mut self, op: LayerOp, inputs: Vec<usize>) -> usize {
        self.layers.push(Layer { op, inputs });
        self.layers.len()
    }
}

fn cannot_say(reason: String) -> SpaceError {
    SpaceError::CannotSay { reason }
}

fn index<T: PartialEq + std::fmt::Debug>(
    what: &str,
    value: &T,
    choices: &[T],
) -> Result<Token, SpaceError> {
    match choices.iter().position(|choice| choice == value) {
        Some(i) => Ok(i as Token),
        None => Err(cannot_say(format!(
            "{what} {value:?} is not one of {choices:?}"
        ))),
    }
}

/// The first difference between what tokens stand for and what they were to stand for: a fixed
/// value, an input that is no anchor, or an incomplete block.
fn difference(said: &ConvArchitecture, wanted: &ConvArchitecture) -> Option<String> {
    let shown = |layer: &Layer| serde_json::to_string(layer).expect("a layer is plain data");
    let mut pairs = said.layers.iter().zip(&wanted.layers).enumerate();
    if let Some((i, (said, wanted))) = pairs.find(|(_, (said, wanted))| said != wanted) {
        let (said, wanted) = (shown(said), shown(wanted));
        return Some(format!(
            "layer {} is {wanted}, which would have to be {said}",
            i + 1
        ));
    }
    let (n_said, n_wanted) = (said.layers.len(), wanted.layers.len());
    (n_said != n_wanted).then(|| format!("its blocks make {n_said} layers, but it has {n_wanted}"))
}
