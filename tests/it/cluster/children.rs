//! Children that do not end, do not stop, or crash, in virtual time: what becomes of them, and who is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nas_engine::cluster::RoleError;
use nas_engine::cluster::control::End;
use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Attempt, Attempts, Ended, Job};
use nas_engine::cluster::worker::{CRASH_NODES, Step, Trainer, Training, Worker};
use nas_engine::run::Status;
use nas_engine::run::entry::Timing;
use nas_engine::search::evaluator::Outcome;
use nas_engine::train::Scores;

use super::executor::{Doom, Executor};
use super::foreign::open;
use super::simulated::Simulated;
use super::trial::{CALM, IMMORTAL, config, scheme, space};
use super::world::LEASE;

/// Children of one kind.
#[derive(Clone, Copy)]
enum Children {
    /// They hang, whatever they are told.
    Hang,
    /// They crash, and what trains them does not pass a test.
    CrashOnBadDevice,
}

impl Trainer for Children {
    type Training = Children;

    fn begin(&self, _job: &Job, _from: Option<Vec<u8>>) -> Children {
        *self
    }

    async fn test(&self) -> Result<(), String> {
        Err("no kernel runs".into())
    }
}

impl Training for Children {
    async fn next(&mut self) -> Step {
        match self {
            Children::Hang => std::future::pending().await,
            Children::CrashOnBadDevice => Step::Ended(Box::new(Outcome {
                sample: 0,
                status: Status::Crash,
                scores: Scores::Accuracies(vec![]),
                parameters: None,
                message: Some("by signal 11".into()),
                timing: Timing::default(),
            })),
        }
    }

    fn stop(&mut self) {}
}

/// How a worker ended, and after what time.
type Ending = (Result<End, RoleError>, Duration);

/// Has one worker after the other train a child, each told to stop at a time; how and when each ended, and
/// the engine.
fn work(children: Children, child_time: Option<u64>, stops: &[u64]) -> (Vec<Ending>, Simulated) {
    let mut executor = Executor::new(1, IMMORTAL);
    let engine = Simulated::new(executor.clock.clone(), 1, CALM, None);
    let learner = Learner::new(scheme(), space(), config(), 1).unwrap();
    let ends: Arc<Mutex<Vec<_>>> = Arc::default();
    let (on, told, stops) = (engine.clone(), Arc::clone(&ends), stops.to_vec());
    let n_workers = stops.len();
    executor.add(false, Doom::default(), move || {
        let (engine, learner) = (on.clone(), learner.clone());
        let (ends, stops) = (Arc::clone(&told), stops.clone());
        Box::pin(async move {
            let job = Job {
                sample: 0,
                round: 0,
                tokens: learner.propose(&open(), 0..1).remove(0),
                duplicate_of: None,
            };
            engine.offer(0, job.to_bytes()).await.unwrap();
            for (number, after) in stops.into_iter().enumerate() {
                let worker = Worker {
                    crash_nodes: CRASH_NODES,
                    node: format!("node{number}"),
                    device: "none".into(),
                    keep: LEASE / 4,
                    child_time: child_time.map(Duration::from_secs),
                    grace: Duration::from_secs(20),
                };
                let began = engine.now();
                let stop = AtomicBool::new(false);
                let ended = {
                    let tell = async {
                        engine.sleep(Duration::from_secs(after)).await;
                        stop.store(true, Ordering::Relaxed);
                    };
                    let run = worker.run((&engine, &learner), &children, &stop);
                    futures_util::future::join(run, tell).await.0
                };
                ends.lock().unwrap().push((ended, engine.now() - began));
            }
        })
    });
    executor.run(Duration::from_secs(10_000), || false);
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    assert_eq!(ends.len(), n_workers);
    (ends, engine)
}

fn attempts(engine: &Simulated) -> Vec<Attempt> {
    let world = engine.world.lock().unwrap();
    let bytes = world.cell(Cell::Attempts(0)).unwrap();
    Attempts::from_bytes(bytes).unwrap().attempts
}

fn ended(engine: &Simulated) -> Option<Ended> {
    let world = engine.world.lock().unwrap();
    let bytes = world.fact(Fact::Child(0))?;
    Some(Ended::from_bytes(bytes).unwrap())
}

#[test]
fn a_child_that_hangs_ends_when_its_time_is_over() {
    let (ends, engine) = work(Children::Hang, Some(90), &[200]);
    assert_eq!(ends[0].0, Ok(End::Own));
    let ended = ended(&engine).unwrap();
    assert_eq!(
        (ended.child.status, ended.child.reward),
        (Status::Timeout, None)
    );
    assert!((90.0..93.0).contains(&ended.child.timing.seconds));
    let message = ended.child.message.unwrap();
    assert!(message.contains("1m 30s (--child-time-limit)"), "{message}");
    assert_eq!(engine.world.lock().unwrap().n_jobs(), 0);
}

#[test]
fn the_time_of_all_attempts_counts() {
    // Each is stopped after 30 s and hangs for 20 s more; the third has 90 s in all behind it before it ends.
    let (_, engine) = work(Children::Hang, Some(140), &[30, 30, 200]);
    let ended = ended(&engine).unwrap();
    assert_eq!((ended.child.status, ended.attempts), (Status::Timeout, 3));
    assert!(
        (140.0..145.0).contains(&ended.child.timing.seconds),
        "{ended:?}"
    );
    let attempts = attempts(&engine);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.released == (attempt.node != "node2"))
    );
    for attempt in &attempts[..2] {
        assert!((48.0..52.0).contains(&attempt.seconds), "{attempt:?}");
    }
}

#[test]
fn a_child_that_does_not_stop_is_ended_and_given_back() {
    let (ends, engine) = work(Children::Hang, None, &[30, 30]);
    for (ended, time) in ends {
        assert_eq!(ended, Ok(End::Own));
        let seconds = time.as_secs_f64();
        assert!((50.0..53.0).contains(&seconds), "{seconds}");
    }
    assert_eq!(ended(&engine), None);
    let attempts = attempts(&engine);
    assert_eq!(attempts.len(), 2);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.released && !attempt.crashed)
    );
    assert_eq!(engine.world.lock().unwrap().n_jobs(), 1);
}

#[test]
fn a_child_is_not_at_fault_for_a_bad_device() {
    let (ends, engine) = work(Children::CrashOnBadDevice, None, &[30; 3]);
    for (ended, _) in ends {
        assert_eq!(ended, Err(RoleError::Device("no kernel runs".into())));
    }
    assert_eq!(
        ended(&engine),
        None,
        "three machines are bad, and the child is not"
    );
    let attempts = attempts(&engine);
    assert_eq!(attempts.len(), 3);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.released && !attempt.crashed)
    );
    assert_eq!(engine.world.lock().unwrap().n_jobs(), 1);
}
