//! The convolutional space as a sequence of decisions: kinds, walk, depth, size, uniform draws.

use super::architecture::LayerType;
use super::config::{SpaceConfig, SpaceError};
use super::{Decision, Kind, Token};
use crate::rng::{Purpose, Rng};

/// A convolutional search space.
///
/// Tokens are `[learning rate,]` then for each layer `[type,]` its own choices, and the anchor: a
/// bit for each earlier layer, lowest first. A convolution's own choices are filter height, filter
/// width, `[stride height, stride width,]` filters; a pool's are window height, window width,
/// stride height, stride width; the other types have none. Where blocks are on, "layer" reads
/// "block" throughout.
#[derive(Clone, Debug)]
pub struct ConvSpace {
    pub(super) config: SpaceConfig,
    kinds: Vec<Kind>,
    /// What the choices of each kind mean.
    pub(super) roles: Vec<Role>,
    first_conv: Vec<usize>,
    conv: Vec<usize>,
    pool: Vec<usize>,
    learning_rate: Vec<usize>,
    layer_type: Vec<usize>,
}

/// What a kind of choice decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    LearningRate,
    LayerType,
    FilterHeight,
    FilterWidth,
    StrideHeight,
    StrideWidth,
    Filters,
    PoolHeight,
    PoolWidth,
    PoolStrideHeight,
    PoolStrideWidth,
}

impl Role {
    pub(super) const COUNT: usize = Role::PoolStrideWidth as usize + 1;
}

impl ConvSpace {
    /// The space of a configuration, if that keeps the rules.
    pub fn new(config: &SpaceConfig) -> Result<Self, SpaceError> {
        config.check()?;
        let mut space = ConvSpace {
            config: config.clone(),
            kinds: Vec::new(),
            roles: Vec::new(),
            first_conv: Vec::new(),
            conv: Vec::new(),
            pool: Vec::new(),
            learning_rate: Vec::new(),
            layer_type: Vec::new(),
        };
        // paper P3.7
        if config.predict_learning_rate {
            let n = config.learning_rates.len();
            space.learning_rate = vec![space.add("learning_rate", Role::LearningRate, n)];
        }
        if config.predict_layer_type {
            let n = config.layer_types.len();
            space.layer_type = vec![space.add("layer_type", Role::LayerType, n)];
        }
        if space.has(&[LayerType::Conv]) {
            let height = space.add(
                "filter_height",
                Role::FilterHeight,
                config.filter_heights.len(),
            );
            let width = space.add(
                "filter_width",
                Role::FilterWidth,
                config.filter_widths.len(),
            );
            let n_strides = config.strides.len();
            let stride = match n_strides {
                1 => vec![],
                n => vec![
                    space.add("stride_height", Role::StrideHeight, n),
                    space.add("stride_width", Role::StrideWidth, n),
                ],
            };
            let filters = space.add("filters", Role::Filters, config.filters.len());
            space.conv = [&[height, width], stride.as_slice(), &[filters]].concat();
            space.first_conv = match config.first_stride {
                Some(_) => vec![height, width, filters],
                None => space.conv.clone(),
            };
        }
        if space.has(&[LayerType::MaxPool, LayerType::AvgPool]) {
            let (windows, strides) = (config.pool_windows.len(), config.pool_strides.len());
            space.pool = vec![
                space.add("pool_height", Role::PoolHeight, windows),
                space.add("pool_width", Role::PoolWidth, windows),
                space.add("pool_stride_height", Role::PoolStrideHeight, strides),
                space.add("pool_stride_width", Role::PoolStrideWidth, strides),
            ];
        }
        Ok(space)
    }

    fn add(&mut self, name: &'static str, role: Role, n_choices: usize) -> usize {
        self.kinds.push(Kind { name, n_choices });
        self.roles.push(role);
        self.kinds.len() - 1
    }

    /// Whether a layer may be of one of these types.
    fn has(&self, types: &[LayerType]) -> bool {
        self.types()
            .iter()
            .any(|layer_type| types.contains(layer_type))
    }

    /// Types a layer may have.
    pub(super) fn types(&self) -> &[LayerType] {
        match self.config.predict_layer_type {
            true => &self.config.layer_types,
            false => &[LayerType::Conv],
        }
    }

    /// The kinds of choice there are; every layer shares them.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The settings the space was made from.
    pub fn config(&self) -> &SpaceConfig {
        &self.config
    }

    /// The decisions of an architecture of `depth` layers (blocks, where they are on).
    pub fn walk(&self, depth: usize) -> Walk<'_> {
        let mut walk = Walk {
            space: self,
            depth,
            layer: 0,
            choices: &self.learning_rate,
        };
        if walk.choices.is_empty() {
            walk.enter(1);
        }
        walk
    }

    /// Depth of a sample, counted from 0: layers, or blocks where they are on.
    pub fn depth(&self, sample: u64) -> usize {
        self.config.depth_of(sample)
    }

    /// Layers (blocks, where they are on) that these tokens decide.
    ///
    /// # Panics
    /// If they are not the tokens of an architecture; [`ConvSpace::decode`] tells.
    pub fn depth_of_tokens(&self, tokens: &[Token]) -> usize {
        let mut walk = self.walk(usize::MAX);
        let mut rest = tokens;
        loop {
            let decision = walk.decision().expect("a walk without a depth has no end");
            let (taken, left) = rest.split_at(decision.n_tokens());
            walk.take(taken);
            rest = left;
            if rest.is_empty() && matches!(decision, Decision::Anchor { .. }) {
                return walk.layer - 1;
            }
        }
    }

    /// The kinds a layer of this type chooses for itself.
    fn own_choices(&self, layer: usize, layer_type: LayerType) -> &[usize] {
        match layer_type {
            LayerType::Conv if layer == 1 => &self.first_conv,
            LayerType::Conv => &self.conv,
            LayerType::MaxPool | LayerType::AvgPool => &self.pool,
            LayerType::Lcn | LayerType::BatchNorm => &[],
        }
    }

    /// Bits of the anchor that ends a layer: one for each earlier layer.
    fn n_candidates(&self, layer: usize) -> usize {
        if self.config.anchors { layer - 1 } else { 0 }
    }

    /// The tokens of a sample drawn uniformly, each anchor bit with probability 0.5; a function of
    /// (seed, sample) alone.
    // paper P9.5
    pub fn random(&self, seed: u64, sample: u64) -> Vec<Token> {
        self.draw(
            self.depth(sample),
            &mut Rng::new(seed, Purpose::Sample, sample),
        )
    }

    /// The tokens of an architecture of this depth drawn uniformly from `rng`.
    pub fn draw(&self, depth: usize, rng: &mut Rng) -> Vec<Token> {
        let mut walk = self.walk(depth);
        let mut tokens = Vec::new();
        while let Some(decision) = walk.decision() {
            let drawn = tokens.len();
            match decision {
                Decision::Choice { kind } => {
                    tokens.push(rng.below(self.kinds[kind].n_choices as Token));
                }
                Decision::Anchor { n_candidates } => {
                    tokens.extend((0..n_candidates).map(|_| rng.below(2)));
                }
            }
            walk.take(&tokens[drawn..]);
        }
        tokens
    }

    /// The decimal logarithm of the number of token sequences of this depth.
    pub fn log10_size(&self, depth: usize) -> f64 {
        let product = |kinds: &[usize]| -> f64 {
            kinds
                .iter()
                .map(|&kind| self.kinds[kind].n_choices as f64)
                .product()
        };
        let layer = |layer: usize| -> f64 {
            let own = self
                .types()
                .iter()
                .map(|&t| product(self.own_choices(layer, t)));
            own.sum::<f64>().log10() + self.n_candidates(layer) as f64 * 2f64.log10()
        };
        product(&self.learning_rate).log10() + (1..=depth).map(layer).sum::<f64>()
    }
}

/// Where a sequence of decisions stands: asks for one, takes its tokens, asks for the next.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    space: &'a ConvSpace,
    depth: usize,
    /// The layer being decided, from 1; 0 while the learning rate is.
    layer: usize,
    /// Kinds this layer has yet to choose before its anchor.
    choices: &'a [usize],
}

impl Walk<'_> {
    /// The decision to be made now; `None` at the end.
    pub fn decision(&self) -> Option<Decision> {
        // paper P1.5
        if self.layer > self.depth {
            return None;
        }
        Some(match self.choices.first() {
            Some(&kind) => Decision::Choice { kind },
            None => Decision::Anchor {
                n_candidates: self.space.n_candidates(self.layer),
            },
        })
    }

    /// Takes the tokens of the decision: one for a choice, a bit for each candidate of an anchor.
    ///
    /// # Panics
    /// If the tokens are not such ones, or no decision is left.
    pub fn take(&mut self, tokens: &[Token]) {
        match self.decision() {
            Some(Decision::Choice { kind }) => {
                let [token] = *tokens else {
                    panic!("a choice takes one token, not {}", tokens.len());
                };
                let n_choices = self.space.kinds[kind].n_choices;
                assert!(
                    (token as usize) < n_choices,
                    "choice {token} of {n_choices}"
                );
                self.choose(kind, token);
            }
            Some(Decision::Anchor { n_candidates }) => {
                assert_eq!(
                    tokens.len(),
                    n_candidates,
                    "an anchor takes a bit a candidate"
                );
                assert!(tokens.iter().all(|&bit| bit < 2), "an anchor takes bits");
                self.enter(self.layer + 1);
            }
            None => panic!("no decision is left"),
        }
    }

    fn choose(&mut self, kind: usize, token: Token) {
        match self.space.roles[kind] {
            Role::LearningRate => self.enter(1),
            // paper P3.6
            Role::LayerType => {
                let layer_type = self.space.config.layer_types[token as usize];
                self.choices = self.space.own_choices(self.layer, layer_type);
            }
            _ => self.choices = &self.choices[1..],
        }
    }

    fn enter(&mut self, layer: usize) {
        self.layer = layer;
        self.choices = match self.space.config.predict_layer_type {
            true => &self.space.layer_type,
            false => self.space.own_choices(layer, LayerType::Conv),
        };
    }

    /// The layer (block, where they are on) being decided, from 1; 0 before the first.
    pub(super) fn layer(&self) -> usize {
        self.layer
    }

    /// Kinds this layer has yet to choose before its anchor.
    pub(super) fn choices(&self) -> &[usize] {
        self.choices
    }
}
