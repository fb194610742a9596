//! Stopped by a signal or a time limit: what is kept, what is said, and that it goes on with the same
//! bits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::bad_input::refused;
use super::search::{Place, snapshot};
use super::{Ended, data_folder, example, file, json, nas, object, program, run, text};

/// A training of many short epochs.
struct Training {
    folder: TempDir,
    data: TempDir,
}

impl Training {
    fn new() -> Training {
        Training {
            folder: tempfile::tempdir().unwrap(),
            data: data_folder(120, 16),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, save: &str) -> Vec<String> {
        let (data, save) = (text(self.data.path()), text(&self.path(save)));
        let arch = example("small.json");
        let fixed = [
            "train",
            "--device",
            "cpu",
            "--arch",
            &arch,
            "--data",
            &data,
            "--batch",
            "16",
            "--epochs",
            "40",
            "--threads",
            "1",
            "--save",
            &save,
        ];
        fixed.map(str::to_owned).to_vec()
    }

    /// Starts a training and waits for a line that begins so on standard error.
    fn begun(&self, command: &mut Command, line: &str) -> (Child, String) {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut seen = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !seen.lines().any(|seen| seen.starts_with(line)) {
            assert!(lines.read_line(&mut seen).unwrap() > 0, "it ended: {seen}");
        }
        // The pipe stays open, or the program could not say its last words.
        child.stderr = Some(lines.into_inner());
        (child, seen)
    }

    fn resume(&self, file: &str, more: &[&str]) -> Ended {
        let file = text(&self.path(file));
        nas(&[&["train", "--resume", &file], more].concat())
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status().unwrap();
    assert!(sent.success());
}

/// How a child ends: its code, and what it printed.
fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let words = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        words(output.stdout),
        words(output.stderr),
    )
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_training_that_a_signal_stops_goes_on_with_the_same_bits() {
    let training = Training::new();
    json(&training.arguments("whole"));
    for name in ["-INT", "-TERM", "-USR1"] {
        let mut command = program();
        command.args(training.arguments("weights")).arg("--json");
        let (child, _) = training.begun(&mut command, "epoch 2/40");
        signal(&child, name);
        let (code, stdout, stderr) = ended(child);
        assert_eq!(code, Some(75), "{name}: {stderr}");
        assert!(stderr.contains("nas-engine train --resume"), "{stderr}");
        // What it has, in the one object that says that it was stopped.
        let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(result["error"]["kind"], "stopped");
        let n_epochs = result["epochs"].as_array().unwrap().len();
        assert!((2..40).contains(&n_epochs), "{n_epochs} epochs");
        assert!(!training.path("weights").exists());
        let resumed = training.resume("weights.checkpoint", &["--json"]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
        assert_eq!(object(&resumed)["epochs"].as_array().unwrap().len(), 40);
        let [weights, whole] = ["weights", "whole"].map(|name| fs::read(training.path(name)));
        assert!(weights.unwrap() == whole.unwrap(), "{name}: other weights");
        assert_eq!(names(training.folder.path()), ["weights", "whole"]);
        fs::remove_file(training.path("weights")).unwrap();
    }
}

/// Ends a command by a time limit: the shortest that leaves it time to say what `enough` looks for.
fn limited(arguments: &[String], enough: impl Fn(&Ended) -> bool) -> Ended {
    for seconds in [1, 2, 4, 8, 16, 32, 64] {
        let limit = format!("--time-limit={seconds}s");
        let ended = run(program().args(arguments).arg(limit));
        assert_eq!(ended.code, 75, "{ended:?}");
        if enough(&ended) {
            return ended;
        }
    }
    panic!("a minute is not enough for {arguments:?}");
}

#[test]
fn a_time_limit_stops_a_training_again_and_again() {
    let training = Training::new();
    let mut arguments = training.arguments("weights");
    let at = arguments
        .iter()
        .position(|argument| argument == "40")
        .unwrap();
    arguments[at] = "100000".to_owned();
    let epochs = |ended: &Ended| -> Option<u64> {
        let last = ended.stderr.lines().last()?.strip_prefix("stopped: ")?;
        last.split(' ').next()?.parse().ok()
    };
    let stopped = limited(&arguments, |ended| epochs(ended).is_some());
    let mut before = epochs(&stopped);
    let checkpoint = text(&training.path("weights.checkpoint"));
    let resume = ["train", "--resume", &checkpoint].map(str::to_owned);
    for _ in 0..2 {
        let again = limited(&resume, |ended| epochs(ended) > before);
        assert!(again.stderr.contains("goes on after"), "{again:?}");
        before = epochs(&again);
    }
    refused(
        &["train", "--arch", "x", "--time-limit", "90"],
        2,
        "usage",
        &["--time-limit", "23h30m"],
    );
}

/// `nohup` and shells start programs so in the background.
#[test]
fn an_ignored_interrupt_stays_ignored() {
    let training = Training::new();
    let words = training.arguments("weights").join(" ");
    let script = format!(
        "trap '' INT; exec {} {words}",
        env!("CARGO_BIN_EXE_nas-engine")
    );
    let (child, _) = training.begun(Command::new("sh").args(["-c", &script]), "epoch 2/40");
    signal(&child, "-INT");
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(0), "{stderr}");
}

/// A training whose steps take seconds, so that the second signal finds it at work.
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let training = Training::new();
    let layer = r#"{"filter":[7,7],"filters":512,"inputs":"#;
    let inputs = ["[0]", "[1]", "[2]", "[3]"].map(|inputs| format!("{layer}{inputs}}}"));
    let architecture = format!(r#"{{"space":"conv","layers":[{}]}}"#, inputs.join(","));
    let mut arguments = training.arguments("weights");
    let arch = arguments.iter().position(|word| word == "--arch").unwrap();
    arguments[arch + 1] = file(training.folder.path(), "wide.json", architecture);
    let mut command = program();
    let (child, _) = training.begun(command.args(arguments), "device");
    sleep(Duration::from_secs(1));
    signal(&child, "-TERM");
    signal(&child, "-TERM"); // as a cluster sends it: to the program, and to the script that hands it on
    sleep(Duration::from_secs(1));
    let began = Instant::now();
    signal(&child, "-TERM");
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(143), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_does_not_go_with_a_stopped_training_is_refused() {
    let training = Training::new();
    let mut command = program();
    let (child, _) = training.begun(command.args(training.arguments("weights")), "epoch 3/40");
    signal(&child, "-TERM");
    assert_eq!(ended(child).0, Some(75));
    let checkpoint = text(&training.path("weights.checkpoint"));
    let again: Vec<String> = training.arguments("weights");
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    refused(&again, 2, "usage", &["was stopped", "--resume", "remove"]);
    let over = ["train", "--resume", &checkpoint, "--save", &checkpoint];
    refused(&over, 2, "usage", &["--save", "another name"]);
    let second = format!("{checkpoint}.2");
    let other = example("small.json");
    let over = [
        "train",
        "--arch",
        &other,
        "--save",
        &second,
        "--checkpoint",
        &checkpoint,
    ];
    refused(&over, 2, "usage", &["--save", "another name"]);
    let resume = ["train", "--resume", &checkpoint];
    refused(
        &[&resume[..], &["--epochs", "50"]].concat(),
        2,
        "usage",
        &["--epochs"],
    );
    refused(&["train"], 2, "usage", &["--arch"]);
    let absent = text(&training.path("absent"));
    refused(
        &["train", "--resume", &absent],
        2,
        "usage",
        &["no checkpoint"],
    );
    // Damaged, with nothing older.
    let bytes = fs::read(&checkpoint).unwrap();
    let damage = |at: usize| {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        fs::write(&checkpoint, damaged).unwrap();
        refused(&resume, 3, "checkpoint", &["weights.checkpoint"]);
    };
    damage(bytes.len() / 2);
    damage(bytes.len() - 1);
    fs::write(&checkpoint, &bytes[..bytes.len() - 100]).unwrap();
    refused(&resume, 3, "checkpoint", &["no whole checkpoint"]);
    // Other data.
    fs::write(&checkpoint, &bytes).unwrap();
    super::write_data(training.data.path(), 120, 16, 9);
    refused(&resume, 3, "checkpoint", &["another data set"]);
    super::write_data(training.data.path(), 120, 16, 1);
    // The newer of two is damaged, and a kill has left half of a third: the older one is gone on with.
    let half = training.path(".weights.checkpoint.abcdefghij.unfinished");
    fs::write(half, &bytes[..100]).unwrap();
    let newer = text(&training.path("weights.checkpoint.2"));
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&newer, damaged).unwrap();
    let resumed = nas(&resume);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(resumed.stderr.contains("older one"), "{resumed:?}");
    assert_eq!(names(training.folder.path()), ["weights"]);
}

/// Starts a session of a search and stops it once a child has been at work for some time; how it ends.
fn stopped_at_work(place: &Place, arguments: &[String], time: Duration) -> Ended {
    let bytes = || fs::read(place.journal("run")).map_or(0, |bytes| bytes.len());
    let before = bytes();
    let piped = |command: &mut Command| {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let mut child = piped(program().args(arguments));
    // The session's own line is there before its children are.
    while bytes() == before && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(5));
    }
    sleep(time);
    let began = Instant::now();
    if child.try_wait().unwrap().is_none() {
        signal(&child, "-TERM");
    }
    let (code, stdout, stderr) = ended(child);
    Ended {
        code: code.unwrap_or(-1),
        stdout,
        stderr,
        took: began.elapsed(),
    }
}

/// A search whose only child takes several sessions.
#[test]
fn a_search_is_stopped_within_a_child_and_goes_on_there() {
    let place = Place::new();
    let settings = ["--samples", "2", "--epochs", "120", "--threads", "1"];
    let began = Instant::now();
    place.search("whole", &settings);
    let time = began.elapsed() / 8; // whatever the machine's speed
    let mut session = stopped_at_work(&place, &place.arguments("run", &settings), time);
    let path = text(&place.path("run"));
    let resume = ["search", "--resume", &path].map(str::to_owned);
    let mut n_stops = 0;
    while session.code == 75 {
        n_stops += 1;
        assert!(n_stops < 1000, "it gets nowhere: {session:?}");
        assert!(session.stderr.contains("go on with"), "{session:?}");
        session = stopped_at_work(&place, &resume, time);
    }
    assert_eq!(session.code, 0, "{session:?}");
    assert!(n_stops > 0, "it was never stopped");
    assert_eq!(place.facts("run"), place.facts("whole"));
    let weights = |name: &str| -> Vec<Vec<u8>> {
        let files = snapshot(&place.path(name).join("weights"));
        files.into_iter().map(|(_, bytes)| bytes).collect()
    };
    assert!(weights("run") == weights("whole"));
    let left = names(&place.path("run/checkpoints"));
    let is_controllers = |name: &String| name.starts_with("controller");
    assert!(left.iter().all(is_controllers), "{left:?}");
}

#[test]
fn the_checkpoint_of_a_searchs_child_is_not_trained_on_alone() {
    let place = Place::new();
    let arguments = place.arguments("run", &["--epochs", "100000"]);
    let stopped = stopped_at_work(&place, &arguments, Duration::from_millis(500));
    assert_eq!(stopped.code, 75, "{stopped:?}");
    let folder = place.path("run/checkpoints");
    let child = names(&folder)
        .into_iter()
        .find(|name| !name.starts_with("controller"));
    let file = text(&folder.join(child.expect("a child is under way")));
    refused(
        &["train", "--resume", &file],
        2,
        "usage",
        &["search --resume"],
    );
}
