//! The protocol under faults, and each of its rules taken away.

use std::time::Instant;

use nas_engine::cluster::key::Fact;
use nas_engine::cluster::message::Ended;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::config::Staleness;
use nas_engine::run::Status;

use super::check::faults;
use super::trial::{CALM, IMMORTAL, MORTAL, ROUGH, Trial, scheme};
use super::world::Broken;

/// Seeds of a test run; `CLUSTER_SEEDS` asks for more.
fn seeds() -> u64 {
    let asked = std::env::var("CLUSTER_SEEDS").ok();
    asked.map_or(60, |seeds| {
        seeds.parse().expect("CLUSTER_SEEDS is a number")
    })
}

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

// paper P7.5, P8.5
#[test]
fn nothing_is_lost_and_nothing_counts_twice() {
    let began = Instant::now();
    let (mut n_ended, mut n_late, mut n_down, mut n_poison, mut n_false) = (0, 0, 0, 0, 0);
    for seed in 0..seeds() {
        let run = Trial {
            scheme: schemes(seed),
            ..rough(seed)
        }
        .run();
        assert_eq!(faults(&run), [""; 0], "seed {seed}");
        let world = run.engine.world.lock().unwrap();
        n_ended += run.n_ended;
        n_late += world.n_late;
        n_down += world.n_down;
        for i in 0..40 {
            let ended = Ended::from_bytes(world.fact(Fact::Child(i)).unwrap()).unwrap();
            let is_poison = ended.child.status == Status::Poison;
            n_poison += u64::from(is_poison);
            n_false += u64::from(is_poison && i != 7);
        }
    }
    println!(
        "{} seeds in {:?}: {n_ended} roles ended, {n_late} calls repeated late, {n_down} times down, {n_poison} \
         poison children found",
        seeds(),
        began.elapsed()
    );
    println!(
        "{n_false} of {} other children were lost on three machines",
        39 * seeds()
    );
    // Roles end at random, and so three of them may with one child; no more than that.
    assert!(1000 * n_false <= 39 * seeds(), "{n_false}");
    assert!(n_ended > 0 && n_late > 0 && n_down > 0 && n_poison > 0);
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
