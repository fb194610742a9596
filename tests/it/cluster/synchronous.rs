//! A synchronous run is a function of its settings: under faults or not, for any number of shards, it ends
//! with the bits of a loop that knows neither.

use nas_engine::cluster::key::Cell;
use nas_engine::cluster::message::{Job, Shard};
use nas_engine::cluster::scheme::Scheme;
use nas_engine::controller::{Controller, ControllerState, Scored};

use super::check::faults;
use super::trial::{MORTAL, ROUGH, Trial, accuracy, config, scheme, space};

/// K replicas, each after the other: their gradients of one state, then a step along the mean.
pub fn expected(scheme: &Scheme, seed: u64) -> ControllerState {
    let mut controller = Controller::new(space(), &config(), seed);
    for wave in 0..scheme.rounds().div_ceil(u64::from(scheme.replicas)) {
        let mut batches = Vec::new();
        for round in scheme.wave(wave) {
            let samples = scheme.samples_of(round);
            let tokens = controller.sample_batch(samples.clone());
            let rewards: Vec<f64> = samples.zip(&tokens).map(reward).collect();
            batches.push((tokens, rewards));
        }
        let scored: Vec<Vec<Scored>> = batches
            .iter()
            .map(|(tokens, rewards)| {
                let pairs = tokens.iter().zip(rewards);
                pairs
                    .map(|(tokens, &reward)| Scored { tokens, reward })
                    .collect()
            })
            .collect();
        let used: Vec<f64> = scored
            .iter()
            .map(|batch| controller.baseline(batch))
            .collect();
        let mut sum = vec![0.0; controller.state().weights.len()];
        for (batch, &used) in scored.iter().zip(&used) {
            let gradient = controller.gradient(batch, used);
            sum.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g);
        }
        let n = scored.len() as f64;
        sum.iter_mut().for_each(|g| *g /= n);
        controller.apply(&sum);
        for (batch, &used) in scored.iter().zip(&used) {
            controller.move_baseline(batch, used);
        }
    }
    controller.state()
}

fn reward((sample, tokens): (u64, &Vec<u32>)) -> f64 {
    let job = Job {
        sample,
        round: 0,
        tokens: tokens.clone(),
        duplicate_of: None,
    };
    accuracy(&job).powi(3)
}

fn run(scheme: &Scheme, seed: u64) -> ControllerState {
    let run = Trial {
        scheme: scheme.clone(),
        seed,
        faults: ROUGH,
        fate: MORTAL,
        broken: None,
        poison: vec![],
        is_noisy: false,
        drained: None,
    }
    .run();
    assert_eq!(faults(&run), [""; 0], "{scheme:?}, seed {seed}");
    let world = run.engine.world.lock().unwrap();
    let shards: Vec<Shard> = (0..scheme.shards)
        .map(|s| Shard::from_bytes(world.cell(Cell::Shard(s)).unwrap()).unwrap())
        .collect();
    state(&shards)
}

/// What shards hold together.
pub fn state(shards: &[Shard]) -> ControllerState {
    let all = |part: fn(&Shard) -> &Vec<f64>| shards.iter().flat_map(part).copied().collect();
    ControllerState {
        weights: all(|shard| &shard.weights),
        mean: all(|shard| &shard.adam.mean),
        square: all(|shard| &shard.adam.square),
        step: shards[0].adam.step,
        baseline: shards[0].head.baseline,
    }
}

// paper P7.3, P7.4
#[test]
fn any_number_of_shards_and_faults_gives_the_same_bits() {
    for (replicas, shards) in [(1, 1), (1, 3), (4, 1), (4, 3), (4, 20), (3, 20)] {
        let scheme = Scheme {
            shards,
            replicas,
            synchronous: true,
            ..scheme()
        };
        for seed in 0..4 {
            let state = run(&scheme, seed);
            assert!(
                state == expected(&scheme, seed),
                "S {shards}, K {replicas}, seed {seed}"
            );
        }
    }
}

/// One shard and one replica are the search of one machine.
#[test]
fn one_replica_learns_as_a_search_does() {
    let scheme = Scheme {
        shards: 1,
        replicas: 1,
        synchronous: true,
        ..scheme()
    };
    let mut controller = Controller::new(space(), &config(), 5);
    for round in 0..scheme.rounds() {
        let samples = scheme.samples_of(round);
        let tokens = controller.sample_batch(samples.clone());
        let rewards: Vec<f64> = samples.zip(&tokens).map(reward).collect();
        let scored = tokens.iter().zip(&rewards);
        let scored: Vec<Scored> = scored
            .map(|(tokens, &reward)| Scored { tokens, reward })
            .collect();
        controller.learn(&scored);
    }
    assert!(run(&scheme, 5) == controller.state());
    // The asynchronous one has nobody to be late to.
    let asynchronous = Scheme {
        synchronous: false,
        ..scheme
    };
    assert!(run(&asynchronous, 5) == controller.state());
}
