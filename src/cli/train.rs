//! `nas-engine train`: one architecture, from its initial weights to a file.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, SeedFlags, Settings};
use super::machine::MemoryWatch;
use super::output::Output;
use crate::config::Config;
use crate::data::Augment;
use crate::disk::Real;
use crate::graph::Params;
use crate::graph::params::Weights;
use crate::space::SpaceKind;
use crate::text;
use crate::train::weights_file::{self, WeightsFile};
use crate::train::{self, Child, EpochReport, Job, Keeper, Outcome, Pace, Score};

/// Flags of `train`.
#[derive(Args)]
pub struct Flags {
    /// The architecture, a JSON file
    #[arg(long, value_name = "FILE")]
    arch: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    /// Passes over the training data
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    epochs: Option<i64>,
    /// Images of a batch, or rows of text
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
    /// Hidden units of a layer, of a cell; by default as many as 20 million parameters allow
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    hidden: Option<i64>,
    /// Probability that a value is dropped while a cell is trained; 0 turns it off
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    dropout: Option<f64>,
    /// Evaluate the test data too, once, after the last epoch
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
    let architecture = flags::read_architecture(&flags.arch)?;
    let config = resolve(flags, architecture.kind())?;
    if let Some(path) = &flags.save {
        flags::check_writable("--save", path)?;
    }
    let course = flags::open_course(&config, output)?;
    let child = course.child(&architecture)?;
    let init = flags
        .init
        .as_deref()
        .map(|path| read_weights(path, child.params()))
        .transpose()?;
    let device = flags::open_device(&config, output)?;
    let watch = MemoryWatch::start();
    let job = Job {
        child: &*child,
        runner: flags::runner(&*device),
        plan: None,
        learning_rate: flags.learning_rate,
        seed: config.search.seed,
        init: init.as_ref(),
        test: flags.test,
        stop: None,
    };
    let outcome = train::train(&job, &mut Keeper::none(), &mut |epoch| {
        output.note(&line(epoch, config.train.epochs()))
    })?;
    let peak = watch.peak();
    if outcome.diverged {
        let message = format!(
            "training diverged in epoch {}: a loss, a weight or a perplexity is not finite; use a \
             smaller --learning-rate",
            outcome.epochs.len() + 1
        );
        return Err(Failure::new(Kind::Run, message));
    }
    if let Some(path) = &flags.save {
        let metadata = outcome.metadata(&job);
        weights_file::save(&Real, path, child.params(), &outcome.weights, &metadata)?;
    }
    show(flags, &*child, &outcome, peak, output)
}

/// The settings: flags over a file over the paper's, for a kind of architecture.
fn resolve(flags: &Flags, kind: SpaceKind) -> Result<Config, Failure> {
    let for_networks = [
        ("--augment", flags.augment.is_some()),
        ("--no-shuffle", flags.no_shuffle),
    ];
    let for_cells = [
        ("--hidden", flags.hidden.is_some()),
        ("--dropout", flags.dropout.is_some()),
    ];
    let preset = match kind {
        SpaceKind::Conv => {
            flags::refuse(&for_cells, "recurrent cells", "a convolutional network")?;
            "v1"
        }
        SpaceKind::Cell => {
            flags::refuse(&for_networks, "convolutional networks", "a recurrent cell")?;
            "ptb"
        }
    };
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
    settings.set("train.hidden", "--hidden", flags.hidden);
    settings.set("train.dropout", "--dropout", flags.dropout);
    settings.data(&flags.data)?;
    settings.device(&flags.device);
    settings.seed(&flags.seed);
    let config = settings.resolve(&flags.config, preset)?;
    if config.space.kind() != kind {
        let message = format!(
            "{} is one of --space {}, and the settings are for --space {}; give a --config that \
             is for the same",
            flags.arch.display(),
            kind.name(),
            config.space.kind().name()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(config)
}

fn read_weights(path: &Path, params: &Params) -> Result<Weights, Failure> {
    Ok(WeightsFile::read(path)?.weights(params)?)
}

fn line(epoch: &EpochReport, epochs: usize) -> String {
    let score = match epoch.score {
        Score::Accuracy {
            validation_accuracy,
        } => format!("accuracy {validation_accuracy:.4}"),
        Score::Perplexity {
            train_perplexity,
            validation_perplexity,
            validation_bits_per_character,
        } => {
            let bits = validation_bits_per_character
                .map(|bits| format!(", {bits:.3} bits a character"))
                .unwrap_or_default();
            format!("perplexity {train_perplexity:.2}, validation {validation_perplexity:.2}{bits}")
        }
    };
    let pace = match epoch.pace {
        Pace::ImagesPerSecond(pace) => format!("{pace:.0} images/s"),
        Pace::WordsPerSecond(pace) => format!("{pace:.0} words/s"),
    };
    format!(
        "epoch {}/{epochs}: loss {:.4}, validation loss {:.4}, {score}, learning rate {}, {} at {pace}",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.learning_rate,
        text::duration(epoch.seconds),
    )
}

fn show(
    flags: &Flags,
    child: &dyn Child,
    outcome: &Outcome,
    peak: Option<u64>,
    output: &Output,
) -> Result<(), Failure> {
    let validation = outcome.epochs.last().map(|epoch| epoch.score.value());
    let test = outcome.test.map(|test| test.value());
    let mut json = json!({"parameters": child.parameters(), "epochs": outcome.epochs});
    let mut words = format!(
        "parameters             {}\n",
        text::count(child.parameters())
    );
    let (what, shown): (_, fn(Option<f64>) -> String) = match child.hidden() {
        None => ("accuracy", text::share),
        Some(hidden) => {
            json["hidden"] = json!(hidden);
            words += &format!("hidden units           {hidden}\n");
            ("perplexity", |x| {
                x.map_or("-".into(), |x| format!("{x:.2}"))
            })
        }
    };
    json[format!("validation_{what}")] = json!(validation);
    json[format!("test_{what}")] = json!(test);
    json["peak_memory_bytes"] = json!(peak);
    json["planned_memory_bytes"] = json!(outcome.planned_memory_bytes);
    if flags.log_steps {
        json["step_losses"] = json!(outcome.step_losses);
    }
    let mut row = |name: String, value: String| words += &format!("{name:22} {value}\n");
    row(format!("validation {what}"), shown(validation));
    if test.is_some() {
        row(format!("test {what}"), shown(test));
    }
    row(
        "memory".into(),
        format!(
            "{} planned, {} at the peak of the process",
            text::bytes(outcome.planned_memory_bytes),
            peak.map_or("unknown".into(), text::bytes),
        ),
    );
    if let Some(path) = &flags.save {
        row("weights".into(), path.display().to_string());
    }
    output.result(&json, &words)
}
