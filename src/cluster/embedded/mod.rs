//! The engine within one process: all is in memory, and what counts is in the journal of the run's directory
//! before anybody hears of it. A process that ends is one whose leases are all lost: the journal says the rest.

mod scribe;
pub mod search;
mod trainer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use scribe::{News, Scribe};

use super::engine::{Engine, EngineError, Lease, Position, Revision, Swap, unique};
use super::key::{Cell, Fact};

/// A handle to the state, which roles share. Each role has one of its own, so that it misses no news.
pub struct Embedded {
    shared: Arc<Shared>,
    /// Counts changes; a handle's own.
    seen: tokio::sync::Mutex<watch::Receiver<u64>>,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// A job may be free.
    free: Notify,
    began: Instant,
}

/// What is kept.
#[derive(Default)]
struct State {
    facts: BTreeMap<Fact, Vec<u8>>,
    cells: BTreeMap<Cell, (Revision, Vec<u8>)>,
    logs: BTreeMap<u32, Vec<(Position, Vec<u8>)>>,
    jobs: BTreeMap<u64, Offered>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Counts positions and leases.
    next: u64,
    /// Writes down what counts.
    scribe: Option<Scribe>,
}

/// A job that is queued or handed out.
struct Offered {
    body: Vec<u8>,
    /// The lease that it is handed out by.
    lease: Option<u64>,
    /// Nobody gets it before.
    free_from: Duration,
}

impl Clone for Embedded {
    /// Another handle; it hears of changes from now on.
    fn clone(&self) -> Embedded {
        Embedded::of(Arc::clone(&self.shared))
    }
}

impl Embedded {
    /// An engine that holds nothing; `scribe` writes down what counts, where there is one.
    pub fn new(scribe: Option<Scribe>) -> Embedded {
        Embedded::of(Arc::new(Shared {
            state: Mutex::new(State {
                scribe,
                ..State::default()
            }),
            changes: watch::Sender::new(0),
            free: Notify::new(),
            began: Instant::now(),
        }))
    }

    fn of(shared: Arc<Shared>) -> Embedded {
        let seen = shared.changes.subscribe();
        Embedded {
            shared,
            seen: tokio::sync::Mutex::new(seen),
        }
    }

    /// Has what counts written down from now on.
    pub fn set_scribe(&self, scribe: Scribe) {
        self.state().scribe = Some(scribe);
    }

    /// Looks at what is written down; nothing where nobody writes.
    pub fn with_scribe<T>(&self, look: impl FnOnce(&mut Scribe) -> T) -> Option<T> {
        self.state().scribe.as_mut().map(look)
    }

    /// Takes who writes away, once nobody changes anything any more.
    pub fn take_scribe(&self) -> Option<Scribe> {
        self.state().scribe.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it had written before the state was changed.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody that something has changed.
    fn tell(&self) {
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// The free job of the lowest number.
    fn take_job(&self) -> Option<Held> {
        let now = self.now();
        let mut state = self.state();
        state.next += 1;
        let lease = state.next;
        let mut free = state.jobs.iter_mut();
        let (&job, offered) =
            free.find(|(_, offered)| offered.lease.is_none() && offered.free_from <= now)?;
        offered.lease = Some(lease);
        Some(Held {
            engine: self.clone(),
            job,
            lease,
            body: offered.body.clone(),
        })
    }
}

/// A job in one's hands; dropped, it is free again.
pub struct Held {
    engine: Embedded,
    job: u64,
    lease: u64,
    body: Vec<u8>,
}

impl Held {
    /// Lets go of the job, for somebody else to have after a delay.
    fn free(&self, delay: Duration) {
        let from = self.engine.now() + delay;
        let mut state = self.engine.state();
        let own = state.jobs.get_mut(&self.job);
        if let Some(own) = own.filter(|own| own.lease == Some(self.lease)) {
            (own.lease, own.free_from) = (None, from);
            self.engine.shared.free.notify_one();
        }
    }
}

impl Lease for Held {
    fn job(&self) -> u64 {
        self.job
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    async fn keep(&mut self) {} // it lasts as long as its holder

    async fn done(self) {
        self.engine.state().jobs.remove(&self.job);
    }

    async fn give_back(self, delay: Duration) {
        self.free(delay);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.free(Duration::ZERO);
    }
}

impl Engine for Embedded {
    type Lease = Held;

    async fn once(&self, fact: Fact, value: Vec<u8>) -> Result<Vec<u8>, EngineError> {
        let mut state = self.state();
        if let Some(first) = state.facts.get(&fact) {
            return Ok(first.clone());
        }
        if let Some(scribe) = &mut state.scribe {
            scribe.fact(fact, &value)?;
        }
        state.facts.insert(fact, value.clone());
        drop(state);
        self.tell();
        Ok(value)
    }

    async fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.state().facts.get(&fact).cloned())
    }

    async fn cell(&self, cell: Cell) -> Result<(Revision, Option<Vec<u8>>), EngineError> {
        Ok(match self.state().cells.get(&cell) {
            Some((revision, value)) => (*revision, Some(value.clone())),
            None => (0, None),
        })
    }

    async fn swap(&self, cell: Cell, seen: Revision, value: Vec<u8>) -> Result<Swap, EngineError> {
        let mut state = self.state();
        let now = state.cells.get(&cell).map_or(0, |(revision, _)| *revision);
        if now != seen {
            return Ok(Swap::Refused);
        }
        if let Some(scribe) = &mut state.scribe {
            scribe.cell(cell, &value)?;
        }
        state.cells.insert(cell, (now + 1, value));
        drop(state);
        self.tell();
        Ok(Swap::Done)
    }

    async fn push(&self, shard: u32, _replica: u32, gradient: Vec<u8>) -> Result<(), EngineError> {
        let mut state = self.state();
        if let Some(scribe) = &mut state.scribe {
            scribe.pushed(shard, &gradient)?;
        }
        state.next += 1;
        let position = state.next;
        state
            .logs
            .entry(shard)
            .or_default()
            .push((position, gradient));
        drop(state);
        self.tell();
        Ok(())
    }

    /// One at a time where somebody writes, so that each gradient that is counted has a line of its own.
    async fn log(
        &self,
        shard: u32,
        after: Position,
        most: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
        let state = self.state();
        let most = match state.scribe {
            Some(_) => most.min(1),
            None => most,
        };
        let log = state.logs.get(&shard).into_iter().flatten();
        let rest = log.filter(|(position, _)| *position > after);
        Ok(rest.take(most).cloned().collect())
    }

    async fn trim(&self, shard: u32, up_to: Position) {
        if let Some(log) = self.state().logs.get_mut(&shard) {
            log.retain(|(position, _)| *position > up_to);
        }
    }

    async fn put(&self, blob: &str, bytes: Vec<u8>) -> Result<(), EngineError> {
        self.state().blobs.insert(blob.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, blob: &str) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.state().blobs.get(blob).cloned())
    }

    async fn drop_blob(&self, blob: &str) {
        self.state().blobs.remove(blob);
    }

    async fn offer(&self, job: u64, body: Vec<u8>) -> Result<(), EngineError> {
        let mut state = self.state();
        state.jobs.entry(job).or_insert(Offered {
            body,
            lease: None,
            free_from: Duration::ZERO,
        });
        drop(state);
        self.shared.free.notify_one();
        Ok(())
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Held>, EngineError> {
        let until = Instant::now() + wait;
        loop {
            if let Some(job) = self.take_job() {
                return Ok(Some(job));
            }
            let free = self.shared.free.notified();
            if tokio::time::timeout_at(until, free).await.is_err() {
                return Ok(self.take_job());
            }
        }
    }

    async fn changed(&self, at_most: Duration) {
        let mut seen = self.seen.lock().await;
        let _ = tokio::time::timeout(at_most, seen.changed()).await;
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    fn unique(&self) -> u64 {
        unique()
    }
}
