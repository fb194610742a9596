//! `nas-engine train`: one architecture, from its initial weights to a file; and on from where it was
//! stopped.

mod resume;
pub mod show;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, SeedFlags, Settings, whole};
use super::machine::MemoryWatch;
use super::output::Output;
use super::stop::{self, TimeFlags};
use crate::config::{self, Config};
use crate::data::Augment;
use crate::disk::Real;
use crate::graph::Params;
use crate::graph::params::Weights;
use crate::space::SpaceKind;
use crate::train::weights_file::{self, WeightsFile};
use crate::train::{self, Course, Held, Job, Outcome, TrainError, held_out};
use resume::{Goal, Kept};
use show::Come;

/// Flags of `train`.
#[derive(Args)]
pub struct Flags {
    /// The architecture, a JSON file
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    arch: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlags,
    /// Passes over the training data
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::EPOCHS), value_name = "N")]
    epochs: Option<i64>,
    /// Images of a batch, or rows of text
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::BATCH), value_name = "N")]
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
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::HIDDEN), value_name = "N")]
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
    /// Keep here what a stopped training goes on from; by default FILE.safetensors.checkpoint beside
    /// --save
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on with a training that was stopped, from its checkpoint
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    time: TimeFlags,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    seed: SeedFlags,
}

/// Runs the command. `typed` are the names of the flags on the command line.
pub fn run(flags: &Flags, typed: &[String], output: &Output) -> Result<(), Failure> {
    let stop = stop::flag(&flags.time)?;
    let goal = match &flags.resume {
        Some(file) => Goal::resumed(flags, file, typed)?,
        None => Goal::new(flags)?,
    };
    let course = flags::open_course(&goal.config, output)?;
    flags::warn_of_split(&course, goal.config.data.path.as_deref());
    let child = course.child(&goal.architecture)?;
    let init = flags
        .init
        .as_deref()
        .map(|path| read_weights(path, child.params(), &course))
        .transpose()?;
    let device = flags::open_device(&goal.config, output)?;
    let watch = MemoryWatch::start();
    let kept = Kept::open(&goal, &*child, &*device, output)?;
    let Kept { mut keeper, path } = kept;
    let job = Job {
        child: &*child,
        runner: flags::runner(&*device),
        plan: None,
        learning_rate: goal.learning_rate,
        seed: goal.config.search.seed,
        init: init.as_ref(),
        test: goal.test,
        stop: &|| stop.load(Ordering::Relaxed),
    };
    let mut epochs = keeper.state().epochs.clone();
    let trained = train::train(&job, &mut keeper, &mut |epoch| {
        output.note(&show::line(epoch, goal.config.train.epochs()));
        epochs.push(epoch.clone());
    });
    let peak = watch.peak();
    let outcome = match trained {
        Ok(outcome) => outcome,
        Err(error) => {
            let come = Come {
                child: &*child,
                epochs: &epochs,
                test: None,
                step_losses: None,
                memory: (child.plan(&*device).arena_bytes as u64, peak),
                saved: None,
            };
            return Err(match error {
                TrainError::Stopped => resume::stopped(&come, &path, output)?,
                error => come.show_before(resume::to_go_on(error.into(), &path), output)?,
            });
        }
    };
    let mut come = Come {
        child: &*child,
        epochs: &outcome.epochs,
        test: outcome.test.as_ref().map(|test| test.value()),
        step_losses: goal.log_steps.then_some(&outcome.step_losses),
        memory: (outcome.planned_memory_bytes, peak),
        saved: None,
    };
    if outcome.diverged {
        if let Err(error) = keeper.remove() {
            tracing::warn!("{error}");
        }
        return Err(come.show_before(diverged(&outcome), output)?);
    }
    if let Some(path_of_weights) = &goal.save {
        let metadata = outcome.metadata(&job);
        let (params, weights) = (child.params(), &outcome.weights);
        let replaced = path_of_weights.exists();
        let saved = weights_file::save(&Real, path_of_weights, params, weights, &metadata);
        if let Err(error) = saved {
            let mut failure = Failure::from(error);
            let elsewhere = elsewhere(path_of_weights);
            match weights_file::save(&Real, &elsewhere, params, weights, &metadata) {
                Ok(()) => {
                    let elsewhere = elsewhere.display().to_string();
                    failure.message +=
                        &format!("; the weights were written to {elsewhere} instead");
                    come.saved = Some(elsewhere);
                }
                Err(_) => failure = resume::to_go_on(failure, &path),
            }
            return Err(come.show_before(failure, output)?);
        }
        if replaced {
            flags::note_written(path_of_weights, replaced, output);
        }
        come.saved = Some(path_of_weights.display().to_string());
    }
    match keeper.remove() {
        Ok(()) => come.show(output),
        Err(error) => Err(come.show_before(error.into(), output)?),
    }
}

/// Where weights go that cannot be written where asked: the training is not to be lost.
fn elsewhere(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    std::env::temp_dir().join(format!("nas-engine-{}-{name}", std::process::id()))
}

fn diverged(outcome: &Outcome) -> Failure {
    let message = format!(
        "training diverged in epoch {}: a loss, a weight or a perplexity is not finite; use a \
         smaller --learning-rate",
        outcome.epochs.len() + 1
    );
    Failure::new(Kind::Run, message)
}

/// The settings: flags over a file over the paper's, for a kind of architecture.
fn resolve(flags: &Flags, arch: &Path, kind: SpaceKind) -> Result<Config, Failure> {
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
        SpaceKind::Bench => return Err(TrainError::LookedUp.into()),
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
            arch.display(),
            kind.name(),
            config.space.kind().name()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(config)
}

/// Weights to start from; says where the validation records are not those that they were trained without.
fn read_weights(path: &Path, params: &Params, course: &Course) -> Result<Weights, Failure> {
    let file = WeightsFile::read(path)?;
    let weights = file.weights(params)?;
    // Of another program there may be no metadata.
    if let Ok(metadata) = file.metadata()
        && let Some(doubt) = held_out::doubt(&metadata, course, Held::Validation)
    {
        tracing::warn!("--init {} {doubt}", path.display());
    }
    Ok(weights)
}
