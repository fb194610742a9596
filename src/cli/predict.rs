//! `nas-engine predict`: what a trained network sees in pictures.

use std::path::{Path, PathBuf};

use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, DeviceFlags, Settings};
use super::output::Output;
use crate::config;
use crate::data::import::{self, Pictures};
use crate::data::{Augment, Dataset, IMAGE_BYTES};
use crate::device::Input;
use crate::graph::{Graph, Params};
use crate::report::table::{Align, aligned};
use crate::space::Architecture;
use crate::text;
use crate::train::logits::Images;
use crate::train::metadata::Facts;
use crate::train::weights_file::WeightsFile;
use crate::train::{Runner, TrainError};

/// Pictures that are read and looked at together.
const CHUNK: usize = 512;

/// Images of a batch: as many as `eval` takes.
const BATCH: usize = 100;

/// Flags of `predict`.
#[derive(Args)]
pub struct Flags {
    /// Weights of a network, as `train --save` and `finish` write them
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Pictures, or folders of them, brought to 32x32 as `data import folder` does
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print comma-separated values: file, class, probability, and the probability of each class
    #[arg(long)]
    csv: bool,
    /// Turn pictures by their EXIF tag, as cameras mean it
    #[arg(long)]
    upright: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// What a network sees in a picture.
#[derive(Serialize)]
struct Prediction {
    /// As named; bytes that are not UTF-8 as `\xNN`.
    file: String,
    class: String,
    probability: f64,
    /// In the order of the classes.
    probabilities: Vec<f64>,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    if flags.csv && output.json {
        let message = "--csv and --json are two forms of one result; give one of them";
        return Err(Failure::new(Kind::Usage, message));
    }
    let file = WeightsFile::read(&flags.weights)?;
    let metadata = file.metadata()?;
    let (
        Architecture::Conv(network),
        Facts::Images {
            augment,
            classes,
            batch_norm_epsilon,
            ..
        },
    ) = (&metadata.architecture, &metadata.facts)
    else {
        let message = format!(
            "{} holds a recurrent cell, which sees no pictures; `nas-engine sample` writes text with it",
            flags.weights.display()
        );
        return Err(Failure::new(Kind::Weights, message));
    };
    let graph = Graph::new(network, classes.len()).map_err(TrainError::from)?;
    let params = Params::new(&graph);
    let weights = file.weights(&params)?;
    let mut settings = Settings::default();
    settings.device(&flags.device);
    let config = settings.resolve(
        &flags::ConfigFlags::default(),
        config::default_preset(metadata.architecture.kind()),
    )?;
    let device = flags::open_device(&config, output)?;
    let viewer = Viewer {
        network: Images {
            graph: &graph,
            params: &params,
            weights: &weights,
            norm_epsilon: *batch_norm_epsilon,
        },
        classes,
        augment: *augment,
        runner: flags::runner(&*device),
        path: &flags.weights,
    };
    let (files, mut skipped) = import::files(&flags.paths);
    let pictures = Pictures::new(None, flags.upright);
    let mut predictions = Vec::new();
    for files in files.chunks(CHUNK) {
        predictions.extend(viewer.predict(files, &pictures, &mut skipped)?);
    }
    for import::Skipped { file, reason } in &skipped {
        tracing::warn!("{}: {reason}", text::one_line(file));
    }
    let json = json!({"predictions": predictions, "skipped": skipped});
    match predictions.is_empty() {
        false if flags.csv => output.csv(&csv(classes, &predictions)),
        false => output.result(&json, &words(&predictions)),
        true => {
            let message = match skipped.first() {
                Some(first) => format!(
                    "no picture could be read, such as {}: {}",
                    first.file, first.reason
                ),
                None => "there is no file in what was named; name pictures or folders of them"
                    .to_owned(),
            };
            Err(output.partial(&json, "", Failure::new(Kind::Data, message))?)
        }
    }
}

/// A network that looks at pictures.
struct Viewer<'a> {
    network: Images<'a>,
    classes: &'a [String],
    augment: Augment,
    runner: Runner<'a>,
    /// Where its weights are.
    path: &'a Path,
}

impl Viewer<'_> {
    /// What it sees in each picture; what is none goes to `skipped`.
    fn predict(
        &self,
        files: &[PathBuf],
        pictures: &Pictures,
        skipped: &mut Vec<import::Skipped>,
    ) -> Result<Vec<Prediction>, Failure> {
        let read: Vec<_> = files.par_iter().map(|path| pictures.read(path)).collect();
        let mut paths = Vec::new();
        let mut images: Vec<[u8; IMAGE_BYTES]> = Vec::new();
        for (path, read) in files.iter().zip(read) {
            match read {
                Ok(ready) => {
                    paths.push(path);
                    images.push(ready.image);
                }
                Err(reason) => skipped.push(import::Skipped::new(path, reason)),
            }
        }
        let seen = paths.into_iter().zip(self.look(&images)?);
        let predictions = seen
            .map(|(path, probabilities)| prediction(path, self.classes, probabilities, self.path));
        predictions.collect()
    }

    /// The probabilities `[n][classes]` that it gives images.
    fn look(&self, images: &[[u8; IMAGE_BYTES]]) -> Result<Vec<Vec<f64>>, Failure> {
        let mut seen = Vec::with_capacity(images.len());
        if images.is_empty() {
            return Ok(seen);
        }
        let dataset = Dataset::of_images(self.classes.to_vec(), images);
        let records: Vec<u32> = (0..images.len() as u32).collect();
        let input = Input::of_images(&dataset, self.augment, 0);
        let batch = BATCH.min(images.len());
        self.network
            .logits(input, &records, batch, &self.runner, &mut |logits| {
                seen.extend(logits.chunks(self.classes.len()).map(softmax));
            })?;
        Ok(seen)
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

fn prediction(
    path: &Path,
    classes: &[String],
    probabilities: Vec<f64>,
    weights: &Path,
) -> Result<Prediction, Failure> {
    if probabilities.iter().any(|p| !p.is_finite()) {
        return Err(Failure::not_finite(weights));
    }
    // Of equal ones the first, as in an evaluation.
    let best = (0..classes.len())
        .rev()
        .max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let best = best.unwrap_or(0);
    Ok(Prediction {
        file: import::name(path),
        class: classes[best].clone(),
        probability: probabilities[best],
        probabilities,
    })
}

fn words(predictions: &[Prediction]) -> String {
    let header = [
        ("file", Align::Left),
        ("class", Align::Left),
        ("probability", Align::Right),
    ];
    let rows = predictions.iter().map(|seen| {
        vec![
            text::one_line(&seen.file).into_owned(),
            text::one_line(&seen.class).into_owned(),
            format!("{:.4}", seen.probability),
        ]
    });
    aligned(&header, &rows.collect::<Vec<_>>())
}

/// RFC 4180, a record a picture after that of the names.
fn csv(classes: &[String], predictions: &[Prediction]) -> String {
    let quoted = |field: &str| match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    };
    let names = ["file", "class", "probability"].map(str::to_owned);
    let names = names
        .into_iter()
        .chain(classes.iter().map(|class| quoted(class)));
    let mut lines = vec![names.collect::<Vec<_>>().join(",")];
    for seen in predictions {
        let fields = [
            quoted(&seen.file),
            quoted(&seen.class),
            seen.probability.to_string(),
        ];
        let fields = fields
            .into_iter()
            .chain(seen.probabilities.iter().map(f64::to_string));
        lines.push(fields.collect::<Vec<_>>().join(","));
    }
    lines.join("\n") + "\n"
}
