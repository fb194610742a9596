//! The ranges that settings must lie in.

use std::ops::RangeInclusive;

use toml::{Table, Value};

use super::{Config, SearchConfig, StrategyKind};
use crate::controller::ControllerError;
use crate::data::MIN_LIMIT;
use crate::device::{DeviceError, DeviceRequest, names};
use crate::graph::language::{MAX_HIDDEN, MAX_LAYERS};
use crate::space::{Space, SpaceError};
use crate::text;
use crate::train::{LanguageConfig, NetworkConfig, TrainConfig};

/// A setting and the rule that it breaks.
type Broken = (String, String);

/// Images of a batch, or rows of text: more would pass the numbers that index a tensor.
pub const BATCH: RangeInclusive<u64> = 1..=16_384;
/// Epochs of a child.
pub const EPOCHS: RangeInclusive<u64> = 1..=1_000_000;
/// Training records that are enough to hold one out.
pub const LIMIT: RangeInclusive<u64> = MIN_LIMIT as u64..=u32::MAX as u64;
/// Words of a text that are told apart: one beside `<unk>` at least.
pub const VOCABULARY: RangeInclusive<u64> = 2..=u32::MAX as u64;
/// Threads.
pub const THREADS: RangeInclusive<u64> = 1..=1024;
/// Architectures of a search.
pub const SAMPLES: RangeInclusive<u64> = 1..=1_000_000_000;
/// Number of a sample of a search.
pub const SAMPLE: RangeInclusive<u64> = 0..=*SAMPLES.end() - 1;
/// Hidden units of a layer of a language model.
pub const HIDDEN: RangeInclusive<u64> = 1..=MAX_HIDDEN as u64;
/// Seeds: what TOML can hold.
pub const SEED: RangeInclusive<u64> = 0..=MOST;

/// Shards of a controller's parameters.
pub const SHARDS: RangeInclusive<u64> = 1..=1_000_000;
/// Replicas of a controller.
pub const REPLICAS: RangeInclusive<u64> = 1..=100_000;
/// Gradients of an update.
pub const GRADIENTS: RangeInclusive<u64> = 1..=100_000;

/// The largest number of TOML.
const MOST: u64 = i64::MAX as u64;

/// Every setting that is a whole number, but those of the space and of the controller, which know
/// their own rules; with its range.
const WHOLE: [(&str, &str, RangeInclusive<u64>); 21] = [
    ("search", "samples", SAMPLES),
    ("search", "children_per_update", 1..=100_000),
    ("search", "population", 2..=100_000),
    ("search", "tournament", 1..=100_000),
    ("search", "seed", SEED),
    ("search", "shards", SHARDS),
    ("search", "replicas", REPLICAS),
    ("search", "gradients", GRADIENTS),
    ("data", "limit", LIMIT),
    ("data", "vocabulary", VOCABULARY),
    ("device", "threads", THREADS),
    ("device", "memory_bytes", 1..=MOST),
    ("train", "epochs", EPOCHS),
    ("train", "batch", BATCH),
    ("train", "split_seed", SEED),
    ("train", "checkpoint_seconds", 0..=MOST),
    ("train", "constant_epochs", 0..=*EPOCHS.end()),
    ("train", "steps", 1..=1024),
    ("train", "layers", 1..=MAX_LAYERS as u64),
    ("train", "hidden", HIDDEN),
    ("train", "parameters", 1..=MOST),
];

/// Checks the whole numbers of settings, before they are read as such: a negative one has a range, too.
pub(super) fn whole_numbers(settings: &Table) -> Result<(), Broken> {
    for (section, name, range) in WHOLE {
        let value = settings.get(section).and_then(|section| section.get(name));
        let Some(&Value::Integer(value)) = value else {
            continue; // absent, or no whole number, which is refused when it is read
        };
        if !u64::try_from(value).is_ok_and(|value| range.contains(&value)) {
            let rule = format!("is {value}; give {}", text::whole_number(&range));
            return broken(&format!("{section}.{name}"), rule);
        }
    }
    Ok(())
}

impl Config {
    /// Checks every setting but whole numbers; the first that breaks a rule.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let Config {
            search,
            device,
            train,
            controller,
            space,
            ..
        } = self;
        match DeviceRequest::parse(&device.name) {
            Ok(_) => {}
            Err(DeviceError::Twice { number, .. }) => {
                let rule = format!(
                    "is `{}`, with GPU {number} twice; name it once",
                    device.name
                );
                return broken("device.name", rule);
            }
            Err(_) => {
                let rule = format!("cannot be `{}`; give {}", device.name, names());
                return broken("device.name", rule);
            }
        }
        check_search(search)?;
        match train {
            TrainConfig::Network(train) => check_network(train)?,
            TrainConfig::Language(train) => check_language(train)?,
            TrainConfig::Table(_) => {}
        }
        if let Err(ControllerError { key, value, rule }) = controller.check() {
            return broken(
                &format!("controller.{key}"),
                format!("is {value}; give {rule}"),
            );
        }
        match Space::new(space) {
            Err(SpaceError::Config { key, rule }) => broken(&format!("space.{key}"), rule),
            Err(other) => broken("space", other.to_string()),
            Ok(_) => Ok(()),
        }
    }
}

fn check_search(search: &SearchConfig) -> Result<(), Broken> {
    let strategy = search.strategy;
    if !strategy.learns() && !search.is_alone() {
        let rule = format!(
            "is `{}`, which has no controller to share out; leave out shards, replicas and \
             gradients, or give `policy`",
            strategy.name()
        );
        return broken("search.strategy", rule);
    }
    let of_evolution = [
        ("search.population", search.population),
        ("search.tournament", search.tournament),
    ];
    let given = of_evolution.into_iter().find(|(_, given)| given.is_some());
    if let Some((key, _)) = given.filter(|_| strategy != StrategyKind::Evolution) {
        let rule = format!(
            "goes with search.strategy = \"evolution\", not with \"{}\"; leave it out",
            strategy.name()
        );
        return broken(key, rule);
    }
    let (samples, gradients) = (search.children_per_update, u64::from(search.gradients));
    match samples.is_multiple_of(gradients) {
        true => Ok(()),
        false => broken(
            "search.gradients",
            format!(
                "is {gradients}, and an update is of {samples} samples (search.children_per_update), which \
                 cannot be shared so; give a number that divides them"
            ),
        ),
    }
}

fn check_network(train: &NetworkConfig) -> Result<(), Broken> {
    above_0("train.learning_rate", train.learning_rate)?;
    number(
        "train.momentum",
        train.momentum,
        |x| (0.0..1.0).contains(&x),
        "from 0 to below 1",
    )?;
    number(
        "train.weight_decay",
        train.weight_decay,
        |x| x >= 0.0,
        "of 0 or more",
    )?;
    number(
        "train.batch_norm_epsilon",
        train.batch_norm_epsilon,
        |x| x > 0.0 && x <= 1.0,
        "above 0 and at most 1",
    )?;
    match train.decay_epoch {
        Some(first) if first > train.epochs => broken(
            "train.decay_epoch",
            format!("is {first}; give at most train.epochs, {}", train.epochs),
        ),
        _ => Ok(()),
    }
}

fn check_language(train: &LanguageConfig) -> Result<(), Broken> {
    above_0("train.learning_rate", train.learning_rate)?;
    above_0("train.decay", train.decay)?;
    above_0("train.max_norm", train.max_norm)?;
    above_0("train.initial", train.initial)?;
    match (train.hidden, train.parameters) {
        (Some(_), Some(_)) => {
            return broken(
                "train.parameters",
                "stands beside `train.hidden`; give one of them".to_owned(),
            );
        }
        (None, None) => {
            return broken(
                "train.hidden",
                "is missing; give it, or `train.parameters`".to_owned(),
            );
        }
        _ => {}
    }
    number(
        "train.dropout",
        train.dropout,
        |x| (0.0..1.0).contains(&x),
        "from 0, which drops nothing, to below 1",
    )
}

fn above_0(key: &str, x: f64) -> Result<(), Broken> {
    // Devices have it in 32 bits.
    number(key, x, |x| x as f32 > 0.0, "above 0, in 32 bits too")
}

fn broken(key: &str, rule: String) -> Result<(), Broken> {
    Err((key.to_owned(), rule))
}

fn number(key: &str, x: f64, holds: impl Fn(f64) -> bool, what: &str) -> Result<(), Broken> {
    match x.is_finite() && holds(x) {
        true => Ok(()),
        false => broken(key, format!("is {x}; give a number {what}")),
    }
}
