//! A server that goes away: roles say so once, and once that it is back; a worker that is told to stop does not
//! wait for it for long.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::super::text;
use super::Place;
use super::chaos::signal;

#[test]
fn a_server_that_is_away_is_told_of_once_and_not_waited_for_by_who_is_to_stop() {
    let mut place = Place::new();
    assert_eq!(place.init("one", &["--epochs", "100000"]).code, 0);
    let mut replica = place.start("replica", "one", &[]);
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words");
    let mut command = place.cluster("worker", "one", &["--device", "cpu", "--threads", "1"]);
    command.args(["--data", &text(place.data.path())]);
    command
        .stdout(Stdio::null())
        .stderr(fs::File::create(&words).unwrap());
    let mut worker = command.spawn().unwrap();
    let said = |what: &str| fs::read_to_string(&words).unwrap().matches(what).count();
    let wait = |what: &str, n: usize| {
        let began = Instant::now();
        while said(what) < n {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    let began = Instant::now();
    while place.status("one")["workers"][0]["sample"].is_null() {
        assert!(began.elapsed() < Duration::from_secs(60), "it has no child");
    }
    let (away, back) = ("trying again until it does", "answers again");
    place.server.kill();
    wait(away, 1);
    // It tries to be heard more than once.
    thread::sleep(Duration::from_secs(3));
    assert_eq!((said(away), said(back)), (1, 0));
    place.server.restart();
    wait(back, 1);
    place.server.kill();
    wait(away, 2);
    signal(&worker, libc::SIGTERM);
    let told = Instant::now();
    let ended = worker.wait().unwrap();
    let took = told.elapsed();
    let all = fs::read_to_string(&words).unwrap();
    assert_eq!(ended.code(), Some(75), "{all}");
    assert!(took < Duration::from_secs(20), "{took:?}: {all}");
    assert_eq!((said(away), said(back)), (2, 1), "{all}");
    assert_eq!(said("is another's when its lease is over"), 1, "{all}");
    let _ = replica.kill();
    replica.wait().unwrap();
}
