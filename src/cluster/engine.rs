//! What the roles of a distributed search ask of whoever keeps its state. Bytes in, bytes out: what they
//! mean is in [`message`](super::message).
//!
//! Three rules carry all correctness, whatever else is lost, late or repeated:
//!
//! 1. A fact is written once; whoever comes second adopts the first value.
//! 2. A cell changes by compare-and-set on the revision that was read.
//! 3. A shard counts gradient n of replica r if and only if n is one more than the last it counted.
//!
//! Leases, hints and waiting times cost time where they fail, and nothing else.

use std::future::Future;
use std::time::Duration;

use super::key::{Cell, Fact};

/// A cell's state at one moment; 0 before its first value.
pub type Revision = u64;

/// A place in a shard's log; 0 before its first gradient. Positions grow and may have gaps.
pub type Position = u64;

/// What came of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The cell has the new value.
    Done,
    /// Another value came first.
    Refused,
    /// No answer came: it is wholly there or not at all.
    Unknown,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// It may or may not have had its effect; a repetition is harmless.
    #[error("{0}; trying again")]
    Retry(String),
    /// It never will be done: a right, a limit or a setting is in the way.
    #[error("{0}")]
    Refused(String),
    /// The store has lost what it had acknowledged.
    #[error("{0}; begin the run again under another name")]
    Lost(String),
}

/// A job in one's hands. Whoever else has it too costs time and nothing else.
pub trait Lease: Send {
    /// The job's number.
    fn job(&self) -> u64;

    /// What was offered.
    fn body(&self) -> &[u8];

    /// Keeps it for another while.
    fn keep(&mut self) -> impl Future<Output = ()> + Send;

    /// The job is not needed any more.
    fn done(self) -> impl Future<Output = ()> + Send;

    /// Somebody else may have it, after a delay.
    fn give_back(self, delay: Duration) -> impl Future<Output = ()> + Send;
}

/// Keeps facts, cells, logs of gradients and a queue of jobs. Handles are cheap to clone.
///
/// Every call may fail with [`EngineError::Retry`] after it has had its effect.
pub trait Engine: Clone + Send + Sync + 'static {
    /// A job that was handed out.
    type Lease: Lease;

    /// Writes a fact unless it is there; the value that counts.
    fn once(
        &self,
        fact: Fact,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, EngineError>> + Send;

    /// A fact, where it is there. One that was written a moment ago may not be seen yet.
    fn fact(&self, fact: Fact)
    -> impl Future<Output = Result<Option<Vec<u8>>, EngineError>> + Send;

    /// A cell and its revision; perhaps not the newest.
    fn cell(
        &self,
        cell: Cell,
    ) -> impl Future<Output = Result<(Revision, Option<Vec<u8>>), EngineError>> + Send;

    /// Changes a cell whose revision is still `seen`.
    fn swap(
        &self,
        cell: Cell,
        seen: Revision,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<Swap, EngineError>> + Send;

    /// Adds a gradient of a replica to a shard's log, at least once.
    fn push(
        &self,
        shard: u32,
        replica: u32,
        gradient: Vec<u8>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The first gradients of a shard's log after a position, in its order, at most so many.
    fn log(
        &self,
        shard: u32,
        after: Position,
        most: usize,
    ) -> impl Future<Output = Result<Vec<(Position, Vec<u8>)>, EngineError>> + Send;

    /// Drops a shard's log up to a position, sooner or later.
    fn trim(&self, shard: u32, up_to: Position) -> impl Future<Output = ()> + Send;

    /// Keeps bytes by a name that nobody has used.
    fn put(
        &self,
        blob: &str,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// What was put; nothing where it is gone.
    fn get(&self, blob: &str) -> impl Future<Output = Result<Option<Vec<u8>>, EngineError>> + Send;

    /// Lets go of bytes, sooner or later.
    fn drop_blob(&self, blob: &str) -> impl Future<Output = ()> + Send;

    /// Queues a job unless it is queued or handed out.
    fn offer(
        &self,
        job: u64,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// A job from the queue, for which it waits at most so long.
    fn lease(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<Option<Self::Lease>, EngineError>> + Send;

    /// Tells whoever listens how a worker is. May be lost, as all are where nobody can listen.
    fn beat(&self, _worker: u64, _beat: Vec<u8>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Waits until somebody asks how the workers are; for ever where nobody can.
    fn asked(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Waits until something may have changed: early, late, twice or never, but not longer than `at_most`.
    fn changed(&self, at_most: Duration) -> impl Future<Output = ()> + Send;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Time on a clock that only goes on, from any beginning.
    fn now(&self) -> Duration;

    /// A number that nobody else has, to know one's own values by.
    fn unique(&self) -> u64;
}

/// A number that nobody else has.
pub(super) fn unique() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // Where there is no randomness: the time and the process tell two apart.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64) ^ u64::from(std::process::id()).rotate_left(40)
    })
}
