//! Trained children for other programs: ONNX files, folders for PyTorch, plain safetensors; all read back and
//! compared before they appear.
//!
//! A [`Model`] is read from a weights file, [`expected`] says what is asked of it in a check and what is right,
//! and [`onnx`], [`torch`] and [`plain`] write it. An export
//! appears only after its check passed, unless none is asked for.

pub mod error;
pub mod expected;
pub mod model;
pub mod onnx;
mod place;
pub mod plain;
pub mod python;
mod reader;
pub mod tensor;
pub mod torch;

use std::path::Path;

use serde_json::json;

pub use error::ExportError;
pub use model::Model;
pub use place::{Place, check as check_place};

use crate::train::metadata::{Facts, Metadata};
use onnx::{ImageInput, Steps};
use place::{UnfinishedFile, UnfinishedFolder};
use python::{Answers, PythonError};
use tensor::{Call, Tensor};

/// How an export is checked.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// What is asked, and what is right.
    pub calls: &'a [Call],
    /// A Python whose onnxruntime is asked too.
    pub python: Option<&'a Path>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Records that were compared, all of them at once.
    pub records: usize,
    /// The largest difference from the reference device.
    pub largest_difference: Option<f64>,
    /// What read the export back.
    pub by: Vec<String>,
}

/// Says in a file's metadata that nothing read it back.
const NOT_CHECKED: &str = "nothing (--no-check)";

/// How ONNX is written.
#[derive(Clone, Copy, Debug)]
pub struct OnnxOptions {
    /// What a network is given.
    pub input: ImageInput,
    /// Steps of a language model.
    pub steps: Steps,
}

/// Writes a child as ONNX; unchecked where no check is given.
///
/// # Errors
/// Where the file is too large, cannot be written, or a reader does not give what is right.
pub fn write_onnx(
    (model, metadata): (&Model, &Metadata),
    options: OnnxOptions,
    check: Option<Check>,
    place: Place,
) -> Result<Checked, ExportError> {
    let readers = match check {
        None => NOT_CHECKED.to_owned(),
        Some(Check { python: None, .. }) => reader::NAME.to_owned(),
        Some(_) => format!("{}, onnxruntime", reader::NAME),
    };
    let mut entries = entries(metadata, &readers);
    let bytes = match model {
        Model::Network(model) => {
            let input = match options.input {
                ImageInput::Bytes => "bytes",
                ImageInput::View => "view",
            };
            entries.push(("input".to_owned(), input.to_owned()));
            onnx::network(model, options.input, &entries)?
        }
        Model::Cell(model) => onnx::cell(model, options.steps, &entries)?,
    };
    let file = UnfinishedFile::write(place.out, &bytes)?;
    drop(bytes);
    let mut checked = Checked::default();
    if let Some(Check { calls, python }) = check {
        checked.records = n_records(calls);
        let answers = reader::answers(file.path(), calls, place.stop);
        place.go_on()?; // what was broken off says nothing
        let answers = answers.map_err(|reason| unreadable(reader::NAME, reason))?;
        checked.add(reader::NAME, calls, &answers)?;
        if let Some(python) = python {
            let (name, answers) = ask_python((python, "onnxruntime"), file.path(), calls, place)?;
            checked.add(&name, calls, &answers)?;
        }
    }
    place.go_on()?;
    file.appear()?;
    Ok(checked)
}

/// Writes a child as a folder for PyTorch; unchecked where no check is given, which must name a Python.
///
/// # Errors
/// Where the folder cannot be written, or PyTorch does not give what is right.
pub fn write_torch(
    (model, metadata): (&Model, &Metadata),
    check: Option<(&[Call], &Path)>,
    place: Place,
) -> Result<Checked, ExportError> {
    let readers = if check.is_some() {
        "torch"
    } else {
        NOT_CHECKED
    };
    let weights = plain::file(&plain::tensors(model), &entries(metadata, readers));
    let script = match model {
        Model::Network(model) => torch::network(model),
        Model::Cell(model) => torch::cell(model),
    };
    let files = [
        (torch::MODEL, script.as_bytes()),
        (torch::WEIGHTS, weights.as_slice()),
    ];
    let folder = UnfinishedFolder::write(place.out, &files)?;
    let mut checked = Checked::default();
    if let Some((calls, python)) = check {
        checked.records = n_records(calls);
        let (name, answers) = ask_python((python, "torch"), folder.path(), calls, place)?;
        checked.add(&name, calls, &answers)?;
    }
    place.go_on()?;
    folder.appear()?;
    Ok(checked)
}

/// Writes the tensors of a child; they are read back bit for bit where `check` says so.
///
/// # Errors
/// Where the file cannot be written, or does not hold them.
pub fn write_safetensors(
    (model, metadata): (&Model, &Metadata),
    check: bool,
    place: Place,
) -> Result<Checked, ExportError> {
    let readers = if check { plain::READER } else { NOT_CHECKED };
    let tensors = plain::tensors(model);
    let bytes = plain::file(&tensors, &entries(metadata, readers));
    let file = UnfinishedFile::write(place.out, &bytes)?;
    drop(bytes);
    let mut checked = Checked::default();
    if check {
        let bytes = std::fs::read(file.path()).map_err(|error| error.to_string());
        let held = bytes.and_then(|bytes| plain::holds(&bytes, &tensors));
        held.map_err(|reason| unreadable(plain::READER, reason))?;
        checked.by.push(plain::READER.to_owned());
    }
    place.go_on()?;
    file.appear()?;
    Ok(checked)
}

impl Checked {
    /// Compares what a reader gave.
    fn add(
        &mut self,
        reader: &str,
        calls: &[Call],
        answers: &[Vec<Tensor>],
    ) -> Result<(), ExportError> {
        let differs = |reason: String| ExportError::Differs {
            reader: reader.to_owned(),
            reason,
        };
        if answers.len() != calls.len() {
            return Err(differs(format!("it answered {} calls", answers.len())));
        }
        for (call, answer) in calls.iter().zip(answers) {
            if call.expected.len() != answer.len() {
                return Err(differs(format!("it gave {} outputs", answer.len())));
            }
            for (expected, found) in call.expected.iter().zip(answer) {
                let apart = expected.compare(found).map_err(differs)?;
                let before = self.largest_difference.unwrap_or(0.0);
                self.largest_difference = Some(before.max(apart));
            }
        }
        self.by.push(reader.to_owned());
        Ok(())
    }
}

/// Records of the calls that hold as many rows as the first.
fn n_records(calls: &[Call]) -> usize {
    let rows = |call: &Call| {
        call.expected
            .first()
            .map_or(0, |logits| logits.bounds.len())
    };
    let first = calls.first().map_or(0, rows);
    match calls.get(1) {
        Some(second) if second.goes_on => {
            let group = calls.iter().enumerate();
            let end = group
                .skip(1)
                .find(|(_, call)| !call.goes_on)
                .map_or(calls.len(), |(at, _)| at);
            calls[..end].iter().map(rows).sum()
        }
        _ => first,
    }
}

/// What a Python gives that needs a module for it.
fn ask_python(
    (python, module): (&Path, &'static str),
    path: &Path,
    calls: &[Call],
    place: Place,
) -> Result<Answers, ExportError> {
    let failed = |error| match error {
        PythonError::Missing(reason) => ExportError::NoReader {
            python: python.to_path_buf(),
            module,
            reason,
        },
        PythonError::Failed(reason) => unreadable(&python.display().to_string(), reason),
        PythonError::Stopped => ExportError::Stopped {
            out: place.out.to_path_buf(),
        },
    };
    let answers = python::answers(python, &[(path, calls)], place.stop);
    let mut answers = answers.map_err(failed)?;
    let lost = || unreadable(&python.display().to_string(), "it gave none".to_owned());
    answers.pop().ok_or_else(lost)
}

fn unreadable(reader: &str, reason: String) -> ExportError {
    ExportError::Unreadable {
        reader: reader.to_owned(),
        reason,
    }
}

/// What every export says of itself.
fn entries(metadata: &Metadata, readers: &str) -> Vec<(String, String)> {
    let (classes, score, value) = match &metadata.facts {
        Facts::Images {
            classes,
            validation_accuracy,
            ..
        } => (classes, "validation_accuracy", validation_accuracy),
        Facts::Text {
            words,
            validation_perplexity,
            ..
        } => (words, "validation_perplexity", validation_perplexity),
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    [
        ("architecture", metadata.architecture.to_json()),
        ("classes", json!(classes).to_string()),
        (score, value.to_string()),
        ("nas_engine_version", version),
        ("checked_by", readers.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Writes a file that needs no check.
///
/// # Errors
/// Where something is at its place, or it cannot be written.
pub fn write_file(out: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    UnfinishedFile::write(out, bytes)?.appear()
}
