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

/// A run is exported while it goes on and when it is done; both are the journal of the same search in one
/// process, up to where they go. What is left of the first is finished in one process, and on a server.
#[test]
fn an_export_is_the_journal_of_one_process() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let scheme = ["--shards", "3", "--replicas", "2", "--synchronous"];
    let config = path("config.toml");
    std::fs::write(&config, "[search]\nchildren_per_update = 2\n").unwrap();
    let config = text(&config);
    let more = [&scheme[..], &["--config", &config]].concat();
    let ended = place.init("a", &more);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let data = text(place.data.path());
    let export = |run_name: &str, out: &str| {
        let out = text(&path(out));
        let mut command = place.cluster("export", run_name, &["--out", &out, "--data", &data]);
        let ended = run(command.args(["--json", "--quiet"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        object(&ended)
    };
    assert_eq!(export("a", "empty")["samples"], 0);
    let mut roles = vec![
        place.start("apply", "a", &[]),
        place.start("replica", "a", &[]),
        place.worker("a", "a"),
    ];
    place.wait("a", 4);
    export("a", "part");
    place.wait("a", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    assert_eq!(export("a", "whole")["finished"], true);
    let mut search = program();
    search
        .args(["search", "--quiet", "--no-progress"])
        .args(SETTINGS)
        .args(&more);
    search.args(["--data", &data, "--out", &text(&path("one"))]);
    let ended = run(&mut search);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let one = super::shared::facts(&path("one"));
    let whole = super::shared::facts(&path("whole"));
    assert_eq!(super::shared::differences(&one, &whole), [""; 0]);
    let part = super::shared::facts(&path("part"));
    assert!(part.len() >= 4 && part.iter().all(|(name, fact)| one[name] == *fact));
    let audit = |name: &str| {
        object(&run(program().args([
            "audit",
            "--json",
            &text(&path(name)),
        ])))
    };
    assert_eq!(audit("whole")["same"], true);
    assert_eq!(audit("part")["same"], true);

    let resumed = run(program().args(["search", "--quiet", "--resume", &text(&path("part"))]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let part = super::shared::facts(&path("part"));
    assert_eq!(super::shared::differences(&one, &part), [""; 0]);

    // As it was when the server was lost.
    std::fs::remove_dir_all(path("part")).unwrap();
    let mut cut = std::fs::read_to_string(path("one").join("journal.jsonl")).unwrap();
    let end = cut.match_indices('\n').nth(12).unwrap().0 + 1;
    cut.truncate(end);
    std::fs::create_dir(path("cut")).unwrap();
    std::fs::copy(
        path("one").join("config.toml"),
        path("cut").join("config.toml"),
    )
    .unwrap();
    std::fs::write(path("cut").join("journal.jsonl"), cut).unwrap();
    let import = |name: &str| {
        let run_folder = text(&path("cut"));
        let flags = [&run_folder, "--i-checked-sync", "--lease", "3s"];
        run(&mut place.cluster("import", name, &flags))
    };
    let ended = import("b");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(import("b").code, 0, "the same again is harmless");
    let mut roles = vec![
        place.start("apply", "b", &[]),
        place.start("replica", "b", &[]),
        place.worker("b", "a"),
    ];
    place.wait("b", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    export("b", "again");
    let differ: Vec<_> = super::shared::facts(&path("again"))
        .into_iter()
        .filter(|(name, fact)| one.get(name) != Some(fact))
        .collect();
    assert_eq!(differ, []);
    let taken = import("a");
    assert_eq!(taken.code, 2, "{}", taken.stderr);
    assert!(
        taken.stderr.contains("choose another name"),
        "{}",
        taken.stderr
    );
}

/// All roles by one command: the same journal as without a server. Stopped, it goes on by the same command.
#[test]
fn a_search_on_a_server_is_one_command() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let url = place.server.url();
    let search = |out: &str, more: &[&str]| {
        let mut search = program();
        search
            .args(["search", "--no-progress", "--threads", "2"])
            .args(SETTINGS);
        search.args([
            "--data",
            &text(place.data.path()),
            "--out",
            &text(&path(out)),
        ]);
        search.args(more);
        run(&mut search)
    };
    let flags = ["--cluster", &url, "--run-name", "one", "--i-checked-sync"];
    let ended = search("run", &flags[..4]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("sync_interval: always"),
        "{}",
        ended.stderr
    );
    let stopped = search("run", &[&flags[..], &["--time-limit", "1s"]].concat());
    assert!([0, 75].contains(&stopped.code), "{}", stopped.stderr);
    if stopped.code == 75 {
        assert!(
            stopped.stderr.contains("--run-name one"),
            "{}",
            stopped.stderr
        );
        let ended = search("run", &flags);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let ended = search("alone", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let facts = |name: &str| super::shared::facts(&path(name));
    let differ = super::shared::differences(&facts("alone"), &facts("run"));
    assert_eq!(differ, [""; 0]);
    let resumed = run(program().args(["search", "--quiet", "--resume", &text(&path("run"))]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(
        std::fs::read_dir(path("run").join("weights"))
            .unwrap()
            .count(),
        3
    );
    let again = search("run", &flags);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
}
