//! What others wrote and what cannot be of the run ends a role in words, and never by a panic.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nas_engine::cluster::RoleError;
use nas_engine::cluster::applier::applier;
use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Gradient, GradientHead, Replica, ReplicaHead, Round, Shard};
use nas_engine::cluster::replica::replica;

use super::executor::{Doom, Executor};
use super::simulated::Simulated;
use super::trial::{CALM, IMMORTAL, config, scheme, space};

/// What is there before a role comes.
#[derive(Clone)]
enum Planted {
    Cell(Cell, Vec<u8>),
    Round(Vec<u8>),
    Gradient(Vec<u8>),
}

/// How a role ended; nothing where it goes on.
type End = Option<Result<(), RoleError>>;

/// How replica 0 and the applier of shard 0 end where something was planted.
fn ends(planted: Planted) -> [End; 2] {
    let mut executor = Executor::new(1, IMMORTAL);
    let engine = Simulated::new(executor.clock.clone(), 1, CALM, None);
    let learner = Learner::new(scheme(), space(), config(), 1).unwrap();
    let ends: Arc<Mutex<[End; 2]>> = Arc::default();
    for role in 0..2 {
        let (engine, learner, ends) = (engine.clone(), learner.clone(), Arc::clone(&ends));
        let planted = planted.clone();
        executor.add(false, Doom::default(), move || {
            let (engine, learner, ends) = (engine.clone(), learner.clone(), Arc::clone(&ends));
            let planted = planted.clone();
            Box::pin(async move {
                match planted {
                    Planted::Cell(cell, value) => drop(engine.swap(cell, 0, value).await),
                    Planted::Round(value) => drop(engine.once(Fact::Round(0), value).await),
                    Planted::Gradient(value) => drop(engine.push(0, 0, value).await),
                }
                let ended = match role {
                    0 => replica(&engine, &learner, 0).await,
                    _ => applier(&engine, &learner, 0).await,
                };
                ends.lock().unwrap()[role] = Some(ended);
            })
        });
    }
    executor.run(Duration::from_secs(60), || false);
    std::mem::take(&mut ends.lock().unwrap())
}

fn is_refused(ended: &End) -> bool {
    matches!(
        ended,
        Some(Err(RoleError::OtherRun(_) | RoleError::Message(_)))
    )
}

pub fn open() -> Replica {
    let learner = Learner::new(scheme(), space(), config(), 1).unwrap();
    let shards: Vec<Shard> = (0..3).map(|shard| learner.fresh(shard)).collect();
    Replica {
        head: ReplicaHead {
            n: 1,
            round: Some(0),
            open: true,
            versions: vec![0; 3],
            counted: vec![0; 3],
            baseline: None,
        },
        weights: shards.into_iter().flat_map(|shard| shard.weights).collect(),
    }
}

#[test]
fn replicas_of_other_runs_are_refused() {
    let good = Planted::Cell(Cell::Replica(0), open().to_bytes());
    assert!(ends(good)[0].is_none(), "it waits for its children");
    let changes: [fn(&mut Replica); 6] = [
        |replica| replica.head.n = 0,
        |replica| replica.head.round = None,
        |replica| replica.head.round = Some(1 << 40),
        |replica| replica.head.versions = vec![0],
        |replica| replica.weights.push(0.0),
        |replica| replica.weights.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut state = open();
        change(&mut state);
        let planted = Planted::Cell(Cell::Replica(0), state.to_bytes());
        assert!(is_refused(&ends(planted)[0]), "change {number}");
    }
    for bytes in [&b""[..], b"{}", b"nas-engine checkpoint 1\n"] {
        let planted = Planted::Cell(Cell::Replica(0), bytes.to_vec());
        assert!(is_refused(&ends(planted)[0]), "{bytes:?}");
    }
}

#[test]
fn shards_and_gradients_of_other_runs_are_refused() {
    let learner = Learner::new(scheme(), space(), config(), 1).unwrap();
    let fresh = learner.fresh(0);
    let mut short = fresh.clone();
    for numbers in [
        &mut short.weights,
        &mut short.adam.mean,
        &mut short.adam.square,
        &mut short.sum,
    ] {
        numbers.pop();
    }
    let [replica, applier] = ends(Planted::Cell(Cell::Shard(0), short.to_bytes()));
    assert!(is_refused(&replica) && is_refused(&applier));
    let gradient = |replica, round, n_values| {
        let head = GradientHead {
            replica,
            n: 1,
            round,
            seen: 0,
            rewards: vec![0.5],
            baseline: Some(0.5),
        };
        let values = vec![0.1; n_values];
        Planted::Gradient(Gradient { head, values }.to_bytes())
    };
    let n = fresh.weights.len();
    assert!(ends(gradient(0, 0, n))[1].is_none(), "it waits for others");
    for wrong in [gradient(0, 0, n - 1), gradient(4, 0, n), gradient(0, 99, n)] {
        assert!(is_refused(&ends(wrong)[1]));
    }
}

#[test]
fn rounds_of_other_spaces_are_refused() {
    let round = |tokens: Vec<Vec<u32>>, n_duplicates: usize| {
        Round {
            replica: 0,
            n: 1,
            counted: vec![0; 3],
            tokens,
            duplicate_of: vec![None; n_duplicates],
        }
        .to_bytes()
    };
    let learner = Learner::new(scheme(), space(), config(), 1).unwrap();
    let tokens = learner.propose(&open(), 0..3);
    let mine = |bytes: Vec<u8>| learner.fits_round(0, &Round::from_bytes(&bytes).unwrap());
    assert!(mine(round(tokens.clone(), 3)));
    let mut other = tokens.clone();
    other[1] = vec![99];
    for wrong in [
        round(tokens[..2].to_vec(), 3),
        round(tokens.clone(), 2),
        round(other, 3),
        round(vec![], 0),
    ] {
        assert!(!mine(wrong));
    }
    // A replica passes by a round that somebody has, and opens the next free one.
    assert!(ends(Planted::Round(round(vec![], 0)))[0].is_none());
}
