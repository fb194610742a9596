//! The protocol under faults, and each of its rules taken away.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::export;
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::message::Ended;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::config::Staleness;
use nas_engine::run::Status;

use super::check::faults;
use super::executor::{Doom, Executor};
use super::simulated::Simulated;
use super::trial::{CALM, Finished, IMMORTAL, MORTAL, ROUGH, Trial, scheme};
use super::world::Broken;

/// Seeds of a test run; `CLUSTER_SEEDS` asks for more.
fn seeds() -> u64 {
    let asked = std::env::var("CLUSTER_SEEDS").ok();
    asked.map_or(60, |seeds| {
        seeds.parse().expect("CLUSTER_SEEDS is a number")
    })
}

/// Seeds that once showed a fault.
const FORMER: [u64; 2] = [779, 2023];

fn rough(seed: u64) -> Trial {
    Trial {
        scheme: scheme(),
        seed,
        faults: ROUGH,
        fate: MORTAL,
        broken: None,
        poison: vec![7],
        is_noisy: true,
        drained: None,
    }
}

#[test]
fn a_calm_run_trains_every_child_once() {
    let run = Trial {
        faults: CALM,
        fate: IMMORTAL,
        poison: vec![],
        ..rough(1)
    }
    .run();
    assert_eq!(faults(&run), [""; 0]);
    let world = run.engine.world.lock().unwrap();
    assert_eq!((run.n_ended, world.n_jobs()), (0, 0));
    assert_eq!(
        world.blobs.len(),
        0,
        "checkpoints of children that have ended"
    );
    let ended = (0..40).map(|i| Ended::from_bytes(world.fact(Fact::Child(i)).unwrap()).unwrap());
    let trained = ended
        .filter(|ended| ended.child.duplicate_of.is_none())
        .count();
    assert_eq!(run.n_epochs, 4 * trained);
}

/// A scheme for each seed: updates of one gradient or of several, late ones counted in every way.
fn schemes(seed: u64) -> Scheme {
    Scheme {
        gradients_per_update: [1, 3, 1][(seed % 3) as usize],
        staleness: match seed % 4 {
            0 | 1 => Staleness::Paper,
            2 => Staleness::Scale { tau0: 2.0 },
            _ => Staleness::Bound { most: 2 },
        },
        ..scheme()
    }
}

/// What happened in many runs.
#[derive(Debug, Default)]
struct Tally {
    roles_ended: u64,
    calls_late: u64,
    times_down: u64,
    /// Poison children that were found, and others that ended as such.
    poison: u64,
    false_poison: u64,
}

impl Tally {
    fn add(&mut self, run: &Finished) {
        let world = run.engine.world.lock().unwrap();
        self.roles_ended += run.n_ended;
        self.calls_late += world.n_late;
        self.times_down += world.n_down;
        for i in 0..40 {
            let ended = Ended::from_bytes(world.fact(Fact::Child(i)).unwrap()).unwrap();
            let is_poison = ended.child.status == Status::Poison;
            self.poison += u64::from(is_poison && i == 7);
            self.false_poison += u64::from(is_poison && i != 7);
        }
    }
}

// paper P7.5, P8.5
#[test]
fn nothing_is_lost_and_nothing_counts_twice() {
    let began = Instant::now();
    let all = (0..seeds()).chain(FORMER);
    let (left, tally) = (Mutex::new(all), Mutex::new(Tally::default()));
    let some = || {
        let next = || left.lock().unwrap().next();
        while let Some(seed) = next() {
            let run = Trial {
                scheme: schemes(seed),
                ..rough(seed)
            }
            .run();
            assert_eq!(faults(&run), [""; 0], "seed {seed}");
            tally.lock().unwrap().add(&run);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(some);
        }
    });
    let (n, tally) = (seeds(), tally.into_inner().unwrap());
    println!("{n} seeds in {:.1?}: {tally:?}", began.elapsed());
    // Roles end at random, and so three of them may with one child; no more than that.
    assert!(1000 * tally.false_poison <= 39 * n, "{tally:?}");
    assert!(tally.roles_ended > 0 && tally.calls_late > 0 && tally.times_down > 0);
    assert!(tally.poison > 0);
}

/// Each rule is needed: without it the same check fails.
#[test]
fn every_rule_is_needed() {
    for broken in [
        Broken::SwapOfShards,
        Broken::SwapOfOtherCells,
        Broken::FirstChild,
        Broken::FirstRound,
        Broken::Sweep,
        Broken::HighWaterMark,
        Broken::FrozenSnapshot,
    ] {
        let fails = |seed: &u64| {
            let run = Trial {
                broken: Some(broken),
                ..rough(*seed)
            };
            !faults(&run.run()).is_empty()
        };
        let n_failed = (0..10).filter(fails).count();
        println!("without {broken:?}: {n_failed} of 10 failed");
        assert!(n_failed >= 3, "{broken:?}: {n_failed} of 10");
    }
}

/// Also where it is read from a copy of the server that does not know the last of it yet.
#[test]
fn a_run_that_is_over_is_exported_whole() {
    let run = Trial {
        faults: CALM,
        fate: IMMORTAL,
        poison: vec![],
        ..rough(1)
    }
    .run();
    let n_lines = run.exports.last().unwrap().len();
    let just_now = Duration::from_secs(2);
    {
        let mut world = run.engine.world.lock().unwrap();
        world.faults.stale = 1.0;
        for (_, written) in world.facts.values_mut() {
            *written = Duration::ZERO;
        }
        let cells = world.cells.iter_mut();
        for (_, kept) in cells.filter(|(cell, _)| matches!(cell, Cell::Shard(_))) {
            kept.written = just_now;
        }
    }
    let mut executor = Executor::new(1, IMMORTAL);
    let engine = Simulated {
        clock: executor.clock.clone(),
        ..run.engine.clone()
    };
    let (learner, exported) = (Arc::new(run.learner), Arc::<OnceLock<usize>>::default());
    let lines = Arc::clone(&exported);
    executor.add(false, Doom::default(), move || {
        let (engine, learner, lines) = (engine.clone(), Arc::clone(&learner), Arc::clone(&lines));
        Box::pin(async move {
            engine.sleep(just_now).await;
            let on_record = export::read(&engine, &learner).await.unwrap();
            lines.set(on_record.lines(&learner).unwrap().len()).unwrap();
        })
    });
    executor.run(Duration::from_secs(60), || exported.get().is_some());
    assert_eq!(exported.get(), Some(&n_lines));
}
