//! `search --resume`: finished, extended, cut short, stopped, refused.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nas_engine::search::journal::Journal;

use super::search::{Place, snapshot};
use super::{nas, object, program, write_data};

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let place = Place::new();
    let result = place.search("run", &["--samples", "3"]);
    let before = snapshot(&place.path("run"));
    let resumed = place.resume("run", &["--json"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(object(&resumed), result);
    assert_eq!(snapshot(&place.path("run")), before);
}

#[test]
fn more_samples_extend_a_run() {
    let place = Place::new();
    place.search("whole", &["--samples", "6"]);
    place.search("run", &["--samples", "3"]);
    let resumed = place.resume("run", &["--samples", "6", "--threads", "1"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(place.facts("run"), place.facts("whole"));
    // The new total is kept.
    assert_eq!(place.status("run")["total"], 6);
    let fewer = place.resume("run", &["--samples", "5"]);
    assert_eq!(fewer.code, 2, "{fewer:?}");
}

#[test]
fn a_journal_cut_short_is_completed() {
    let place = Place::new();
    place.search("run", &[]);
    let whole = place.facts("run");
    let bytes = fs::read(place.journal("run")).unwrap();
    for cut in [0, 10, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        fs::write(place.journal("run"), &bytes[..cut]).unwrap();
        assert_eq!(place.status("run")["state"], "stopped");
        let resumed = place.resume("run", &[]);
        assert_eq!(resumed.code, 0, "cut at byte {cut}: {resumed:?}");
        assert_eq!(place.facts("run"), whole, "cut at byte {cut}");
    }
    fs::remove_file(place.journal("run")).unwrap();
    assert_eq!(place.resume("run", &[]).code, 0);
    assert_eq!(place.facts("run"), whole, "without a journal");
}

#[test]
fn a_signal_stops_a_search_which_then_goes_on() {
    let place = Place::new();
    let many = ["--samples", "40", "--epochs", "3"];
    place.search("whole", &many);
    let mut child = program()
        .args(place.arguments("run", &many))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let n_lines =
        || fs::read(place.journal("run")).map_or(0, |bytes| bytes.split(|&b| b == b'\n').count());
    while n_lines() < 4 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "no child ended in a minute"
        );
        sleep(Duration::from_millis(2));
    }
    assert_eq!(place.status("run")["state"], "running");
    let id = child.id().to_string();
    let signalled = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .unwrap();
    assert!(signalled.success());
    let code = child.wait().unwrap().code();
    // It may have finished before the signal came.
    assert!(code == Some(75) || code == Some(0), "{code:?}");
    if code == Some(75) {
        let output = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(output.contains("--resume"), "{output}");
        assert_eq!(place.status("run")["state"], "stopped");
    }
    assert_eq!(place.resume("run", &[]).code, 0);
    assert_eq!(place.facts("run"), place.facts("whole"));
}

#[test]
fn one_run_has_one_writer() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let again = nas(&place.arguments("run", &[]));
    assert_eq!(again.code, 2, "{again:?}");
    assert!(
        again.stderr.contains("--resume") && again.stderr.contains("--out"),
        "{again:?}"
    );
    let (_writer, _) = Journal::resume(&place.journal("run")).unwrap();
    let second = place.resume("run", &["--samples", "6"]);
    assert_eq!(second.code, 2, "{second:?}");
    assert!(second.stderr.contains("another nas-engine"), "{second:?}");
}

#[test]
fn what_was_changed_under_a_run_is_noticed() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let refused = |code: i32, words: &str| {
        let ended = place.resume("run", &["--samples", "6"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(words), "no '{words}' in {ended:?}");
    };
    let config = place.path("run").join("config.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, settings.replace("epochs = 2", "epochs = 3")).unwrap();
    refused(2, "config.toml");
    fs::write(&config, settings).unwrap();

    write_data(place.data.path(), 80, 16, 7);
    refused(3, "not the data");
    write_data(place.data.path(), 80, 16, 1);

    let journal = fs::read_to_string(place.journal("run")).unwrap();
    fs::write(
        place.journal("run"),
        journal.replacen("\"batch\":0", "\"batch\":1", 1),
    )
    .unwrap();
    refused(3, "line 2");
    fs::write(place.journal("run"), &journal).unwrap();
    assert_eq!(place.resume("run", &["--samples", "4"]).code, 0);
}
