//! A run on a server that is drained: all its processes end well, and later it goes on.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{object, run};
use super::{Place, check};

/// Waits for the end of processes that nobody has told anything; their exit codes.
fn codes(roles: &mut [Child]) -> Vec<Option<i32>> {
    let began = Instant::now();
    let mut codes = Vec::new();
    for role in roles {
        let ended = loop {
            match role.try_wait().unwrap() {
                Some(ended) => break ended,
                None => thread::sleep(Duration::from_millis(20)),
            }
            assert!(began.elapsed() < Duration::from_secs(120), "one goes on");
        };
        codes.push(ended.code());
    }
    codes
}

#[test]
fn a_drained_run_uses_no_machine_and_goes_on_later() {
    let place = Place::new();
    assert_eq!(place.init("one", &["--samples", "40"]).code, 0);
    let begin = || {
        vec![
            place.start("apply", "one", &[]),
            place.start("replica", "one", &[]),
            place.worker("one", "a"),
            place.worker("one", "b"),
        ]
    };
    let mut roles = begin();
    place.wait("one", 2);
    let drained = object(&run(place
        .cluster("drain", "one", &["--json"])
        .arg("--quiet")));
    assert_eq!(drained, serde_json::json!({"run": "one", "drained": true}));
    assert_eq!(codes(&mut roles), [Some(0); 4]);
    let status = place.status("one");
    assert_eq!(status["state"], "drained");
    assert_eq!(status["workers"], serde_json::json!([]));
    assert!(status["samples"].as_u64().unwrap() < 40, "{status}");
    // Whoever comes now leaves at once, and says why.
    for role in ["worker", "replica", "apply"] {
        let mut command = place.cluster(role, "one", &["--json", "--quiet"]);
        if role == "worker" {
            command
                .args(["--device", "cpu", "--data"])
                .arg(place.data.path());
        }
        let ended = run(&mut command);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let expected = serde_json::json!({"run": "one", "done": false, "drained": true});
        assert_eq!(object(&ended), expected);
    }
    assert_eq!(place.status("one")["samples"], status["samples"]);

    let undone = run(&mut place.cluster("drain", "one", &["--undo"]));
    assert!(undone.stdout.contains("may go on"), "{}", undone.stdout);
    let mut roles = begin();
    let status = place.wait("one", 40);
    assert_eq!(codes(&mut roles), [Some(0); 4]);
    check(&place, &status, 40);
    assert_eq!(place.status("one")["state"], "finished");
}
