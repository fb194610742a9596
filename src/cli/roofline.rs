//! `nas-engine roofline`: the least time of a child's training on a GPU, beside a measured one.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::flags::{self, in_range, whole};
use super::output::Output;
use crate::config::BATCH;
use crate::disk::input;
use crate::graph::Graph;
use crate::report::notation;
use crate::report::roofline::gpu::{GPUS, Gpu};
use crate::report::roofline::measured::Measured;
use crate::report::roofline::{EPOCHS, Pass, PassPlace, Roofline};
use crate::report::table::{Align, aligned};
use crate::space::ConvArchitecture;
use crate::text;
use crate::train::TrainError;

/// Classes of CIFAR-10.
const CLASSES: usize = 10;
/// Largest file of measured times that is read.
const LARGEST_MEASURED: u64 = 64 << 20;

/// Flags of `roofline`.
#[derive(Args)]
pub struct Flags {
    /// The architecture, a JSON file
    #[arg(long, value_name = "FILE")]
    arch: PathBuf,
    /// The GPU whose peaks bound the times
    #[arg(long, value_name = "GPU", default_value = GPUS[0].name)]
    #[arg(value_parser = PossibleValuesParser::new(GPUS.map(|gpu| gpu.name)))]
    gpu: String,
    /// Images of a batch
    #[arg(long, allow_negative_numbers = true, value_parser = whole(BATCH), value_name = "N")]
    #[arg(default_value = "128")]
    batch: i64,
    /// Measured times of this child, a JSON file with `device` and `step_seconds`
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let batch = in_range("--batch", flags.batch, &BATCH)?;
    let architecture = flags::read_network(&flags.arch)?;
    let graph = Graph::new(&architecture, CLASSES).map_err(TrainError::from)?;
    let measured = flags.measured.as_deref();
    let roofline = Roofline::new(&graph, batch);
    let measured = measured
        .map(|path| read_measured(path, &architecture, &roofline))
        .transpose()?;
    let report = Report {
        gpu: Gpu::named(&flags.gpu).expect("clap lets through the names of the table alone"),
        roofline,
        graph,
        measured,
    };
    output.result(&report.json(), &report.words())
}

fn read_measured(
    path: &Path,
    architecture: &ConvArchitecture,
    roofline: &Roofline,
) -> Result<Measured, Failure> {
    let wrong = |message: String| {
        let message = format!("--measured {}: {message}", path.display());
        Failure::new(Kind::Usage, message)
    };
    let text = input::read_text(path, LARGEST_MEASURED)
        .map_err(|error| wrong(format!("cannot read: {error}; give a JSON file")))?;
    let measured = Measured::read(&text, architecture, roofline.batch)
        .map_err(|error| wrong(error.to_string()))?;
    let checked = measured.check_passes(roofline);
    checked.map_err(|error| wrong(error.to_string()))?;
    Ok(measured)
}

/// All that is shown.
struct Report {
    gpu: Gpu,
    graph: Graph,
    roofline: Roofline,
    measured: Option<Measured>,
}

impl Report {
    fn passes(&self) -> impl Iterator<Item = (PassPlace, &Pass)> {
        let parts = self.roofline.parts.iter();
        parts.flat_map(|(place, passes)| passes.iter().map(|pass| (*place, pass)))
    }

    fn seconds(&self, pass: &Pass) -> f64 {
        self.gpu.seconds(pass.flops, pass.bytes)
    }

    fn measured(&self, place: PassPlace, pass: &Pass) -> Option<f64> {
        self.measured.as_ref()?.seconds(place, pass.kind)
    }

    fn measured_step(&self) -> Option<f64> {
        self.measured.as_ref()?.step_seconds
    }

    fn operation(&self, place: PassPlace) -> String {
        match place {
            PassPlace::Layer(number) => match &self.graph.layers[number].op {
                Some(op) => notation::operation(op),
                None => "image".to_owned(),
            },
            PassPlace::Classifier => format!("classifier, {CLASSES} classes"),
            PassPlace::Optimizer => "optimizer".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let Report { gpu, roofline, .. } = self;
        let pass = |(place, pass): (PassPlace, &Pass)| {
            json!({
                "layer": place.json(),
                "operation": self.operation(place),
                "pass": pass.kind.word(),
                "flops": pass.flops,
                "exact_flops": pass.exact_flops,
                "bytes": pass.bytes,
                "bound": gpu.bound(pass.flops, pass.bytes).word(),
                "ideal_seconds": self.seconds(pass),
                "measured_seconds": self.measured(place, pass),
            })
        };
        let step = roofline.step_seconds(gpu);
        let steps = roofline.steps() as f64;
        let at_measured = |steps: f64| self.measured_step().map(|step| steps * step);
        json!({
            "gpu": {
                "name": gpu.name,
                "flops_per_second": gpu.flops_per_second,
                "flops_source": gpu.flops_source,
                "bytes_per_second": gpu.bytes_per_second,
                "bytes_source": gpu.bytes_source,
            },
            "batch": roofline.batch,
            "measured_on": self.measured.as_ref().map(|measured| &measured.device),
            "passes": self.passes().map(pass).collect::<Vec<_>>(),
            "step": {
                "flops": roofline.flops(),
                "exact_flops": roofline.exact_flops(),
                "bytes": roofline.bytes(),
                "ideal_seconds": step,
                "exact_ideal_seconds": roofline.exact_step_seconds(gpu),
                "measured_seconds": self.measured_step(),
            },
            "epoch": {
                "steps": roofline.steps(),
                "ideal_seconds": steps * step,
                "validation_ideal_seconds": roofline.validation_seconds(gpu),
                "seconds_at_measured_step": at_measured(steps),
            },
            "child": {
                "epochs": EPOCHS,
                "ideal_seconds": roofline.child_seconds(gpu),
                "seconds_at_measured_step": at_measured(EPOCHS as f64 * steps),
            },
        })
    }

    fn words(&self) -> String {
        let Report { gpu, roofline, .. } = self;
        let steps = roofline.steps() as f64;
        let measured = |times: f64, words: fn(f64) -> String| match self.measured_step() {
            Some(step) => words(times * step),
            None => "not measured".to_owned(),
        };
        let on = match &self.measured {
            Some(measured) => format!("measured  on {}\n", text::one_line(&measured.device)),
            None => String::new(),
        };
        format!(
            "{table}\n\
             {name:<8}  {tflops} TFLOP/s ({flops_source}), {tbs} TB/s ({bytes_source})\n\
             {on}\
             step      {batch} images, {flops:.3} TFLOP ({exact:.3} without taps on padding), {gb:.3} GB\n\
             \x20         ideal {ideal} ({exact_ideal} without taps on padding); measured: {step}\n\
             epoch     {n} steps, ideal {epoch} and {validation} of validation; at the measured step: {epoch_at}\n\
             child     {EPOCHS} epochs, ideal {child}; at the measured step, without validation: {child_at}\n",
            table = self.table(),
            name = gpu.name,
            tflops = gpu.flops_per_second / 1e12,
            flops_source = gpu.flops_source,
            tbs = gpu.bytes_per_second / 1e12,
            bytes_source = gpu.bytes_source,
            batch = roofline.batch,
            flops = roofline.flops() / 1e12,
            exact = roofline.exact_flops() / 1e12,
            gb = roofline.bytes() / 1e9,
            ideal = milliseconds(roofline.step_seconds(gpu)),
            exact_ideal = milliseconds(roofline.exact_step_seconds(gpu)),
            step = measured(1.0, milliseconds),
            n = roofline.steps(),
            epoch = milliseconds(steps * roofline.step_seconds(gpu)),
            validation = milliseconds(roofline.validation_seconds(gpu)),
            epoch_at = measured(steps, milliseconds),
            child = text::duration(roofline.child_seconds(gpu)),
            child_at = measured(EPOCHS as f64 * steps, text::duration),
        )
    }

    fn table(&self) -> String {
        const HEADER: [(&str, Align); 8] = [
            ("layer", Align::Right),
            ("operation", Align::Left),
            ("pass", Align::Left),
            ("GFLOP", Align::Right),
            ("MB", Align::Right),
            ("bound", Align::Left),
            ("ideal us", Align::Right),
            ("measured us", Align::Right),
        ];
        let row = |(place, pass): (PassPlace, &Pass)| {
            let number = match place {
                PassPlace::Layer(number) => number.to_string(),
                PassPlace::Classifier | PassPlace::Optimizer => "out".to_owned(),
            };
            let microseconds = |seconds: f64| format!("{:.1}", seconds * 1e6);
            let measured = self.measured(place, pass).map(microseconds);
            vec![
                number,
                self.operation(place),
                pass.kind.word().replace('_', " "),
                format!("{:.3}", pass.flops / 1e9),
                format!("{:.2}", pass.bytes / 1e6),
                self.gpu.bound(pass.flops, pass.bytes).word().to_owned(),
                microseconds(self.seconds(pass)),
                measured.unwrap_or_else(|| "not measured".to_owned()),
            ]
        };
        let rows: Vec<Vec<String>> = self.passes().map(row).collect();
        aligned(&HEADER, &rows)
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}
