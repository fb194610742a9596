//! `finish`: what it tries is what `train` gives by the same settings, what it ends with is what `eval`
//! reads, and a kill at any time changes nothing of it.

mod progress;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json as value};

use super::bad_input::refused;
use super::search::{Place, snapshot};
use super::{file, json, nas, object, program, run, text};

const EPOCHS: &str = "5";

/// A searched run, and flags of a grid of four trainings of two architectures.
fn searched() -> (Place, Vec<String>) {
    let place = Place::new();
    place.search("run", &[]);
    let run = text(&place.path("run"));
    let flags = [
        &*run,
        "--top",
        "2",
        "--epochs",
        EPOCHS,
        "--learning-rates",
        "0.05",
        "--weight-decays",
        "0.001",
        "--epsilons",
        "1e-5,0.01",
        "--decay-epochs",
        "2,4",
    ];
    let finish = ["finish"].iter().chain(&flags);
    (place, finish.map(ToString::to_string).collect())
}

fn number(value: &Value, path: &str) -> f64 {
    value
        .pointer(path)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{path} in {value}"))
}

// paper P9.2, P9.3
#[test]
fn every_training_of_the_grid_is_one_that_train_repeats_and_eval_reads_the_end() {
    let (place, finish) = searched();
    let result = json(&finish);
    let best = place.status("run")["best"].clone();
    let candidates = result["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2);
    let mut highest = f64::NEG_INFINITY;
    for (candidate, best) in candidates.iter().zip(best.as_array().unwrap()) {
        assert_eq!(candidate["sample"], best["sample"]);
        assert_eq!(candidate["search_accuracy"], best["accuracy"]);
        let folder = tempfile::tempdir().unwrap();
        let arch = file(folder.path(), "arch.json", best["architecture"].to_string());
        let grid = candidate["grid"].as_array().unwrap();
        assert_eq!(grid.len(), 4);
        for tried in grid {
            let settings = format!(
                "[train]\nbatch = 16\nweight_decay = {}\nbatch_norm_epsilon = {}\ndecay_epoch = {}\n",
                tried["weight_decay"], tried["batch_norm_epsilon"], tried["decay_epoch"]
            );
            let config = file(folder.path(), "train.toml", settings);
            let data = text(place.data.path());
            let trained = json(&[
                "train",
                "--arch",
                &arch,
                "--data",
                &data,
                "--config",
                &config,
                "--seed",
                "4",
                "--epochs",
                EPOCHS,
                "--learning-rate",
                "0.05",
            ]);
            let epochs = trained["epochs"].as_array().unwrap();
            let accuracies = epochs
                .iter()
                .map(|epoch| number(epoch, "/validation_accuracy"));
            let expected = accuracies.fold(0.0, f64::max);
            assert_eq!(number(tried, "/validation_accuracy"), expected, "{tried}");
            highest = highest.max(expected);
        }
    }
    let chosen = &result["chosen"];
    let of_sample = candidates
        .iter()
        .find(|one| one["sample"] == chosen["sample"])
        .unwrap();
    let is_chosen = |tried: &&Value| {
        [
            "learning_rate",
            "weight_decay",
            "batch_norm_epsilon",
            "decay_epoch",
        ]
        .iter()
        .all(|key| tried[*key] == chosen[*key])
    };
    let tried = of_sample["grid"]
        .as_array()
        .unwrap()
        .iter()
        .find(is_chosen)
        .unwrap();
    assert_eq!(number(tried, "/validation_accuracy"), highest);

    let last = &result["final"];
    assert_eq!(last["epochs"], 5);
    assert!((number(last, "/test_accuracy") + number(last, "/test_error") - 1.0).abs() < 1e-12);
    let weights = last["weights"].as_str().unwrap();
    let eval = |split: &str| {
        let data = text(place.data.path());
        run(program().args([
            "eval",
            "--weights",
            weights,
            "--data",
            &data,
            "--split",
            split,
            "--json",
        ]))
    };
    let tested = eval("test");
    assert_eq!(object(&tested)["accuracy"], last["test_accuracy"]);
    assert!(!tested.stderr.contains("trained on"), "{tested:?}");
    let validated = eval("validation");
    assert!(
        validated.stderr.contains("trained on all training records"),
        "{validated:?}"
    );
    let architecture = fs::read_to_string(last["architecture"].as_str().unwrap()).unwrap();
    let chosen = best
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["sample"] == chosen["sample"]);
    assert_eq!(
        serde_json::from_str::<Value>(&architecture).unwrap(),
        chosen.unwrap()["architecture"]
    );
}

/// What does not measure time of a folder's files.
fn facts(run: &Path) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let folder = run.join("finish");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let journal = folder.join("journal.jsonl");
    let mut lines = nas_engine::run::journal::facts(&nas_engine::disk::Real, &journal).unwrap();
    lines.sort();
    (read("final.safetensors"), read("final.json"), lines)
}

#[test]
fn one_that_is_killed_goes_on_and_ends_the_same() {
    let (place, finish) = searched();
    let whole = place.path("run");
    let killed = place.path("killed");
    copy(&whole, &killed);
    json(&finish);
    let expected = facts(&whole);
    let again = finish
        .iter()
        .map(|flag| flag.replace(&text(&whole), &text(&killed)));
    let again: Vec<String> = again.collect();
    let mut n_killed = 0;
    for wait in (0..).map(|n| Duration::from_millis(40 + 60 * n)) {
        let mut command = program();
        command.args(&again).arg("--quiet").stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(wait);
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        n_killed += 1;
    }
    assert!(n_killed >= 2, "killed {n_killed} times");
    json(&again);
    assert_eq!(facts(&killed), expected);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, to).unwrap()),
        }
    }
}

#[test]
fn the_same_command_again_shows_the_same_and_trains_nothing() {
    let (place, finish) = searched();
    let first = json(&finish);
    let folder = place.path("run").join("finish");
    let before = snapshot(&folder);
    let again = nas(&[&finish[..], &["--json".to_owned()]].concat());
    assert_eq!(object(&again), first);
    assert!(again.stderr.contains("already finished"), "{again:?}");
    assert_eq!(snapshot(&folder), before);
    let other = [&finish[..], &["--add-filters".to_owned(), "4".to_owned()]].concat();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    refused(
        &other,
        2,
        "usage",
        &["another grid", "(--add-filters 0, now 4)"],
    );
    let other: Vec<String> = finish.iter().map(|flag| flag.replace("2,4", "4")).collect();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    refused(&other, 2, "usage", &["(--decay-epochs 2,4, now 4)"]);
    let words = nas(&finish).stdout;
    assert!(
        words.contains("best of a training's last five epochs"),
        "{words}"
    );
    // Weights that are lost are trained again, to the same bytes.
    let weights = folder.join("final.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, "no weights").unwrap();
    assert_eq!(json(&finish), first);
    assert_eq!(fs::read(&weights).unwrap(), bytes);
    let own: Vec<&str> = finish.iter().map(String::as_str).collect();
    let journal = folder.join("journal.jsonl");
    let honest = fs::read(&journal).unwrap();
    fs::copy(place.path("run").join("journal.jsonl"), &journal).unwrap();
    refused(
        &own,
        3,
        "data",
        &["journal.jsonl", "none of the grid", "the whole folder"],
    );
    fs::write(&journal, honest).unwrap();
    let result = folder.join("final.json");
    fs::write(&result, "{").unwrap();
    refused(&own, 3, "data", &["final.json", "damaged"]);
    fs::write(
        &result,
        "{\"point\":0,\"epochs\":5,\"test\":-5,\"test_loss\":1,\"parameters\":9}",
    )
    .unwrap();
    let grid = folder.join("grid.json");
    let before = fs::read_to_string(&grid).unwrap();
    fs::write(&grid, "{}").unwrap();
    refused(
        &own,
        3,
        "data",
        &["grid.json", "damaged", "the whole folder"],
    );
    // Without it nobody knows what was tried, by whatever flags.
    fs::remove_file(&grid).unwrap();
    refused(
        &own,
        3,
        "data",
        &["grid.json", "missing", "the whole folder"],
    );
    assert!(!grid.exists());
    // The same places in the lists, of other lists or of another architecture.
    let other = before.replace("\"filters\": 8", "\"filters\": 9");
    fs::write(&grid, other).unwrap();
    let status = nas(&["status", &text(&place.path("run"))]);
    assert!(status.stderr.contains("none of the grid"), "{status:?}");
}

#[test]
fn filters_are_added_and_a_table_a_running_search_and_bad_lists_refused() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let run_path = text(&place.path("run"));
    let small = [
        "--epochs",
        "2",
        "--learning-rates",
        "0.05",
        "--weight-decays",
        "0",
        "--epsilons",
        "1e-3",
    ];
    let more = json(&[&["finish", &run_path, "--add-filters", "3"], &small[..]].concat());
    let architecture = fs::read_to_string(more["final"]["architecture"].as_str().unwrap()).unwrap();
    let architecture: Value = serde_json::from_str(&architecture).unwrap();
    assert_eq!(architecture["layers"][0]["filters"], value!(11));
    let metadata = fs::read(more["final"]["weights"].as_str().unwrap()).unwrap();
    let head = String::from_utf8_lossy(&metadata[..2000.min(metadata.len())]).into_owned();
    assert!(
        head.contains("\"batch_norm_epsilon\":\"0.001\"") && head.contains("\"held_out\":\"none\"")
    );

    let cases: [(&[&str], &str); 11] = [
        (&["--top", "0"], "from 1 to 1000"),
        (&["--top", "1001"], "from 1 to 1000"),
        (&["--epochs", "0"], "from 1"),
        (&["--add-filters", "-5"], "from 0 to 4096"),
        (&["--learning-rates", "0.1,x"], "`x`"),
        (&["--learning-rates", "0"], "above 0"),
        (&["--learning-rates", "-1"], "above 0"),
        (&["--epsilons", "2"], "at most 1"),
        (&["--weight-decays", "1e-4,1e-4"], "twice"),
        (
            &["--epochs", "3", "--decay-epochs", "4"],
            "at most --epochs, 3",
        ),
        (&["--add-filters", "4096"], "4104 filters"),
    ];
    for (flags, words) in cases {
        refused(
            &[&["finish", &run_path], flags].concat(),
            2,
            "usage",
            &[words],
        );
    }
    let nothing = text(&place.path("nothing"));
    refused(&["finish", &nothing], 2, "usage", &[&nothing]);

    let table = text(&place.path("table"));
    let searched = nas(&[
        "search",
        "--space",
        "nas-bench-201",
        "--samples",
        "5",
        "--out",
        &table,
    ]);
    assert_eq!(searched.code, 0, "{searched:?}");
    refused(&["finish", &table], 2, "usage", &["never trained"]);

    // Somebody holds the journal's lock.
    let mut search = program();
    search.args(place.arguments("running", &["--samples", "200", "--quiet"]));
    let mut running = search.stdout(Stdio::null()).spawn().unwrap();
    let journal = place.path("running").join("journal.jsonl");
    while fs::metadata(&journal).map_or(0, |file| file.len()) < 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let path = text(&place.path("running"));
    refused(&["finish", &path], 2, "usage", &["still goes on", "--wait"]);
    let waited = nas(&["finish", &path, "--wait", "--time-limit", "1s"]);
    assert_eq!(waited.code, 75, "{waited:?}");
    running.kill().unwrap();
    running.wait().unwrap();
}
