//! `nas-engine export`: trained weights for other programs, read back before they appear; an architecture drawn.

mod drawing;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, Settings, whole};
use super::machine;
use super::output::Output;
use super::stop::{self, TimeFlags};
use crate::config::{self, THREADS};
use crate::data::corpus::{Corpus, TextPart};
use crate::device::{Convolution, cpu::Cpu};
use crate::export::expected::{self, Judges};
use crate::export::model::{CellModel, NetworkModel};
use crate::export::onnx::{ImageInput, Steps};
use crate::export::tensor::Call;
use crate::export::{self, Check, Checked, Model, OnnxOptions, Place};
use crate::graph::Costs;
use crate::rng::{Purpose, Rng};
use crate::text;
use crate::train::TrainConfig;
use crate::train::metadata::Metadata;
use crate::train::weights_file::WeightsFile;

/// Steps that a cell is written out for.
const STEPS: RangeInclusive<u64> = 1..=1000;
/// Tokens that are drawn where there is no text for a check.
const N_DRAWN: usize = 1 << 12;

/// Flags of `export`.
#[derive(Args)]
pub struct Flags {
    /// Weights that `train --save` or a search wrote
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "arch",
        conflicts_with = "arch"
    )]
    weights: Option<PathBuf>,
    /// An architecture to draw: its JSON file, or weights, which hold one
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
    /// What is written
    #[arg(long)]
    format: Format,
    /// Where; nothing may be there
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// What an ONNX network is given: bytes as in a data folder, or the view of evaluation
    #[arg(long, value_name = "WHAT", value_enum)]
    input: Option<InputName>,
    /// Steps that a cell is written out for in ONNX; 1 by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(STEPS), value_name = "T")]
    steps: Option<i64>,
    /// Write a cell for any number of steps in ONNX, by Scan, which fewer programs read
    #[arg(long, conflicts_with = "steps")]
    scan: bool,
    /// Classes of a drawn network; those of the weights, else 10
    #[arg(long, allow_negative_numbers = true, value_parser = whole(super::inspect::CLASSES), value_name = "N")]
    classes: Option<i64>,
    /// Records or a text to check with; the bundled ones by default
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A Python that reads the export: by torch, python3 by default, or by onnxruntime, none by default
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Write without reading it back, and say so in it
    #[arg(long)]
    no_check: bool,
    /// Threads; every core by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(THREADS), value_name = "N")]
    threads: Option<i64>,
}

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An ONNX file.
    Onnx,
    /// A folder for PyTorch: model.py and weights.safetensors.
    Pytorch,
    /// Plain tensors, as PyTorch has them.
    Safetensors,
    /// A drawing of the architecture for Graphviz.
    Dot,
    /// A drawing of the architecture that browsers show.
    Svg,
    /// The architecture with all its sizes.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::Pytorch => "pytorch",
            Format::Safetensors => "safetensors",
            Format::Dot => "dot",
            Format::Svg => "svg",
            Format::Json => "json",
        }
    }

    /// Whether it shows an architecture alone.
    fn is_drawing(self) -> bool {
        matches!(self, Format::Dot | Format::Svg | Format::Json)
    }
}

/// What a network is given.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum InputName {
    /// Bytes as in a data folder.
    Bytes,
    /// The view of evaluation.
    View,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    export::check_place(&flags.out)?;
    let format = flags.format;
    match (&flags.arch, &flags.weights) {
        (Some(arch), _) if format.is_drawing() => {
            drawing::write(flags, arch)?;
            show(flags, &Checked::default(), output)
        }
        (None, Some(weights)) if !format.is_drawing() => {
            let checked = of_weights(flags, weights, output)?;
            show(flags, &checked, output)
        }
        (arch, _) => {
            let (flag, other) = match arch {
                Some(_) => ("--weights", "trained weights"),
                None => ("--arch", "an architecture, which a weights file holds too"),
            };
            let name = format.name();
            let message = format!("--format {name} is of {other}; name the file with {flag}");
            Err(Failure::new(Kind::Usage, message))
        }
    }
}

/// Exports trained weights.
fn of_weights(flags: &Flags, weights: &Path, output: &Output) -> Result<Checked, Failure> {
    let file = WeightsFile::read(weights)?;
    let (model, metadata) = Model::of(&file)?;
    drop(file);
    let for_drawing = [("--classes", flags.classes.is_some())];
    flags::refuse(&for_drawing, "--arch", "--weights")?;
    let options = options(flags, &model)?;
    if !model.is_finite() {
        return Err(Failure::not_finite(weights));
    }
    let child = (&model, &metadata);
    let calls = match flags.no_check || flags.format == Format::Safetensors {
        true => None,
        false => Some(questions(flags, weights, child, options, output)?),
    };
    let finite = |call: &Call| {
        let outputs = call.expected.iter();
        let mut values = outputs.flat_map(|output| &output.reference);
        values.all(|value| value.is_finite())
    };
    if calls.iter().flatten().any(|call| !finite(call)) {
        return Err(Failure::not_finite(weights));
    }
    let python = flags.python.as_deref();
    let stop = stop()?;
    let place = Place {
        out: &flags.out,
        stop: &stop,
    };
    Ok(match flags.format {
        Format::Safetensors => export::write_safetensors(child, !flags.no_check, place)?,
        Format::Pytorch => {
            let python = python.unwrap_or(Path::new("python3"));
            let check = calls.as_deref().map(|calls| (calls, python));
            export::write_torch(child, check, place)?
        }
        _ => {
            let check = calls.as_deref().map(|calls| Check { calls, python });
            export::write_onnx(child, options, check, place)?
        }
    })
}

/// A flag that signals set. It is heeded once there is something that must not be left behind: before that a signal
/// ends the program at once.
fn stop() -> Result<Arc<AtomicBool>, Failure> {
    stop::flag(&TimeFlags { time_limit: None })
}

/// How ONNX is written, of the flags that go with it and with this kind of child.
fn options(flags: &Flags, model: &Model) -> Result<OnnxOptions, Failure> {
    if flags.format != Format::Onnx {
        let for_onnx = [
            ("--input", flags.input.is_some()),
            ("--steps", flags.steps.is_some()),
            ("--scan", flags.scan),
        ];
        let this = format!("--format {}", flags.format.name());
        flags::refuse(&for_onnx, "--format onnx", &this)?;
    }
    match model {
        Model::Network(_) => {
            let for_cell = [("--steps", flags.steps.is_some()), ("--scan", flags.scan)];
            flags::refuse(&for_cell, "a recurrent cell", "a convolutional network")?;
        }
        Model::Cell(_) => {
            let for_network = [("--input", flags.input.is_some())];
            flags::refuse(&for_network, "a convolutional network", "a recurrent cell")?;
        }
    }
    let steps = flags::in_range("--steps", flags.steps.unwrap_or(1), &STEPS)?;
    Ok(OnnxOptions {
        input: match flags.input {
            None | Some(InputName::Bytes) => ImageInput::Bytes,
            Some(InputName::View) => ImageInput::View,
        },
        steps: match flags.scan {
            true => Steps::Scan,
            false => Steps::Unrolled(steps),
        },
    })
}

/// What is asked of the export, and what is right.
fn questions(
    flags: &Flags,
    weights: &Path,
    (model, metadata): (&Model, &Metadata),
    options: OnnxOptions,
    output: &Output,
) -> Result<Vec<Call>, Failure> {
    let mut settings = Settings::default();
    settings.data_path(flags.data.as_deref())?;
    let config = config::Config::resolve(
        None,
        &settings.0,
        config::default_preset(metadata.architecture.kind()),
    )?;
    let asked = flags.threads.unwrap_or(machine::cores() as i64);
    let threads = flags::in_range("--threads", asked, &THREADS)?;
    let threads = machine::threads(Some(threads), machine::cores());
    let cpu = Cpu::new(Some(threads), Convolution::Auto)?;
    let judges = Judges {
        cpu: &cpu,
        memory_limit: machine::memory_bytes(),
        threads,
    };
    match (model, &config.train) {
        (Model::Network(model), TrainConfig::Network(_)) => {
            let dataset = flags::open_data(&config.data, output)?;
            note_work(model, output);
            Ok(expected::of_network(
                model,
                (&dataset, expected::RECORDS),
                options.input,
                &judges,
            )?)
        }
        (Model::Cell(model), _) => {
            let tokens = tokens(flags, weights, model, config, output)?;
            Ok(expected::of_cell(model, &tokens, options.steps, &judges)?)
        }
        (Model::Network(_), _) => {
            unreachable!("the preset is that of the kind")
        }
    }
}

/// Multiply-adds of a check that nobody need be told of.
const QUICK: u64 = 10_000_000_000;

/// Says how much the plain loops of the reference device have to do, where that takes a while.
fn note_work(model: &NetworkModel, output: &Output) {
    let work = Costs::new(&model.graph).multiply_adds();
    let work = work.saturating_mul(expected::RECORDS as u64);
    if work > QUICK {
        output.note(&format!(
            "check: {} multiply-adds on the reference device, which takes a while (--no-check leaves it out)",
            text::count(work)
        ));
    }
}

/// Tokens that a cell reads in its check: of the validation text of --data, of the bundled text where the words
/// are those, else drawn ones.
fn tokens(
    flags: &Flags,
    weights: &Path,
    model: &CellModel,
    mut config: config::Config,
    output: &Output,
) -> Result<Vec<u32>, Failure> {
    config.data.level = Some(model.level);
    config.data.vocabulary = model.limit;
    let is_theirs = |corpus: &Corpus| corpus.vocabulary().sha256() == model.vocabulary_sha256;
    if flags.data.is_some() {
        let corpus = flags::open_corpus(&config.data, output)?;
        if !is_theirs(&corpus) {
            let message = format!(
                "{} was trained on a text of other words than {}; give the text that it was trained \
                 on with --data, or none",
                weights.display(),
                corpus.name()
            );
            return Err(Failure::new(Kind::Data, message));
        }
        return Ok(corpus.tokens(TextPart::Validation).to_vec());
    }
    let bundled = Corpus::bundled(model.level, model.limit)?;
    if is_theirs(&bundled) {
        return Ok(bundled.tokens(TextPart::Validation).to_vec());
    }
    let mut rng = Rng::new(0, Purpose::Text, 0);
    let n_words = model.model.settings.vocabulary as u32;
    Ok((0..N_DRAWN).map(|_| rng.below(n_words)).collect())
}

fn show(flags: &Flags, checked: &Checked, output: &Output) -> Result<(), Failure> {
    let path = flags.out.display().to_string();
    let is_checked = !checked.by.is_empty();
    let json = json!({
        "path": path,
        "format": flags.format.name(),
        "records": checked.largest_difference.map(|_| checked.records),
        "largest_difference": checked.largest_difference,
        "checked_by": checked.by,
    });
    let mut words = format!("written  {path}\n");
    if is_checked {
        words += &format!(
            "checked  by {}{}\n",
            checked.by.join(" and "),
            match checked.largest_difference {
                None => ", every tensor".to_owned(),
                Some(apart) => format!(
                    ": {} records, largest difference {apart:.1e}",
                    text::count(checked.records as u64)
                ),
            }
        );
    } else if !flags.format.is_drawing() {
        words += "checked  by nothing (--no-check)\n";
    }
    output.result(&json, &words)
}
