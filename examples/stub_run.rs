//! Writes a run whose children are answered by a function in place of training, to try `audit`,
//! `status` and `explain` on long journals:
//! `cargo run --release --example stub_run RUN [PRESET] [SAMPLES] [LEARNING_RATE]`. Each line waits for the disk:
//! a folder in memory such as `/dev/shm` takes minutes less. With a learning rate of 0 the controller does not
//! settle on a few architectures.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nas_engine::config::Config;
use nas_engine::device::{self, Convolution};
use nas_engine::disk::Real;
use nas_engine::graph::Graph;
use nas_engine::graph::cost::Costs;
use nas_engine::run::entry::{Entry, RunTiming, Started};
use nas_engine::run::{Run, Status, now};
use nas_engine::search::evaluator::{Evaluator, Job, News, Stub};
use nas_engine::search::{Search, Strategy};
use nas_engine::space::{Architecture, Space};

/// Classes of the networks that are not trained.
const CLASSES: usize = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the directory of the run is given");
    let preset = arguments.next().unwrap_or("sample".to_owned());
    let mut config = Config::preset(&preset).expect("there is such a preset");
    if let Some(samples) = arguments.next() {
        config.search.samples = samples.parse().expect("a number of samples");
    }
    if let Some(rate) = arguments.next() {
        config.controller.learning_rate = rate.parse().expect("a learning rate");
    }
    let epochs = config.train.epochs();
    let space = Space::new(&config.space).expect("a preset is sound");
    let mut run = Run::create(Arc::new(Real), folder.into(), &config).expect("a new directory");
    let cpu = device::open("cpu", Some(1), Convolution::Auto).expect("there is a processor");
    let started = Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: config.sha256(),
        data_sha256: "no data".to_owned(),
        samples: config.search.samples,
        timing: RunTiming {
            at: now(),
            device: cpu.model(),
            threads: 1,
        },
    };
    let begun = run.journal.append(&Entry::Run(started.clone()));
    begun.expect("the journal can be written");
    run.history.add_run(started);
    let answer = |job: &Job| {
        let hash = crc32fast::hash(job.architecture.to_json().as_bytes());
        let best = f64::from(hash % 1000) / 1000.0;
        (Status::Ok, vec![best; epochs])
    };
    let mut evaluator = Counted {
        evaluator: Stub::new(0, answer),
        parameters: HashMap::new(),
    };
    let ended = Search {
        space: &space,
        strategy: Strategy::new(&config, &space),
        samples: config.search.samples,
        children_per_update: config.search.children_per_update,
        evaluator: &mut evaluator,
        journal: &mut run.journal,
        history: &mut run.history,
        checkpoints: None,
        stop: &AtomicBool::new(false),
    }
    .run(&mut |_| {});
    ended.expect("a stub fails nothing");
    run.write_best().expect("the run can be written");
}

/// Adds to each outcome the number of parameters that a trainer would say.
struct Counted<E> {
    evaluator: E,
    /// Of the jobs, by sample.
    parameters: HashMap<u64, u64>,
}

impl<E: Evaluator> Evaluator for Counted<E> {
    fn submit(&mut self, jobs: Vec<Job>) {
        for job in &jobs {
            if let Architecture::Conv(network) = &job.architecture
                && let Ok(graph) = Graph::new(network, CLASSES)
            {
                let parameters = Costs::new(&graph).parameters();
                self.parameters.insert(job.sample, parameters);
            }
        }
        self.evaluator.submit(jobs);
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        let mut news = self.evaluator.next(patience)?;
        if let News::Ended(outcome) = &mut news {
            outcome.parameters = self.parameters.remove(&outcome.sample);
        }
        Some(news)
    }
}
