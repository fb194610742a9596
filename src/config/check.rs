//! The ranges that settings must lie in.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::Config;
use crate::controller::ControllerError;
use crate::data::MIN_LIMIT;
use crate::device::{DeviceError, DeviceRequest, names};
use crate::graph::language::{MAX_HIDDEN, MAX_LAYERS};
use crate::space::{Space, SpaceError};
use crate::train::{LanguageConfig, NetworkConfig, TrainConfig};

/// A setting and the rule that it breaks.
type Broken = (String, String);

/// Steps of a window of text.
pub const STEPS: RangeInclusive<usize> = 1..=1024;
/// Parameters of a language model at most: what TOML can hold.
pub const PARAMETERS: RangeInclusive<u64> = 1..=i64::MAX as u64;
/// Images of a batch, or rows of text: more would pass the numbers that index a tensor.
pub const BATCH: RangeInclusive<usize> = 1..=16_384;
/// Epochs of a child.
pub const EPOCHS: RangeInclusive<usize> = 1..=1_000_000;
/// Training records that are enough to hold one out.
pub const LIMIT: RangeInclusive<usize> = MIN_LIMIT..=u32::MAX as usize;
/// Words of a text that are told apart: one beside `<unk>` at least.
pub const VOCABULARY: RangeInclusive<usize> = 2..=u32::MAX as usize;
/// Threads.
pub const THREADS: RangeInclusive<usize> = 1..=1024;
/// Architectures of a search.
pub const SAMPLES: RangeInclusive<u64> = 1..=1_000_000_000;
/// Architectures between two updates.
pub const CHILDREN: RangeInclusive<u64> = 1..=100_000;
/// Seeds: what TOML can hold.
pub const SEED: RangeInclusive<u64> = 0..=i64::MAX as u64;

impl Config {
    /// Checks every setting; the first that breaks a rule.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let Config {
            search,
            data,
            device,
            train,
            controller,
            space,
        } = self;
        within("search.samples", search.samples, SAMPLES)?;
        within(
            "search.children_per_update",
            search.children_per_update,
            CHILDREN,
        )?;
        within("search.seed", search.seed, SEED)?;
        within("data.limit", data.limit.unwrap_or(*LIMIT.start()), LIMIT)?;
        within(
            "data.vocabulary",
            data.vocabulary.unwrap_or(*VOCABULARY.start()),
            VOCABULARY,
        )?;
        within("device.threads", device.threads.unwrap_or(1), THREADS)?;
        within(
            "device.memory_bytes",
            device.memory_bytes.unwrap_or(1),
            1..=u64::MAX,
        )?;
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
        match train {
            TrainConfig::Network(train) => check_network(train)?,
            TrainConfig::Language(train) => check_language(train)?,
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

fn check_network(train: &NetworkConfig) -> Result<(), Broken> {
    within("train.epochs", train.epochs, EPOCHS)?;
    within("train.batch", train.batch, BATCH)?;
    within("train.split_seed", train.split_seed, SEED)?;
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
    Ok(())
}

fn check_language(train: &LanguageConfig) -> Result<(), Broken> {
    within("train.epochs", train.epochs, EPOCHS)?;
    within("train.batch", train.batch, BATCH)?;
    above_0("train.learning_rate", train.learning_rate)?;
    within(
        "train.constant_epochs",
        train.constant_epochs,
        0..=*EPOCHS.end(),
    )?;
    above_0("train.decay", train.decay)?;
    above_0("train.max_norm", train.max_norm)?;
    above_0("train.initial", train.initial)?;
    within("train.steps", train.steps, STEPS)?;
    within("train.layers", train.layers, 1..=MAX_LAYERS)?;
    within("train.hidden", train.hidden.unwrap_or(1), 1..=MAX_HIDDEN)?;
    within(
        "train.parameters",
        train.parameters.unwrap_or(1),
        PARAMETERS,
    )?;
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

fn within<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), Broken> {
    match range.contains(&value) {
        true => Ok(()),
        false => broken(
            key,
            format!(
                "is {value}; give a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        ),
    }
}

fn number(key: &str, x: f64, holds: impl Fn(f64) -> bool, what: &str) -> Result<(), Broken> {
    match x.is_finite() && holds(x) {
        true => Ok(()),
        false => broken(key, format!("is {x}; give a number {what}")),
    }
}
