//! An engine in virtual time that does to its callers what networks and servers do: answers late or never,
//! before or after the effect; does again, later, what it was asked once; answers with what was; forgets who
//! has which job; and goes down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nas_engine::cluster::engine::{Engine, EngineError, Lease, Position, Revision, Swap};
use nas_engine::cluster::key::{Cell, Fact};

use super::executor::Clock;
use super::world::{Broken, Effect, Faults, LEASE, World};

/// How long a call is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Simulated {
    pub clock: Clock,
    pub world: Arc<Mutex<World>>,
}

impl Simulated {
    pub fn new(clock: Clock, seed: u64, faults: Faults, broken: Option<Broken>) -> Simulated {
        let world = World::new(seed, faults, broken);
        Simulated {
            clock,
            world: Arc::new(Mutex::new(world)),
        }
    }

    /// The world as it is now.
    fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap();
        world.to(self.clock.now());
        look(&mut world)
    }

    async fn latency(&self) {
        let most = Duration::from_millis(20);
        let time = self.with(|world| world.below(most));
        self.clock.sleep(time).await;
    }

    /// A call with an effect, in all the ways that it may go.
    async fn call<T: Send>(
        &self,
        effect: impl Fn(&mut World) -> T + Clone + Send + 'static,
    ) -> Result<T, EngineError> {
        self.latency().await;
        let (answer, is_late) = self.with(|world| {
            let faults = world.faults;
            let later = world.now + world.below(Duration::from_secs(100));
            let again = effect.clone();
            let again: Effect = Box::new(move |world| drop(again(world)));
            let fate = world.rng.uniform();
            let is_down = world.now < world.down_until;
            if fate < faults.lost_before || is_down {
                // The client may send it after the connection is there again, whoever waits for it.
                if world.rng.uniform() < 0.5 {
                    world.later.push((later, again));
                }
                return (None, true);
            }
            if world.rng.uniform() < faults.repeated {
                world.later.push((later, again));
            }
            (
                Some(effect(world)),
                fate < faults.lost_before + faults.lost_after,
            )
        });
        if is_late {
            self.clock.sleep(TIMEOUT).await;
            return Err(EngineError::Retry("no answer".into()));
        }
        self.latency().await;
        Ok(answer.expect("an effect that was not lost"))
    }

    /// A call that changes nothing.
    async fn read<T: Send>(&self, look: impl Fn(&mut World) -> T + Send) -> Result<T, EngineError> {
        self.latency().await;
        let answer = self.with(|world| {
            let is_lost =
                world.now < world.down_until || world.rng.uniform() < world.faults.lost_after;
            (!is_lost).then(|| look(world))
        });
        let time = if answer.is_some() {
            Duration::ZERO
        } else {
            TIMEOUT
        };
        self.clock.sleep(time).await;
        answer.ok_or_else(|| EngineError::Retry("no answer".into()))
    }
}

pub struct Held {
    engine: Simulated,
    job: u64,
    lease: u64,
    body: Vec<u8>,
}

impl Lease for Held {
    fn job(&self) -> u64 {
        self.job
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    async fn keep(&mut self) {
        let (job, lease) = (self.job, self.lease);
        let kept = self.engine.call(move |world| {
            let until = world.now + LEASE;
            if let Some(own) = world.own(job, lease) {
                own.free_from = until;
            }
        });
        let _ = kept.await;
    }

    async fn done(self) {
        // Also by one whose lease is over: the job is gone for all.
        let job = self.job;
        let done = self.engine.call(move |world| {
            world.jobs.remove(&job);
        });
        let _ = done.await;
    }

    async fn give_back(self, delay: Duration) {
        let (job, lease) = (self.job, self.lease);
        let given = self.engine.call(move |world| {
            let from = world.now + delay;
            if let Some(own) = world.own(job, lease) {
                own.free_from = from;
            }
        });
        let _ = given.await;
    }
}

impl Engine for Simulated {
    type Lease = Held;

    async fn once(&self, fact: Fact, value: Vec<u8>) -> Result<Vec<u8>, EngineError> {
        let counts = self.call(move |world| world.once(fact, &value)).await?;
        self.with(|world| world.told.push((fact, counts.clone())));
        Ok(counts)
    }

    async fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, EngineError> {
        let value = self.read(move |world| {
            let (value, written) = world.facts.get(&fact).cloned()?;
            (!world.is_stale(written)).then_some(value)
        });
        let value = value.await?;
        if let Some(value) = &value {
            self.with(|world| world.told.push((fact, value.clone())));
        }
        Ok(value)
    }

    async fn cell(&self, cell: Cell) -> Result<(Revision, Option<Vec<u8>>), EngineError> {
        self.read(move |world| {
            let Some(kept) = world.cells.get(&cell) else {
                return (0, None);
            };
            let (newest, before) = (
                (kept.revision, Some(kept.value.clone())),
                kept.before.clone(),
            );
            let written = kept.written;
            let (revision, value) = match world.is_stale(written) {
                true => before,
                false => newest,
            };
            (revision, value.map(|value| world.seen(cell, value)))
        })
        .await
    }

    async fn swap(&self, cell: Cell, seen: Revision, value: Vec<u8>) -> Result<Swap, EngineError> {
        let swap = self.call(move |world| world.swap(cell, seen, &value)).await;
        Ok(swap.unwrap_or(Swap::Unknown))
    }

    async fn push(&self, shard: u32, _replica: u32, gradient: Vec<u8>) -> Result<(), EngineError> {
        self.call(move |world| world.push(shard, &gradient)).await
    }

    async fn log(
        &self,
        shard: u32,
        after: Position,
        most: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
        self.read(move |world| {
            let log = world.logs.get(&shard).cloned().unwrap_or_default();
            let mut entries = Vec::new();
            for (position, written, gradient) in log {
                if position > after && entries.len() < most {
                    if world.is_stale(written) {
                        break; // a follower has not got so far
                    }
                    entries.push((position, world.gradient(shard, position, &gradient)));
                }
            }
            entries
        })
        .await
    }

    async fn trim(&self, shard: u32, up_to: Position) {
        let trimmed = self.call(move |world| {
            let log = world.logs.entry(shard).or_default();
            log.retain(|(position, ..)| *position > up_to);
        });
        let _ = trimmed.await;
    }

    async fn put(&self, blob: &str, bytes: Vec<u8>) -> Result<(), EngineError> {
        let blob = blob.to_owned();
        let put = self.call(move |world| world.blobs.insert(blob.clone(), bytes.clone()));
        put.await.map(drop)
    }

    async fn get(&self, blob: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.read(|world| world.blobs.get(blob).cloned()).await
    }

    async fn drop_blob(&self, blob: &str) {
        let blob = blob.to_owned();
        let _ = self.call(move |world| world.blobs.remove(&blob)).await;
    }

    async fn offer(&self, job: u64, body: Vec<u8>) -> Result<(), EngineError> {
        self.call(move |world| world.offer(job, &body)).await
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Held>, EngineError> {
        // An answer that is lost leaves the job leased to nobody.
        let leased = self.call(World::lease).await?;
        let Some((job, lease, body)) = leased else {
            self.clock.sleep(wait).await;
            return Ok(None);
        };
        Ok(Some(Held {
            engine: self.clone(),
            job,
            lease,
            body,
        }))
    }

    async fn beat(&self, worker: u64, beat: Vec<u8>) {
        self.with(|world| {
            let now = world.now;
            world.beats.push((now, worker, beat));
        });
    }

    async fn asked(&self) {
        self.clock.sleep(Duration::from_secs(17)).await;
    }

    async fn changed(&self, at_most: Duration) {
        let time = self.with(|world| world.below(at_most));
        self.clock.sleep(time).await;
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn unique(&self) -> u64 {
        self.with(|world| world.rng.u64())
    }
}
