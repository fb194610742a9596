//! `nas-engine train`: one architecture, from its initial weights to a file.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, SeedFlags, Settings};
use super::machine::{self, MemoryWatch};
use super::output::Output;
use crate::config::Config;
use crate::data::Augment;
use crate::device;
use crate::graph::params::Weights;
use crate::graph::{Graph, Params};
use crate::space::Architecture;
use crate::text;
use crate::train::checkpoint::{self, Metadata, WeightsFile};
use crate::train::{self, EpochReport, Job, Outcome};

/// The preset whose training settings are used without a file: the paper's.
const PRESET: &str = "v1";

/// Flags of `train`.
#[derive(Args)]
pub struct Flags {
    /// The architecture, a JSON file
    #[arg(long, value_name = "FILE")]
    arch: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    /// Passes over the training images
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    epochs: Option<i64>,
    /// Images of a batch
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    batch: Option<i64>,
    /// Initial learning rate, also in place of the architecture's own
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    learning_rate: Option<f64>,
    /// Views of an image
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Augment::NAMES))]
    augment: Option<String>,
    /// Take the images in the order of the files, the last tenth for validation
    #[arg(long)]
    no_shuffle: bool,
    /// Evaluate the test images too, once, after the last epoch
    #[arg(long)]
    test: bool,
    /// Add the loss of every step to the JSON object
    #[arg(long)]
    log_steps: bool,
    /// Start from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    init: Option<PathBuf>,
    /// Keep the last epoch's weights here
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    seed: SeedFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let config = resolve(flags)?;
    let architecture = match flags::read_architecture(&flags.arch)? {
        Architecture::Conv(network) => network,
        Architecture::Cell(_) => return Err(Failure::no_cells_yet("train", &flags.arch)),
    };
    if let Some(path) = &flags.save {
        flags::check_writable("--save", path)?;
    }
    let dataset = flags::open_data(&config.data, output)?;
    let n_classes = dataset.classes().len();
    let params =
        Params::new(&Graph::new(&architecture, n_classes).map_err(train::TrainError::from)?);
    let init = flags
        .init
        .as_deref()
        .map(|path| read_weights(path, &params))
        .transpose()?;
    let (device, why) = device::open_first(
        &config.device.name,
        config.device.threads,
        config.device.convolution,
    )?;
    output.device(&device.describe(), why.as_deref());
    let watch = MemoryWatch::start();
    let job = Job {
        device: &*device,
        dataset: &dataset,
        architecture: &architecture,
        config: &config.train,
        learning_rate: flags.learning_rate,
        seed: config.search.seed,
        init: init.as_ref(),
        test: flags.test,
        memory_limit: device.memory_bytes().or_else(machine::memory_bytes),
        stop: None,
    };
    let outcome = train::train(&job, &mut |epoch| {
        output.note(&line(epoch, config.train.epochs))
    })?;
    let peak = watch.peak();
    if outcome.diverged {
        let message = format!(
            "training diverged in epoch {}: a loss or a weight is not finite; use a smaller \
             --learning-rate",
            outcome.epochs.len() + 1
        );
        return Err(Failure::new(Kind::Run, message));
    }
    if let Some(path) = &flags.save {
        let metadata = Metadata::new(&job, &outcome);
        checkpoint::save(path, &params, &outcome.weights, &metadata)?;
    }
    show(flags, &outcome, peak, output)
}

/// The settings: flags over a file over the paper's.
fn resolve(flags: &Flags) -> Result<Config, Failure> {
    let mut settings = Settings::default();
    settings.set("train.epochs", "--epochs", flags.epochs);
    settings.set("train.batch", "--batch", flags.batch);
    settings.set(
        "train.learning_rate",
        "--learning-rate",
        flags.learning_rate,
    );
    settings.set("train.augment", "--augment", flags.augment.clone());
    settings.set(
        "train.shuffle",
        "--no-shuffle",
        flags.no_shuffle.then_some(false),
    );
    settings.data(&flags.data)?;
    settings.device(&flags.device);
    settings.seed(&flags.seed);
    settings.resolve(&flags.config, PRESET)
}

fn read_weights(path: &Path, params: &Params) -> Result<Weights, Failure> {
    Ok(WeightsFile::read(path)?.weights(params)?)
}

fn validation_accuracy(outcome: &Outcome) -> Option<f64> {
    outcome.epochs.last().map(|epoch| epoch.validation_accuracy)
}

fn line(epoch: &EpochReport, epochs: usize) -> String {
    format!(
        "epoch {}/{epochs}: loss {:.4}, validation loss {:.4}, accuracy {:.4}, learning rate {}, \
         {} at {:.0} images/s",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.validation_accuracy,
        epoch.learning_rate,
        text::duration(epoch.seconds),
        epoch.images_per_second,
    )
}

fn show(
    flags: &Flags,
    outcome: &Outcome,
    peak: Option<u64>,
    output: &Output,
) -> Result<(), Failure> {
    let mut json = json!({
        "parameters": outcome.parameters,
        "epochs": outcome.epochs,
        "validation_accuracy": validation_accuracy(outcome),
        "test_accuracy": outcome.test_accuracy,
        "peak_memory_bytes": peak,
        "planned_memory_bytes": outcome.planned_memory_bytes,
    });
    if flags.log_steps {
        json["step_losses"] = json!(outcome.step_losses);
    }
    let mut words = format!(
        "parameters           {}\nvalidation accuracy  {}\n",
        text::count(outcome.parameters),
        text::share(validation_accuracy(outcome)),
    );
    if outcome.test_accuracy.is_some() {
        words += &format!(
            "test accuracy        {}\n",
            text::share(outcome.test_accuracy)
        );
    }
    words += &format!(
        "memory               {} planned, {} at the peak of the process\n",
        text::bytes(outcome.planned_memory_bytes),
        peak.map_or("unknown".into(), text::bytes),
    );
    if let Some(path) = &flags.save {
        words += &format!("weights              {}\n", path.display());
    }
    output.result(&json, &words)
}
