//! What is shown of a run while it is under way.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use serde_json::Value;

use super::super::{run, text};
use super::Place;
use super::chaos::signal;
use crate::cluster::nats::runtime;

/// Sends what anybody may send as a heartbeat.
fn send(place: &Place, beats: &[(String, Vec<u8>)]) {
    runtime().block_on(async {
        let client = ConnectOptions::new().connect(place.server.url());
        let client = client.await.unwrap();
        for (name, bytes) in beats {
            let subject = format!("nas.run.hb.{name}");
            client.publish(subject, bytes.clone().into()).await.unwrap();
        }
        client.flush().await.unwrap();
    });
}

fn wait_for_worker(place: &Place) {
    let began = Instant::now();
    while place.status("run")["workers"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn workers_are_seen_as_soon_as_they_are_asked() {
    let place = Place::new();
    assert_eq!(place.init("run", &["--replicas", "2"]).code, 0);
    let none = place.status("run");
    assert_eq!(
        (&none["workers"], &none["idle"]),
        (&serde_json::json!([]), &Value::Null)
    );
    let mut worker = place.worker("run", "node\u{1b}[31m\n7");
    wait_for_worker(&place);
    // By themselves they beat every ten seconds, for which nobody waits here.
    for _ in 0..3 {
        let began = Instant::now();
        let status = place.status("run");
        let took = began.elapsed();
        let one = &status["workers"][0];
        assert_eq!(one["node"], "node\u{1b}[31m\n7");
        assert_eq!(
            (&one["state"], &one["sample"]),
            (&"idle".into(), &Value::Null)
        );
        assert!(one["device"].as_str().unwrap().starts_with("cpu"), "{one}");
        assert!(one["seconds_since_heartbeat"].as_f64().unwrap() < 5.0);
        assert!(status["idle"]["queue_empty"].as_f64().unwrap() > 0.0);
        assert_eq!(status["places"], 4000);
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    let shown = run(&mut place.cluster("status", "run", &[]));
    assert!(!shown.stdout.contains('\u{1b}'), "{}", shown.stdout);
    assert!(
        shown.stdout.contains(r"node\x1b[31m\n7"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.contains("workers: 1, of which 0 train"),
        "{}",
        shown.stdout
    );

    // What trains is told, and a worker that leaves is not there any more.
    let mut replica = place.start("replica", "run", &[]);
    let began = Instant::now();
    let trains = |status: &Value| status["workers"][0]["sample"].is_u64();
    while !trains(&place.status("run")) {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    signal(&worker, libc::SIGTERM);
    assert_eq!(worker.wait().unwrap().code(), Some(75));
    assert_eq!(place.status("run")["workers"], serde_json::json!([]));
    let _ = replica.kill();
    replica.wait().unwrap();
}

#[test]
fn jobs_that_were_given_back_are_with_nobody() {
    let place = Place::new();
    assert_eq!(place.init("run", &["--epochs", "100000"]).code, 0);
    let mut replica = place.start("replica", "run", &[]);
    let mut worker = place.worker("run", "a");
    let began = Instant::now();
    while place.status("run")["with_workers"] == 0 {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    let is = |with_workers: u64, says: &str| {
        let status = place.status("run");
        let held = (&status["handed_out"], &status["with_workers"]);
        assert_eq!(held, (&1.into(), &with_workers.into()), "{status}");
        let shown = run(&mut place.cluster("status", "run", &[])).stdout;
        assert!(shown.contains(says), "{shown}");
    };
    is(1, " wait, 1 with workers that are heard of\n");
    signal(&worker, libc::SIGTERM);
    assert_eq!(worker.wait().unwrap().code(), Some(75));
    is(
        0,
        " wait, 0 with workers that are heard of, 1 given back or with workers that are not\n",
    );
    let _ = replica.kill();
    replica.wait().unwrap();
}

#[test]
fn what_anybody_sends_as_a_heartbeat_does_no_harm() {
    let place = Place::new();
    assert_eq!(place.init("run", &[]).code, 0);
    let mut status = place.cluster("status", "run", &["--json", "--listen", "3"]);
    let listening = status.stdout(Stdio::piped()).spawn().unwrap();
    let beat = |worker: u64, node: &str| {
        let beat = serde_json::json!({"schema": 1, "message": {
            "worker": worker, "node": node, "device": "\u{9b}2J\u{7}", "state": "training",
            "sample": u64::MAX, "epoch": 1, "seconds_since_step": 9e9, "seconds": 9e9,
            "idle": {"queue_empty": 9e9, "job_queued": 9e9},
        }});
        (format!("{worker:016x}"), beat.to_string().into_bytes())
    };
    let newer = String::from_utf8(beat(1, "").1)
        .unwrap()
        .replace("\"schema\":1", "\"schema\":9");
    let cut = beat(2, "a").1[..50].to_vec();
    let huge = vec![b'['; 900_000];
    let mut beats = vec![beat(3, "\u{1b}]0;owned\u{7}\r\n")];
    for (number, bytes) in [newer.into_bytes(), cut, huge, vec![], vec![0; 99]]
        .into_iter()
        .enumerate()
    {
        beats.push((format!("{:016x}", number + 1), bytes));
    }
    beats.push(("not-a-name".into(), beat(4, "b").1));
    let began = Instant::now();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The listener has its time from when it asks: beats come again and again until it has ended.
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                send(&place, &beats);
                assert!(began.elapsed() < Duration::from_secs(60));
            }
        });
        let ended = listening.wait_with_output();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = ended.unwrap();
        assert!(ended.status.success());
        let json: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(json["workers"].as_array().unwrap().len(), 1, "{json}");
        assert_eq!(json["workers"][0]["node"], "\u{1b}]0;owned\u{7}\r\n");
        assert!(json["heartbeats_unread"].as_u64().unwrap() >= 6, "{json}");
    });
}

#[test]
fn a_run_is_watched_until_a_signal() {
    let place = Place::new();
    assert_eq!(place.init("run", &[]).code, 0);
    for flags in [&["--watch", "1"][..], &["--watch", "1", "--json"]] {
        let mut command = place.cluster("status", "run", flags);
        let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let mut lines = lines.map(|line| line.unwrap());
        let begins = |line: &String| line.starts_with("running: 0 of 10") || line.starts_with('{');
        assert!(lines.by_ref().filter(begins).take(2).count() == 2);
        signal(&watching, libc::SIGINT);
        let rest: Vec<String> = lines.collect();
        assert_eq!(watching.wait().unwrap().code(), Some(0));
        assert!(!text(std::path::Path::new(&rest.join("\n"))).contains('\u{1b}'));
    }
}
