//! A search of the paper's size on one server: 800 workers, 12,800 children whose training is a wait. Not part of
//! a usual test run: `SCALE_REPLICAS=100 SCALE_SECONDS=15 cargo test --release --test it -- --ignored --nocapture
//! cluster::scale`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{ConnectOptions, jetstream};
use nas_engine::cluster::applier::applier;
use nas_engine::cluster::beat::Beat;
use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::key::Fact;
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Done, Job};
use nas_engine::cluster::nats::{Nats, Room, RunName};
use nas_engine::cluster::replica::replica;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::cluster::worker::{CRASH_NODES, Step, Trainer, Training, Worker};
use nas_engine::config::Staleness;
use nas_engine::controller::ControllerConfig;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::Status;
use nas_engine::run::entry::Timing;
use nas_engine::search::evaluator::Outcome;
use nas_engine::space::{Space, SpaceConfig};
use nas_engine::train::Scores;
use tokio::task::JoinSet;

use super::nats::runtime;
use super::server::Server;

const WORKERS: u32 = 800;
const SAMPLES: u64 = 12_800;

/// Deviation of a child's time, of its mean.
const DEVIATION: f64 = 0.2;

fn asked(name: &str, usual: f64) -> f64 {
    let asked = std::env::var(name).ok();
    asked.map_or(usual, |n| n.parse().expect("a number"))
}

/// Children that take their time.
struct Waits {
    seconds: f64,
    /// Of all that were begun, in milliseconds.
    sum: AtomicU64,
    /// When a worker's last child ended, and how long it was until its next began.
    gaps: Mutex<Vec<Duration>>,
}

/// The children of one worker.
struct Own {
    all: Arc<Waits>,
    last: Mutex<Option<Instant>>,
}

struct Child {
    sample: u64,
    due: tokio::time::Instant,
    last: Option<Step>,
}

impl Trainer for Own {
    type Training = Child;

    fn begin(&self, job: &Job, _from: Option<Vec<u8>>) -> Child {
        let mut rng = Rng::new(7, Purpose::Test, job.sample);
        let deviation = (1.0 + DEVIATION * DEVIATION).ln().sqrt();
        let factor = (deviation * rng.normal() - deviation * deviation / 2.0).exp();
        let time = Duration::from_secs_f64(self.all.seconds * factor);
        self.all
            .sum
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap();
        if let Some(last) = *last {
            self.all.gaps.lock().unwrap().push(last.elapsed());
        }
        *last = Some(Instant::now() + time);
        Child {
            sample: job.sample,
            due: tokio::time::Instant::now() + time,
            last: None,
        }
    }
}

impl Training for Child {
    async fn next(&mut self) -> Step {
        tokio::time::sleep_until(self.due).await;
        let outcome = Outcome {
            sample: self.sample,
            status: Status::Ok,
            scores: Scores::Accuracies(vec![(self.sample % 97) as f64 / 97.0]),
            parameters: None,
            message: None,
            timing: Timing::default(),
        };
        self.last.take().unwrap_or(Step::Ended(Box::new(outcome)))
    }

    fn stop(&mut self) {
        let done = Done::default();
        self.last = Some(Step::Checkpoint {
            done,
            bytes: vec![],
        });
    }
}

fn scheme() -> Scheme {
    Scheme {
        shards: 20,
        replicas: asked("SCALE_REPLICAS", 100.0) as u32,
        children_per_round: 8,
        gradients_per_update: 1,
        staleness: Staleness::Paper,
        synchronous: false,
        samples: SAMPLES,
    }
}

#[test]
#[ignore = "minutes of waiting"]
fn a_search_of_the_papers_size() {
    let server = Server::start();
    let seconds = asked("SCALE_SECONDS", 15.0);
    let waits = Arc::new(Waits {
        seconds,
        sum: AtomicU64::new(0),
        gaps: Mutex::new(vec![]),
    });
    let space = Space::new(&SpaceConfig::preset("v1").unwrap()).unwrap();
    let learner = Learner::new(scheme(), space, ControllerConfig::default(), 1).unwrap();
    let learner = Arc::new(learner);
    let began = Instant::now();
    let (beats, writes) = runtime().block_on(run(&server, &learner, &waits));
    let wall = began.elapsed().as_secs_f64();
    let ideal = waits.sum.load(Ordering::Relaxed) as f64 / 1e3 / f64::from(WORKERS);
    let (mut all, mut empty, mut queued) = (0.0, 0.0, 0.0);
    for beat in &beats {
        all += beat.seconds;
        empty += beat.idle.queue_empty;
        queued += beat.idle.job_queued;
    }
    println!(
        "K {}, {SAMPLES} children of {seconds} s, {WORKERS} workers: {wall:.0} s, ideal {ideal:.0} s",
        learner.scheme().replicas
    );
    println!("writes {writes}, {:.0}/s", writes as f64 / wall);
    println!(
        "{} workers heard of near the end: idle {:.2} % with an empty queue, {:.3} % with a job queued",
        beats.len(),
        100.0 * empty / all,
        100.0 * queued / all
    );
    println!(
        "the same at children of 300 s, as long a wait for each: {:.3} %",
        100.0 * queued / (all - empty) * seconds / 300.0
    );
    let mut gaps = waits.gaps.lock().unwrap().clone();
    gaps.sort();
    println!(
        "from a child's end to the next one's start: median {:?}",
        gaps[gaps.len() / 2]
    );
    println!(
        "memory at most: server {} MiB, all roles {} MiB",
        peak(server.id()),
        peak(std::process::id())
    );
    let (queued, busy) = (queued, all - empty);
    assert!(queued / busy * seconds / 300.0 < 0.02);
}

/// The most memory that a process had, in MiB.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

/// Runs the search; beats of workers near its end, and what was written to all streams.
async fn run(server: &Server, learner: &Arc<Learner>, waits: &Arc<Waits>) -> (Vec<Beat>, u64) {
    let name: RunName = "scale".parse().unwrap();
    let room = Room {
        replicas: 1,
        workers: WORKERS,
        lease: Duration::from_secs(60),
    };
    let (url, options) = (server.url(), ConnectOptions::new);
    Nats::create(&url, name.clone(), options(), room)
        .await
        .unwrap();
    let open = async |hints: &[&str]| {
        Nats::open(&url, name.clone(), options(), hints)
            .await
            .unwrap()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for w in 0..WORKERS {
        let (engine, learner, stop) = (open(&[]).await, Arc::clone(learner), Arc::clone(&stop));
        let own = Own {
            all: Arc::clone(waits),
            last: Mutex::new(None),
        };
        workers.spawn(async move {
            let worker = Worker {
                node: format!("node{w}"),
                device: "none".into(),
                keep: Duration::from_secs(15),
                crash_nodes: CRASH_NODES,
                child_time: None,
                grace: Duration::from_secs(60),
            };
            worker.run((&engine, &*learner), &own, &stop).await.unwrap();
        });
    }
    let replicas = open(&["fact.child.*", "cell.shard.*"]).await;
    let appliers = open(&["grad.>"]).await;
    let mut roles = JoinSet::new();
    for r in 0..learner.scheme().replicas {
        let (engine, learner) = (replicas.handle().await, Arc::clone(learner));
        roles.spawn(async move { replica(&engine, &learner, r).await });
    }
    for s in 0..learner.scheme().shards {
        let (engine, learner) = (appliers.handle().await, Arc::clone(learner));
        roles.spawn(async move { applier(&engine, &learner, s).await });
    }
    // Near the end, while all are at work.
    let look = open(&[]).await;
    while look
        .fact(Fact::Child(SAMPLES * 9 / 10))
        .await
        .unwrap()
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut listener = look.beats().await.unwrap();
    listener.ask().await;
    let mut beats = std::collections::BTreeMap::new();
    while let Some((worker, bytes)) = listener.next(Duration::from_secs(2)).await {
        beats.insert(worker, Beat::from_bytes(&bytes).unwrap());
        if beats.len() == WORKERS as usize {
            break;
        }
    }
    while let Some(ended) = roles.join_next().await {
        ended.unwrap().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let client = options().connect(&url).await.unwrap();
    let context = jetstream::new(client);
    let mut writes = 0;
    for stream in ["FACT", "CELL", "GRAD", "JOBS"] {
        let stream = context
            .get_stream(format!("NAS_scale_{stream}"))
            .await
            .unwrap();
        writes += stream.cached_info().state.last_sequence;
    }
    while workers.join_next().await.is_some() {}
    (beats.into_values().collect(), writes)
}
