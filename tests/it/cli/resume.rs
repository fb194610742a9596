//! `search --resume`: finished, extended, cut short, stopped, refused.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nas_engine::disk::Real;
use nas_engine::run::journal::Journal;

use super::search::{Place, snapshot};
use super::{nas, object, program, text, write_data};

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
        if cut <= 10 {
            // A kill within the first line comes before anything is found.
            fs::remove_file(place.path("run/best.json")).unwrap();
        }
        assert_eq!(
            place.status("run")["state"],
            super::status::at_rest(&place.journal("run"))
        );
        let resumed = place.resume("run", &[]);
        assert_eq!(resumed.code, 0, "cut at byte {cut}: {resumed:?}");
        assert_eq!(place.facts("run"), whole, "cut at byte {cut}");
    }
}

#[test]
fn a_run_without_its_journal_does_not_begin_anew() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let (run, journal) = (text(&place.path("run")), place.journal("run"));
    let bytes = fs::read(&journal).unwrap();
    let refused = |words: &[&str]| {
        super::bad_input::refused(&["search", "--resume", &run], 3, "journal", words);
        super::bad_input::refused(&["status", &run], 3, "journal", words);
    };
    fs::remove_file(&journal).unwrap();
    assert_eq!(nas(&place.arguments("run", &[])).code, 2);
    refused(&["journal.jsonl is missing", "restore", "--out"]);
    fs::create_dir(&journal).unwrap();
    refused(&["journal.jsonl is no file", "restore", "--out"]);
    fs::remove_dir(&journal).unwrap();
    // Without its first line nobody knows what the run began with.
    let first = 1 + bytes.iter().position(|&byte| byte == b'\n').unwrap();
    fs::write(&journal, &bytes[first..]).unwrap();
    let words = ["line 1", "restore", "--out"];
    super::bad_input::refused(&["search", "--resume", &run], 3, "journal", &words);
    assert_eq!(fs::read(&journal).unwrap(), bytes[first..]);
    // An empty one is what a kill at the very begin leaves, but not beside what was found.
    fs::write(&journal, "").unwrap();
    let words = ["journal.jsonl is empty", "restore", "--out"];
    super::bad_input::refused(&["search", "--resume", &run], 3, "journal", &words);
}

/// What a kill leaves of a run that begins: a directory, then an empty journal, then settings.
#[test]
fn a_run_killed_at_its_begin_can_be_begun_again_or_resumed() {
    let place = Place::new();
    place.search("whole", &["--samples", "3"]);
    fs::create_dir(place.path("run")).unwrap();
    fs::write(place.journal("run"), "").unwrap();
    place.search("run", &["--samples", "3"]);
    assert_eq!(place.facts("run"), place.facts("whole"));
    fs::write(place.journal("run"), "").unwrap();
    let again = nas(&place.arguments("run", &["--samples", "3"]));
    assert_eq!(again.code, 2, "{again:?}");
    fs::remove_file(place.path("run/best.json")).unwrap();
    assert_eq!(place.resume("run", &[]).code, 0);
    assert_eq!(place.facts("run"), place.facts("whole"));
}

#[test]
fn one_of_those_that_race_for_a_directory_gets_it() {
    let place = Place::new();
    let start = || {
        let mut command = program();
        command.args(place.arguments("run", &["--samples", "3"]));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let racers: Vec<_> = (0..4).map(|_| start()).collect();
    let ended = racers.into_iter().map(|racer| racer.wait_with_output());
    let mut codes: Vec<_> = ended
        .map(|ended| {
            let ended = ended.unwrap();
            let words = String::from_utf8(ended.stderr).unwrap();
            let code = ended.status.code();
            assert!(code == Some(0) || words.contains("--resume"), "{words}");
            code
        })
        .collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(2), Some(2), Some(2)]);
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
    let (_writer, _) = Journal::resume(&Real, &place.journal("run")).unwrap();
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
