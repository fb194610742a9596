//! Searches of NAS-Bench-201's table: seconds each, and so the whole of a search with an answer that
//! is known. The full figures: `scripts/nas-bench-201`.

use std::fs;
use std::path::Path;

use nas_engine::data::nas_bench_201::BenchTable;
use nas_engine::disk::Real;
use nas_engine::run;
use nas_engine::run::entry::Child;
use nas_engine::space::nas_bench_201::{BenchSpace, CELLS};

use super::bad_input::refused;
use super::{nas, object};

/// Runs a search of the table; its children in the order of their samples.
fn search(out: &Path, more: &[&str]) -> Vec<Child> {
    let out = out.to_str().unwrap();
    let place = [
        "search",
        "--space",
        "nas-bench-201",
        "--out",
        out,
        "--device",
        "cpu",
    ];
    let ended = nas(&[&place[..], more].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    run::read(&Real, Path::new(out))
        .unwrap()
        .history
        .children
        .into_values()
        .collect()
}

fn best(children: &[Child]) -> f64 {
    children
        .iter()
        .filter_map(|child| child.reward)
        .fold(0.0, f64::max)
}

fn mean(children: &[Child]) -> f64 {
    children
        .iter()
        .filter_map(|child| child.reward)
        .sum::<f64>()
        / children.len() as f64
}

/// The controller ends where good cells are and has found one of the
/// best by then, evolution finds one, and random draws do neither.
#[test]
fn every_strategy_searches_the_table_and_its_run_is_what_the_settings_make_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (strategy, last_20, found) in [
        ("policy", 91.3, 91.5),
        ("evolution", 90.0, 91.4),
        ("random", 60.0, 90.5),
    ] {
        let out = folder.path().join(strategy);
        let children = search(&out, &["--strategy", strategy, "--seed", "3"]);
        let (last, best) = (mean(&children[980..]), best(&children));
        assert!(last > last_20 && best > found, "{strategy}: {last}, {best}");
        assert!(
            strategy != "random" || last < 90.0,
            "{strategy}: {last}, {best}"
        );
        let table = BenchTable::bundled();
        for child in &children {
            let cell = BenchSpace::new().decode(&child.tokens).unwrap();
            let runs = table.runs(cell.index());
            assert_eq!(child.scores.values(), runs);
            let mean = runs.iter().sum::<f64>() / runs.len() as f64;
            assert_eq!(child.reward, Some(mean));
        }
        let out = out.to_str().unwrap();
        let audit = nas(&["audit", out]);
        assert_eq!(audit.code, 0, "{strategy}: {audit:?}");
        let status = object(&nas(&["status", out, "--json"]));
        assert_eq!(status["best"][0]["accuracy"], status["best"][0]["reward"]);
        let explained = object(&nas(&["explain", out, "500", "--json"]));
        assert_eq!(explained["sample"], 500);
        // Nothing has weights, and nothing is missing.
        let again = nas(&["search", "--resume", out]);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(!again.stderr.contains("missing"), "{again:?}");
    }
}

/// A search that went on is the one that was never stopped, by every strategy.
#[test]
fn more_samples_later_are_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["policy", "evolution", "random"] {
        let [whole, cut] =
            ["whole", "cut"].map(|name| folder.path().join(format!("{strategy}-{name}")));
        // So that both have the same population.
        let config = folder.path().join("population.toml");
        let settings = match strategy {
            "evolution" => "search = {preset = \"nas-bench-201\", population = 20, tournament = 5}",
            _ => "search = {preset = \"nas-bench-201\"}",
        };
        fs::write(&config, settings).unwrap();
        let flags = [
            "--strategy",
            strategy,
            "--config",
            config.to_str().unwrap(),
            "--samples",
        ];
        let expected = search(&whole, &[&flags[..], &["120"]].concat());
        search(&cut, &[&flags[..], &["40"]].concat());
        let cut_name = cut.to_str().unwrap();
        let ended = nas(&["search", "--resume", cut_name, "--samples", "120"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let found = run::read(&Real, &cut).unwrap().history.children;
        let facts = |child: &Child| {
            (
                child.sample,
                child.tokens.clone(),
                child.duplicate_of,
                child.reward,
            )
        };
        let found: Vec<_> = found.values().map(facts).collect();
        assert_eq!(
            found,
            expected.iter().map(facts).collect::<Vec<_>>(),
            "{strategy}"
        );
    }
}

#[test]
fn what_does_not_go_with_the_table_is_refused() {
    let table = ["--space", "nas-bench-201"];
    let [data, train, epochs] = [["--data", "."], ["--evaluator", "train"], ["--epochs", "3"]]
        .map(|more| [&table[..], &more].concat());
    let cases: [(&[&str], &str, &str); 6] = [
        (&data, "usage", "--data"),
        (&train, "usage", "looked up"),
        (&["--evaluator", "table"], "usage", "--space nas-bench-201"),
        (&epochs, "config", "epochs"),
        (
            &["--strategy", "evolution", "--shards", "2"],
            "config",
            "no controller to share out",
        ),
        (
            &["--space", "cell", "--preset", "nas-bench-201"],
            "usage",
            "--preset",
        ),
    ];
    for (flags, kind, words) in cases {
        refused(
            &[&["search", "--dry-run"], flags].concat(),
            2,
            kind,
            &[words],
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cell.json");
    let operations = r#"["nor_conv_3x3","nor_conv_3x3","nor_conv_3x3","skip_connect","nor_conv_3x3","nor_conv_1x1"]"#;
    fs::write(
        &file,
        format!(r#"{{"space":"nas-bench-201","operations":{operations}}}"#),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let inspected = object(&nas(&["inspect", "--arch", file, "--json"]));
    assert!((inspected["accuracy"].as_f64().unwrap() - 91.607).abs() < 1e-3);
    assert_eq!(inspected["parameters"], 1_073_466);
    assert!(inspected["index"].as_u64().unwrap() < CELLS as u64);
    refused(
        &["train", "--arch", file],
        2,
        "usage",
        &["looked up and not trained"],
    );
}
