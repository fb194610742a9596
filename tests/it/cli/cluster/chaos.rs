//! Roles that are killed, frozen and begun again at random, and a server that is: nothing is lost, nothing
//! counts twice, and nothing is stuck.

use std::collections::HashSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use serde_json::json;

use nas_engine::cluster::engine::{Engine, Lease};
use nas_engine::cluster::message::Job;
use nas_engine::cluster::nats::Nats;
use nas_engine::rng::{Purpose, Rng};

use super::{Place, check, program, run, text};
use crate::cluster::nats::runtime;

const NAME: &str = "chaos";

/// The sample that takes down every worker which has it, where one does.
const POISON: u64 = 4;

/// What is asked for by a variable.
fn asked(name: &str, usual: u64) -> u64 {
    let asked = std::env::var(name).ok();
    asked.map_or(usual, |n| n.parse().expect("a number"))
}

/// What is done to a role.
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to a child of ours that has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// `CHAOS_TRIALS` from the seed `CHAOS_SEED` on, `CHAOS_AT_ONCE` side by side, each disturbed for
/// `CHAOS_SECONDS` at most.
#[test]
fn chaos_changes_no_result() {
    let (first, n) = (asked("CHAOS_SEED", 1), asked("CHAOS_TRIALS", 20));
    let seeds = Mutex::new(first..first + n);
    let (failed, n_poison) = (Mutex::new(vec![]), AtomicU64::new(0));
    let one_after_the_other = || {
        let next = || seeds.lock().unwrap().next();
        while let Some(seed) = next() {
            match catch_unwind(|| Trial::begin(seed).run()) {
                Ok(has_poison) => drop(n_poison.fetch_add(has_poison.into(), Ordering::Relaxed)),
                Err(_) => failed.lock().unwrap().push(seed),
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
        for _ in 0..asked("CHAOS_AT_ONCE", 3 * cores) {
            scope.spawn(one_after_the_other);
        }
    });
    assert_eq!(
        failed.into_inner().unwrap(),
        [0; 0],
        "seeds, of which more is said above"
    );
    let n_poison = n_poison.into_inner();
    println!("{n} trials, {n_poison} with a child that ended as poison");
    assert!(n_poison > 0 || n < 6, "no poison was found");
}

/// What happens besides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Also {
    /// Workers are killed and frozen too.
    Workers,
    /// A child that kills every worker.
    Poison,
    /// Somebody takes all jobs that there are, until no more are handed out, and puts them aside.
    Aside,
}

struct Trial {
    seed: u64,
    also: Also,
    place: Place,
    /// Folders for what workers keep while they work.
    folder: tempfile::TempDir,
    rng: Rng,
    /// Two appliers, two replicas, three workers.
    roles: Vec<Child>,
    /// When those go on that are frozen.
    frozen: [Option<Instant>; 7],
    /// Children's folders that the poison was looked for in.
    seen: HashSet<PathBuf>,
    n: Count,
}

/// How often what was done.
#[derive(Debug, Default)]
struct Count {
    killed: u64,
    frozen: u64,
    told_to_stop: u64,
    server_down: u64,
    without_server: u64,
    poisoned: u64,
}

impl Trial {
    fn begin(seed: u64) -> Trial {
        let place = Place::new();
        let ended = place.init(NAME, &["--shards", "3"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let mut trial = Trial {
            seed,
            also: [Also::Workers, Also::Poison, Also::Aside][(seed % 3) as usize],
            place,
            folder: tempfile::tempdir().unwrap(),
            rng: Rng::new(seed, Purpose::Test, 20),
            roles: vec![],
            frozen: [None; 7],
            seen: HashSet::new(),
            n: Count::default(),
        };
        trial.roles = (0..7).map(|role| trial.role(role)).collect();
        trial
    }

    fn role(&self, role: usize) -> Child {
        match (role, self.also) {
            (0 | 1, _) => self.place.start("apply", NAME, &[]),
            (2 | 3, _) => self.place.start("replica", NAME, &[]),
            (_, Also::Poison) => {
                let folder = self.folder.path().join(role.to_string());
                fs::create_dir_all(&folder).unwrap();
                let node = role.to_string();
                self.place.worker_in(Some(&folder), NAME, &node)
            }
            // All on one machine: children that are lost three times are not at fault.
            _ => self.place.worker(NAME, "one"),
        }
    }

    /// Whether there was a poison.
    fn run(mut self) -> bool {
        let began = Instant::now();
        let calm = began + Duration::from_secs(asked("CHAOS_SECONDS", 12));
        let thief = (self.also == Also::Aside).then(|| Thief::begin(self.place.server.url()));
        let mut next = began;
        while !self.all_ended() {
            let now = Instant::now();
            let longest = Duration::from_secs(240);
            assert!(now < calm + longest, "{} is stuck", self.words(began));
            if self.also == Also::Poison {
                self.poison();
            }
            self.thaw(now);
            if now >= next && now < calm {
                self.disturb(now);
                next = now + self.below(100, 1_000);
            }
            thread::sleep(Duration::from_millis(5));
        }
        println!("{}", self.words(began));
        let n_taken = thief.map(Thief::end);
        assert!(n_taken.is_none_or(|n| n > 0), "it put nothing aside");
        self.check()
    }

    fn words(&self, began: Instant) -> String {
        let (seed, also, n, took) = (self.seed, self.also, &self.n, began.elapsed());
        format!("seed {seed} ({also:?}): {n:?}, {took:.1?}")
    }

    /// A time between two, in milliseconds.
    fn below(&mut self, least: u64, most: u32) -> Duration {
        Duration::from_millis(least + u64::from(self.rng.below(most)))
    }

    fn disturb(&mut self, now: Instant) {
        // A poison child is found by machines that do not fail in any other way.
        let n_roles = if self.also == Also::Poison { 4 } else { 7 };
        let role = self.rng.below(n_roles) as usize;
        if !runs(&mut self.roles[role]) {
            return;
        }
        match self.rng.below(10) {
            0 => {
                self.n.server_down += 1;
                self.place.server.restart();
            }
            1 | 2 => {
                self.n.frozen += 1;
                signal(&self.roles[role], libc::SIGSTOP);
                // Longer than a lease, now and then.
                self.frozen[role] = Some(now + self.below(500, 4_000));
            }
            3 | 4 => {
                self.n.told_to_stop += 1;
                signal(&self.roles[role], libc::SIGTERM);
            }
            _ => {
                self.n.killed += 1;
                let _ = self.roles[role].kill();
            }
        }
    }

    fn thaw(&mut self, now: Instant) {
        for (role, until) in self.roles.iter_mut().zip(&mut self.frozen) {
            if until.take_if(|until| *until <= now).is_some() && runs(role) {
                signal(role, libc::SIGCONT);
            }
        }
    }

    /// Kills every worker that has begun the poison.
    fn poison(&mut self) {
        for role in 4..7 {
            let folder = self.folder.path().join(role.to_string());
            for child in below(&folder)
                .iter()
                .flat_map(|worker| below(&worker.join("0")))
            {
                let job = fs::read(child.join("job.json")).unwrap_or_default();
                let Ok(job) = Job::from_bytes(&job) else {
                    continue; // not yet written
                };
                if self.seen.insert(child) && job.sample == POISON {
                    self.n.poisoned += 1;
                    let _ = self.roles[role].kill();
                }
            }
        }
    }

    /// Begins again whoever ended before the run did; whether it has, and all with it.
    fn all_ended(&mut self) -> bool {
        let mut is_over = true;
        for number in 0..self.roles.len() {
            let Some(ended) = self.roles[number].try_wait().unwrap() else {
                is_over = false;
                continue;
            };
            match ended.code() {
                Some(0) => continue,
                // By a signal, told to stop, or told twice.
                None | Some(75 | 143) => {}
                // Begun while there was no server, or while there was too much else to do for it.
                Some(1) => self.n.without_server += 1,
                Some(code) => panic!("seed {}: role {number} ended with {code}", self.seed),
            }
            is_over = false;
            self.frozen[number] = None;
            self.roles[number] = self.role(number);
        }
        is_over
    }

    fn check(&self) -> bool {
        let status = self.place.status(NAME);
        assert_eq!(status["samples"], 10);
        let folder = self.folder.path().join("export");
        let out = text(&folder);
        let export = ["--out", &out, "--quiet"];
        let exported = run(&mut self.place.cluster("export", NAME, &export));
        assert_eq!(exported.code, 0, "{}", exported.stderr);
        let audited = run(program().args(["audit", &out, "--data", &text(self.place.data.path())]));
        assert_eq!(audited.code, 0, "{}", audited.stderr);
        let n = &self.n;
        assert!(n.without_server <= 2 + 7 * n.server_down, "{n:?}");
        let is_poison = status["failures"] == json!({"poison": 1});
        let others = !is_poison && status["failures"] != json!({});
        assert!(!others, "seed {}: {}", self.seed, status["failures"]);
        match self.also {
            Also::Poison if is_poison => assert!(self.n.poisoned >= 3, "{:?}", self.n),
            _ => check(&self.place, &status, 10),
        }
        is_poison
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        for role in &mut self.roles {
            let _ = role.kill();
            let _ = role.wait();
        }
    }
}

/// Whether a role has not ended.
fn runs(role: &mut Child) -> bool {
    role.try_wait().unwrap().is_none()
}

/// Folders in a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Takes all jobs that there are and puts them aside, again and again.
struct Thief {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Thief {
    fn begin(url: String) -> Thief {
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || runtime().block_on(steal(&url, &over)));
        Thief { is_over, thread }
    }

    /// How many it took.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn steal(url: &str, is_over: &AtomicBool) -> u64 {
    let mut n = 0;
    let hints = ["fact.child.*"];
    let engine = loop {
        match Nats::open(url, NAME.parse().unwrap(), ConnectOptions::new(), &hints).await {
            Ok(engine) => break engine,
            Err(_) if is_over.load(Ordering::Relaxed) => return n,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let began = Instant::now();
    while !is_over.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(8) {
        if let Ok(Some(lease)) = engine.lease(Duration::from_millis(300)).await {
            n += 1;
            lease.give_back(Duration::from_secs(2)).await;
        }
    }
    n
}
