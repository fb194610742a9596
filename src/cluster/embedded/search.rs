//! A search of several shards or replicas in one process: its roles are tasks that share the run's directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{JoinError, JoinSet};

use super::trainer::{self, Threads};
use super::{Embedded, News, Scribe};
use crate::cluster::applier::applier;
use crate::cluster::export::{self, ExportError};
use crate::cluster::facts::Facts;
use crate::cluster::learner::{Learner, TooManyShards};
use crate::cluster::replay::{ReplayError, Standing, Step, replay};
use crate::cluster::replica::replica;
use crate::cluster::role::RoleError;
use crate::cluster::scheme::Scheme;
use crate::cluster::worker::Worker;
use crate::config::Config;
use crate::run::entry::{Entry, Stop, Timing};
use crate::run::{Run, RunError, now};
use crate::search::session::{Begun, Session, SessionError};
use crate::search::{End, Event};
use crate::space::{Space, SpaceError};

/// Children that are asked for at a time, at most.
const MOST_WORKERS: u64 = 4096;

/// How often is looked whether to stop, and what there is to show.
const LOOK: Duration = Duration::from_millis(50);

/// How often a worker would say that it is there: here nobody takes its job away.
const KEEP: Duration = Duration::from_secs(3600);

/// Why such a search cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Its shards are too many.
    #[error(transparent)]
    Shards(#[from] TooManyShards),
    /// The journal is that of no such search.
    #[error(
        "the journal is not of this search: {0}; see which line is wrong by `nas-engine audit`, or start a new run \
         with --out"
    )]
    Replay(#[from] ReplayError),
    /// A role.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
}

impl From<ExportError> for SharedError {
    fn from(error: ExportError) -> SharedError {
        match error {
            ExportError::Role(error) => error.into(),
            ExportError::Replay(error) => error.into(),
            other => RoleError::OtherRun(other.to_string()).into(),
        }
    }
}

impl From<SpaceError> for SharedError {
    fn from(error: SpaceError) -> SharedError {
        SessionError::from(error).into()
    }
}

impl From<RunError> for SharedError {
    fn from(error: RunError) -> SharedError {
        SessionError::from(error).into()
    }
}

/// The controller of a run's settings.
///
/// # Errors
/// A space that cannot be made, or more shards than there are parameters.
pub fn learner(config: &Config) -> Result<Learner, SharedError> {
    let space = Space::new(&config.space)?;
    let scheme = Scheme::of(&config.search);
    let seed = config.search.seed;
    Ok(Learner::new(
        scheme,
        space,
        config.controller.clone(),
        seed,
    )?)
}

/// Runs a search from where its history ends, and writes what it found: the run, and how it ended. `watch`
/// hears of nothing but the facts so far.
pub fn go_on(
    session: Session,
    mut run: Run,
    stop: &Arc<AtomicBool>,
    watch: &mut dyn FnMut(Event),
) -> (Run, Result<End, SharedError>) {
    let search = match Search::prepare(&session, &run, stop) {
        Ok(search) => search,
        Err(error) => return (run, Err(error)),
    };
    let begun = match session.begin(&mut run, stop) {
        Ok(Ok(begun)) => begun,
        Ok(Err(end)) => return (run, Ok(end)),
        Err(error) => return (run, Err(error.into())),
    };
    let (mut run, end) = search.run(begun, run, watch);
    let end = end.and_then(|end| finish(&mut run, end));
    match (end, run.write_best()) {
        (Ok(_), Err(error)) => (run, Err(error.into())),
        (end, _) => (run, end), // says more, where both failed
    }
}

/// Writes that a search has stopped in good order.
fn finish(run: &mut Run, end: End) -> Result<End, SharedError> {
    if end != End::Finished {
        let line = Entry::Stop(Stop {
            samples: run.history.children.len() as u64,
            timing: Timing {
                at: now(),
                ..Timing::default()
            },
        });
        run.journal.append(&line).map_err(RunError::from)?;
        run.history.add(line).expect("a stop fits any history");
    }
    Ok(end)
}

/// A search that may begin.
struct Search<'a> {
    learner: Arc<Learner>,
    facts: Facts,
    standing: Standing,
    /// Version of the first shard after so many gradients.
    versions: Vec<u64>,
    stop: &'a Arc<AtomicBool>,
}

/// What there is to show.
struct Shown {
    news: Receiver<News>,
    epochs: Receiver<(u64, usize)>,
}

impl Search<'_> {
    /// Where the run stands, by its journal.
    fn prepare<'a>(
        session: &Session,
        run: &Run,
        stop: &'a Arc<AtomicBool>,
    ) -> Result<Search<'a>, SharedError> {
        let learner = learner(session.config)?;
        let facts = Facts::of(&run.history, learner.scheme().shards)?;
        let mut versions = vec![0];
        let standing = replay(&learner, &facts, &mut |step| {
            if let Step::Counted {
                shard: 0, after, ..
            } = step
            {
                versions.resize(after.head.order.len() + 1, after.head.version);
            }
            Ok::<(), SharedError>(())
        })?;
        Ok(Search {
            learner: Arc::new(learner),
            facts,
            standing,
            versions,
            stop,
        })
    }

    fn run(
        self,
        begun: Begun,
        run: Run,
        watch: &mut dyn FnMut(Event),
    ) -> (Run, Result<End, SharedError>) {
        let Run {
            disk,
            path,
            journal,
            history,
            torn,
        } = run;
        let lost = history.lost.clone();
        let (sender, news) = channel();
        let scribe = Scribe::new(
            Learner::clone(&self.learner),
            (journal, history),
            (self.versions.clone(), &self.standing),
            sender,
        );
        let engine = Embedded::new(None);
        let end = self.work(&engine, scribe, (begun, lost, news), watch);
        let scribe = engine.take_scribe().expect("nobody else takes it");
        let (journal, history, failed) = scribe.into_parts();
        let run = Run {
            disk,
            path,
            journal,
            history,
            torn,
        };
        match failed {
            Some(error) => (run, Err(RunError::from(error).into())),
            None => (run, end),
        }
    }

    fn work(
        &self,
        engine: &Embedded,
        scribe: Scribe,
        (begun, lost, news): (Begun, BTreeMap<u64, (usize, String)>, Receiver<News>),
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SharedError> {
        let built = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build();
        // What is restored is on record: nobody writes it again.
        let restored = built.map_err(SharedError::Threads).and_then(|runtime| {
            runtime.block_on(export::restore(engine, &self.facts, &self.standing))?;
            Ok(runtime)
        });
        engine.set_scribe(scribe);
        let runtime = restored?;
        let (sender, epochs) = channel();
        let side = (self.learner.space().clone(), engine.clone());
        let (threads, evaluator) =
            trainer::begin(begun.evaluator, side, lost, sender).map_err(SharedError::Threads)?;
        let shown = Shown { news, epochs };
        let end = runtime.block_on(self.roles(engine, &threads, &shown, watch));
        shown.show(engine, &threads, watch);
        threads.finish();
        let not_kept = evaluator.join().expect("the evaluator does not panic");
        match not_kept {
            Some(error) => Err(error.into()),
            None => end,
        }
    }

    /// Runs all roles until the search is done, or is told to stop.
    async fn roles(
        &self,
        engine: &Embedded,
        threads: &Threads,
        shown: &Shown,
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SharedError> {
        let scheme = self.learner.scheme();
        let mut appliers = JoinSet::new();
        for s in 0..scheme.shards {
            let (engine, learner) = (engine.clone(), Arc::clone(&self.learner));
            appliers.spawn(async move { applier(&engine, &learner, s).await });
        }
        let mut others = JoinSet::new();
        for r in 0..scheme.replicas {
            let (engine, learner) = (engine.clone(), Arc::clone(&self.learner));
            others.spawn(async move { replica(&engine, &learner, r).await });
        }
        let mut workers = JoinSet::new();
        let n_workers = u64::from(scheme.replicas) * scheme.children_per_round;
        for _ in 0..n_workers.min(MOST_WORKERS) {
            let (engine, learner) = (engine.clone(), Arc::clone(&self.learner));
            let (threads, stop) = (threads.clone(), Arc::clone(self.stop));
            workers.spawn(async move {
                let worker = Worker {
                    node: "here".to_owned(),
                    device: String::new(), // nobody asks
                    keep: KEEP,
                    crash_nodes: 1,
                    child_time: None,
                    grace: Duration::from_secs(60),
                };
                let ended = worker.run((&engine, &learner), &threads, &stop).await;
                ended.map(|_| ())
            });
        }
        let mut is_told = false;
        let end = loop {
            shown.show(engine, threads, watch);
            if self.stop.load(Ordering::Relaxed) && !is_told {
                threads.stop();
                is_told = true;
            }
            let ended = tokio::select! {
                Some(ended) = appliers.join_next() => match appliers.is_empty() {
                    true => break role(ended).map(|()| End::Finished),
                    false => role(ended),
                },
                Some(ended) = others.join_next() => role(ended),
                Some(ended) = workers.join_next() => match workers.is_empty() {
                    true => break role(ended).map(|()| End::Stopped),
                    false => role(ended),
                },
                () = tokio::time::sleep(LOOK) => Ok(()),
            };
            if let Err(error) = ended {
                break Err(error);
            }
        };
        for roles in [&mut appliers, &mut others, &mut workers] {
            roles.shutdown().await;
        }
        match end {
            Err(RoleError::Device(words)) => Ok(End::NoDevice(words)),
            end => Ok(end?),
        }
    }
}

/// How a role's task has ended.
fn role(ended: Result<Result<(), RoleError>, JoinError>) -> Result<(), RoleError> {
    ended.expect("a role does not panic")
}

impl Shown {
    /// Shows what has happened, and tells the evaluator what is on record.
    fn show(&self, engine: &Embedded, threads: &Threads, watch: &mut dyn FnMut(Event)) {
        for (sample, epoch) in self.epochs.try_iter() {
            watch(Event::Epoch { sample, epoch });
        }
        for news in self.news.try_iter() {
            engine.with_scribe(|scribe| match news {
                News::Child(sample) => {
                    threads.recorded(sample);
                    watch(Event::Ended(&scribe.history().children[&sample]));
                }
                News::Counted(batch) => watch(Event::Batch {
                    batch,
                    history: scribe.history(),
                }),
            });
        }
    }
}
