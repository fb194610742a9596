//! Settings of a run: one value that holds all of them, valid by construction.
//!
//! A setting comes from a flag, else from the environment, else from the file, else from the
//! preset; [`Config::resolve`] is where they meet.

mod check;
mod read;
mod staleness;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::controller::ControllerConfig;
use crate::data::Augment;
use crate::data::corpus::Level;
use crate::device::Convolution;
use crate::graph::language;
use crate::graph::step::NORM_EPSILON;
use crate::space::{SpaceConfig, SpaceKind};
use crate::text;
use crate::train::{LanguageConfig, NetworkConfig, TableConfig, TrainConfig};

pub use check::{
    BATCH, EPOCHS, GRADIENTS, HIDDEN, LIMIT, REPLICAS, SAMPLE, SAMPLES, SEED, SHARDS, THREADS,
    VOCABULARY,
};
pub use read::{ConfigError, Setting};
pub use staleness::Staleness;

/// Name of the resolved configuration within a run's directory.
pub const FILE_NAME: &str = "config.toml";

/// Bytes of a file of settings, at most: one has a line a setting.
pub const MOST_BYTES: u64 = 4 << 20;

/// The preset without a flag or a file that names another.
pub const DEFAULT_PRESET: &str = "sample";

/// The same for a kind of space.
pub fn default_preset(kind: SpaceKind) -> &'static str {
    match kind {
        SpaceKind::Conv => DEFAULT_PRESET,
        SpaceKind::Cell => "cell-sample",
        SpaceKind::Bench => "nas-bench-201",
    }
}

/// All settings of a run. A file is read as settings of one kind of space, `S`, and of its children,
/// `T`; its preset names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config<S = SpaceConfig, T = TrainConfig> {
    /// How many architectures, from where.
    pub search: SearchConfig,
    /// What children are trained on.
    pub data: DataConfig,
    /// What trains them.
    pub device: DeviceConfig,
    /// How a child is trained.
    pub train: T,
    /// How the controller learns.
    pub controller: ControllerConfig,
    /// Which architectures there are.
    pub space: S,
}

/// How many architectures, from where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// The preset that the other settings started from.
    pub preset: String,
    /// Whether the controller designs architectures or they are drawn uniformly.
    pub strategy: StrategyKind,
    /// The latest samples that may have children, where the strategy is evolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<u64>,
    /// How many of them are drawn, the best of which has a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tournament: Option<u64>,
    /// Architectures in all.
    pub samples: u64,
    /// Architectures between two updates of the controller: the paper's m.
    pub children_per_update: u64,
    /// Seed of the controller, and of every child's weights, order and augmentation.
    pub seed: u64,
    /// Shards of the controller's parameters: the paper's S.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: u32,
    /// Replicas of the controller that draw and learn side by side: the paper's K.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replicas: u32,
    /// Gradients that make an update; each is of as many times fewer architectures.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub gradients: u32,
    /// What is made of gradients whose parameters have moved on meanwhile.
    #[serde(default, skip_serializing_if = "is_default")]
    pub staleness: Staleness,
    /// Whether the replicas wait for one another before each update.
    #[serde(default, skip_serializing_if = "is_default")]
    pub synchronous: bool,
}

impl SearchConfig {
    /// Whether one controller learns alone, by updates of one gradient.
    pub fn is_alone(&self) -> bool {
        [self.shards, self.replicas, self.gradients] == [1; 3]
    }

    /// Samples of evolution's population: 100 (Real et al. 2019), or a tenth of a smaller search.
    pub fn population(&self) -> u64 {
        self.population
            .unwrap_or_else(|| (self.samples / 10).clamp(10, 100))
    }

    /// Samples of its tournaments: a quarter of the population, as theirs.
    pub fn tournament(&self) -> u64 {
        self.tournament
            .unwrap_or_else(|| (self.population() / 4).max(2))
    }

    /// Writes down what follows from the number of samples, which may change later.
    fn fix(&mut self) {
        if self.strategy == StrategyKind::Evolution {
            self.tournament = Some(self.tournament());
            self.population = Some(self.population());
        }
    }
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where architectures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// The controller, which learns.
    Policy,
    /// Regularised evolution.
    Evolution,
    /// Uniform draws.
    Random,
}

impl StrategyKind {
    /// Its name, in flags and settings.
    pub fn name(self) -> &'static str {
        match self {
            StrategyKind::Policy => "policy",
            StrategyKind::Evolution => "evolution",
            StrategyKind::Random => "random",
        }
    }

    /// Whether a controller learns, whose updates are on record.
    pub fn learns(self) -> bool {
        self == StrategyKind::Policy
    }

    /// Whether what is drawn depends on what earlier children achieved.
    pub fn looks_back(self) -> bool {
        self != StrategyKind::Random
    }
}

/// What children are trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A folder in the CIFAR-10 binary layout, or for cells a text; the bundled sample where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Use the first so many training records only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What a token of a text is; a word where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Most words of a text that are told apart, `<unk>` counted; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
}

/// What trains children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// `auto`, `cpu`, `reference`, `cuda`, `cuda:N,M…`.
    pub name: String,
    /// Which sums a convolution may use.
    pub convolution: Convolution,
    /// Threads of all children together; every core where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Most bytes that the plans of all children take together on a processor, or that of the one on
    /// a GPU: a child that needs more alone is `too_large`. Three quarters of the machine's memory, or
    /// of the smallest GPU's, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl Config {
    /// The settings of a preset: the paper's `v1`, `v2`, `v3` and `ptb`, the small `sample` and
    /// `cell-sample`, or `nas-bench-201`.
    pub fn preset(name: &str) -> Option<Config> {
        let paper = NetworkConfig {
            // paper P6.5
            epochs: 50,
            batch: 128,
            // paper P6.6
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            batch_norm_epsilon: NORM_EPSILON,
            decay_epoch: None,
            augment: Augment::UpsampleCrop,
            shuffle: true,
            split_seed: 0,
            checkpoint_seconds: None,
            hold_out: true,
        };
        let sample = NetworkConfig {
            epochs: 3,
            batch: 32,
            ..paper.clone()
        };
        // Zaremba et al. 2014, section 4.1, medium.
        let cell = LanguageConfig {
            // paper P8.6
            epochs: 35,
            batch: 20,
            learning_rate: 1.0,
            constant_epochs: 6,
            decay: 1.2,
            max_norm: 5.0,
            steps: 35,
            layers: 2,
            hidden: None,
            parameters: Some(20_000_000),
            tied: false,
            dropout: 0.5,
            variational: false,
            initial: language::INITIAL,
            checkpoint_seconds: None,
            hold_out: true,
        };
        // Short windows, large weights and a short gradient: many cells learn in a few seconds.
        let small_cell = LanguageConfig {
            epochs: 3,
            learning_rate: 0.5,
            max_norm: 1.0,
            steps: 10,
            hidden: Some(32),
            parameters: None,
            dropout: 0.0,
            initial: 0.4,
            ..cell.clone()
        };
        let (samples, children_per_update, train) = match name {
            "sample" => (48, 8, sample.into()),
            // An update takes 10 gradients of one child each: for Adam the same as their mean.
            "ptb" => (15_000, 10, cell.into()),
            "cell-sample" => (48, 8, small_cell.into()),
            "nas-bench-201" => (1000, 5, TableConfig::default().into()),
            // paper P5.3, P5.5
            _ => (12_800, 8, paper.into()),
        };
        let vocabulary = (name == "cell-sample").then_some(1000);
        Some(Config {
            search: SearchConfig {
                preset: name.to_owned(),
                strategy: StrategyKind::Policy,
                population: None,
                tournament: None,
                samples,
                children_per_update,
                seed: 0,
                shards: 1,
                replicas: 1,
                gradients: 1,
                staleness: Staleness::Paper,
                synchronous: false,
            },
            data: DataConfig {
                vocabulary,
                ..DataConfig::default()
            },
            device: DeviceConfig {
                name: "auto".to_owned(),
                convolution: Convolution::Auto,
                threads: None,
                memory_bytes: None,
            },
            train,
            controller: ControllerConfig::preset(name)?,
            space: SpaceConfig::preset(name)?,
        })
    }

    /// The settings as a file that [`Config::resolve`] reads back to the same settings.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are strings, whole numbers, numbers and lists")
    }

    /// SHA-256 of what decides the results of a search. How many samples, on which device and
    /// with how many threads may change when it goes on, and where the data lie; what they are is
    /// recorded apart.
    pub fn sha256(&self) -> String {
        let mut fixed = self.clone();
        fixed.search.samples = 0;
        fixed.data.path = None;
        fixed.device.name = String::new();
        fixed.device.threads = None;
        fixed.train = fixed.train.without_checkpoints();
        text::hex(&Sha256::digest(fixed.to_toml()))
    }
}
