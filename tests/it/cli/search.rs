//! `search` and `status`: from nothing to a finished run, stopped, resumed, refused.

use std::fs;
use std::path::{Path, PathBuf};

use nas_engine::disk::Real;
use nas_engine::run::entry::Entry;
use nas_engine::run::journal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, data_folder, file, json, nas, object, program, run, text};

/// Seven small children, repeats among them.
pub const CONFIG: &str = r#"
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
pub struct Place {
    folder: TempDir,
    pub data: TempDir,
    config: String,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let config = file(folder.path(), "settings.toml", CONFIG);
        Place {
            folder,
            data: data_folder(80, 16),
            config,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments of a new run.
    pub fn arguments(&self, name: &str, more: &[&str]) -> Vec<String> {
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
    pub fn search(&self, name: &str, more: &[&str]) -> Value {
        json(&self.arguments(name, more))
    }

    pub fn resume(&self, name: &str, more: &[&str]) -> Ended {
        let path = text(&self.path(name));
        nas(&[&["search", "--resume", &path], more].concat())
    }

    pub fn journal(&self, name: &str) -> PathBuf {
        self.path(name).join(journal::FILE_NAME)
    }

    pub fn facts(&self, name: &str) -> Vec<String> {
        journal::facts(&Real, &self.journal(name)).unwrap()
    }

    pub fn status(&self, name: &str) -> Value {
        json(&["status", &text(&self.path(name))])
    }
}

/// Every file of a directory with its bytes.
pub fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    let mut files: Vec<_> = files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

// paper P9.1
#[test]
fn a_search_says_what_its_journal_says() {
    let place = Place::new();
    let result = place.search("run", &[]);
    let lines = journal::read(&Real, &place.journal("run")).unwrap().lines;
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
    let words = ended.stdout.replace("\\\n", " ");
    let next = words.split("nas-engine ").skip(1);
    let next: Vec<Vec<&str>> = next
        .map(|command| command.lines().next().unwrap().split_whitespace().collect())
        .collect();
    let [report, finish, next] = &next[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(
        [report[0], finish[0], next[0]],
        ["report", "finish", "train"]
    );
    assert_eq!(nas(report).code, 0);
    assert!(place.path("run").join("report.html").exists());
    let finished = json(&[&finish[..], &["--epochs", "1", "--learning-rates", "0.1"]].concat());
    assert!(finished["final"]["test_accuracy"].is_number(), "{finished}");
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
fn the_weights_of_the_best_are_kept() {
    let place = Place::new();
    let result = place.search("run", &[]);
    let best = result["best"].as_array().unwrap();
    let weights = place.path("run").join("weights");
    let mut kept: Vec<String> = snapshot(&weights)
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut expected: Vec<String> = best
        .iter()
        .take(3)
        .map(|best| format!("{}.safetensors", best["sample"]))
        .collect();
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);
    let file = weights.join(format!("{}.safetensors", best[0]["sample"]));
    let data = text(place.data.path());
    let evaluated = json(&["eval", "--weights", &text(&file), "--data", &data]);
    let accuracies = place.facts("run").into_iter().find_map(|fact| {
        let fact: Value = serde_json::from_str(&format!("{fact}}}")).unwrap();
        (fact["sample"] == best[0]["sample"]).then(|| fact["accuracies"].clone())
    });
    let last = accuracies.unwrap().as_array().unwrap().last().cloned();
    assert_eq!(Some(evaluated["accuracy"].clone()), last);
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
    let ended = nas(&place.arguments("invalid", &["--config", &config, "--json"]));
    let result = object(&ended);
    let best = result["best"].as_array().unwrap();
    assert_eq!(ended.code, i32::from(best.is_empty()), "{ended:?}");
    assert!(
        result["failures"]["invalid"].as_u64().unwrap() > 0,
        "{result}"
    );
    let small = format!("[device]\nmemory_bytes = 1000\n{CONFIG}");
    let config = file(place.folder.path(), "small.toml", small);
    let ended = nas(&place.arguments("too_large", &["--config", &config, "--json"]));
    assert_eq!(ended.code, 1, "none was trained to the end: {ended:?}");
    let result = object(&ended);
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
