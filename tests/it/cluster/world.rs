//! What a simulated engine keeps, and what becomes of it: as it is told, later than that, or forgotten.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use nas_engine::cluster::engine::{Position, Revision, Swap};
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::message::{Gradient, Replica, Shard};
use nas_engine::rng::{Purpose, Rng};

/// How long a job is one's own.
pub const LEASE: Duration = Duration::from_secs(60);

/// How long a copy may not know what was written.
pub const STALE: Duration = Duration::from_secs(1);

/// A rule of the protocol that is taken away, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    SwapOfShards,
    SwapOfOtherCells,
    FirstChild,
    FirstRound,
    Sweep,
    /// A gradient that comes again has the next number, as if nobody kept how far a replica is.
    HighWaterMark,
    /// A replica that begins again in an open round takes the parameters as they are by then.
    FrozenSnapshot,
}

/// How often what goes wrong, and how bad.
#[derive(Clone, Copy)]
pub struct Faults {
    /// Chance that a call is lost before its effect; half of these have it later.
    pub lost_before: f64,
    /// Chance that its answer is lost.
    pub lost_after: f64,
    /// Chance that a call that was answered has its effect again, later.
    pub repeated: f64,
    /// Chance that a read is answered with what was.
    pub stale: f64,
    /// Mean time between two times that the server is down, or forgets its leases.
    pub down_every: Duration,
}

/// A value and the one before it.
pub struct Kept {
    pub revision: Revision,
    pub value: Vec<u8>,
    pub before: (Revision, Option<Vec<u8>>),
    pub written: Duration,
}

pub struct Offered {
    pub body: Vec<u8>,
    /// Nobody gets it before.
    pub free_from: Duration,
    /// Whose it is.
    pub lease: u64,
}

/// What happens later.
pub type Effect = Box<dyn FnOnce(&mut World) + Send>;

pub struct World {
    pub rng: Rng,
    pub faults: Faults,
    broken: Option<Broken>,
    pub facts: BTreeMap<Fact, (Vec<u8>, Duration)>,
    pub cells: BTreeMap<Cell, Kept>,
    /// What was pushed and not let go of.
    pub logs: BTreeMap<u32, Vec<(Position, Duration, Vec<u8>)>>,
    pub jobs: BTreeMap<u64, Offered>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    offered_before: HashSet<u64>,
    pub later: Vec<(Duration, Effect)>,
    pub now: Duration,
    next: u64,
    pub down_until: Duration,
    next_down: Duration,
    /// All that was ever pushed.
    pub pushed: BTreeMap<u32, Vec<(Position, Vec<u8>)>>,
    /// All values of each cell.
    pub values: BTreeMap<Cell, Vec<Vec<u8>>>,
    /// What somebody was told of a fact.
    pub told: Vec<(Fact, Vec<u8>)>,
    /// What workers told of themselves, and when.
    pub beats: Vec<(Duration, u64, Vec<u8>)>,
    pub n_late: u64,
    pub n_down: u64,
}

impl World {
    pub fn new(seed: u64, faults: Faults, broken: Option<Broken>) -> World {
        let mut rng = Rng::new(seed, Purpose::Test, 2);
        let next_down = faults.down_every.mul_f64(2.0 * rng.uniform());
        World {
            rng,
            faults,
            broken,
            facts: BTreeMap::new(),
            cells: BTreeMap::new(),
            logs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            blobs: BTreeMap::new(),
            offered_before: HashSet::new(),
            later: vec![],
            now: Duration::ZERO,
            next: 0,
            down_until: Duration::ZERO,
            next_down,
            pushed: BTreeMap::new(),
            values: BTreeMap::new(),
            told: vec![],
            beats: vec![],
            n_late: 0,
            n_down: 0,
        }
    }

    pub fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.uniform())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Brings the world to a moment: what was to happen happens.
    pub fn to(&mut self, now: Duration) {
        self.now = now;
        while now >= self.next_down {
            self.n_down += 1;
            self.down_until = now + self.below(Duration::from_secs(20));
            // Who has which job was not yet on disk.
            if self.rng.uniform() < 0.5 {
                self.jobs.values_mut().for_each(|job| job.free_from = now);
            }
            // A job may be gone, for whatever reason: the roles offer again what has no result.
            let lost: Vec<u64> = self.jobs.keys().copied().collect();
            for job in lost {
                if self.rng.uniform() < 0.5 {
                    self.jobs.remove(&job);
                }
            }
            let pause = self.faults.down_every.mul_f64(2.0 * self.rng.uniform());
            self.next_down = now + pause + Duration::from_secs(30);
        }
        if now < self.down_until {
            return;
        }
        while let Some(due) = self.later.iter().position(|(at, _)| *at <= now) {
            let (_, effect) = self.later.swap_remove(due);
            self.n_late += 1;
            effect(self);
        }
    }

    pub fn fact(&self, fact: Fact) -> Option<&Vec<u8>> {
        self.facts.get(&fact).map(|(value, _)| value)
    }

    pub fn cell(&self, cell: Cell) -> Option<&Vec<u8>> {
        self.cells.get(&cell).map(|kept| &kept.value)
    }

    pub fn n_jobs(&self) -> usize {
        self.jobs.len()
    }

    pub fn once(&mut self, fact: Fact, value: &[u8]) -> Vec<u8> {
        let overwrites = match fact {
            Fact::Child(_) => self.broken == Some(Broken::FirstChild),
            Fact::Round(_) => self.broken == Some(Broken::FirstRound),
            Fact::Run | Fact::Device | Fact::End => false,
        };
        if overwrites {
            self.facts.insert(fact, (value.to_vec(), self.now));
        }
        let now = self.now;
        let kept = self.facts.entry(fact);
        kept.or_insert_with(|| (value.to_vec(), now)).0.clone()
    }

    pub fn swap(&mut self, cell: Cell, seen: Revision, value: &[u8]) -> Swap {
        let kept = self.cells.get(&cell);
        let (revision, before) = match kept {
            Some(kept) => (kept.revision, Some(kept.value.clone())),
            None => (0, None),
        };
        let is_unchecked = match cell {
            Cell::Shard(_) => self.broken == Some(Broken::SwapOfShards),
            _ => self.broken == Some(Broken::SwapOfOtherCells),
        };
        if revision != seen && !is_unchecked {
            return Swap::Refused;
        }
        let kept = Kept {
            revision: self.number(),
            value: value.to_vec(),
            before: (revision, before),
            written: self.now,
        };
        self.cells.insert(cell, kept);
        self.values.entry(cell).or_default().push(value.to_vec());
        Swap::Done
    }

    pub fn push(&mut self, shard: u32, gradient: &[u8]) {
        let position = self.number();
        let log = self.logs.entry(shard).or_default();
        log.push((position, self.now, gradient.to_vec()));
        let all = self.pushed.entry(shard).or_default();
        all.push((position, gradient.to_vec()));
    }

    pub fn offer(&mut self, job: u64, body: &[u8]) {
        if self.broken == Some(Broken::Sweep) && !self.offered_before.insert(job) {
            return;
        }
        let now = self.now;
        self.jobs.entry(job).or_insert_with(|| Offered {
            body: body.to_vec(),
            free_from: now,
            lease: 0,
        });
    }

    pub fn lease(&mut self) -> Option<(u64, u64, Vec<u8>)> {
        let now = self.now;
        let number = self.number();
        let (&job, offered) = self.jobs.iter_mut().find(|(_, job)| job.free_from <= now)?;
        offered.free_from = now + LEASE;
        offered.lease = number;
        Some((job, number, offered.body.clone()))
    }

    /// Somebody's own job.
    pub fn own(&mut self, job: u64, lease: u64) -> Option<&mut Offered> {
        self.jobs
            .get_mut(&job)
            .filter(|offered| offered.lease == lease)
    }

    /// What is in the log at a place of it.
    pub fn gradient(&self, shard: u32, at: Position, bytes: &[u8]) -> Vec<u8> {
        if self.broken != Some(Broken::HighWaterMark) {
            return bytes.to_vec();
        }
        let mut gradient = Gradient::from_bytes(bytes).unwrap();
        let before = self.pushed[&shard].iter().filter(|(position, bytes)| {
            let head = Gradient::from_bytes(bytes).unwrap().head;
            *position <= at && head.replica == gradient.head.replica
        });
        gradient.head.n = before.count() as u64;
        gradient.to_bytes()
    }

    /// What a cell holds.
    pub fn seen(&self, cell: Cell, bytes: Vec<u8>) -> Vec<u8> {
        if self.broken != Some(Broken::FrozenSnapshot) || !matches!(cell, Cell::Replica(_)) {
            return bytes;
        }
        let mut replica = Replica::from_bytes(&bytes).unwrap();
        let shards = (0..).map_while(|s| self.cell(Cell::Shard(s)));
        let now = shards.flat_map(|bytes| Shard::from_bytes(bytes).unwrap().weights);
        let now: Vec<f64> = now.collect();
        if now.len() == replica.weights.len() {
            replica.weights = now;
        }
        replica.to_bytes()
    }

    /// A value that was not there a moment ago may not be seen yet.
    pub fn is_stale(&mut self, written: Duration) -> bool {
        let is_new = self.now < written + STALE;
        is_new && self.rng.uniform() < self.faults.stale
    }
}
