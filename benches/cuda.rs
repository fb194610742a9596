//! Every kernel of drawn children on a GPU: each step of training by criterion, and a table of
//! steps and their launches with flop/s or bytes/s and the share of the GPU's peak.
//!
//! Times run from the first launch to the end of the last, of a graph of many runs, each on another
//! copy of the child, so that no run finds its tensors in the cache. With `NAS_ENGINE_BENCH_OUT`
//! set to a folder, the table is written there too, as `kernels.json` and `kernels.md`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use criterion::{Criterion, Throughput};
use nas_engine::data::Dataset;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::gpu::Gpu;
use nas_engine::device::cuda::probe::Probe;
use nas_engine::device::{Device, List};
use nas_engine::graph::{Options, Params, Plan};
use nas_engine::report::roofline::gpu::{GPUS, Gpu as Peaks};
use nas_engine::space::ConvArchitecture;
use serde_json::{Value, json};

use super::ops::{label, work};
use super::{begin, input, plan};

/// Images of a batch, and records of the data set.
const BATCH: usize = 128;
/// More than any cache, together with what a run itself reads.
const BEYOND_CACHE: usize = 200 << 20;
/// Copies of a child at most: what is too small for them is not bound by memory.
const MOST_COPIES: usize = 8;

/// The first GPU; without one, says that these benches do not run, or ends the program if
/// `NAS_ENGINE_REQUIRE_CUDA` is set.
pub fn open(what: &str) -> Option<Cuda> {
    match Gpu::open(0) {
        Ok(gpu) => Some(Cuda::new(Box::new(gpu))),
        Err(reason) => {
            eprintln!("NOT RUN: {what} on a GPU: {reason}");
            if env::var_os("NAS_ENGINE_REQUIRE_CUDA").is_some_and(|value| !value.is_empty()) {
                std::process::exit(1);
            }
            None
        }
    }
}

/// The group `kernels`.
pub fn kernels(criterion: &mut Criterion) {
    let Some(cuda) = open("kernels") else {
        return;
    };
    let dataset = Dataset::synthetic(BATCH, 10, 10, 1);
    let layers = include_str!("../examples/layer-types.json");
    let layers = ConvArchitecture::from_json(layers).expect("a sound example");
    let mut group = criterion.benchmark_group("kernels");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(20))
        .measurement_time(Duration::from_millis(100));
    let mut seen = BTreeSet::new();
    let mut rows = vec![];
    for architecture in [super::drawn("v1", 15), super::drawn("v2", 15), layers] {
        let options = Options {
            reuse: false,
            ..Options::new(BATCH)
        };
        let (plan, params) = plan(&architecture, &cuda, options);
        let mut filled = None;
        for (step_idx, step) in plan.train.iter().enumerate() {
            if !seen.insert(label(&plan, step)) {
                continue;
            }
            let mut row = None;
            group.throughput(work(&plan, step));
            group.bench_function(label(&plan, step), |bencher| {
                // Only for what the command line asks for: it takes a while.
                let probe = filled.get_or_insert_with(|| fill(&cuda, &plan, &params, &dataset));
                let all = 0..probe.launches()[step_idx].len();
                bencher.iter_custom(|n| {
                    let spent = probe.time(step_idx, all.clone(), n as usize);
                    spent.expect("it runs")
                });
                row.get_or_insert_with(|| Row::measure(probe, &plan, step_idx));
            });
            rows.extend(row);
        }
    }
    group.finish();
    if !rows.is_empty() {
        report(&cuda, rows);
    }
}

/// Prints the table, and writes it if it is asked for.
fn report(cuda: &Cuda, mut rows: Vec<Row>) {
    let model = cuda.model().to_lowercase();
    let peak = GPUS.into_iter().find(|gpu| model.contains(gpu.name));
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let table = table(&cuda.describe(), peak.as_ref(), &rows);
    println!("{table}");
    if let Some(out) = env::var_os("NAS_ENGINE_BENCH_OUT").map(PathBuf::from) {
        let rows: Vec<Value> = rows.iter().map(|row| row.json(peak.as_ref())).collect();
        let json = json!({"device": cuda.describe(), "batch": BATCH, "steps": rows});
        fs::write(out.join("kernels.json"), format!("{json:#}\n")).expect("the folder is there");
        fs::write(out.join("kernels.md"), table).expect("the folder is there");
    }
}

/// As many copies of a child as it takes to be beyond the cache, after a step of training each,
/// which leaves every buffer filled.
fn fill<'a>(cuda: &'a Cuda, plan: &'a Plan, params: &Params, dataset: &'a Dataset) -> Probe<'a> {
    let a_step = plan.arena_bytes / plan.train.len();
    let n_copies = BEYOND_CACHE.div_ceil(a_step).clamp(1, MOST_COPIES);
    let mut probe = Probe::new(cuda, plan, Some(input(dataset)), n_copies).expect("it fits");
    for session in probe.sessions() {
        begin(session, plan, params, 1, BATCH);
        session.run(List::Prepare, 1);
        session.run(List::Train, 1);
    }
    probe
}

/// A step with what was measured.
struct Row {
    label: String,
    work: Throughput,
    seconds: f64,
    /// Kernel, grid and seconds of each launch.
    launches: Vec<(&'static str, [u32; 3], f64)>,
}

impl Row {
    fn measure(probe: &mut Probe, plan: &Plan, step_idx: usize) -> Row {
        let launches = probe.launches()[step_idx].clone();
        let seconds = median(probe, step_idx, 0..launches.len());
        let launches = launches.iter().enumerate().map(|(i, launch)| {
            let seconds = median(probe, step_idx, i..i + 1);
            (launch.kernel, launch.grid, seconds)
        });
        Row {
            label: label(plan, &plan.train[step_idx]),
            work: work(plan, &plan.train[step_idx]),
            seconds,
            launches: launches.collect(),
        }
    }

    /// Operations or bytes a second.
    fn rate(&self) -> f64 {
        match self.work {
            Throughput::Elements(n) | Throughput::Bytes(n) => n as f64 / self.seconds,
            _ => unreachable!("work() knows two units"),
        }
    }

    /// Of the GPU's peak.
    fn share(&self, peak: Option<&Peaks>) -> Option<f64> {
        let most = |peak: &Peaks| match self.work {
            Throughput::Elements(_) => peak.flops_per_second,
            _ => peak.bytes_per_second,
        };
        peak.map(|peak| self.rate() / most(peak))
    }

    fn json(&self, peak: Option<&Peaks>) -> Value {
        let launches = self.launches.iter().map(
            |(kernel, grid, seconds)| json!({"kernel": kernel, "grid": grid, "seconds": seconds}),
        );
        let unit = match self.work {
            Throughput::Elements(_) => "flop/s",
            _ => "bytes/s",
        };
        json!({
            "step": self.label,
            "seconds": self.seconds,
            "rate": self.rate(),
            "unit": unit,
            "share_of_peak": self.share(peak),
            "launches": launches.collect::<Vec<_>>(),
        })
    }
}

/// Seconds of one run: the middle of five timings.
fn median(probe: &mut Probe, step: usize, launches: Range<usize>) -> f64 {
    let mut times = [(); 5].map(|()| {
        let spent = probe.time(step, launches.clone(), 2);
        spent.expect("it runs").as_secs_f64() / 2.0
    });
    times.sort_by(f64::total_cmp);
    times[2]
}

/// Markdown, the slowest step first.
fn table(device: &str, peak: Option<&Peaks>, rows: &[Row]) -> String {
    let mut text = format!("{device}, batch {BATCH}; microseconds to the barrier\n\n");
    text += "| step | us | rate | share of peak | kernels, us |\n|---|---:|---:|---:|---|\n";
    for row in rows {
        let rate = match row.work {
            Throughput::Elements(_) => format!("{:.1} Tflop/s", row.rate() / 1e12),
            _ => format!("{:.0} GB/s", row.rate() / 1e9),
        };
        let share = row.share(peak);
        let share = share.map_or("-".into(), |share| format!("{:.0} %", 100.0 * share));
        let launches = row.launches.iter();
        let launches =
            launches.map(|(kernel, _, seconds)| format!("{kernel} {:.1}", 1e6 * seconds));
        let launches = launches.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "| {} | {:.1} | {rate} | {share} | {launches} |",
            row.label,
            1e6 * row.seconds
        );
    }
    text
}
