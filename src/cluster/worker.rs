//! The role that trains children: takes a job, goes on from its newest checkpoint, and writes the fact of
//! its result. A worker that ends in any way costs the work since the last checkpoint and nothing else.

mod farewell;
mod spent;
mod stand;
mod train;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::beat::{Phase, Pulse};
use super::control::{self, Control, End};
use super::engine::{Engine, EngineError, Lease};
use super::key::{Cell, Fact};
use super::learner::Learner;
use super::message::{Attempt, Done, Ended, Job};
use super::role::{self, RoleError};
use crate::run::Status;
use crate::run::entry::{Child, Timing};
use crate::search::evaluator::Outcome;
use crate::search::proposal::{self, Proposal};
use crate::train::Scores;
use spent::Spent;
use stand::nodes;

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

    /// Whether what trains still does, after a child has crashed on it.
    ///
    /// # Errors
    /// That it is not to be used any more, in these words.
    fn test(&self) -> impl Future<Output = Result<(), String>> + Send {
        std::future::ready(Ok(()))
    }
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
    /// So many epochs of it are done.
    Epoch(u64),
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
    /// What it trains on, in words.
    pub device: String,
    /// How often a lease is kept: a fourth of its length is good.
    pub keep: Duration,
    /// Machines on which a child must crash before it is at fault.
    pub crash_nodes: usize,
    /// How long a child may be trained for, all attempts together.
    pub child_time: Option<Duration>,
    /// How long a child that was told to stop may take for it: then it is ended.
    pub grace: Duration,
}

impl Worker {
    /// Trains children until it is told to stop, or the run is drained.
    ///
    /// # Errors
    /// See [`RoleError`].
    pub async fn run<E: Engine, T: Trainer>(
        &self,
        (engine, learner): (&E, &Learner),
        trainer: &T,
        stop: &AtomicBool,
    ) -> Result<End, RoleError> {
        let pulse = Pulse::new(engine.unique(), &self.node, &self.device, engine.now());
        let drained = OnceLock::new();
        let on = At {
            worker: self,
            engine,
            learner,
            stop,
            drained: &drained,
            pulse: &pulse,
        };
        let ended = {
            let watch = async {
                let _ = drained.set(control::drained(engine).await);
                std::future::pending::<Infallible>().await
            };
            let work = async {
                let (work, too_late) = (pin!(on.jobs(trainer)), pin!(on.too_late()));
                match select(work, too_late).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(((), _)) => {
                        tracing::warn!(
                            "the server does not answer; what is under way here is another's when its lease is over"
                        );
                        Ok(())
                    }
                }
            };
            let (heart, watch) = (pin!(pulse.keep_telling(engine)), pin!(watch));
            match select(pin!(work), select(heart, watch)).await {
                Either::Left((ended, _)) => ended,
                Either::Right((Either::Left((never, _)) | Either::Right((never, _)), _)) => {
                    match never {}
                }
            }
        };
        pulse.tell_left(engine).await;
        ended?;
        match drained.into_inner() {
            None => Ok(End::Own),
            Some(Ok(())) => Ok(End::Drained),
            Some(Err(error)) => Err(error), // what it had is given back
        }
    }
}

/// A worker at work.
struct At<'a, E> {
    worker: &'a Worker,
    engine: &'a E,
    learner: &'a Learner,
    stop: &'a AtomicBool,
    /// That the run is drained, or why that cannot be known.
    drained: &'a OnceLock<Result<(), RoleError>>,
    pulse: &'a Pulse,
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

impl<E: Engine> At<'_, E> {
    /// Works on one job after the other until it is told to stop.
    async fn jobs<T: Trainer>(&self, trainer: &T) -> Result<(), RoleError> {
        self.look().await?;
        let phase = |phase| self.pulse.phase(phase, self.engine.now());
        while !self.is_to_stop() {
            phase(Phase::Waiting);
            let leased = self.engine.lease(PATIENCE).await;
            match leased {
                Ok(Some(lease)) => {
                    phase(Phase::Between);
                    self.job(lease, trainer).await?;
                }
                Ok(None) => {}
                Err(EngineError::Retry(words)) => {
                    self.pulse.no_answer();
                    tracing::debug!("{words}");
                    self.engine.sleep(PATIENCE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.drained.get().is_some()
    }

    /// Whether the run is drained is known before a job is touched.
    async fn look(&self) -> Result<(), RoleError> {
        while !self.is_to_stop() {
            match self.engine.cell(Cell::Control).await {
                Ok((_, None)) => return Ok(()),
                Ok((_, Some(bytes))) => {
                    if Control::from_bytes(&bytes)?.drained {
                        let _ = self.drained.set(Ok(()));
                    }
                    return Ok(());
                }
                Err(EngineError::Retry(words)) => {
                    tracing::debug!("{words}");
                    self.engine.sleep(PATIENCE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

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
            // A job that was offered again, or whose last worker ended before it had tidied up.
            self.forget(i).await?;
            return Ok(Leave::Done);
        }
        let proposal = self.proposal(job)?;
        if let Some(original) = self.original(job).await? {
            let child = proposal::repeated(&proposal, &original.child);
            return self.end(child, 0).await;
        }
        if self.is_to_stop() {
            return Ok(Leave::GiveBack(Duration::ZERO));
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
            seconds: 0.0,
        };
        let mut spent = Spent::before(&stand, self.engine.now());
        if let Some(outcome) = self.timeout(&spent, i) {
            return self.end(proposal::ended(&proposal, outcome), n).await;
        }
        if !self.attempt(i, &mine).await? {
            return Ok(Leave::GiveBack(Duration::ZERO));
        }
        let from = self.load(&stand).await?;
        let mut training = trainer.begin(job, from);
        self.tell(Phase::Training, Some(i)).await;
        spent.begin(self.engine.now());
        let trained = self
            .train((i, &mine), &mut training, lease, &mut spent)
            .await;
        drop(training); // what is left of it ends before its end is told
        self.tell(Phase::Between, None).await;
        let outcome = match trained? {
            Trained::Outcome(outcome) => outcome,
            Trained::Released(leave) => {
                self.mark(i, &mine, |attempt| {
                    attempt.released = true;
                    attempt.seconds = spent.own.as_secs_f64();
                })
                .await?;
                return Ok(leave);
            }
        };
        if outcome.status == Status::Crash {
            if let Err(words) = self.keeping(lease, trainer.test()).await {
                // The child was not at fault.
                self.mark(i, &mine, |attempt| attempt.released = true)
                    .await?;
                return Ok(Leave::Quit(words));
            }
            self.mark(i, &mine, |attempt| {
                attempt.crashed = true;
                attempt.seconds = spent.own.as_secs_f64();
            })
            .await?;
            let stand = self.stand(i).await?;
            let n_crashes = stand.crashed().count();
            if nodes(stand.crashed()).len() < self.worker.crash_nodes && n_crashes < MOST_ATTEMPTS {
                return Ok(Leave::GiveBack(Duration::ZERO));
            }
        }
        self.end(proposal::ended(&proposal, outcome), n + 1).await
    }

    /// Tells that it begins a child, or is without one.
    async fn tell(&self, phase: Phase, sample: Option<u64>) {
        let now = self.engine.now();
        self.pulse.phase(phase, now);
        self.pulse.child(sample, now);
        self.pulse.tell(self.engine).await;
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
        self.forget(ended.child.sample).await?;
        Ok(Leave::Done)
    }
}
