//! Makes the run of a long search whose children are answered by a stub instead of trained, to measure
//! what reads a run: `cargo run --release --example long_run OUT [SAMPLES]` (50,000 without the second).
//! Each line waits for the disk; a folder in memory such as `/dev/shm` takes minutes less.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nas_engine::config::Config;
use nas_engine::controller::Controller;
use nas_engine::disk::Real;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::entry::{Entry, RunTiming, Started};
use nas_engine::run::{Run, Status, now};
use nas_engine::search::evaluator::{Job, Stub};
use nas_engine::search::{Search, Strategy};
use nas_engine::space::Space;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let out: PathBuf = arguments.next().expect("OUT, a new directory").into();
    let samples = arguments
        .next()
        .map_or(50_000, |n| n.parse().expect("SAMPLES is a number"));
    let mut config = Config::preset("sample").expect("it is a preset");
    config.search.samples = samples;
    config.controller.learning_rate = 0.0; // else it settles on a few architectures
    let space = Space::new(&config.space).expect("a preset is sound");
    let mut run = Run::create(Arc::new(Real), out, &config).expect("the run can be made");
    let started = Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: config.sha256(),
        data_sha256: "0".repeat(64),
        samples,
        timing: RunTiming {
            at: now(),
            device: "a stub".to_owned(),
            threads: 1,
        },
    };
    let begun = run.journal.append(&Entry::Run(started.clone()));
    begun.expect("the journal can be written");
    run.history.add_run(started);
    let controller = Controller::new(space.clone(), &config.controller, config.search.seed);
    let end = Search {
        space: &space,
        strategy: Strategy::Policy(Box::new(controller)),
        samples,
        children_per_update: config.search.children_per_update,
        evaluator: &mut Stub::new(0, answer),
        journal: &mut run.journal,
        history: &mut run.history,
        checkpoints: None,
        stop: &AtomicBool::new(false),
    }
    .run(&mut |_| {});
    println!("{:?}", end.expect("nothing fails"));
}

/// Five accuracies that fall a little after a draw; one child in twenty-five fails, in each way.
fn answer(job: &Job) -> (Status, Vec<f64>) {
    use Status::*;
    let failures = [
        Diverged,
        TooLarge,
        Invalid,
        OutOfMemory,
        Crash,
        Timeout,
        Poison,
    ];
    let mut draw = Rng::new(0, Purpose::Test, job.sample);
    if draw.below(25) == 0 {
        let kind = draw.below(failures.len() as u32);
        return (failures[kind as usize], vec![]);
    }
    let best = f64::from(draw.below(1 << 20)) / f64::from(1 << 20);
    let accuracies = (0..5).map(|epoch| best * (1.0 - 0.003 * f64::from(epoch)));
    (Ok, accuracies.collect())
}
