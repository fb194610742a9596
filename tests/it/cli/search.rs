//! `search` and `status`: from nothing to a finished run, stopped, resumed, refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nas_engine::search::journal::{self, Entry, Journal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, data_folder, file, json, nas, object, program, run, text, write_data};

/// Seven small children, repeats among them.
const CONFIG: &str = r#"
[search]
samples = 7
children_per_update = 3
seed = 4

[train]
epochs = 2
batch = 16

[space]
filter_heights = [1, 3]
filter_widths = [1]
filters = [8]
strides = [1]
depth = 2
max_depth = 2
"#;

/// Data, settings and a place for a run.
struct Place {
    folder: TempDir,
    data: TempDir,
    config: String,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let config = file(folder.path(), "settings.toml", CONFIG);
        Place {
            folder,
            data: data_folder(80, 16),
            config,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments of a new run.
    fn arguments(&self, name: &str, more: &[&str]) -> Vec<String> {
        let (data, out) = (text(self.data.path()), text(&self.path(name)));
        let fixed = [
            "search",
            "--data",
            &data,
            "--config",
            &self.config,
            "--out",
            &out,
        ];
        fixed
            .iter()
            .chain(more)
            .map(|argument| argument.to_string())
            .collect()
    }

    /// Runs a search to its end; what it prints with `--json`.
    fn search(&self, name: &str, more: &[&str]) -> Value {
        json(&self.arguments(name, more))
    }

    fn resume(&self, name: &str, more: &[&str]) -> Ended {
        let path = text(&self.path(name));
        nas(&[&["search", "--resume", &path], more].concat())
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.path(name).join(journal::FILE_NAME)
    }

    fn facts(&self, name: &str) -> Vec<String> {
        journal::facts(&self.journal(name)).unwrap()
    }

    fn status(&self, name: &str) -> Value {
        json(&["status", &text(&self.path(name))])
    }
}

/// Every file of a directory with its bytes.
fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_search_says_what_its_journal_says() {
    let place = Place::new();
    let result = place.search("run", &[]);
    let lines = journal::read(&place.journal("run")).unwrap().lines;
    let children: Vec<_> = lines
        .iter()
        .filter_map(|line| match &line.entry {
            Entry::Child(child) => Some(child),
            _ => None,
        })
        .collect();
    assert_eq!((result["samples"].as_u64(), children.len()), (Some(7), 7));
    assert_eq!(
        Path::new(result["run"].as_str().unwrap()),
        place.path("run")
    );
    let best = result["best"].as_array().unwrap();
    let distinct = children
        .iter()
        .filter(|child| child.duplicate_of.is_none())
        .count();
    assert_eq!(best.len(), distinct, "each architecture once: {result}");
    for entry in best {
        let sample = entry["sample"].as_u64().unwrap();
        let child = children
            .iter()
            .find(|child| child.sample == sample)
            .unwrap();
        assert_eq!(entry["architecture"], child.architecture);
        assert_eq!(entry["reward"].as_f64(), child.reward);
        let accuracy = entry["accuracy"].as_f64().unwrap();
        assert!((accuracy.powi(3) - child.reward.unwrap()).abs() < 1e-12);
    }
    let rewards: Vec<f64> = best
        .iter()
        .map(|entry| entry["reward"].as_f64().unwrap())
        .collect();
    assert!(rewards.is_sorted_by(|a, b| a >= b), "{rewards:?}");
    // A quarter of seven samples, rounded down, is one.
    let of = |sample: u64| children.iter().find(|c| c.sample == sample).unwrap().reward;
    assert_eq!(result["mean_reward_first_quarter"].as_f64(), of(0));
    assert_eq!(result["mean_reward_last_quarter"].as_f64(), of(6));
    assert_eq!(result["failures"], json!({}));
    assert!(result["seconds"].as_f64().unwrap() > 0.0);
    let kept = fs::read_to_string(place.path("run").join("best.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&kept).unwrap(),
        best[0]["architecture"]
    );

    let status = place.status("run");
    assert_eq!(status["state"], "finished");
    assert_eq!(
        (&status["samples"], &status["total"]),
        (&json!(7), &json!(7))
    );
    assert_eq!(
        (&status["best"], &status["seconds_left"]),
        (&result["best"], &json!(0.0))
    );
    assert!(status["children_per_hour"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_table_says_what_to_type_next() {
    let place = Place::new();
    let ended = nas(&place.arguments("run", &[]));
    assert_eq!(ended.code, 0, "{ended:?}");
    let next = ended
        .stdout
        .split("nas-engine ")
        .last()
        .unwrap()
        .replace("\\\n", " ");
    let next: Vec<&str> = next.split_whitespace().collect();
    assert_eq!(next[0], "train", "{ended:?}");
    let trained = json(
        &[&next[..], &["--epochs", "3"]]
            .concat()
            .into_iter()
            .collect::<Vec<_>>(),
    );
    assert_eq!(trained["epochs"].as_array().unwrap().len(), 3);
    assert!(trained["test_accuracy"].is_number());
    assert!(place.path("run").join("best.safetensors").exists());
    assert!(
        nas(&["status", &text(&place.path("run"))])
            .stdout
            .starts_with("finished: 7 of 7")
    );
}

#[test]
fn threads_change_nothing_but_times() {
    let place = Place::new();
    place.search("one", &["--threads", "1"]);
    for threads in ["2", "5"] {
        place.search(threads, &["--threads", threads]);
        assert_eq!(
            place.facts("one"),
            place.facts(threads),
            "{threads} threads"
        );
    }
}

#[test]
fn train_repeats_a_child_of_a_search() {
    let place = Place::new();
    let best = &place.search("run", &[])["best"][0];
    let arch = file(
        place.folder.path(),
        "arch.json",
        best["architecture"].to_string(),
    );
    let config = text(&place.path("run").join("config.toml"));
    let trained = json(&["train", "--config", &config, "--arch", &arch]);
    let accuracies = trained["epochs"].as_array().unwrap().iter();
    let accuracies = accuracies.map(|epoch| epoch["validation_accuracy"].as_f64().unwrap());
    assert_eq!(accuracies.reduce(f64::max), best["accuracy"].as_f64());
    assert_eq!(trained["parameters"], best["parameters"]);
}

#[test]
fn a_run_s_settings_are_a_configuration() {
    let place = Place::new();
    place.search("first", &["--samples", "2", "--seed", "9"]);
    let config = text(&place.path("first").join("config.toml"));
    let again = text(&place.path("again"));
    json(&["search", "--config", &config, "--out", &again]);
    assert_eq!(place.facts("first"), place.facts("again"));
    let settings = |name: &str| fs::read(place.path(name).join("config.toml")).unwrap();
    assert_eq!(settings("first"), settings("again"));
}

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

#[test]
fn random_search_learns_nothing() {
    let place = Place::new();
    place.search("run", &["--strategy", "random"]);
    let facts = place.facts("run");
    assert_eq!(facts.len(), 7);
    assert!(
        facts
            .iter()
            .all(|fact| fact.starts_with("{\"event\":\"child\"")),
        "{facts:?}"
    );
}

#[test]
fn a_child_that_cannot_be_built_or_does_not_fit_ends_alone() {
    let place = Place::new();
    let invalid = format!(
        "{CONFIG}predict_layer_type = true\nlayer_types = [\"max_pool\", \"conv\"]\n\
         pool_windows = [33]\n"
    );
    let config = file(place.folder.path(), "invalid.toml", invalid);
    let result = place.search("invalid", &["--config", &config]);
    assert!(
        result["failures"]["invalid"].as_u64().unwrap() > 0,
        "{result}"
    );
    let small = format!("[device]\nmemory_bytes = 1000\n{CONFIG}");
    let config = file(place.folder.path(), "small.toml", small);
    let result = place.search("too_large", &["--config", &config]);
    assert_eq!(result["failures"], json!({"too_large": 7}));
    assert_eq!(
        (&result["best"], &result["mean_reward_last_quarter"]),
        (&json!([]), &json!(0.0))
    );
}

#[test]
fn runs_have_a_place_of_their_own_by_default() {
    let place = Place::new();
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut command = program();
        command.current_dir(place.folder.path());
        command.args([
            "search",
            "--json",
            "--samples",
            "1",
            "--config",
            &place.config,
        ]);
        let ended = run(command.arg("--data").arg(place.data.path()));
        assert_eq!(ended.code, 0, "{ended:?}");
        names.push(object(&ended)["run"].as_str().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1]);
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("runs/") && name.contains("-sample"))
    );
}
