//! What workers tell of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nas_engine::cluster::beat::{Beat, EVERY, State};
use nas_engine::cluster::key::Fact;
use nas_engine::cluster::message::Ended;

use super::trial::{CALM, EPOCHS, Finished, IMMORTAL, MORTAL, ROUGH, Trial, scheme};

fn beats(run: &Finished) -> Vec<(Duration, Beat)> {
    let world = run.engine.world.lock().unwrap();
    let beats = world.beats.iter();
    beats
        .map(|(at, worker, bytes)| {
            let beat = Beat::from_bytes(bytes).unwrap();
            assert_eq!(beat.worker, *worker);
            (*at, beat)
        })
        .collect()
}

fn trial(seed: u64) -> Trial {
    Trial {
        scheme: scheme(),
        seed,
        faults: CALM,
        fate: IMMORTAL,
        broken: None,
        poison: vec![],
        is_noisy: false,
        drained: None,
    }
}

#[test]
fn workers_tell_of_every_child_and_never_fall_silent() {
    let run = trial(1).run();
    assert!(run.is_done, "{:?}", run.errors);
    let (mut epochs, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (at, beat) in beats(&run) {
        if let (Some(sample), Some(epoch)) = (beat.sample, beat.epoch) {
            let seen: &mut BTreeSet<u64> = epochs.entry(sample).or_default();
            seen.insert(epoch);
        }
        assert_eq!(beat.sample.is_some(), beat.state == State::Training);
        let idle = beat.idle.queue_empty + beat.idle.job_queued;
        assert!((0.0..=beat.seconds + 1e-6).contains(&idle), "{beat:?}");
        if let Some((before, _)) = last.insert(beat.worker, (at, beat)) {
            assert!(at - before <= EVERY, "silent from {before:?} to {at:?}");
        }
    }
    let world = run.engine.world.lock().unwrap();
    let all: BTreeSet<u64> = (1..=EPOCHS).collect();
    for i in 0..40 {
        let ended = Ended::from_bytes(world.fact(Fact::Child(i)).unwrap()).unwrap();
        let is_trained = ended.child.duplicate_of.is_none();
        let expected = is_trained.then_some(&all);
        assert_eq!(epochs.get(&i), expected, "sample {i}");
    }
    // Children take 1 to 12 s an epoch; what was not idle was training.
    let trained: f64 = last
        .values()
        .map(|(_, beat)| beat.seconds - beat.idle.queue_empty - beat.idle.job_queued)
        .sum();
    let n = run.n_epochs as f64;
    assert!(
        (n..12.5 * n).contains(&trained),
        "{trained} s of {n} epochs"
    );
    assert_eq!(last.len(), 5);
}

#[test]
fn time_that_the_engine_costs_is_told_apart_from_that_of_the_scheme() {
    let shares = |trial: Trial| {
        let mut last = BTreeMap::new();
        for (_, beat) in beats(&trial.run()) {
            last.insert(beat.worker, beat);
        }
        let sum = |of: fn(&Beat) -> f64| last.values().map(of).sum::<f64>();
        let all = sum(|beat| beat.seconds);
        let shares = [
            sum(|beat| beat.idle.queue_empty) / all,
            sum(|beat| beat.idle.job_queued) / all,
        ];
        println!("queue empty, job queued: {shares:?}");
        shares
    };
    let [_, calm] = shares(trial(2));
    let [_, rough] = shares(Trial {
        faults: ROUGH,
        fate: MORTAL,
        ..trial(2)
    });
    assert!(calm < 0.02 && rough > 2.0 * calm, "{calm} {rough}");
    // One replica alone has three children at once for five workers.
    let mut narrow = scheme();
    narrow.replicas = 1;
    let [starved, engine] = shares(Trial {
        scheme: narrow,
        ..trial(2)
    });
    assert!(starved > 0.4 && engine < 0.02, "{starved} {engine}");
}
