//! The convolutional space as a sequence of decisions: kinds, depth, size, uniform draws.

mod codec;
mod config;
mod network;
mod read;
mod variant;
mod write;

use super::error::SpaceError;
use super::{DecisionKind, Decisions, Token};
use crate::rng::{Purpose, Rng};

pub use config::ConvSpaceConfig;
pub use network::{
    ConvArchitecture, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp, LayerType, POOL_SIDE, STRIDE,
};
pub(super) use read::read;
pub use variant::{Variant, VariantError};

/// A convolutional search space.
///
/// Tokens are `[learning rate,]` then for each layer `[type,]` its own choices, and the anchor: a
/// bit for each earlier layer, lowest first. A convolution's own choices are filter height, filter
/// width, `[stride height, stride width,]` filters; a pool's are window height, window width,
/// stride height, stride width; the other types have none. Where blocks are on, "layer" reads
/// "block" throughout.
#[derive(Clone, Debug)]
pub struct ConvSpace {
    config: ConvSpaceConfig,
    decisions: Decisions,
    /// What the choices of each kind mean.
    roles: Vec<Role>,
    choices: Choices,
}

/// The kinds that are chosen, in order.
#[derive(Clone, Debug, Default)]
struct Choices {
    /// Once, before the first layer.
    learning_rate: Vec<usize>,
    /// Before a layer's own.
    layer_type: Vec<usize>,
    /// By the first layer, where it is a convolution.
    first_conv: Vec<usize>,
    conv: Vec<usize>,
    pool: Vec<usize>,
}

/// What a kind of choice decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
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
    const COUNT: usize = Role::PoolStrideWidth as usize + 1;
}

impl ConvSpace {
    /// The space of a configuration, if that keeps the rules.
    pub fn new(config: &ConvSpaceConfig) -> Result<Self, SpaceError> {
        config.check()?;
        let mut space = ConvSpace {
            config: config.clone(),
            decisions: Decisions::new(vec![], config.anchors, config.max_depth),
            roles: Vec::new(),
            choices: Choices::default(),
        };
        space.add_kinds();
        space.add_states();
        Ok(space)
    }

    fn add_kinds(&mut self) {
        let config = self.config.clone();
        // paper P3.7
        if config.predict_learning_rate {
            let n = config.learning_rates.len();
            self.choices.learning_rate = vec![self.add("learning_rate", Role::LearningRate, n)];
        }
        if config.predict_layer_type {
            let n = config.layer_types.len();
            self.choices.layer_type = vec![self.add("layer_type", Role::LayerType, n)];
        }
        if self.has(&[LayerType::Conv]) {
            let heights = config.filter_heights.len();
            let height = self.add("filter_height", Role::FilterHeight, heights);
            let widths = config.filter_widths.len();
            let width = self.add("filter_width", Role::FilterWidth, widths);
            let stride = match config.strides.len() {
                1 => vec![],
                n => vec![
                    self.add("stride_height", Role::StrideHeight, n),
                    self.add("stride_width", Role::StrideWidth, n),
                ],
            };
            let filters = self.add("filters", Role::Filters, config.filters.len());
            self.choices.conv = [&[height, width], stride.as_slice(), &[filters]].concat();
            self.choices.first_conv = match config.first_stride {
                Some(_) => vec![height, width, filters],
                None => self.choices.conv.clone(),
            };
        }
        if self.has(&[LayerType::MaxPool, LayerType::AvgPool]) {
            let (windows, strides) = (config.pool_windows.len(), config.pool_strides.len());
            self.choices.pool = vec![
                self.add("pool_height", Role::PoolHeight, windows),
                self.add("pool_width", Role::PoolWidth, windows),
                self.add("pool_stride_height", Role::PoolStrideHeight, strides),
                self.add("pool_stride_width", Role::PoolStrideWidth, strides),
            ];
        }
    }

    fn add(&mut self, name: &'static str, role: Role, n_choices: usize) -> usize {
        self.decisions.kinds.push(DecisionKind { name, n_choices });
        self.roles.push(role);
        self.roles.len() - 1
    }

    fn add_states(&mut self) {
        let anchor = self.decisions.add_anchor();
        let first = self.add_layer(true, anchor);
        let later = self.add_layer(false, anchor);
        self.decisions.follow(anchor, later);
        self.decisions.first = self
            .decisions
            .add_choices(&self.choices.learning_rate, first);
    }

    /// The states of a layer, up to its anchor; where it begins.
    fn add_layer(&mut self, first: bool, anchor: usize) -> usize {
        let types = self.types().to_vec();
        let mut own = |layer_type| {
            let kinds = self.own_choices(first, layer_type).to_vec();
            self.decisions.add_choices(&kinds, anchor)
        };
        // paper P3.6
        let starts: Vec<usize> = types.into_iter().map(&mut own).collect();
        match *self.choices.layer_type {
            [kind] => self.decisions.add_choice(kind, &starts),
            _ => starts[0],
        }
    }

    /// Whether a layer may be of one of these types.
    fn has(&self, types: &[LayerType]) -> bool {
        self.types()
            .iter()
            .any(|layer_type| types.contains(layer_type))
    }

    /// Types a layer may have.
    fn types(&self) -> &[LayerType] {
        match self.config.predict_layer_type {
            true => &self.config.layer_types,
            false => &[LayerType::Conv],
        }
    }

    /// What is decided, and in which order.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// What the choices of a kind stand for: numbers, and the names of types.
    pub fn choices(&self, kind: usize) -> Vec<serde_json::Value> {
        let config = &self.config;
        let numbers = |list: &[usize]| list.iter().map(|&n| n.into()).collect();
        match self.roles[kind] {
            Role::LearningRate => config.learning_rates.iter().map(|&x| x.into()).collect(),
            Role::LayerType => self.types().iter().map(|t| t.name().into()).collect(),
            Role::FilterHeight => numbers(&config.filter_heights),
            Role::FilterWidth => numbers(&config.filter_widths),
            Role::StrideHeight | Role::StrideWidth => numbers(&config.strides),
            Role::Filters => numbers(&config.filters),
            Role::PoolHeight | Role::PoolWidth => numbers(&config.pool_windows),
            Role::PoolStrideHeight | Role::PoolStrideWidth => numbers(&config.pool_strides),
        }
    }

    /// The settings the space was made from.
    pub fn config(&self) -> &ConvSpaceConfig {
        &self.config
    }

    /// Depth of a sample, counted from 0: layers, or blocks where they are on.
    pub fn depth(&self, sample: u64) -> usize {
        self.config.depth_of(sample)
    }

    /// The kinds a layer of this type chooses for itself.
    fn own_choices(&self, first: bool, layer_type: LayerType) -> &[usize] {
        match layer_type {
            LayerType::Conv if first => &self.choices.first_conv,
            LayerType::Conv => &self.choices.conv,
            LayerType::MaxPool | LayerType::AvgPool => &self.choices.pool,
            LayerType::Lcn | LayerType::BatchNorm => &[],
        }
    }

    /// The tokens of a sample drawn uniformly, each anchor bit with probability 0.5; a function of
    /// (seed, sample) alone.
    // paper P9.5
    pub fn random(&self, seed: u64, sample: u64) -> Vec<Token> {
        let mut rng = Rng::new(seed, Purpose::Sample, sample);
        self.decisions.draw(self.depth(sample), &mut rng)
    }

    /// The decimal logarithm of the number of token sequences of this depth.
    pub fn log10_size(&self, depth: usize) -> f64 {
        let product = |kinds: &[usize]| -> f64 {
            kinds
                .iter()
                .map(|&kind| self.decisions.kinds[kind].n_choices as f64)
                .product()
        };
        let layer = |layer: usize| -> f64 {
            let own = self
                .types()
                .iter()
                .map(|&t| product(self.own_choices(layer == 1, t)));
            let n_candidates = if self.config.anchors { layer - 1 } else { 0 };
            own.sum::<f64>().log10() + n_candidates as f64 * 2f64.log10()
        };
        product(&self.choices.learning_rate).log10() + (1..=depth).map(layer).sum::<f64>()
    }
}
