//! `nas-engine eval`: saved weights on the validation or the test images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::Failure;
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, Settings};
use super::machine;
use super::output::Output;
use crate::config::DEFAULT_PRESET;
use crate::data::Split;
use crate::device;
use crate::graph::{Graph, Params};
use crate::space::Architecture;
use crate::text;
use crate::train::checkpoint::WeightsFile;
use crate::train::{self, EvaluationJob, TrainError};

/// Images of a batch; any number gives the same result.
const BATCH: usize = 128;

/// Flags of `eval`.
#[derive(Args)]
pub struct Flags {
    /// Weights that `train --save` wrote
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    /// The images to evaluate on
    #[arg(long, default_value = "validation")]
    split: SplitName,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Which images.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SplitName {
    /// Held out of the training images.
    Validation,
    /// Never trained on.
    Test,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let mut settings = Settings::default();
    settings.data(&flags.data)?;
    settings.device(&flags.device);
    let config = settings.resolve(&flags.config, DEFAULT_PRESET)?;
    let file = WeightsFile::read(&flags.weights)?;
    let metadata = file.metadata()?;
    let architecture = match &metadata.architecture {
        Architecture::Conv(network) => network,
        Architecture::Cell(_) => return Err(Failure::no_cells_yet("evaluate", &flags.weights)),
    };
    let dataset = flags::open_data(&config.data, output)?;
    if metadata.data_sha256 != dataset.sha256() {
        tracing::warn!(
            "{} was trained on other data (sha256 {}) than this (sha256 {})",
            flags.weights.display(),
            metadata.data_sha256,
            dataset.sha256()
        );
    }
    let graph = Graph::new(architecture, dataset.classes().len());
    let weights = file.weights(&Params::new(&graph.map_err(TrainError::from)?))?;
    let (name, records) = match flags.split {
        SplitName::Test => ("test", train::test_records(&dataset)),
        SplitName::Validation => {
            let split = Split::new(dataset.n_train(), metadata.split_seed, metadata.shuffle);
            ("validation", split.validation)
        }
    };
    let (device, why) = device::open_first(
        &config.device.name,
        config.device.threads,
        config.device.convolution,
    )?;
    output.device(&device.describe(), why.as_deref());
    let evaluation = train::evaluate(&EvaluationJob {
        device: &*device,
        dataset: &dataset,
        architecture,
        weights: &weights,
        augment: metadata.augment,
        records: &records,
        batch: BATCH,
        memory_limit: device.memory_bytes().or_else(machine::memory_bytes),
    })?;
    let mut json = json!({"split": name});
    let fields = json!(evaluation);
    for (key, value) in fields.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    let words = format!(
        "{name} accuracy  {:.4} ({} of {})\n{name} loss      {:.4}\n",
        evaluation.accuracy,
        text::count(evaluation.correct),
        text::count(evaluation.total),
        evaluation.loss,
    );
    output.result(&json, &words)
}
