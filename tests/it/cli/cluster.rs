//! A search by roles in processes of their own, on a real server.

mod chaos;
mod drain;
mod limits;
mod status;

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ended, data_folder, object, program, run, text};
use crate::cluster::server::Server;

/// Small children, for there are processes enough.
const SETTINGS: [&str; 10] = [
    "--limit",
    "60",
    "--samples",
    "10",
    "--epochs",
    "2",
    "--seed",
    "3",
    "--device",
    "cpu",
];

struct Place {
    server: Server,
    data: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            server: Server::with("http: \"127.0.0.1:-1\""),
            data: data_folder(120, 16),
        }
    }

    fn cluster(&self, role: &str, name: &str, more: &[&str]) -> std::process::Command {
        let mut command = program();
        command.args(["cluster", role, name, "--server", &self.server.url()]);
        command.args(more);
        command
    }

    fn init(&self, name: &str, more: &[&str]) -> Ended {
        let mut command = self.cluster("init", name, &SETTINGS);
        command.args([
            "--i-checked-sync",
            "--lease",
            "3s",
            "--data",
            &text(self.data.path()),
        ]);
        run(command.args(more))
    }

    fn start(&self, role: &str, name: &str, more: &[&str]) -> Child {
        let mut command = self.cluster(role, name, more);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn worker(&self, name: &str, node: &str) -> Child {
        let data = text(self.data.path());
        let flags = [
            "--data",
            &data,
            "--device",
            "cpu",
            "--threads",
            "1",
            "--node",
            node,
        ];
        self.start("worker", name, &flags)
    }

    fn status(&self, name: &str) -> Value {
        object(&run(self
            .cluster("status", name, &["--json"])
            .arg("--quiet")))
    }

    /// Waits until so many children have ended.
    fn wait(&self, name: &str, samples: u64) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status(name);
            if status["samples"].as_u64().unwrap() >= samples {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "{status}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One shard and one replica, by workers of whom one is killed: what the search of one process achieves.
#[test]
fn workers_achieve_what_one_process_does_though_one_is_killed() {
    let place = Place::new();
    let ended = place.init("one", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut roles = vec![
        place.start("apply", "one", &[]),
        place.start("apply", "one", &[]),
        place.start("replica", "one", &[]),
    ];
    let mut victim = place.worker("one", "a");
    place.wait("one", 1);
    victim.kill().unwrap();
    victim.wait().unwrap();
    roles.push(place.worker("one", "b"));
    roles.push(place.worker("one", "c"));
    place.wait("one", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    let status = place.status("one");
    assert_eq!(
        (&status["state"], &status["failures"]),
        (&"finished".into(), &serde_json::json!({}))
    );

    check(&place, &status, 10);
}

/// That a run of one replica has achieved what `search` does with the same settings.
fn check(place: &Place, status: &Value, samples: usize) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut search = program();
    search
        .args(["search", "--json", "--quiet", "--no-progress"])
        .args(SETTINGS);
    search.args(["--samples", &samples.to_string()]);
    search.args(["--data", &text(place.data.path()), "--out", &text(&out)]);
    let searched = object(&run(&mut search));
    let journal = std::fs::read_to_string(out.join("journal.jsonl")).unwrap();
    let lines = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    // In the order of their samples, for the sum's sake.
    let rewards: BTreeMap<u64, f64> = lines
        .filter_map(|line| Some((line["sample"].as_u64()?, line["reward"].as_f64()?)))
        .collect();
    let mean = rewards.values().sum::<f64>() / rewards.len() as f64;
    assert_eq!(
        (rewards.len(), status["mean_reward"].as_f64()),
        (samples, Some(mean))
    );
    let best = &searched["best"][0];
    assert_eq!(status["best"]["sample"], best["sample"]);
    assert_eq!(status["best"]["reward"], best["reward"]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_done() {
    let place = Place::new();
    let refused = |ended: Ended, code: i32, words: &str| {
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    };
    for name in ["*", "a.b", "a>", ""] {
        refused(place.init(name, &[]), 2, "no name of a run");
    }
    refused(place.init("a", &["--shards", "1000000"]), 2, "parameters");
    refused(
        place.init("a", &["--strategy", "random"]),
        2,
        "--strategy random",
    );
    refused(place.init("a", &["--gradients", "7"]), 2, "that divides");
    refused(
        place.init("a", &["--staleness", "never"]),
        2,
        "give paper, scale:T",
    );
    refused(place.init("a", &["--lease", "1s"]), 2, "give 2s or more");
    let mut command = place.cluster("init", "a", &SETTINGS);
    refused(run(&mut command), 2, "sync_interval: always");
    let monitor = ["--monitor", "http://127.0.0.1:1"];
    refused(
        run(place.cluster("init", "a", &SETTINGS).args(monitor)),
        2,
        "--monitor",
    );

    refused(
        run(&mut place.cluster("status", "a", &[])),
        2,
        "it is not on the server",
    );
    assert_eq!(place.init("a", &["--shards", "2"]).code, 0);
    assert_eq!(
        place.init("a", &["--shards", "2"]).code,
        0,
        "the same again is no other run"
    );
    refused(
        place.init("a", &["--shards", "3"]),
        2,
        "choose another name",
    );
    refused(
        run(&mut place.cluster("replica", "a", &["--slots", "1-2"])),
        2,
        "the run has 1",
    );
    refused(
        run(&mut place.cluster("apply", "a", &["--shards", "b"])),
        2,
        "no range",
    );

    let worker = |data: &str, device: &str| {
        let mut command = place.cluster("worker", "a", &["--device", device, "--data", data]);
        run(command.args(["--time-limit", "1s"]))
    };
    let other = data_folder(130, 16);
    refused(
        worker(&text(other.path()), "cpu"),
        3,
        "give --data the same data",
    );
    let data = text(place.data.path());
    refused(worker(&data, "cpu"), 75, "goes on without this worker");
    refused(
        worker(&data, "reference"),
        2,
        "another model gives other bits",
    );
    assert_eq!(place.status("a")["samples"], 0);

    let mut nowhere = program();
    nowhere.args(["cluster", "status", "a", "--server", "nats://127.0.0.1:1"]);
    refused(run(&mut nowhere), 1, "is a nats-server running there");
}
