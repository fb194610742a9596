//! A search for cells: what children are paid, that it goes on exactly, and what it leaves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json as value};

use super::super::bad_input::refused;
use super::super::{example, file, json, nas, object};
use super::{Place, number};

// paper P8.7
#[test]
fn a_search_pays_for_perplexity_and_resumes() {
    let place = Place::new();
    let found = place.search("run", &["--samples", "12"]);
    let facts = place.facts("run");
    assert_eq!(found["samples"], 12);
    let children = facts.iter().filter(|fact| fact["event"] == "child");
    let mut best = f64::INFINITY;
    for child in children {
        assert!(child.get("accuracies").is_none(), "{child}");
        let perplexities = child["perplexities"].as_array().unwrap();
        match child["status"].as_str().unwrap() {
            "ok" => {
                assert_eq!(perplexities.len(), 3);
                let last = number(&perplexities[2]);
                best = best.min(last);
                let reward = 80.0 / (last * last);
                assert!((number(&child["reward"]) - reward).abs() < 1e-12, "{child}");
                assert_eq!(child["parameters"], 2 * 7 * 6 + 2 * 2 * 8 * 36 + 7);
            }
            "diverged" => assert_eq!(child["reward"], 0.0),
            other => panic!("{other}: {child}"),
        }
        assert_eq!(child["tokens"].as_array().unwrap().len(), 34);
    }
    assert_eq!(number(&found["best"][0]["perplexity"]), best);
    assert!(found["best"][0].get("accuracy").is_none());

    // Ended after two batches, on other threads, and gone on with.
    place.search("cut", &["--samples", "8", "--threads", "1"]);
    let cut = place.path("cut");
    json(&[
        "search",
        "--resume",
        &cut,
        "--samples",
        "12",
        "--threads",
        "2",
    ]);
    assert!(place.facts("cut") == facts, "as if never stopped");
    let status = json(&["status", &cut]);
    assert_eq!(
        (&status["state"], &status["samples"]),
        (&value!("finished"), &value!(12))
    );
    assert_eq!(status["best"], found["best"]);
    let words = nas(&["status", &cut]).stdout;
    assert!(
        words.contains("perplexity") && words.contains("into="),
        "{words}"
    );

    // The best one's weights are kept, and `train` with the run's settings repeats it.
    let sample = found["best"][0]["sample"].to_string();
    let weights = Path::new(&place.path("run")).join(format!("weights/{sample}.safetensors"));
    let (config, arch) = (place.path("run/config.toml"), place.path("run/best.json"));
    let train = [
        "train",
        "--config",
        &config,
        "--arch",
        &arch,
        "--save",
        &place.path("best"),
    ];
    let trained = json(&train);
    assert_eq!(
        trained["validation_perplexity"],
        found["best"][0]["perplexity"]
    );
    assert_eq!(
        fs::read(weights).unwrap(),
        fs::read(place.path("best")).unwrap()
    );

    let random = place.search("random", &["--samples", "3", "--strategy", "random"]);
    assert_eq!(random["samples"], 3);
    assert!(
        place
            .facts("random")
            .iter()
            .all(|fact| fact["event"] == "child")
    );
}

/// Killed while it wrote: the journal ends within a line, `best.json` is that of before or not there,
/// and files are half-written.
#[test]
fn a_search_that_was_killed_goes_on_as_if_never() {
    let place = Place::new();
    place.search("whole", &["--samples", "10"]);
    let facts = place.facts("whole");
    let journal = fs::read(place.path("whole/journal.jsonl")).unwrap();
    let ends = (1..journal.len()).filter(|&at| journal[at - 1] == b'\n');
    let ends: Vec<usize> = ends.collect();
    // After the run's line, within a batch, after it, within a line.
    for cut in [
        ends[0],
        ends[3],
        ends[6] + 40,
        ends[9],
        ends[ends.len() - 2] + 11,
    ] {
        let run = place.path(&format!("cut-{cut}"));
        fs::create_dir_all(format!("{run}/weights")).unwrap();
        fs::copy(
            place.path("whole/config.toml"),
            format!("{run}/config.toml"),
        )
        .unwrap();
        fs::write(format!("{run}/journal.jsonl"), &journal[..cut]).unwrap();
        for name in [
            ".best.json.a1b2c3.unfinished",
            "weights/.0.safetensors.x.unfinished",
        ] {
            fs::write(format!("{run}/{name}"), "half").unwrap();
        }
        // Of somebody else, who may be writing it.
        let other = format!("{run}/weights/.mine.safetensors.x.unfinished");
        fs::write(&other, "half").unwrap();
        json(&["search", "--resume", &run]);
        fs::remove_file(&other).expect("it is left alone");
        assert!(place.facts(&format!("cut-{cut}")) == facts, "cut at {cut}");
        let best = |run: &str| fs::read_to_string(format!("{run}/best.json")).unwrap();
        assert_eq!(best(&run), best(&place.path("whole")));
        let names = |folder: &str| {
            let entries = fs::read_dir(folder).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".unfinished")).count()
        };
        assert_eq!(names(&run) + names(&format!("{run}/weights")), 0);
    }
    // Killed after the last line, before the best was written.
    let best = place.path("whole/best.json");
    let written = fs::read(&best).unwrap();
    for stale in [None, Some("{}\n")] {
        fs::remove_file(&best).unwrap();
        if let Some(text) = stale {
            fs::write(&best, text).unwrap();
        }
        json(&["search", "--resume", &place.path("whole")]);
        assert_eq!(fs::read(&best).unwrap(), written);
    }
    fs::remove_file(place.path("whole/config.toml")).unwrap();
    let resume = ["search", "--resume", &place.path("whole")];
    refused(&resume, 2, "usage", &["config.toml is missing", "--out"]);
}

/// A child that diverges, or whose perplexity is too large to be a number, ends with reward 0.
#[test]
fn an_explosion_is_worth_nothing() {
    let place = Place::new();
    let wild = "[search]\npreset = \"cell-sample\"\nsamples = 4\n[data]\nvocabulary = 7\n\
                [train]\nepochs = 1\nbatch = 4\nsteps = 6\nhidden = 6\nlearning_rate = 1e30\n\
                max_norm = 1e30\n";
    let config = file(place.folder.path(), "wild.toml", wild);
    let out = place.path("wild");
    let search = [
        "search",
        "--data",
        &place.data,
        "--config",
        &config,
        "--out",
        &out,
    ];
    let ended = nas(&[&search[..], &["--json"]].concat());
    assert_eq!(ended.code, 1, "none was trained to the end: {ended:?}");
    let found = object(&ended);
    assert_eq!(found["failures"], value!({"diverged": 4}));
    assert!(found["best"].as_array().unwrap().is_empty());
    for child in place
        .facts("wild")
        .iter()
        .filter(|fact| fact["event"] == "child")
    {
        assert_eq!(child["reward"], 0.0);
        assert_eq!(child["perplexities"], value!([]));
        assert!(child["message"].as_str().unwrap().contains("not finite"));
    }
    let cell = example("cell-lstm.json");
    let train = [
        "train",
        "--arch",
        &cell,
        "--data",
        &place.data,
        "--config",
        &config,
    ];
    refused(
        &train,
        1,
        "run",
        &["diverged in epoch 1", "--learning-rate"],
    );
}

/// The cell and the LSTM by the same recipe, on the training and the validation part.
#[test]
fn a_search_of_cells_is_finished_beside_an_lstm() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let run = place.path("run");
    let finish = [
        "finish",
        &run,
        "--epochs",
        "4",
        "--learning-rates",
        "0.4,0.8",
        "--decay-epochs",
        "2",
    ];
    let result = json(&finish);
    let grid = result["candidates"][0]["grid"].as_array().unwrap();
    assert_eq!(grid.len(), 2);
    let perplexity = |tried: &Value| tried["validation_perplexity"].as_f64().unwrap();
    let chosen = &result["chosen"];
    let lowest = grid
        .iter()
        .min_by(|a, b| perplexity(a).total_cmp(&perplexity(b)));
    assert_eq!(lowest.unwrap()["learning_rate"], chosen["learning_rate"]);
    assert_eq!(chosen.get("weight_decay"), None);
    let weights = result["final"]["weights"].as_str().unwrap();
    let eval = json(&[
        "eval",
        "--weights",
        weights,
        "--data",
        &place.data,
        "--split",
        "test",
    ]);
    assert_eq!(eval["perplexity"], result["final"]["test_perplexity"]);
    let control = &result["control"];
    assert_eq!(control["kind"], "lstm");
    assert!(control["test_perplexity"].as_f64().unwrap() > 1.0);
    assert_eq!(json(&finish), result);
    refused(
        &["finish", &run, "--epsilons", "1e-3"],
        2,
        "usage",
        &["--epsilons"],
    );
}
