//! One run of the whole protocol: replicas, each twice; appliers, two a shard; workers; and children that
//! are a formula, some of which take down whoever trains them.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nas_engine::cluster::RoleError;
use nas_engine::cluster::applier::applier;
use nas_engine::cluster::control::{Control, End, say, unless_drained};
use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::export;
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Done, Job};
use nas_engine::cluster::replica::replica;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::cluster::worker::{CRASH_NODES, Step, Trainer, Training, Worker};
use nas_engine::config::Staleness;
use nas_engine::controller::ControllerConfig;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::Status;
use nas_engine::run::entry::{Entry, Timing};
use nas_engine::search::evaluator::Outcome;
use nas_engine::space::{ConvSpaceConfig, Space, SpaceConfig};
use nas_engine::train::Scores;

use super::executor::{Clock, Doom, Executor, Fate};
use super::simulated::Simulated;
use super::world::{Broken, Faults, LEASE, STALE};

/// Epochs of a child; it has a checkpoint after every second one.
pub const EPOCHS: u64 = 4;

/// How often the run is exported.
const EXPORT_EVERY: Duration = Duration::from_secs(60);

pub struct Trial {
    pub scheme: Scheme,
    pub seed: u64,
    pub faults: Faults,
    pub fate: Fate,
    pub broken: Option<Broken>,
    /// Children that take down whoever trains them.
    pub poison: Vec<u64>,
    /// Whether a child's result differs from one training to the next, which shows whose counts.
    pub is_noisy: bool,
    /// From when until when the run is drained.
    pub drained: Option<[Duration; 2]>,
}

pub struct Finished {
    pub is_done: bool,
    pub engine: Simulated,
    pub learner: Learner,
    pub n_ended: u64,
    pub time: Duration,
    /// Errors that roles ended with.
    pub errors: Vec<String>,
    /// Epochs trained, of all children together.
    pub n_epochs: usize,
    /// The run as it was exported, now and then and in the end.
    pub exports: Vec<Vec<Entry>>,
    /// Children under way where the drained run went on.
    pub n_left: usize,
    /// Roles that ended because it was drained.
    pub n_drained: usize,
}

pub const CALM: Faults = Faults {
    lost_before: 0.0,
    lost_after: 0.0,
    repeated: 0.0,
    stale: 0.0,
    down_every: Duration::from_secs(1 << 40),
};

pub const ROUGH: Faults = Faults {
    lost_before: 0.02,
    lost_after: 0.02,
    repeated: 0.08,
    stale: 0.2,
    down_every: Duration::from_secs(300),
};

pub const IMMORTAL: Fate = Fate {
    end: 0.0,
    freeze: 0.0,
    frozen: Duration::ZERO,
};

pub const MORTAL: Fate = Fate {
    end: 0.0014,
    freeze: 0.001,
    frozen: Duration::from_secs(180),
};

pub fn scheme() -> Scheme {
    Scheme {
        shards: 3,
        replicas: 4,
        children_per_round: 3,
        gradients_per_update: 1,
        staleness: Staleness::Paper,
        synchronous: false,
        samples: 40,
    }
}

/// Small networks, for there are many runs.
pub fn space() -> Space {
    let conv = ConvSpaceConfig {
        max_depth: 2,
        ..ConvSpaceConfig::preset("sample").unwrap()
    };
    Space::new(&SpaceConfig::Conv(conv)).unwrap()
}

pub fn config() -> ControllerConfig {
    ControllerConfig {
        hidden: 2,
        learning_rate: 0.05,
        init_range: 0.5,
        ..ControllerConfig::default()
    }
}

/// What a child achieves: a function of what it is.
pub fn accuracy(job: &Job) -> f64 {
    let sum: u32 = job.tokens.iter().sum();
    f64::from(sum % 17) / 17.0
}

struct Children {
    clock: Clock,
    doom: Doom,
    rng: Arc<Mutex<Rng>>,
    poison: Vec<u64>,
    is_noisy: bool,
    n_epochs: Arc<AtomicUsize>,
    n_training: Arc<AtomicUsize>,
}

struct Child {
    job: Job,
    epoch: u64,
    is_kept: bool,
    is_poison: bool,
    is_stopped: bool,
    /// When the epoch under way ends.
    due: Option<Duration>,
    noise: f64,
    clock: Clock,
    doom: Doom,
    rng: Arc<Mutex<Rng>>,
    n_epochs: Arc<AtomicUsize>,
    n_training: Arc<AtomicUsize>,
}

impl Drop for Child {
    fn drop(&mut self) {
        self.n_training.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Trainer for Children {
    type Training = Child;

    fn begin(&self, job: &Job, from: Option<Vec<u8>>) -> Child {
        let epoch = from.map_or(0, |bytes| u64::from(bytes[0]));
        self.n_training.fetch_add(1, Ordering::Relaxed);
        let noise = self.rng.lock().unwrap().uniform() / 1000.0;
        Child {
            job: job.clone(),
            epoch,
            is_kept: true,
            is_poison: self.poison.contains(&job.sample),
            is_stopped: false,
            due: None,
            noise: if self.is_noisy { noise } else { 0.0 },
            clock: self.clock.clone(),
            doom: self.doom.clone(),
            rng: Arc::clone(&self.rng),
            n_epochs: Arc::clone(&self.n_epochs),
            n_training: Arc::clone(&self.n_training),
        }
    }
}

impl Training for Child {
    async fn next(&mut self) -> Step {
        if self.is_stopped && self.is_kept {
            return Step::Stopped;
        }
        if self.epoch == EPOCHS {
            return Step::Ended(Box::new(Outcome {
                sample: self.job.sample,
                status: Status::Ok,
                scores: Scores::Accuracies(vec![accuracy(&self.job) + self.noise]),
                parameters: None,
                message: None,
                timing: Timing::default(),
            }));
        }
        if (self.is_stopped || self.epoch.is_multiple_of(2)) && !self.is_kept {
            self.is_kept = true;
            return Step::Checkpoint {
                done: Done {
                    epochs: self.epoch,
                    batches: 0,
                },
                bytes: vec![self.epoch as u8],
            };
        }
        // Whoever asks again waits for the same moment.
        let due = *self.due.get_or_insert_with(|| {
            let seconds = self.rng.lock().unwrap().uniform_in(1.0, 12.0);
            self.clock.now() + Duration::from_secs_f64(seconds)
        });
        self.clock.sleep(due.saturating_sub(self.clock.now())).await;
        self.due = None;
        if self.is_poison {
            self.doom.kill();
            std::future::pending::<()>().await;
        }
        self.epoch += 1;
        self.is_kept = false;
        self.n_epochs.fetch_add(1, Ordering::Relaxed);
        Step::Epoch(self.epoch)
    }

    fn stop(&mut self) {
        self.is_stopped = true;
    }
}

/// What all tasks of a trial share.
#[derive(Clone)]
struct Shared {
    engine: Simulated,
    learner: Learner,
    errors: Arc<Mutex<Vec<String>>>,
    /// Shards that are done.
    done: Arc<Mutex<BTreeSet<u32>>>,
    n_drained: Arc<AtomicUsize>,
    exports: Arc<Mutex<Vec<Vec<Entry>>>>,
    /// Whether the run is done, and one more export the last.
    is_over: Arc<AtomicBool>,
}

impl Shared {
    /// Exports the run now and then.
    async fn export(&self) {
        loop {
            let is_last = self.is_over.load(Ordering::Relaxed);
            if is_last {
                // That it is over is seen everywhere by then.
                self.engine.sleep(STALE).await;
            }
            let read = export::read(&self.engine, &self.learner).await;
            match read.and_then(|on_record| on_record.lines(&self.learner)) {
                Ok(lines) => self.exports.lock().unwrap().push(lines),
                Err(error) => self.errors.lock().unwrap().push(error.to_string()),
            }
            if is_last {
                return;
            }
            self.engine.sleep(EXPORT_EVERY).await;
        }
    }

    /// Has a role in an executor, and has it begin again where a drained run goes on; whether it came to its
    /// own end.
    async fn again<F>(&self, role: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<End, RoleError>>,
    {
        loop {
            match role().await {
                Ok(End::Own) => return true,
                Ok(End::Drained) => {
                    self.n_drained.fetch_add(1, Ordering::Relaxed);
                    self.engine.sleep(Duration::from_secs(30)).await;
                }
                Err(error) => {
                    self.errors.lock().unwrap().push(error.to_string());
                    return false;
                }
            }
        }
    }
}

impl Trial {
    pub fn run(self) -> Finished {
        let mut executor = Executor::new(self.seed, self.fate);
        let clock = executor.clock.clone();
        let engine = Simulated::new(clock.clone(), self.seed, self.faults, self.broken);
        let learner = Learner::new(self.scheme.clone(), space(), config(), self.seed).unwrap();
        let shared = Shared {
            engine,
            learner,
            errors: Arc::default(),
            done: Arc::default(),
            n_drained: Arc::default(),
            exports: Arc::default(),
            is_over: Arc::default(),
        };
        let [n_epochs, n_training, n_left]: [Arc<AtomicUsize>; 3] = Default::default();
        let is_mortal = self.fate.end > 0.0;
        for r in (0..self.scheme.replicas).flat_map(|r| [r, r]) {
            let shared = shared.clone();
            executor.add(is_mortal, Doom::default(), move || {
                let shared = shared.clone();
                Box::pin(async move {
                    let (engine, learner) = (&shared.engine, &shared.learner);
                    let role = || unless_drained(engine, replica(engine, learner, r));
                    shared.again(role).await;
                })
            });
        }
        for s in (0..self.scheme.shards).flat_map(|s| [s, s]) {
            let shared = shared.clone();
            executor.add(is_mortal, Doom::default(), move || {
                let shared = shared.clone();
                Box::pin(async move {
                    let (engine, learner) = (&shared.engine, &shared.learner);
                    let role = || unless_drained(engine, applier(engine, learner, s));
                    if shared.again(role).await {
                        shared.done.lock().unwrap().insert(s);
                    }
                })
            });
        }
        for w in 0..5 {
            let doom = Doom::default();
            let trainer = Arc::new(Children {
                clock: clock.clone(),
                doom: doom.clone(),
                rng: Arc::new(Mutex::new(Rng::new(self.seed, Purpose::Test, 10 + w))),
                poison: self.poison.clone(),
                is_noisy: self.is_noisy,
                n_epochs: Arc::clone(&n_epochs),
                n_training: Arc::clone(&n_training),
            });
            let shared = shared.clone();
            executor.add(true, doom, move || {
                let (shared, trainer) = (shared.clone(), Arc::clone(&trainer));
                Box::pin(async move {
                    let worker = Worker {
                        node: format!("node{w}"),
                        device: "none".into(),
                        child_time: None,
                        grace: Duration::from_secs(20),
                        keep: LEASE / 4,
                        crash_nodes: CRASH_NODES,
                    };
                    let on = (&shared.engine, &shared.learner);
                    let stop = AtomicBool::new(false);
                    shared.again(|| worker.run(on, &*trainer, &stop)).await;
                })
            });
        }
        if let Some([from, until]) = self.drained {
            let (engine, n_training, n_left) =
                (shared.engine.clone(), n_training, Arc::clone(&n_left));
            executor.add(false, Doom::default(), move || {
                let engine = engine.clone();
                let (n_training, n_left) = (Arc::clone(&n_training), Arc::clone(&n_left));
                Box::pin(async move {
                    engine.sleep(from).await;
                    say(&engine, Control { drained: true }).await.unwrap();
                    engine.sleep(until - from).await;
                    n_left.store(n_training.load(Ordering::Relaxed), Ordering::Relaxed);
                    say(&engine, Control { drained: false }).await.unwrap();
                })
            });
        }
        let exporter = shared.clone();
        executor.add(false, Doom::default(), move || {
            let exporter = exporter.clone();
            Box::pin(async move { exporter.export().await })
        });
        let shards = self.scheme.shards as usize;
        let (done, wrong) = (Arc::clone(&shared.done), Arc::clone(&shared.errors));
        let all_done = || done.lock().unwrap().len() == shards || !wrong.lock().unwrap().is_empty();
        let is_done = executor.run(Duration::from_secs(6 * 3600), all_done);
        let is_done = is_done && done.lock().unwrap().len() == shards;
        shared.is_over.store(true, Ordering::Relaxed);
        let n_exports = || shared.exports.lock().unwrap().len();
        let n_before = n_exports();
        let has_last = || n_exports() > n_before + 1 || !wrong.lock().unwrap().is_empty();
        if is_done {
            executor.run(executor.clock.now() + 10 * EXPORT_EVERY, has_last);
        }
        let errors = wrong.lock().unwrap().clone();
        let exports = std::mem::take(&mut *shared.exports.lock().unwrap());
        Finished {
            is_done,
            exports,
            engine: shared.engine,
            learner: shared.learner,
            n_ended: executor.n_ended,
            time: executor.clock.now(),
            errors,
            n_epochs: n_epochs.load(Ordering::Relaxed),
            n_left: n_left.load(Ordering::Relaxed),
            n_drained: shared.n_drained.load(Ordering::Relaxed),
        }
    }
}
