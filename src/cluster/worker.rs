//! The role that trains children: takes a job, goes on from its newest checkpoint, and writes the fact of
//! its result. A worker that ends in any way costs the work since the last checkpoint and nothing else.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use sha2::{Digest, Sha256};

use super::engine::{Engine, EngineError, Lease, Swap};
use super::key::{Cell, Fact};
use super::learner::Learner;
use super::message::{Attempt, Attempts, Checkpoint, Done, Ended, Job};
use super::role::{self, RoleError};
use crate::run::Status;
use crate::run::entry::{Child, Timing};
use crate::search::evaluator::Outcome;
use crate::search::proposal::{self, Proposal};
use crate::text;
use crate::train::Scores;

/// How long is waited for a job before one looks whether to stop.
const PATIENCE: Duration = Duration::from_secs(1);

/// Machines that a child may take down, without getting further, before it is at fault.
const POISON_NODES: usize = 3;

/// Machines on which a child must crash before it is at fault, where there are several.
pub const CRASH_NODES: usize = 2;

/// Attempts without getting further after which a child is at fault, on however few machines.
const MOST_ATTEMPTS: usize = 10;

/// Trains children.
pub trait Trainer: Send + Sync {
    /// A child under way.
    type Training: Training;

    /// Begins a child, or goes on with it from a checkpoint.
    fn begin(&self, job: &Job, from: Option<Vec<u8>>) -> Self::Training;
}

/// A child under way. Dropped, it ends.
pub trait Training: Send {
    /// What comes next of it. May be dropped and asked for again.
    fn next(&mut self) -> impl Future<Output = Step> + Send;

    /// Asks it to come to an end: a checkpoint, and [`Step::Stopped`].
    fn stop(&mut self);
}

/// What comes of a child.
#[derive(Debug)]
pub enum Step {
    /// It can be gone on with from here.
    Checkpoint {
        /// How far it is.
        done: Done,
        /// What it goes on from.
        bytes: Vec<u8>,
    },
    /// It ended, in any way.
    Ended(Box<Outcome>),
    /// It was asked to stop.
    Stopped,
    /// What trains is not to be used any more, in these words.
    Unusable(String),
}

/// Who a worker is.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its machine.
    pub node: String,
    /// How often a lease is kept: a fourth of its length is good.
    pub keep: Duration,
    /// Machines on which a child must crash before it is at fault.
    pub crash_nodes: usize,
}

impl Worker {
    /// Trains children until it is told to stop.
    ///
    /// # Errors
    /// See [`RoleError`].
    pub async fn run<E: Engine, T: Trainer>(
        &self,
        (engine, learner): (&E, &Learner),
        trainer: &T,
        stop: &AtomicBool,
    ) -> Result<(), RoleError> {
        let on = At {
            worker: self,
            engine,
            learner,
            stop,
        };
        while !stop.load(Ordering::Relaxed) {
            match engine.lease(PATIENCE).await {
                Ok(Some(lease)) => on.job(lease, trainer).await?,
                Ok(None) => {}
                Err(EngineError::Retry(words)) => {
                    tracing::debug!("{words}");
                    engine.sleep(PATIENCE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A worker at work.
struct At<'a, E> {
    worker: &'a Worker,
    engine: &'a E,
    learner: &'a Learner,
    stop: &'a AtomicBool,
}

/// How training comes to an end here.
enum Trained {
    /// With what became of the child.
    Outcome(Outcome),
    /// In good order, for somebody else to go on with.
    Released(Leave),
}

/// How a worker's hold of a job ends.
enum Leave {
    /// The result is there.
    Done,
    /// Somebody else is to have it, after a delay.
    GiveBack(Duration),
    /// Somebody else is to have it, and this worker takes no other, in these words.
    Quit(String),
}

/// Where a child stands.
struct Stand {
    attempts: Attempts,
    checkpoint: Option<Checkpoint>,
}

impl Stand {
    fn done(&self) -> Done {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or(Done::default(), |checkpoint| checkpoint.done)
    }

    /// Attempts that ended without a word and without getting further.
    fn lost(&self) -> impl Iterator<Item = &Attempt> {
        let done = self.done();
        let attempts = self.attempts.attempts.iter();
        attempts
            .filter(move |attempt| !attempt.released && !attempt.crashed && attempt.from == done)
    }

    fn crashed(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .attempts
            .iter()
            .filter(|attempt| attempt.crashed)
    }
}

fn nodes<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> BTreeSet<&'a str> {
    attempts.map(|attempt| &*attempt.node).collect()
}

impl<E: Engine> At<'_, E> {
    async fn job<T: Trainer>(&self, mut lease: E::Lease, trainer: &T) -> Result<(), RoleError> {
        let job = Job::from_bytes(lease.body())?;
        match self.work(&job, &mut lease, trainer).await? {
            Leave::Done => lease.done().await,
            Leave::GiveBack(delay) => lease.give_back(delay).await,
            Leave::Quit(words) => {
                lease.give_back(Duration::ZERO).await;
                return Err(RoleError::Device(words));
            }
        }
        Ok(())
    }

    /// Brings a child's result on record, or gives it back.
    async fn work<T: Trainer>(
        &self,
        job: &Job,
        lease: &mut E::Lease,
        trainer: &T,
    ) -> Result<Leave, RoleError> {
        let i = job.sample;
        if role::fact(self.engine, Fact::Child(i)).await?.is_some() {
            return Ok(Leave::Done); // a job that was offered again
        }
        let proposal = self.proposal(job)?;
        if let Some(original) = self.original(job).await? {
            let child = proposal::repeated(&proposal, &original.child);
            return self.end(child, 0).await;
        }
        let stand = self.stand(i).await?;
        let n = stand.attempts.attempts.len() as u64;
        let lost = nodes(stand.lost());
        if lost.len() >= POISON_NODES || stand.lost().count() >= MOST_ATTEMPTS {
            let names: Vec<&str> = lost.into_iter().collect();
            let message = format!("it was lost with {}", names.join(", "));
            let outcome = Outcome {
                sample: i,
                status: Status::Poison,
                scores: Scores::none(self.learner.space().kind()),
                parameters: None,
                message: Some(message),
                timing: Timing::default(),
            };
            return self.end(proposal::ended(&proposal, outcome), n).await;
        }
        let mine = Attempt {
            node: self.worker.node.clone(),
            worker: self.engine.unique(),
            from: stand.done(),
            released: false,
            crashed: false,
        };
        if !self.attempt(i, &mine).await? {
            return Ok(Leave::GiveBack(Duration::ZERO));
        }
        let from = self.load(&stand).await?;
        let mut training = trainer.begin(job, from);
        let outcome = match self.train(i, &mut training, lease).await? {
            Trained::Outcome(outcome) => outcome,
            Trained::Released(leave) => {
                self.mark(i, &mine, |attempt| attempt.released = true)
                    .await?;
                return Ok(leave);
            }
        };
        if outcome.status == Status::Crash {
            self.mark(i, &mine, |attempt| attempt.crashed = true)
                .await?;
            let stand = self.stand(i).await?;
            let n_crashes = stand.crashed().count();
            if nodes(stand.crashed()).len() < self.worker.crash_nodes && n_crashes < MOST_ATTEMPTS {
                return Ok(Leave::GiveBack(Duration::ZERO));
            }
        }
        self.end(proposal::ended(&proposal, outcome), n + 1).await
    }

    /// What a job stands for.
    fn proposal(&self, job: &Job) -> Result<Proposal, RoleError> {
        let tokens = job.tokens.clone();
        Proposal::new(self.learner.space(), job.round, job.sample, tokens).map_err(|error| {
            RoleError::OtherRun(format!(
                "job {}: {error}; is this the configuration that the run was begun with?",
                job.sample
            ))
        })
    }

    /// The result of the sample that a job repeats, where there is a verdict.
    async fn original(&self, job: &Job) -> Result<Option<Ended>, RoleError> {
        let Some(of) = job.duplicate_of else {
            return Ok(None);
        };
        let Some(bytes) = role::fact(self.engine, Fact::Child(of)).await? else {
            return Ok(None);
        };
        let ended = Ended::from_bytes(&bytes)?;
        Ok(Some(ended).filter(|ended| ended.child.status.is_verdict()))
    }

    /// Writes a result; the first one counts.
    async fn end(&self, child: Child, attempts: u64) -> Result<Leave, RoleError> {
        let fact = Fact::Child(child.sample);
        let ended = Ended {
            writer: self.engine.unique(),
            attempts,
            child,
        };
        role::once(self.engine, fact, ended.to_bytes()).await?;
        Ok(Leave::Done)
    }

    /// Trains until the child ends, or is to be given back.
    async fn train<C: Training>(
        &self,
        i: u64,
        training: &mut C,
        lease: &mut E::Lease,
    ) -> Result<Trained, RoleError> {
        let mut kept = self.engine.now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                training.stop();
            }
            let step = {
                let next = pin!(training.next());
                let time = pin!(self.engine.sleep(self.worker.keep.min(PATIENCE)));
                match select(next, time).await {
                    Either::Left((step, _)) => Some(step),
                    Either::Right(_) => None,
                }
            };
            match step {
                None => {}
                Some(Step::Checkpoint { done, bytes }) => self.keep(i, done, bytes).await?,
                Some(Step::Stopped) => {
                    return Ok(Trained::Released(Leave::GiveBack(Duration::ZERO)));
                }
                Some(Step::Unusable(words)) => return Ok(Trained::Released(Leave::Quit(words))),
                Some(Step::Ended(outcome)) => return Ok(Trained::Outcome(*outcome)),
            }
            if self.engine.now() >= kept + self.worker.keep {
                lease.keep().await;
                kept = self.engine.now();
            }
        }
    }

    async fn stand(&self, i: u64) -> Result<Stand, RoleError> {
        let (_, attempts) = role::cell(self.engine, Cell::Attempts(i)).await?;
        let (_, checkpoint) = role::cell(self.engine, Cell::Checkpoint(i)).await?;
        Ok(Stand {
            attempts: match attempts {
                Some(bytes) => Attempts::from_bytes(&bytes)?,
                None => Attempts::default(),
            },
            checkpoint: match checkpoint {
                Some(bytes) => Some(Checkpoint::from_bytes(&bytes)?),
                None => None,
            },
        })
    }

    /// Notes that this worker begins a child; not where another does at the same time.
    async fn attempt(&self, i: u64, mine: &Attempt) -> Result<bool, RoleError> {
        let (revision, bytes) = role::cell(self.engine, Cell::Attempts(i)).await?;
        let mut list = match bytes {
            Some(bytes) => Attempts::from_bytes(&bytes)?,
            None => Attempts::default(),
        };
        list.attempts.push(mine.clone());
        let swap = self
            .engine
            .swap(Cell::Attempts(i), revision, list.to_bytes())
            .await;
        match swap {
            Ok(Swap::Done) => Ok(true),
            Ok(Swap::Refused) => Ok(false),
            // It may be noted: then it does not count against the child.
            Ok(Swap::Unknown) | Err(EngineError::Retry(_)) => {
                self.mark(i, mine, |attempt| attempt.released = true)
                    .await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the note of this worker's attempt, if it can be done at once: without it the attempt counts
    /// as lost, of which a child may have some.
    async fn mark(
        &self,
        i: u64,
        mine: &Attempt,
        change: impl Fn(&mut Attempt) + Send,
    ) -> Result<(), RoleError> {
        for _ in 0..4 {
            let (revision, bytes) = role::cell(self.engine, Cell::Attempts(i)).await?;
            let Some(bytes) = bytes else {
                return Ok(());
            };
            let mut list = Attempts::from_bytes(&bytes)?;
            let its = list
                .attempts
                .iter_mut()
                .find(|attempt| attempt.worker == mine.worker);
            let Some(attempt) = its else {
                return Ok(());
            };
            change(attempt);
            let swap = self
                .engine
                .swap(Cell::Attempts(i), revision, list.to_bytes())
                .await;
            match swap {
                Ok(Swap::Done) => return Ok(()),
                Ok(_) | Err(EngineError::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Keeps a checkpoint, if it is of a later epoch than the one that is there.
    async fn keep(&self, i: u64, done: Done, bytes: Vec<u8>) -> Result<(), RoleError> {
        let (revision, old) = role::cell(self.engine, Cell::Checkpoint(i)).await?;
        let old = match old {
            Some(bytes) => Some(Checkpoint::from_bytes(&bytes)?),
            None => None,
        };
        if old.as_ref().is_some_and(|old| old.done >= done) {
            return Ok(());
        }
        let new = Checkpoint {
            done,
            blob: format!("{i}/{}/{:016x}", done.epochs, self.engine.unique()),
            bytes: bytes.len() as u64,
            sha256: text::hex(&Sha256::digest(&bytes)),
        };
        role::insist(self.engine, || self.engine.put(&new.blob, bytes.clone())).await?;
        let swap = self
            .engine
            .swap(Cell::Checkpoint(i), revision, new.to_bytes())
            .await;
        let unused = match swap {
            Ok(Swap::Done) => old.map(|old| old.blob),
            Ok(Swap::Refused) => Some(new.blob),
            // It may be in use: swept later.
            Ok(Swap::Unknown) | Err(EngineError::Retry(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(blob) = unused {
            self.engine.drop_blob(&blob).await;
        }
        Ok(())
    }

    /// What a child goes on from; nothing where it begins, or the checkpoint is not what was kept.
    async fn load(&self, stand: &Stand) -> Result<Option<Vec<u8>>, RoleError> {
        let Some(checkpoint) = &stand.checkpoint else {
            return Ok(None);
        };
        let bytes = role::insist(self.engine, || self.engine.get(&checkpoint.blob)).await?;
        let is_whole = |bytes: &Vec<u8>| text::hex(&Sha256::digest(bytes)) == checkpoint.sha256;
        Ok(bytes.filter(is_whole))
    }
}
