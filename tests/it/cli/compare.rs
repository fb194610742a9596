//! `compare`: what it measures against the journals, its verdicts, and runs that cannot be compared.

use std::fs;
use std::path::{Path, PathBuf};

use nas_engine::config::StrategyKind;
use nas_engine::run::Status;
use nas_engine::run::entry::Child;
use serde_json::Value;

use super::bad_input::refused;
use super::report::bench;
use super::report::by_hand::ByHand;
use super::{json, nas, text};

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

fn close(found: &Value, expected: f64) {
    let found = found
        .as_f64()
        .unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - expected).abs() < 1e-9, "{found}, {expected}");
}

/// Best, mean of the best 15 different ones and mean of the last quarter, from the children.
fn measures(children: &[Child]) -> [f64; 3] {
    let mut once: Vec<(String, f64)> = children
        .iter()
        .map(|child| (child.architecture.to_string(), child.reward.unwrap()))
        .collect();
    once.sort_by(|a, b| a.0.cmp(&b.0));
    once.dedup_by(|a, b| a.0 == b.0);
    let mut rewards: Vec<f64> = once.into_iter().map(|(_, reward)| reward).collect();
    rewards.sort_by(|a, b| b.total_cmp(a));
    let quarter = &children[children.len() - children.len() / 4..];
    let last: Vec<f64> = quarter.iter().map(|child| child.reward.unwrap()).collect();
    [rewards[0], mean(&rewards[..15]), mean(&last)]
}

#[test]
fn strategies_are_measured_over_their_seeds_and_judged() {
    let here = tempfile::tempdir().unwrap();
    let mut runs: Vec<(PathBuf, Vec<Child>)> = Vec::new();
    for strategy in ["policy", "random"] {
        for seed in 0..3 {
            let out = here.path().join(format!("{strategy}-{seed}"));
            let children = bench(&out, strategy, seed, 400, &[]);
            runs.push((out, children));
        }
    }
    let mut arguments = vec!["compare".to_owned()];
    arguments.extend(runs.iter().map(|(run, _)| text(run)));
    let found = json(&arguments);
    assert_eq!(found["samples"], 400);
    let keys = ["best", "top15", "mean_last_quarter"];
    let expected: Vec<[f64; 3]> = runs
        .iter()
        .map(|(_, children)| measures(children))
        .collect();
    for (i, expected) in expected.iter().enumerate() {
        let run = &found["runs"][i];
        assert_eq!(run["seed"], i % 3);
        assert_eq!(run["strategy"], ["policy", "random"][i / 3]);
        keys.iter()
            .zip(expected)
            .for_each(|(key, expected)| close(&run[key], *expected));
    }
    for (group, of) in expected.chunks(3).enumerate() {
        let strategy = &found["strategies"][group];
        assert_eq!(strategy["runs"], 3);
        for (measure, key) in keys.iter().enumerate() {
            let values: Vec<f64> = of.iter().map(|of| of[measure]).collect();
            close(&strategy[key]["mean"], mean(&values));
            close(&strategy[key]["deviation"], deviation(&values));
        }
    }
    // The controller's last quarter is better than random draws by far more than the seeds differ.
    let last = found["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["measure"] == "mean_last_quarter")
        .unwrap();
    assert_eq!(last["larger"], true, "{last}");
    let values =
        |group: usize| -> Vec<f64> { expected[3 * group..][..3].iter().map(|of| of[2]).collect() };
    let [a, b] = [values(0), values(1)];
    let error = (deviation(&a).powi(2) / 3.0 + deviation(&b).powi(2) / 3.0).sqrt();
    close(&last["t"], (mean(&a) - mean(&b)) / error);
    let words = nas(&arguments);
    assert!(
        words
            .stdout
            .contains("is larger than the seeds' spread (Welch's t"),
        "{words:?}"
    );
    // The page has what the words have, and curves with bands.
    let out = here.path().join("a.html");
    arguments.extend(["--out".to_owned(), text(&out)]);
    assert_eq!(json(&arguments)["out"], text(&out));
    let html = fs::read_to_string(&out).unwrap();
    for words in [
        "policy (3 seeds)",
        "Best so far over samples",
        "Mean reward of 100 over time",
        "Welch&#39;s t = ",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert_eq!(
        (
            html.matches("<svg").count(),
            html.matches(" band\"").count()
        ),
        (4, 8)
    );
    refused(
        &arguments.iter().map(|a| &**a).collect::<Vec<_>>(),
        2,
        "usage",
        &["is there already", "--force"],
    );
}

/// A run by hand, whose reward grows with the seed.
fn by_hand(folder: &Path, preset: &str, seed: u64, samples: u64, data: &str) -> String {
    let mut run = ByHand::new(preset, samples, seed, data);
    for sample in 0..samples {
        run.child(
            sample,
            Status::Ok,
            vec![0.5 + seed as f64 / 256.0 + (sample % 7) as f64 / 1024.0],
        );
    }
    let folder = folder.join(format!("{preset}-{seed}-{samples}-{data}"));
    run.write(&folder);
    text(&folder)
}

#[test]
fn what_one_seed_or_one_strategy_says_is_nothing() {
    let here = tempfile::tempdir().unwrap();
    let one = by_hand(here.path(), "sample", 1, 20, "d");
    let random = here.path().join("random");
    let mut run = ByHand::new("sample", 30, 9, "d");
    run.config.search.strategy = StrategyKind::Random;
    (0..30).for_each(|sample| run.child(sample, Status::Ok, vec![0.25]));
    run.write(&random);
    let words = nas(&["compare", &one, &text(&random)]);
    assert_eq!(words.code, 0, "{words:?}");
    assert!(words.stdout.contains("Nothing can be said"), "{words:?}");
    assert!(!words.stdout.contains("Welch"), "{words:?}");
    assert!(
        words.stdout.contains("the first 20 samples of each run"),
        "{words:?}"
    );
    let found = json(&["compare", &one, &text(&random)]);
    assert_eq!(found["samples"], 20);
    assert_eq!(found["runs"][1]["samples"], 30);
    for of in found["differences"].as_array().unwrap() {
        assert!(of["larger"].is_null() && of["p"].is_null(), "{of}");
    }
    assert!(found["strategies"][0]["best"]["deviation"].is_null());
    let other = by_hand(here.path(), "sample", 2, 20, "d");
    let words = nas(&["compare", &one, &other]).stdout;
    assert!(
        words.contains("All runs are of the strategy policy"),
        "{words}"
    );
    // Two seeds of each say little where those of one strategy are as far apart as the strategies.
    for (name, seed, accuracy) in [("low", 11, 0.49), ("high", 12, 0.52)] {
        let mut near = ByHand::new("sample", 30, seed, "d");
        near.config.search.strategy = StrategyKind::Random;
        (0..30).for_each(|sample| near.child(sample, Status::Ok, vec![accuracy]));
        near.write(&here.path().join(name));
    }
    let [low, high] = ["low", "high"].map(|name| text(&here.path().join(name)));
    let words = nas(&["compare", &one, &other, &low, &high]).stdout;
    assert_eq!(
        words
            .matches("may be chance: the seeds' spread can explain it (Welch's")
            .count(),
        3,
        "{words}"
    );
    // Of seeds that give the same there is no doubt.
    let mut same = ByHand::new("sample", 30, 10, "d");
    same.config.search.strategy = StrategyKind::Random;
    (0..30).for_each(|sample| same.child(sample, Status::Ok, vec![0.25]));
    same.write(&here.path().join("same"));
    let random_too = text(&here.path().join("same"));
    let found = json(&["compare", &one, &other, &text(&random), &random_too]);
    assert!(
        found["differences"]
            .as_array()
            .unwrap()
            .iter()
            .all(|of| of["larger"] == true),
        "{found}"
    );
}

#[test]
fn runs_that_say_nothing_of_one_another_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let one = by_hand(here.path(), "sample", 1, 8, "d");
    let cells = by_hand(here.path(), "cell-sample", 1, 8, "d");
    let deeper = by_hand(here.path(), "v1", 1, 8, "d");
    let data = by_hand(here.path(), "sample", 2, 8, "e");
    let again = by_hand(here.path(), "sample", 1, 9, "d");
    let refused =
        |other: &str, words: &[&str]| refused(&["compare", &one, other], 2, "usage", words);
    refused(&cells, &["space conv", "space cell", "one space"]);
    // A report shows them beside one another, and says it.
    for other in [&cells, &deeper, &data] {
        let report = nas(&["report", &one, other]);
        let notice = "do not read their rewards beside one another";
        assert!(
            report.code == 0 && report.stdout.contains(notice),
            "{report:?}"
        );
        assert!(report.stderr.contains(notice), "{report:?}");
        let page = text(&here.path().join("page.html"));
        json(&["report", &one, other, "--force", "--out", &page]);
        assert!(fs::read_to_string(page).unwrap().contains(notice));
    }
    refused(&deeper, &["[space]", "one space"]);
    refused(&data, &["different data", "data_sha256"]);
    refused(&again, &["the same search", "different seeds"]);
    refused(&one, &["the same run"]);
    refused(&text(&here.path().join("none")), &["there is no run"]);
}
