//! What every engine must do, whatever it is made of.

use std::future::Future;
use std::time::Duration;

use nas_engine::cluster::engine::{Engine, EngineError, Lease, Swap};
use nas_engine::cluster::key::{Cell, Fact};

use super::executor::{Doom, Executor};
use super::simulated::Simulated;
use super::trial::{CALM, IMMORTAL, ROUGH};

/// Repeats a call until it has an answer.
async fn answer<E: Engine, T, F: Future<Output = Result<T, EngineError>>>(
    engine: &E,
    call: impl Fn() -> F,
) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(EngineError::Retry(_)) => engine.sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until something is there: what was written a moment ago may not be seen yet.
async fn seen<E: Engine, T, F: Future<Output = Result<Option<T>, EngineError>>>(
    engine: &E,
    call: impl Fn() -> F,
) -> T {
    loop {
        if let Some(value) = answer(engine, &call).await {
            return value;
        }
        engine.sleep(Duration::from_millis(100)).await;
    }
}

/// `lease` is how long a job is one's own.
pub async fn conforms<E: Engine>(engine: E, lease: Duration) {
    facts(&engine).await;
    cells(&engine).await;
    logs(&engine).await;
    blobs(&engine).await;
    jobs(&engine, lease).await;
}

/// The first value counts, and everybody is told it.
pub async fn facts<E: Engine>(engine: &E) {
    let fact = Fact::Child(3);
    assert_eq!(answer(engine, || engine.fact(fact)).await, None);
    let first = answer(engine, || engine.once(fact, b"first".to_vec())).await;
    assert_eq!(first, b"first");
    let second = answer(engine, || engine.once(fact, b"second".to_vec())).await;
    assert_eq!(second, b"first");
    assert_eq!(seen(engine, || engine.fact(fact)).await, b"first");
    assert_eq!(answer(engine, || engine.fact(Fact::Child(33))).await, None);
}

/// A change on a revision that is not the newest changes nothing; one of unknown outcome is wholly there
/// or not at all.
pub async fn cells<E: Engine>(engine: &E) {
    let cell = Cell::Replica(1);
    assert_eq!(answer(engine, || engine.cell(cell)).await, (0, None));
    let mut expected: Vec<u8> = vec![];
    for step in 0..20u8 {
        let value = vec![step; 1 + 100 * usize::from(step)];
        loop {
            let (revision, before) = answer(engine, || engine.cell(cell)).await;
            match engine.swap(cell, revision, value.clone()).await.unwrap() {
                Swap::Done => break,
                // An earlier try was done after all, or what was read was not the newest.
                Swap::Refused if before.as_deref() == Some(&value[..]) => break,
                Swap::Refused | Swap::Unknown => engine.sleep(Duration::from_millis(300)).await,
            }
        }
        // On the revision before the first value.
        let stale = engine.swap(cell, 0, b"stale".to_vec()).await.unwrap();
        assert_ne!(stale, Swap::Done);
        expected = value;
    }
    engine.sleep(Duration::from_secs(3)).await;
    let (_, found) = answer(engine, || engine.cell(cell)).await;
    assert_eq!(found, Some(expected));
    let other = answer(engine, || engine.cell(Cell::Replica(11))).await;
    assert_eq!(other, (0, None), "names that begin alike are different");
}

/// Gradients come in the order in which they were acknowledged, each shard's by themselves.
async fn logs<E: Engine>(engine: &E) {
    for n in 0..10u8 {
        for shard in [1, 11] {
            let gradient = vec![n, shard as u8];
            answer(engine, || {
                engine.push(shard, u32::from(n % 3), gradient.clone())
            })
            .await;
        }
    }
    engine.sleep(Duration::from_secs(3)).await;
    for shard in [1, 11] {
        let all = answer(engine, || engine.log(shard, 0, 1000)).await;
        // Some may be there twice.
        let mut firsts: Vec<Vec<u8>> = vec![];
        for (_, gradient) in &all {
            if !firsts.contains(gradient) {
                firsts.push(gradient.clone());
            }
        }
        let expected: Vec<Vec<u8>> = (0..10).map(|n| vec![n, shard as u8]).collect();
        assert_eq!(firsts, expected);
        assert!(all.is_sorted_by(|a, b| a.0 < b.0));
        let rest = answer(engine, || engine.log(shard, all[3].0, 2)).await;
        assert_eq!(rest, all[4..6]);
    }
    let all = answer(engine, || engine.log(1, 0, 1000)).await;
    let other = answer(engine, || engine.log(11, 0, 1000)).await;
    engine.trim(1, all[4].0).await;
    engine.sleep(Duration::from_secs(3)).await;
    let rest = answer(engine, || engine.log(1, all[4].0, 1000)).await;
    assert_eq!(rest, all[5..]);
    assert_eq!(answer(engine, || engine.log(11, 0, 1000)).await, other);
    assert_eq!(answer(engine, || engine.log(2, 0, 1000)).await, []);
}

async fn blobs<E: Engine>(engine: &E) {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    answer(engine, || engine.put("3/2/abc", bytes.clone())).await;
    assert!(seen(engine, || engine.get("3/2/abc")).await == bytes);
    assert_eq!(answer(engine, || engine.get("3/2/abcd")).await, None);
    engine.drop_blob("3/2/abc").await;
}

/// Two offers are one job; nobody else has one that is kept, and one that is not kept is handed out again.
async fn jobs<E: Engine>(engine: &E, lease: Duration) {
    let wait = Duration::from_millis(200);
    assert!(answer(engine, || engine.lease(wait)).await.is_none());
    for _ in 0..2 {
        answer(engine, || engine.offer(7, b"seven".to_vec())).await;
    }
    let mut mine = seen(engine, || engine.lease(wait)).await;
    assert_eq!((mine.job(), mine.body()), (7, &b"seven"[..]));
    answer(engine, || engine.offer(7, b"seven".to_vec())).await;
    for _ in 0..4 {
        engine.sleep(lease / 2).await;
        mine.keep().await;
        assert!(
            answer(engine, || engine.lease(wait)).await.is_none(),
            "it is kept"
        );
    }
    drop(mine); // and forgotten
    let again = seen(engine, || engine.lease(wait)).await;
    assert_eq!(again.job(), 7);
    again.give_back(Duration::ZERO).await;
    let third = seen(engine, || engine.lease(wait)).await;
    third.done().await;
    engine.sleep(2 * lease).await;
    assert!(answer(engine, || engine.lease(wait)).await.is_none());
}

#[test]
fn the_simulated_engine_conforms() {
    for (faults, is_calm) in [(CALM, true), (ROUGH, false)] {
        for seed in 0..20 {
            let mut executor = Executor::new(seed, IMMORTAL);
            let engine = Simulated::new(executor.clock.clone(), seed, faults, None);
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let is_done = std::sync::Arc::clone(&done);
            executor.add(false, Doom::default(), move || {
                let (engine, done) = (engine.clone(), std::sync::Arc::clone(&done));
                Box::pin(async move {
                    match is_calm {
                        true => conforms(engine, Duration::from_secs(60)).await,
                        // A call that has its effect late makes jobs come again, and blobs.
                        false => {
                            facts(&engine).await;
                            cells(&engine).await;
                        }
                    }
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                })
            });
            let ends = executor.run(Duration::from_secs(100_000), || {
                is_done.load(std::sync::atomic::Ordering::Relaxed)
            });
            assert!(ends, "seed {seed}");
        }
    }
}
