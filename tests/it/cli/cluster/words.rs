//! What commands say: what is there already, what they begin with, and what does not fit.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{Ended, object, program, run, text};
use super::chaos::signal;
use super::{Place, SETTINGS};

fn refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
}

#[test]
fn a_run_that_is_there_already_is_said_to_be() {
    let place = Place::new();
    let init = |more: &[&str]| {
        let ended = place.init("one", more);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended
    };
    let first = init(&[]);
    assert!(!first.stdout.contains("already"), "{}", first.stdout);
    assert!(first.stdout.contains("--data DIR"), "{}", first.stdout);
    let again = init(&[]);
    let says = "is there already, with these settings: 0 of 10 samples have ended";
    assert!(again.stdout.contains(says), "{}", again.stdout);
    let mut roles = [
        place.start("apply", "one", &[]),
        place.start("replica", "one", &[]),
        place.worker("one", "a"),
    ];
    let status = place.wait("one", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    let again = object(&init(&["--json"]));
    assert_eq!(
        (&again["existed"], &again["ended"]),
        (&true.into(), &10.into())
    );

    // What is best is an accuracy everywhere.
    let best = &status["best"];
    let (reward, accuracy) = (best["reward"].as_f64(), best["accuracy"].as_f64());
    let cube = accuracy.unwrap().powi(3);
    assert!((reward.unwrap() - cube).abs() < 1e-9, "{best}");
    let shown = run(&mut place.cluster("status", "one", &[])).stdout;
    let says = format!(
        "best accuracy {:.4} (sample {})",
        accuracy.unwrap(),
        best["sample"]
    );
    assert!(shown.contains(&says), "{shown}");

    // An export has no weights, which is no damage.
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let data = text(place.data.path());
    let ended = run(&mut place.cluster("export", "one", &["--out", &out, "--data", &data]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let resumed = run(program().args(["search", "--resume", &out, "--no-progress"]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(!resumed.stderr.contains("damaged"), "{}", resumed.stderr);
    let says = "the run has no weights: those of its best are trained again";
    assert_eq!(
        resumed.stderr.matches(says).count(),
        1,
        "{}",
        resumed.stderr
    );
}

#[test]
fn a_run_on_the_bundled_sample_needs_no_data() {
    let place = Place::new();
    let mut command = place.cluster("init", "one", &["--samples", "3", "--i-checked-sync"]);
    let ended = run(&mut command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("cluster worker one"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("--data"), "{}", ended.stdout);
}

#[test]
fn roles_say_what_they_do() {
    let place = Place::new();
    assert_eq!(
        place
            .init("one", &["--shards", "25", "--replicas", "2"])
            .code,
        0
    );
    let url = place.server.url();
    for (role, more, says) in [
        (
            "apply",
            &[][..],
            format!("keeping shards 0 to 24 of run one on {url}"),
        ),
        (
            "apply",
            &["--shards", "3"],
            format!("keeping shard 3 of run one on {url}"),
        ),
        (
            "replica",
            &[],
            format!("replicas 0 to 1 of run one on {url}"),
        ),
    ] {
        let more = [more, &["--time-limit", "1s"]].concat();
        let ended = run(&mut place.cluster(role, "one", &more));
        refused(&ended, 75, &says);
    }
    // Of many shards a summary.
    let shown = run(&mut place.cluster("status", "one", &[])).stdout;
    let says = "shards: 25, each at version 0 with 0 gradients";
    assert!(shown.contains(says), "{shown}");
    assert_eq!(place.status("one")["shards"].as_array().unwrap().len(), 25);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let place = Place::new();
    let both = ["--synchronous", "--staleness", "scale:2"];
    refused(&place.init("one", &both), 2, "--staleness does not go with");
    let copies = place.init("one", &["--copies", "3"]);
    refused(&copies, 2, "this server is alone, and keeps one copy");
    refused(
        &run(&mut place.cluster("status", "one", &[])),
        2,
        "it is not on the server",
    );
    assert_eq!(place.init("one", &[]).code, 0);
    for node in ["", " "] {
        let ended = run(&mut place.cluster("worker", "one", &["--node", node]));
        refused(&ended, 2, "give a name of");
    }
    // Data that are not there, or another's, are none to go on with.
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let nowhere = text(&folder.path().join("nowhere"));
    let other = super::super::data_folder(130, 16);
    for data in [&nowhere, &text(other.path())] {
        let ended = run(&mut place.cluster("export", "one", &["--out", &out, "--data", data]));
        refused(&ended, 3, data);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The server's monitor is away where the server is: that is no wrong use.
#[test]
fn a_server_that_is_down_is_the_same_with_its_monitor() {
    let mut place = Place::new();
    let monitor = place.server.monitor();
    place.server.kill();
    let data = text(place.data.path());
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    for how in [&["--monitor", &monitor][..], &["--i-checked-sync"]] {
        let mut init = place.cluster("init", "one", &SETTINGS);
        let ended = run(init.args(how).args(["--data", &data]));
        refused(&ended, 1, "is a nats-server running there");
        let mut search = program();
        search.args(["search", "--cluster", &place.server.url(), "--out", &out]);
        let ended = run(search.args(SETTINGS).args(how).args(["--data", &data]));
        refused(&ended, 1, "is a nats-server running there");
    }
}

/// A GPU that is not there is told of before anything is made.
#[test]
fn a_search_on_a_server_without_its_device_makes_no_run() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let mut search = program();
    search.args([
        "search",
        "--cluster",
        &place.server.url(),
        "--i-checked-sync",
    ]);
    search.args(["--run-name", "one", "--data", &text(place.data.path())]);
    search.args(["--out", &text(&folder.path().join("run"))]);
    let ended = run(search.args(["--device", "cuda:99"]));
    assert_eq!(ended.code, 4, "{ended:?}");
    refused(
        &run(&mut place.cluster("status", "one", &[])),
        2,
        "it is not on the server",
    );
}

/// A worker has no --resume: what it says of its own folder is how to go on there.
#[test]
fn a_worker_whose_folder_takes_no_checkpoint_says_what_to_do() {
    let place = Place::new();
    assert_eq!(place.init("one", &["--epochs", "100000"]).code, 0);
    let mut replica = place.start("replica", "one", &[]);
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words");
    let worker = place.cluster("worker", "one", &["--device", "cpu", "--threads", "1"]);
    // No file of more than so many blocks of 512 bytes: a job's is less, a checkpoint more.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    limited.arg(worker.get_program()).args(worker.get_args());
    limited.args(["--data", &text(place.data.path())]);
    limited.env("TMPDIR", folder.path());
    limited
        .stdout(Stdio::null())
        .stderr(fs::File::create(&words).unwrap());
    let mut worker = limited.spawn().unwrap();
    let began = Instant::now();
    let trains = |status: &Value| status["workers"][0]["epoch"].is_u64();
    while !trains(&place.status("one")) {
        assert!(began.elapsed() < Duration::from_secs(60), "it has no child");
        thread::sleep(Duration::from_millis(50));
    }
    signal(&worker, libc::SIGTERM);
    let ended = worker.wait().unwrap();
    let words = fs::read_to_string(&words).unwrap();
    assert_eq!(ended.code(), Some(4), "{words}");
    assert!(words.contains("set TMPDIR"), "{words}");
    assert!(!words.contains("--resume"), "{words}");
    let _ = replica.kill();
    replica.wait().unwrap();
}
