//! What a model is asked in a check, and what the `reference` and the `cpu` device say to it.

use std::ops::Range;
use std::thread;

use super::ExportError;
use super::model::{CellModel, NetworkModel};
use super::onnx::{ImageInput, Steps};
use super::tensor::{Call, Expected, Tensor, Values};
use crate::data::windows::Windows;
use crate::data::{Dataset, IMAGE_BYTES, VIEW_LEN, view};
use crate::device::reference::Reference;
use crate::device::{Device, Input};
use crate::graph::language::LanguageSettings;
use crate::graph::{IMAGE_CHANNELS, IMAGE_SIZE};
use crate::train::logits::States;
use crate::train::{Runner, TrainError};

/// Records, and rows of text, that are compared; all of them at once, and each or one alone.
pub const RECORDS: usize = 64;
/// Steps of text that are compared, at least.
const STEPS: usize = 8;
/// Steps of the two windows of a model that takes as many as its caller has.
const SCANNED: [usize; 2] = [5, 3];
/// Logits that are compared at most, for vocabularies that are very large.
const MOST_LOGITS: usize = 1 << 26;

/// What computes what is right.
#[derive(Clone, Copy)]
pub struct Judges<'a> {
    /// The `cpu` device.
    pub cpu: &'a dyn Device,
    /// Bytes that a plan may take.
    pub memory_limit: Option<u64>,
    /// Threads of the reference device.
    pub threads: usize,
}

impl Judges<'_> {
    /// What the reference says, part by part of `n` records or rows: each part on a thread, for its loops
    /// use one alone.
    fn in_parts<T: Send>(
        &self,
        n: usize,
        work: impl Fn(Range<usize>) -> Result<T, TrainError> + Sync,
    ) -> Result<Vec<T>, TrainError> {
        let each = n.div_ceil(self.threads.clamp(1, n.max(1)));
        thread::scope(|scope| {
            let starts = (0..n).step_by(each.max(1));
            let parts = starts.map(|start| start..(start + each).min(n));
            let handles: Vec<_> = parts.map(|part| scope.spawn(|| work(part))).collect();
            let joined = handles.into_iter().map(|handle| {
                let panicked = |cause| std::panic::resume_unwind(cause);
                handle.join().unwrap_or_else(panicked)
            });
            joined.collect()
        })
    }
}

/// The calls of a network: so many training records at once, some again where there are fewer, then each alone.
///
/// # Errors
/// Where a device fails.
pub fn of_network(
    model: &NetworkModel,
    (dataset, n_records): (&Dataset, usize),
    input: ImageInput,
    judges: &Judges,
) -> Result<Vec<Call>, ExportError> {
    let n = dataset.n_train() as u32;
    let records: Vec<u32> = (0..n).cycle().take(n_records).collect();
    let images = model.images();
    let say = |device: &dyn Device, records: &[u32]| -> Result<Vec<f64>, TrainError> {
        let mut all = vec![];
        let input = Input::of_images(dataset, model.augment, 0);
        let runner = Runner {
            device,
            memory_limit: judges.memory_limit,
        };
        images.logits(input, records, records.len(), &runner, &mut |logits| {
            all.extend_from_slice(logits);
        })?;
        Ok(all)
    };
    let reference = judges.in_parts(records.len(), |part| say(&Reference, &records[part]))?;
    let cpu = say(judges.cpu, &records)?;
    let classes = model.graph.classes;
    let n = records.len();
    let all = Expected::new("logits", vec![n, classes], reference.concat(), &cpu, true);
    let call = |part: Range<usize>| Call {
        inputs: vec![images_of(model, dataset, &records[part.clone()], input)],
        goes_on: false,
        expected: vec![all.part(vec![part.len(), classes], part)],
    };
    let alone = (0..n).map(|i| call(i..i + 1));
    Ok([call(0..n)].into_iter().chain(alone).collect())
}

/// Records as a network is given them.
fn images_of(
    model: &NetworkModel,
    dataset: &Dataset,
    records: &[u32],
    input: ImageInput,
) -> Tensor {
    let bytes = records
        .iter()
        .map(|&record| dataset.record(record as usize).1);
    let values = match input {
        ImageInput::Bytes => Values::U8(bytes.flatten().copied().collect()),
        ImageInput::View => {
            let seen = |bytes: &[u8; IMAGE_BYTES]| {
                let mut seen = vec![0.0; VIEW_LEN];
                view(bytes, model.augment, None, &mut seen);
                seen
            };
            Values::F32(bytes.flat_map(seen).collect())
        }
    };
    Tensor {
        shape: vec![records.len(), IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE],
        values,
    }
}

/// The calls of a language model: windows of [`RECORDS`] rows of the tokens, which go on from each other, then the
/// same of the first row alone. Of few tokens rows are read again and again.
///
/// # Errors
/// Where a device fails.
pub fn of_cell(
    model: &CellModel,
    tokens: &[u32],
    steps: Steps,
    judges: &Judges,
) -> Result<Vec<Call>, ExportError> {
    let settings = &model.model.settings;
    let lengths: Vec<usize> = match steps {
        Steps::Unrolled(steps) => vec![steps; STEPS.div_ceil(steps).max(2)],
        Steps::Scan => SCANNED.to_vec(),
    };
    let n_steps: usize = lengths.iter().sum();
    let n_rows = (MOST_LOGITS / (settings.vocabulary * n_steps)).clamp(1, RECORDS);
    let row_len = n_steps + 1;
    let text: Vec<u32> = tokens
        .iter()
        .copied()
        .cycle()
        .take(n_rows * row_len)
        .collect();
    let said = |device: &dyn Device, part: Range<usize>| -> Result<Lines, TrainError> {
        let text = &text[part.start * row_len..part.end * row_len];
        let runner = Runner {
            device,
            memory_limit: judges.memory_limit,
        };
        Lines::read(model, text, part.len(), &runner)
    };
    let parts = judges.in_parts(n_rows, |part| said(&Reference, part))?;
    let reference = Lines::side_by_side(&parts);
    let cpu = said(judges.cpu, 0..n_rows)?;
    let window = |rows: usize, first: usize, length: usize| {
        let token = |t: usize, b: usize| i64::from(text[b * row_len + first + t]);
        let places = (0..length).flat_map(|t| (0..rows).map(move |b| (t, b)));
        let tokens = Tensor {
            shape: vec![length, rows],
            values: Values::I64(places.map(|(t, b)| token(t, b)).collect()),
        };
        let of = |lines: &Lines| lines.outputs(model, first..first + length, rows);
        cell_call(settings, tokens, first > 0, [of(&reference), of(&cpu)])
    };
    let mut calls = vec![];
    for rows in [n_rows, 1] {
        let mut first = 0;
        for &length in &lengths {
            calls.push(window(rows, first, length));
            first += length;
        }
    }
    Ok(calls)
}

/// A call of a cell's graph with `tokens` of [steps, rows]: what the reference and the CPU answer to it. One that
/// does not go on begins at states of zeros.
fn cell_call(
    settings: &LanguageSettings,
    tokens: Tensor,
    goes_on: bool,
    [reference, cpu]: [[Vec<f64>; 3]; 2],
) -> Call {
    let (steps, rows) = (tokens.shape[0], tokens.shape[1]);
    let states = [settings.layers, rows, settings.hidden];
    let mut inputs = vec![tokens];
    if !goes_on {
        let zeros = || Tensor::floats(&states, vec![0.0; states.iter().product()]);
        inputs.extend([zeros(), zeros()]);
    }
    let expected = reference.into_iter().zip(&cpu).enumerate();
    let expected = expected.map(|(place, (reference, cpu))| {
        let (name, shape) = match place {
            0 => ("logits", vec![steps, rows, settings.vocabulary]),
            1 => ("h_next", states.to_vec()),
            _ => ("c_next", states.to_vec()),
        };
        Expected::new(name, shape, reference, cpu, place == 0)
    });
    Call {
        expected: expected.collect(),
        inputs,
        goes_on,
    }
}

/// What a language model says of rows of text.
struct Lines {
    n_rows: usize,
    hidden: usize,
    /// Of the last layer, `[t][b][h]`.
    outputs: Vec<f64>,
    states: States,
}

impl Lines {
    /// Rows that lie one after the other, each with a token after its last step.
    fn read(
        model: &CellModel,
        text: &[u32],
        n_rows: usize,
        runner: &Runner,
    ) -> Result<Lines, TrainError> {
        let child = model.text();
        let mut windows = Windows::default();
        let rows = windows.add(text, n_rows);
        let rows = rows.expect("a row has a token to predict");
        let steps = text.len() / n_rows - 1;
        let mut outputs = vec![];
        let states = child.outputs(windows.tokens(), &rows, steps, runner, &mut |window| {
            outputs.extend_from_slice(window);
        })?;
        Ok(Lines {
            n_rows,
            hidden: model.model.settings.hidden,
            outputs,
            states,
        })
    }

    /// All rows of some parts.
    fn side_by_side(parts: &[Lines]) -> Lines {
        let (n_rows, hidden) = (
            parts.iter().map(|part| part.n_rows).sum(),
            parts.first().map_or(1, |part| part.hidden),
        );
        let join = |of: &dyn Fn(&Lines) -> &[f64]| -> Vec<f64> {
            let n_steps = parts
                .first()
                .map_or(0, |part| of(part).len() / (part.n_rows * hidden));
            let row = |step: usize| {
                let piece = move |part: &Lines| {
                    let len = part.n_rows * hidden;
                    step * len..(step + 1) * len
                };
                parts
                    .iter()
                    .flat_map(move |part| of(part)[piece(part)].to_vec())
            };
            (0..n_steps).flat_map(row).collect()
        };
        let layers = 0..parts.first().map_or(0, |part| part.states.h.len());
        Lines {
            n_rows,
            hidden,
            outputs: join(&|part| &part.outputs),
            states: States {
                h: layers
                    .clone()
                    .map(|l| join(&|part| &part.states.h[l]))
                    .collect(),
                c: layers.map(|l| join(&|part| &part.states.c[l])).collect(),
            },
        }
    }

    /// Logits, h and c of the first rows over some steps.
    fn outputs(&self, model: &CellModel, steps: Range<usize>, rows: usize) -> [Vec<f64>; 3] {
        let of_step = |values: &[f64], step: usize| {
            let first = step * self.n_rows * self.hidden;
            values[first..first + rows * self.hidden].to_vec()
        };
        let outputs: Vec<f64> = steps
            .clone()
            .flat_map(|step| of_step(&self.outputs, step))
            .collect();
        let last = |layers: &[Vec<f64>]| -> Vec<f64> {
            let state = |layer: &Vec<f64>| of_step(layer, steps.end);
            layers.iter().flat_map(state).collect()
        };
        [
            model.text().decoded(&outputs),
            last(&self.states.h),
            last(&self.states.c),
        ]
    }
}
