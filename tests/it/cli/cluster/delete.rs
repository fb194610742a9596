//! A run is removed from its server, or only what killed uploads left in one.

use std::thread;
use std::time::{Duration, Instant};

use nas_engine::cluster::engine::Engine;
use nas_engine::cluster::nats::Nats;
use serde_json::json;

use super::super::{Ended, object, run};
use super::Place;
use super::chaos::signal;
use crate::cluster::nats::runtime;

fn refused(ended: &Ended, words: &str) {
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
}

#[test]
fn a_run_is_removed_by_who_says_yes_once_nobody_works_on_it() {
    let place = Place::new();
    let delete = |name: &str, more: &[&str]| run(&mut place.cluster("delete", name, more));
    refused(&delete("one", &["--yes"]), "it is not on the server");
    assert_eq!(place.init("one", &["--samples", "100"]).code, 0);
    assert_eq!(place.init("two", &[]).code, 0);
    let mut roles = [
        place.start("apply", "one", &[]),
        place.start("replica", "one", &[]),
    ];
    let mut worker = place.worker("one", "a");
    place.wait("one", 1);
    for more in [&[][..], &["--yes"]] {
        refused(&delete("one", more), "cluster drain one");
    }
    signal(&worker, libc::SIGTERM);
    assert_eq!(worker.wait().unwrap().code(), Some(75));
    let asked = delete("one", &[]);
    refused(&asked, "give --yes");
    assert!(
        asked.stdout.contains(" of 100 samples, "),
        "{}",
        asked.stdout
    );
    let samples = place.status("one")["samples"].clone();
    let removed = delete("one", &["--yes", "--json", "--quiet"]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let removed = object(&removed);
    let are = |name: &str| &removed[name];
    assert_eq!((are("run"), are("deleted")), (&json!("one"), &json!(true)));
    assert_eq!((are("samples"), are("total")), (&samples, &json!(100)));
    assert_eq!(are("streams"), 5);
    // Roles that tell nobody how they are have ended before.
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    refused(&delete("one", &["--yes"]), "it is not on the server");
    refused(
        &run(&mut place.cluster("status", "one", &[])),
        "it is not on the server",
    );
    assert_eq!(place.status("two")["samples"], 0);
    // Nothing of it is left to whoever comes by that name.
    assert_eq!(place.init("one", &["--shards", "2"]).code, 0);
    assert_eq!(place.status("one")["samples"], 0);
}

#[test]
fn a_worker_at_work_is_no_obstacle_to_force() {
    let place = Place::new();
    assert_eq!(place.init("one", &["--samples", "100"]).code, 0);
    let mut roles = [
        place.worker("one", "a"),
        place.start("apply", "one", &[]),
        place.start("replica", "one", &[]),
    ];
    place.wait("one", 1);
    let ended = run(&mut place.cluster("delete", "one", &["--yes", "--force"]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let began = Instant::now();
    for role in &mut roles {
        while role.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(90), "one goes on");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn pieces_that_belong_to_no_checkpoint_are_removed_alone() {
    let place = Place::new();
    assert_eq!(place.init("one", &[]).code, 0);
    let leftovers = || {
        let ended = run(&mut place.cluster("delete", "one", &["--leftovers", "--json"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        object(&ended)
    };
    assert_eq!(leftovers()["pieces"], 0);
    runtime().block_on(async {
        let url = place.server.url();
        let options = async_nats::ConnectOptions::new();
        let engine = Nats::open(&url, "one".parse().unwrap(), options, &[]).await;
        let engine = engine.unwrap();
        let bytes = vec![7; 300_000];
        engine.put("0/1/a", bytes.clone()).await.unwrap();
        engine.put("0/2/b", bytes.clone()).await.unwrap();
        engine.drop_blob("0/2/b").await;
        assert_eq!(engine.loose_pieces().await.unwrap().len(), 0);
        // As of a worker that was killed while it sent them.
        let client = async_nats::connect(&url).await.unwrap();
        for _ in 0..3 {
            let sent = client.request("$O.NAS_one_BLOB.C.dead", bytes[..1000].to_vec().into());
            sent.await.unwrap();
        }
        let loose = engine.loose_pieces().await.unwrap();
        assert!(loose.into_iter().eq([("$O.NAS_one_BLOB.C.dead".into(), 3)]));
        assert_eq!(leftovers()["pieces"], 3);
        assert_eq!(engine.loose_pieces().await.unwrap().len(), 0);
        assert!(engine.get("0/1/a").await.unwrap() == Some(bytes));
    });
}
