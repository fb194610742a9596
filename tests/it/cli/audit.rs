//! `audit` and `explain` as a user types them, on a run of real children.

use std::fs;

use nas_engine::disk::Real;
use nas_engine::run::entry::Entry;
use nas_engine::run::journal;
use serde_json::{Value, json};

use super::bad_input::refused;
use super::search::Place;
use super::{Ended, data_folder, json as result, nas, object, program, run, text, write_data};
use crate::audit::edits::line;

fn audit(place: &Place, more: &[&str]) -> Ended {
    let run_path = text(&place.path("run"));
    run(program().args(["audit", &run_path, "--json"]).args(more))
}

/// A result that is a difference: exit 3, one object, and words on standard error.
fn differs(ended: &Ended) -> Value {
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("error: "), "{ended:?}");
    object(ended)
}

/// Writes a journal whose lines are changed by `change`.
fn rewrite(place: &Place, change: impl Fn(&mut Value)) {
    let entries = journal::read(&Real, &place.journal("run")).unwrap().lines;
    let lines = entries.iter().map(|entry| {
        let mut value = serde_json::to_value(&entry.entry).unwrap();
        change(&mut value);
        line(&value)
    });
    fs::write(place.journal("run"), lines.collect::<String>()).unwrap();
}

#[test]
fn a_run_is_audited_and_its_children_are_trained_again() {
    let place = Place::new();
    place.search("run", &[]);
    let run_path = text(&place.path("run"));
    let audit = result(&["audit", &run_path]);
    let lines = journal::read(&Real, &place.journal("run")).unwrap().lines;
    let last = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Update(update) => Some(update.controller_sha256.clone()),
        _ => None,
    });
    let expected = json!({
        "run": run_path,
        "samples": 7,
        "updates": 3,
        "controller_sha256": last,
        "same": true,
        "not_compared": [],
        "torn_bytes": 0,
    });
    assert_eq!(audit, expected);
    let words = nas(&["audit", &run_path]);
    assert!(words.stdout.contains("7 samples, 3 updates"), "{words:?}");
    // Each child, repeats among them, gives the same bits; with another number of threads too.
    for (sample, threads) in (0..7).zip(["1", "2"].into_iter().cycle()) {
        let sample = sample.to_string();
        let again = result(&[
            "audit",
            &run_path,
            "--retrain",
            &sample,
            "--threads",
            threads,
        ]);
        let again = &again["retrained"];
        assert_eq!(again["same"], true, "{again}");
        assert_eq!(again["accuracies"], again["recorded"], "{again}");
        assert_eq!(
            (&again["status"], &again["largest_difference"]),
            (&json!("ok"), &json!(0.0))
        );
        assert_eq!(again["device"], again["recorded_device"]);
    }
    let elsewhere = result(&[
        "audit",
        &run_path,
        "--retrain",
        "0",
        "--device",
        "reference",
    ]);
    assert_eq!(elsewhere["retrained"]["same"], Value::Null, "{elsewhere}");
    assert_eq!(elsewhere["same"], true);
    assert!(elsewhere["retrained"]["largest_difference"].is_number());
}

#[test]
fn what_a_child_did_not_achieve_is_found_by_training_it_again() {
    let place = Place::new();
    place.search("run", &["--strategy", "random", "--samples", "2"]);
    rewrite(&place, |value| {
        if value["sample"] == 1 {
            value["accuracies"] = json!([0.875, 0.875]);
            value["reward"] = json!(0.875f64.powi(3));
        }
    });
    assert_eq!(
        audit(&place, &[]).code,
        0,
        "the reward is that of the accuracies"
    );
    let found = differs(&audit(&place, &["--retrain", "1"]));
    assert_eq!(
        (&found["same"], &found["retrained"]["same"]),
        (&json!(true), &json!(false))
    );
    rewrite(&place, |value| {
        if value["sample"] == 0 {
            value["status"] = json!("crash");
            value["accuracies"] = json!([]);
            value["reward"] = Value::Null;
            value["message"] = json!("it was cold");
            value.as_object_mut().unwrap().remove("parameters");
        }
    });
    // A fault of a machine says nothing to compare with.
    let crashed = object(&audit(&place, &["--retrain", "0"]));
    let again = &crashed["retrained"];
    assert_eq!(
        (&again["same"], &again["recorded"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(
        (&again["status"], &again["recorded_status"]),
        (&json!("ok"), &json!("crash"))
    );
}

#[test]
fn edits_of_a_run_are_found() {
    let place = Place::new();
    place.search("run", &[]);
    let journal = fs::read_to_string(place.journal("run")).unwrap();
    // Other data, those that it had, and none.
    let other = data_folder(80, 16);
    write_data(other.path(), 80, 16, 9);
    let found = differs(&audit(&place, &["--data", &text(other.path())]));
    let difference = &found["first_difference"];
    assert_eq!(
        (&difference["line"], &difference["what"]),
        (&json!(1), &json!("data_sha256"))
    );
    assert_eq!(
        differs(&audit(
            &place,
            &["--data", &text(other.path()), "--retrain", "0"]
        ))["retrained"],
        Value::Null
    );
    assert_eq!(audit(&place, &["--data", &text(place.data.path())]).code, 0);
    // A line that was being written is none yet.
    fs::write(place.journal("run"), &journal[..journal.len() - 9]).unwrap();
    let torn = object(&audit(&place, &[]));
    assert_eq!((&torn["same"], &torn["updates"]), (&json!(true), &json!(2)));
    assert!(torn["torn_bytes"].as_u64() > Some(100), "{torn}");
    // A flipped letter is damage, also for an audit.
    fs::write(
        place.journal("run"),
        journal.replacen("\"batch\":0", "\"batch\":1", 1),
    )
    .unwrap();
    let damaged = differs(&audit(&place, &[]));
    assert_eq!(damaged["first_difference"]["what"], "line");
    fs::write(place.journal("run"), &journal).unwrap();
    rewrite(&place, |value| {
        if value["sample"] == 2 {
            value["reward"] = json!(0.5);
        }
    });
    let difference = &differs(&audit(&place, &[]))["first_difference"];
    assert_eq!(
        (&difference["what"], &difference["recorded"]),
        (&json!("reward"), &json!(0.5))
    );
    fs::write(place.journal("run"), &journal).unwrap();
    // Settings that were edited, and such as cannot be read.
    let config = place.path("run/config.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, settings.replace("epochs = 2", "epochs = 3")).unwrap();
    let found = differs(&audit(&place, &[]));
    let difference = &found["first_difference"];
    assert_eq!(
        (&difference["line"], &difference["what"]),
        (&json!(1), &json!("config_sha256"))
    );
    fs::write(&config, "epochs = ").unwrap();
    assert_eq!(audit(&place, &[]).code, 2);
}

#[test]
fn a_sample_is_explained() {
    let place = Place::new();
    place.search("run", &[]);
    let run_path = text(&place.path("run"));
    for sample in 0..7 {
        let explained = result(&["explain", &run_path, &sample.to_string()]);
        assert_eq!(explained["sample"], sample);
        let decisions = explained["decisions"].as_array().unwrap();
        // Two layers of height, width and number, the second with an anchor of one bit.
        assert_eq!(decisions.len(), 7);
        let logs = decisions.iter().map(|decision| {
            let chosen = decision["chosen"].as_u64().unwrap() as usize;
            decision["probabilities"][chosen].as_f64().unwrap().ln()
        });
        let sum: f64 = logs.sum();
        assert!((sum - explained["log_probability"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!(decisions[0]["choices"], json!([1, 3]));
        assert_eq!(
            (&decisions[6]["kind"], &decisions[6]["choices"]),
            (&json!("anchor"), &json!([0, 1]))
        );
    }
    let words = nas(&["explain", &run_path, "3"]).stdout;
    for said in [
        "sample 3 of batch 1",
        "filter height",
        "reads layer 1",
        "advantage",
        "*",
    ] {
        assert!(words.contains(said), "no '{said}' in {words}");
    }
}

#[test]
fn bad_input_to_audit_and_explain() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let run_path = text(&place.path("run"));
    let range = ["sample on record, from 0 to 2"];
    for sample in ["3", "-1", "9223372036854775807"] {
        refused(&["explain", &run_path, sample], 2, "usage", &range);
        refused(
            &["audit", &run_path, "--retrain", sample],
            2,
            "usage",
            &range,
        );
    }
    refused(&["explain", &run_path, "x"], 2, "usage", &["x"]);
    refused(&["audit", "nowhere"], 2, "usage", &["there is no run"]);
    refused(
        &["audit", &run_path, "--data", "nowhere"],
        3,
        "data",
        &["nowhere"],
    );
    // The data that the run had are gone.
    let moved = place.path("moved");
    fs::create_dir(&moved).unwrap();
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        fs::copy(place.data.path().join(name), moved.join(name)).unwrap();
        fs::remove_file(place.data.path().join(name)).unwrap();
    }
    assert_eq!(audit(&place, &[]).code, 0, "it needs no data");
    assert_eq!(audit(&place, &["--retrain", "0"]).code, 3);
    let again = object(&audit(&place, &["--retrain", "0", "--data", &text(&moved)]));
    assert_eq!(again["retrained"]["same"], true);
    // Nothing has ended yet.
    fs::remove_file(place.path("run/best.json")).unwrap();
    let journal = fs::read_to_string(place.journal("run")).unwrap();
    let first = journal.split_inclusive('\n').next().unwrap();
    for begin in [first, ""] {
        fs::write(place.journal("run"), begin).unwrap();
        let empty = object(&audit(&place, &[]));
        assert_eq!(
            (&empty["same"], &empty["samples"]),
            (&json!(true), &json!(0))
        );
        refused(
            &["explain", &run_path, "0"],
            2,
            "usage",
            &["no sample of this run has ended yet"],
        );
    }
    fs::write(place.path("run/best.json"), "{}").unwrap();
    refused(&["audit", &run_path], 3, "journal", &["is empty"]);
}
