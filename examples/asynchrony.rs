//! Prints what it costs that nobody waits for anybody: the rigged problem of the `sample` space, or the table
//! of NAS-Bench-201, learned by K replicas side by side, in virtual time:
//! `cargo run --release --example asynchrony [SAMPLES [rigged|table]]`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nas_engine::cluster::applier::applier;
use nas_engine::cluster::embedded::Embedded;
use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Ended, Job, Shard};
use nas_engine::cluster::replica::replica;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::cluster::worker::{CRASH_NODES, Step, Trainer, Training, Worker};
use nas_engine::config::{Config, Staleness};
use nas_engine::controller::rigged::{Rigged, last_quarter_mean};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::Status;
use nas_engine::run::entry::Timing;
use nas_engine::search::evaluator::Outcome;
use nas_engine::space::{BenchSpace, Space};
use nas_engine::train::{Scores, table};
use rayon::prelude::*;
use tokio::time::Instant;

/// Seeds of a row.
const SEEDS: u64 = 20;
/// Deviation of a child's time, of its mean.
const DEVIATION: f64 = 0.2;
/// Mean time of a child.
const SECONDS: f64 = 300.0;

fn main() {
    let samples = std::env::args()
        .nth(1)
        .map_or(2000, |n| n.parse().expect("a number of samples"));
    let preset = match std::env::args().nth(2).as_deref() {
        None | Some("rigged") => "sample",
        Some("table") => "nas-bench-201",
        Some(other) => panic!("rigged or table, not {other}"),
    };
    let config = Config::preset(preset).expect("it is a preset");
    println!("| K | policy | last quarter: mean ± deviation | lateness: mean, largest | updates |");
    println!("|---|---|---|---|---|");
    for replicas in [1, 4, 16, 64] {
        let policies = [
            ("paper", Staleness::Paper, false),
            ("scale:4", Staleness::Scale { tau0: 4.0 }, false),
            ("bound:16", Staleness::Bound { most: 16 }, false),
            ("synchronous", Staleness::Paper, true),
        ];
        for (name, staleness, synchronous) in policies {
            if replicas == 1 && name != "paper" {
                continue; // nobody is late
            }
            let scheme = Scheme {
                shards: 1,
                replicas,
                children_per_round: config.search.children_per_update,
                gradients_per_update: 1,
                staleness,
                synchronous,
                samples,
            };
            let found: Vec<Found> = (0..SEEDS)
                .into_par_iter()
                .map(|seed| run(&config, &scheme, seed))
                .collect();
            print(name, &scheme, &found);
        }
    }
}

/// What a search came to.
struct Found {
    last_quarter: f64,
    shard: Shard,
}

fn print(name: &str, scheme: &Scheme, found: &[Found]) {
    let n = found.len() as f64;
    let mean = found.iter().map(|found| found.last_quarter).sum::<f64>() / n;
    let squares = found
        .iter()
        .map(|found| (found.last_quarter - mean).powi(2));
    let deviation = (squares.sum::<f64>() / (n - 1.0)).sqrt();
    let late = found.iter().map(|found| {
        let lateness = found.shard.head.lateness;
        lateness.sum as f64 / lateness.gradients as f64
    });
    let late = late.sum::<f64>() / n;
    let largest = found.iter().map(|found| found.shard.head.lateness.largest);
    let versions = found
        .iter()
        .map(|found| found.shard.head.version)
        .sum::<u64>() as f64
        / n;
    println!(
        "| {} | {name} | {mean:.3} ± {deviation:.3} | {late:.2}, {} | {versions:.0} |",
        scheme.replicas,
        largest.max().unwrap_or(0)
    );
}

/// A search with as many workers as children may be under way.
fn run(config: &Config, scheme: &Scheme, seed: u64) -> Found {
    let space = Space::new(&config.space).expect("a preset is sound");
    let controller = config.controller.clone();
    let rigged = matches!(space, Space::Conv(_)).then(|| Rigged::new(&space, seed));
    let problem = Arc::new(Problem { rigged, seed });
    let learner = Learner::new(scheme.clone(), space, controller, seed).expect("one shard");
    let learner = Arc::new(learner);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a thread").block_on(async {
        let engine = Embedded::new(None);
        for _ in 0..u64::from(scheme.replicas) * scheme.children_per_round {
            let (engine, learner) = (engine.clone(), Arc::clone(&learner));
            let problem = Arc::clone(&problem);
            tokio::spawn(async move {
                let worker = Worker {
                    node: "here".to_owned(),
                    device: String::new(),
                    keep: Duration::from_secs(3600),
                    crash_nodes: CRASH_NODES,
                    child_time: None,
                    grace: Duration::from_secs(60),
                };
                let stop = AtomicBool::new(false);
                worker.run((&engine, &learner), &*problem, &stop).await
            });
        }
        for r in 0..scheme.replicas {
            let (engine, learner) = (engine.clone(), Arc::clone(&learner));
            tokio::spawn(async move { replica(&engine, &learner, r).await });
        }
        applier(&engine, &learner, 0)
            .await
            .expect("no fault is here");
        let (_, bytes) = engine.cell(Cell::Shard(0)).await.expect("no fault is here");
        let shard = Shard::from_bytes(&bytes.expect("it was written")).expect("by this program");
        let mut rewards = Vec::new();
        for sample in 0..scheme.samples {
            let fact = engine
                .fact(Fact::Child(sample))
                .await
                .expect("no fault is here");
            let ended = Ended::from_bytes(&fact.expect("all have ended")).expect("by this program");
            rewards.extend(ended.child.reward);
        }
        Found {
            last_quarter: last_quarter_mean(&rewards),
            shard,
        }
    })
}

/// Children whose reward is known, and whose time is drawn.
struct Problem {
    /// The planted architecture; the table where there is none.
    rigged: Option<Rigged>,
    seed: u64,
}

struct Child {
    outcome: Option<Outcome>,
    due: Instant,
}

impl Trainer for Problem {
    type Training = Child;

    fn begin(&self, job: &Job, _from: Option<Vec<u8>>) -> Child {
        let scores = match &self.rigged {
            // The cube of an accuracy is paid.
            Some(rigged) => {
                let reward = rigged.reward(job.sample, &job.tokens);
                Scores::Accuracies(vec![reward.max(0.0).cbrt()])
            }
            None => {
                let cell = BenchSpace::new().decode(&job.tokens);
                table::look_up(&cell.expect("the tokens of a cell")).0
            }
        };
        let mut rng = Rng::new(self.seed, Purpose::Test, 1_000_000 + job.sample);
        let deviation = (1.0 + DEVIATION * DEVIATION).ln().sqrt();
        let factor = (deviation * rng.normal() - deviation * deviation / 2.0).exp();
        Child {
            outcome: Some(Outcome {
                sample: job.sample,
                status: Status::Ok,
                scores,
                parameters: None,
                message: None,
                timing: Timing::default(),
            }),
            due: Instant::now() + Duration::from_secs_f64(SECONDS * factor),
        }
    }
}

impl Training for Child {
    async fn next(&mut self) -> Step {
        tokio::time::sleep_until(self.due).await;
        match self.outcome.take() {
            Some(outcome) => Step::Ended(Box::new(outcome)),
            None => std::future::pending().await,
        }
    }

    fn stop(&mut self) {}
}
