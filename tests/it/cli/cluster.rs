//! A search by roles in processes of their own, on a real server.

mod away;
mod chaos;
mod creds;
mod delete;
mod drain;
mod export;
mod keys;
mod left;
mod limits;
mod room;
mod status;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
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
        spawn(&mut self.cluster(role, name, more))
    }

    fn worker(&self, name: &str, node: &str) -> Child {
        self.worker_in(None, name, node)
    }

    /// One that may have a folder for what it keeps while it works.
    fn worker_in(&self, folder: Option<&Path>, name: &str, node: &str) -> Child {
        let mut command = self.cluster("worker", name, &["--device", "cpu", "--threads", "1"]);
        command.args(["--node", node, "--data", &text(self.data.path())]);
        if let Some(folder) = folder {
            command.env("TMPDIR", folder);
        }
        spawn(&mut command)
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

fn spawn(command: &mut std::process::Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
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

    for n in ["0", "-1", "100001"] {
        refused(place.init("a", &["--workers", n]), 2, "from 1 to 100000");
    }
    for (role, flag, range) in [
        ("worker", "--children", "from 1 to 4096"),
        ("status", "--watch", "from 1 to 86400"),
        ("status", "--listen", "from 1 to 3600"),
    ] {
        refused(run(&mut place.cluster(role, "a", &[flag, "0"])), 2, range);
    }

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

#[test]
fn a_server_that_cannot_do_it_is_told_before_anything_is_made() {
    let mut place = Place::new();
    let refused = |ended: Ended, words: &str| {
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    };
    for url in ["no url", "http://127.0.0.1:1"] {
        let mut command = program();
        command.args(["cluster", "status", "a", "--server", url]);
        refused(
            run(&mut command),
            "give an address such as nats://host:4222",
        );
    }
    // Its largest value is that of a replica, some tens of kilobytes.
    place.server = Server::with("max_payload: 20000");
    refused(place.init("a", &[]), "`max_payload: ");
    refused(
        run(&mut place.cluster("status", "a", &[])),
        "it is not on the server",
    );
    let folder = tempfile::tempdir().unwrap();
    place.server = Server::of("listen: \"127.0.0.1:-1\"", folder);
    refused(place.init("a", &[]), "start it with JetStream");

    // Whether it syncs is seen by its monitor alone.
    let by_monitor = |place: &Place| {
        let mut command = place.cluster("init", "a", &SETTINGS);
        run(command.args([
            "--monitor",
            &place.server.monitor(),
            "--data",
            &text(place.data.path()),
        ]))
    };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let lazy = format!(
        "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\njetstream {{ store_dir: {store:?} }}"
    );
    place.server = Server::of(&lazy, folder);
    refused(by_monitor(&place), "a power cut would lose it");
    refused(
        run(&mut place.cluster("status", "a", &[])),
        "it is not on the server",
    );
    place.server = Server::with("http: \"127.0.0.1:-1\"");
    let ended = by_monitor(&place);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// Processes that a process has begun.
fn children(of: u32) -> Vec<u32> {
    let listed = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{of}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let words = tasks.map(|task| listed(&task.path().join("children")));
    let ids = |words: String| -> Vec<u32> {
        words
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    };
    words.flat_map(ids).collect()
}

/// As Slurm does it without `B:`, and where a job is preempted.
#[test]
fn a_signal_to_every_process_of_a_worker_costs_no_child() {
    let place = Place::new();
    assert_eq!(place.init("all", &["--epochs", "40"]).code, 0);
    let mut roles = vec![
        place.start("apply", "all", &[]),
        place.start("replica", "all", &[]),
    ];
    for name in ["USR1", "TERM"] {
        let mut worker = place.worker("all", name);
        let began = Instant::now();
        let child = loop {
            if let Some(&child) = children(worker.id()).first() {
                // One that is still the worker's copy has not begun to be a child.
                let words = std::fs::read_to_string(format!("/proc/{child}/cmdline"));
                if words.is_ok_and(|words| words.contains("child")) {
                    break child;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no child");
            thread::sleep(Duration::from_millis(2));
        };
        // Once it has said what it does, it has set up all that it heeds.
        while place.status("all")["handed_out"] == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        for id in [child, worker.id()] {
            let signal = format!("-{name}");
            let sent = std::process::Command::new("kill")
                .args([signal, id.to_string()])
                .status();
            assert!(sent.unwrap().success() || id == child);
        }
        assert_eq!(worker.wait().unwrap().code(), Some(75), "{name}");
    }
    roles.push(place.worker("all", "last"));
    place.wait("all", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    let status = place.status("all");
    assert_eq!(status["failures"], serde_json::json!({}), "{status}");
}
