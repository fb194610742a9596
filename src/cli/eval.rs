//! `nas-engine eval`: saved weights on the validation or the test data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, Settings};
use super::output::Output;
use crate::config::{self, Config};
use crate::data::corpus::Level;
use crate::disk::{Real, whole};
use crate::export::plain;
use crate::export::tensor::{Tensor, Values};
use crate::graph::params::Weights;
use crate::text;
use crate::train::logits::Labelled;
use crate::train::metadata::{Facts, Metadata};
use crate::train::weights_file::WeightsFile;
use crate::train::{
    Child, Course, Evaluation, Held, LanguageConfig, NetworkConfig, Runner, TextScore, TrainConfig,
    held_out,
};

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
    /// The data to evaluate on
    #[arg(long, default_value = "validation")]
    split: SplitName,
    /// Also write the logits and the labels, in the order of evaluation, as safetensors
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Bytes of a file of logits at most.
const MOST_LOGITS: u64 = 4_000_000_000;

/// Which data.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SplitName {
    /// Held out of training.
    Validation,
    /// Never trained on.
    Test,
}

impl SplitName {
    /// Its word, and what it is of.
    fn held(self) -> (&'static str, Held) {
        match self {
            SplitName::Validation => ("validation", Held::Validation),
            SplitName::Test => ("test", Held::Test),
        }
    }
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let file = WeightsFile::read(&flags.weights)?;
    let metadata = file.metadata()?;
    let config = resolve(flags, &file, &metadata)?;
    let course = open_course(&config, &metadata, output)?;
    check_vocabulary(flags, &metadata, &course)?;
    let child = course.child(&metadata.architecture)?;
    let weights = file.weights(child.params())?;
    let (name, held) = flags.split.held();
    if let Some(doubt) = held_out::doubt(&metadata, &course, held) {
        tracing::warn!("{} {doubt}", flags.weights.display());
    }
    if let Some(path) = &flags.logits {
        let [data, own] = [&flags.data.data, &flags.config.config].map(Option::as_deref);
        check_logits(path, child.n_logits(held)?)?;
        flags::check_not_read("--logits", path, &[Some(&flags.weights), data, own])?;
    }
    let device = flags::open_device(&config, output)?;
    let runner = flags::runner(&*device);
    let evaluation = child.evaluate(held, &weights, &runner)?;
    if !(evaluation.loss().is_finite() && evaluation.value().is_finite()) {
        return Err(Failure::not_finite(&flags.weights));
    }
    let mut json = json!({"split": name});
    let fields = json!(evaluation);
    for (key, value) in fields.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    let words = words(name, &evaluation);
    if let Some(path) = &flags.logits {
        let replaced = path.exists();
        if let Err(failure) = write_logits(path, &*child, held, &weights, &runner) {
            return Err(output.partial(&json, &words, failure)?);
        }
        flags::note_written(path, replaced, output);
    }
    output.result(&json, &words)
}

/// Refuses logits that would be too many, before anything is evaluated.
fn check_logits(path: &Path, [n, k]: [usize; 2]) -> Result<(), Failure> {
    let bytes = 4 * n as u64 * k as u64;
    if bytes > MOST_LOGITS {
        let message = format!(
            "--logits {} would be of {}, for {} predictions of {} logits each, more than the {} that are \
             written; leave it out, or give less data",
            path.display(),
            text::bytes(bytes),
            text::count(n as u64),
            text::count(k as u64),
            text::bytes(MOST_LOGITS)
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    flags::check_writable("--logits", path)
}

fn write_logits(
    path: &Path,
    child: &dyn Child,
    held: Held,
    weights: &Weights,
    runner: &Runner,
) -> Result<(), Failure> {
    let [n, k] = child.n_logits(held)?;
    let Labelled { logits, labels } = child.logits(held, weights, runner)?;
    let labels = Tensor {
        shape: vec![n],
        values: Values::I64(labels),
    };
    let tensors = [
        ("logits".to_owned(), Tensor::floats(&[n, k], logits)),
        ("labels".to_owned(), labels),
    ];
    let bytes = plain::file(&tensors, &[]);
    whole::write(&Real, path, |file| file.write_all(&bytes)).map_err(|error| {
        let message = format!(
            "cannot write --logits {}: {error}; make room on its disk, or choose another place",
            path.display()
        );
        Failure::new(Kind::Usage, message)
    })
}

/// The settings of the device and of the data, and those of training that the file decides.
fn resolve(flags: &Flags, file: &WeightsFile, metadata: &Metadata) -> Result<Config, Failure> {
    let mut settings = Settings::default();
    settings.data(&flags.data)?;
    settings.device(&flags.device);
    let preset = config::default_preset(metadata.architecture.kind());
    let mut config = settings.resolve(&flags.config, preset)?;
    match (&mut config.train, &metadata.facts) {
        (
            TrainConfig::Network(train),
            Facts::Images {
                split_seed,
                shuffle,
                augment,
                batch_norm_epsilon,
                ..
            },
        ) => {
            *train = NetworkConfig {
                batch: BATCH,
                split_seed: *split_seed,
                shuffle: *shuffle,
                augment: *augment,
                batch_norm_epsilon: *batch_norm_epsilon,
                ..train.clone()
            }
        }
        (TrainConfig::Language(train), Facts::Text { level, limit, .. }) => {
            let given = flags.data.level.as_deref();
            if given.is_some_and(|given| given != level.to_string()) {
                return Err(other_text(&flags.weights, "--level", &level.to_string()));
            }
            config.data.level = Some(*level);
            let given = flags.data.vocabulary.map(|n| usize::try_from(n).ok());
            if given.is_some_and(|given| given != *limit) {
                let limit = limit.map_or("no limit".to_owned(), |limit| limit.to_string());
                return Err(other_text(&flags.weights, "--vocabulary", &limit));
            }
            config.data.vocabulary = *limit;
            let sizes = file.language_sizes()?;
            *train = LanguageConfig {
                hidden: Some(sizes.hidden),
                parameters: None,
                layers: sizes.layers,
                tied: sizes.tied,
                dropout: 0.0,
                ..train.clone()
            };
        }
        _ => {
            let message = format!(
                "{} is for the other kind of architectures than {}; leave --config out",
                flags
                    .config
                    .config
                    .as_deref()
                    .unwrap_or(Path::new(""))
                    .display(),
                flags.weights.display()
            );
            return Err(Failure::new(Kind::Usage, message));
        }
    }
    Ok(config)
}

/// Opens the data; of those that the weights were trained on, the records that they were trained
/// under, where no setting says how many.
fn open_course(config: &Config, metadata: &Metadata, output: &Output) -> Result<Course, Failure> {
    let (TrainConfig::Network(train), Facts::Images { limit, .. }) =
        (&config.train, &metadata.facts)
    else {
        return flags::open_course(config, output);
    };
    let mut dataset = flags::dataset(&config.data)?;
    let mut hint = String::new();
    if let (None, Some(limit)) = (config.data.limit, *limit)
        && dataset.sha256() == metadata.data_sha256
    {
        dataset = dataset.limited(Some(limit))?;
        hint = format!(", as trained: --limit {limit}");
    }
    let words = format!("{}{hint}", dataset.describe());
    flags::note_data(&config.data, &words, output);
    Ok(Course::Images(Arc::new(dataset), train.clone()))
}

fn other_text(weights: &Path, flag: &str, theirs: &str) -> Failure {
    let message = format!(
        "{flag}: {} was trained with {theirs}; leave it out",
        weights.display()
    );
    Failure::new(Kind::Usage, message)
}

/// Refuses a text of other words than the weights were trained on.
fn check_vocabulary(flags: &Flags, metadata: &Metadata, course: &Course) -> Result<(), Failure> {
    let weights = &flags.weights;
    if let (
        Course::Text(corpus, _),
        Facts::Text {
            vocabulary_sha256, ..
        },
    ) = (course, &metadata.facts)
        && *vocabulary_sha256 != corpus.vocabulary().sha256()
    {
        let unit = match corpus.level() {
            Level::Word => "words",
            Level::Char => "characters",
        };
        let message = format!(
            "{} was trained on a text of other {unit} (vocabulary sha256 {vocabulary_sha256}) than \
             {} (sha256 {}); give the text that it was trained on with --data",
            weights.display(),
            corpus.name(),
            corpus.vocabulary().sha256()
        );
        return Err(Failure::new(Kind::Data, message));
    }
    Ok(())
}

fn words(name: &str, evaluation: &Evaluation) -> String {
    match evaluation {
        Evaluation::Images(score) => format!(
            "{name} accuracy  {:.4} ({} of {})\n{name} loss      {:.4}\n",
            score.accuracy,
            text::count(score.correct),
            text::count(score.total),
            score.loss,
        ),
        Evaluation::Text(TextScore {
            tokens,
            loss,
            perplexity,
            bits_per_character,
        }) => {
            let bits = bits_per_character.map_or(String::new(), |bits| {
                format!("{name} bits a character  {bits:.4}\n")
            });
            format!(
                "{name} perplexity  {perplexity:.2} ({} tokens)\n{name} loss        {loss:.4}\n{bits}",
                text::count(*tokens),
            )
        }
    }
}
