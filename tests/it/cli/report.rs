//! `report`: a page, numbers and words that say what the journal says, of runs of every kind and state.

pub mod by_hand;
mod rewards;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use data_encoding::BASE64;
use flate2::read::ZlibDecoder;
use nas_engine::disk::Real;
use nas_engine::run::entry::Child;
use nas_engine::run::journal::{FILE_NAME, Journal};
use nas_engine::run::{self, Status};
use serde_json::Value;

use super::bad_input::refused;
use super::{json, nas, text};
use by_hand::ByHand;

/// A search of the table of NAS-Bench-201.
pub fn bench(out: &Path, strategy: &str, seed: u64, samples: u64, more: &[&str]) -> Vec<Child> {
    let (seed, samples) = (seed.to_string(), samples.to_string());
    let place = text(out);
    let arguments = [
        "search",
        "--space",
        "nas-bench-201",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--strategy",
        strategy,
        "--seed",
        &seed,
        "--samples",
        &samples,
        "--out",
        &place,
    ];
    let ended = nas(&[&arguments[..], more].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    children(out)
}

fn children(out: &Path) -> Vec<Child> {
    let facts = run::read(&Real, out).unwrap();
    facts.history.children.into_values().collect()
}

/// The columns of a page's table, unpacked.
fn columns(html: &str) -> Vec<Vec<String>> {
    let mut columns = vec![Vec::new(); 9];
    for part in html.split("class=\"rows-part\" data-n=\"").skip(1) {
        let (n, rest) = part.split_once("\">").unwrap();
        let (packed, _) = rest.split_once("</script>").unwrap();
        let packed = BASE64.decode(packed.as_bytes()).unwrap();
        let mut unpacked = String::new();
        ZlibDecoder::new(&packed[..])
            .read_to_string(&mut unpacked)
            .unwrap();
        let lines: Vec<&str> = unpacked.split('\n').collect();
        let n: usize = n.parse().unwrap();
        assert_eq!(lines.len(), 9 * n + 1);
        for (column, lines) in columns.iter_mut().zip(lines.chunks(n)) {
            column.extend(lines.iter().map(|line| (*line).to_owned()));
        }
    }
    columns
}

/// A page, after checks that hold of all: it is whole, asks no network for anything, and has no number
/// that is none.
fn page(runs: &[&Path], out: &Path) -> String {
    let mut arguments = vec!["report".to_owned()];
    arguments.extend(runs.iter().map(|run| text(run)));
    arguments.extend(["--out".to_owned(), text(out), "--force".to_owned()]);
    let ended = nas(&arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    let html = fs::read_to_string(out).unwrap();
    let (bare, _script) = html.rsplit_once("<script>").unwrap();
    let bare = bare.replace("http://www.w3.org/2000/svg", "");
    for asks in [
        "http:", "https:", "src=", "href=", "url(", "@import", "NaN", "inf\"",
    ] {
        assert!(!bare.contains(asks), "{asks}");
    }
    assert!(html.ends_with("</body></html>\n"));
    for tag in ["svg", "section", "table", "figure", "pre", "div"] {
        let n = |what: &str| html.matches(what).count();
        assert_eq!(
            n(&format!("<{tag}>")) + n(&format!("<{tag} ")),
            n(&format!("</{tag}>")),
            "{tag}"
        );
    }
    html
}

#[test]
fn a_page_says_what_the_journal_says() {
    let here = tempfile::tempdir().unwrap();
    let [policy, random, out] =
        ["policy", "random & co", "a.html"].map(|name| here.path().join(name));
    let children = bench(&policy, "policy", 3, 300, &[]);
    bench(&random, "random", 3, 200, &[]);
    let html = page(&[&policy, &random], &out);
    for words in [
        "policy: mean of 100",
        "random &amp; co: best so far",
        "Entropy of the choices",
        "edge 1 3",
        "nor_conv_3x3",
        "Children an hour",
        "looked up in a table",
        "finished, 300 of 300 samples",
        "[controller]",
        "name=\"viewport\"",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(!html.contains("random & co"));
    let columns = columns(&html);
    assert_eq!(columns[0].len(), 300);
    for (i, child) in children.iter().enumerate() {
        let of = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
        assert_eq!(columns[0][i], child.sample.to_string());
        assert_eq!(columns[1][i], "0"); // ok
        assert_eq!(columns[3][i], format!("{:.5}", child.reward.unwrap()));
        assert_eq!(columns[4][i], of(child.parameters));
        assert_eq!(columns[7][i], of(child.duplicate_of));
        assert_eq!(columns[8][i].is_empty(), child.duplicate_of.is_some());
    }
    // The same picture in a file, with its colours.
    let plots = here.path().join("plots");
    let ended = nas(&[
        "report",
        &text(&policy),
        "--out",
        &text(&out),
        "--force",
        "--plots",
        &text(&plots),
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let svg = fs::read_to_string(plots.join("entropy.svg")).unwrap();
    assert!(
        svg.contains("prefers-color-scheme:dark") && svg.starts_with("<svg"),
        "{svg}"
    );
    let names: Vec<_> = fs::read_dir(&plots).unwrap().collect();
    assert_eq!(names.len(), 1 + 1 + 6 + 1); // reward, entropy, six edges, pace
}

/// Entropies that the report gives against the formula, over the recorded tokens; and the other numbers
/// against `status`.
#[test]
fn numbers_are_those_of_status_and_of_the_formula() {
    let here = tempfile::tempdir().unwrap();
    let run = here.path().join("run");
    let children = bench(&run, "policy", 5, 250, &[]);
    let report = json(&["report", &text(&run)]);
    let (found, status) = (&report["runs"][0], json(&["status", &text(&run)]));
    for key in [
        "state",
        "samples",
        "total",
        "best",
        "mean_reward",
        "mean_reward_last_quarter",
        "seconds",
    ] {
        assert_eq!(found[key], status[key], "{key}");
    }
    let best: Vec<f64> = found["best"]
        .as_array()
        .unwrap()
        .iter()
        .map(|best| best["reward"].as_f64().unwrap())
        .collect();
    let top = best[..15].iter().sum::<f64>() / 15.0;
    assert!((found["top15"].as_f64().unwrap() - top).abs() < 1e-9);
    let entropy = found["entropy"].as_array().unwrap();
    assert_eq!(entropy.len(), 231); // from the twentieth sample on
    for point in entropy {
        let sample = point[0].as_f64().unwrap() as usize;
        let window = &children[(sample + 1).saturating_sub(100)..=sample];
        let mut mean = 0.0;
        for edge in 0..6 {
            let mut counts = BTreeMap::new();
            window
                .iter()
                .for_each(|child| *counts.entry(child.tokens[edge]).or_insert(0.0) += 1.0);
            let shares = counts.values().map(|n| n / window.len() as f64);
            mean += shares.map(|p: f64| -p * p.ln()).sum::<f64>() / 5f64.ln() / 6.0;
        }
        let given = point[1].as_f64().unwrap();
        assert!(
            (given - mean).abs() < 1e-9,
            "sample {sample}: {given}, {mean}"
        );
    }
    // A line a child, with the same rewards.
    let csv = nas(&["report", &text(&run), "--format", "csv"]).stdout;
    let mut lines = csv.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("run,sample,batch,status,accuracy,perplexity,reward,")
    );
    for (line, child) in lines.by_ref().zip(&children) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(
            fields[..4],
            [
                "run",
                &child.sample.to_string(),
                &child.batch.to_string(),
                "ok"
            ]
        );
        assert_eq!(fields[6].parse::<f64>().unwrap(), child.reward.unwrap());
    }
    assert_eq!((lines.next(), csv.lines().count()), (None, 251));
    let words = nas(&["report", &text(&run)]).stdout;
    assert!(words.contains("| run | policy | 5 | 250 |"), "{words}");
    // To a file by its name, and what is told of it.
    let out = here.path().join("a.json");
    let told = json(&["report", &text(&run), "--out", &text(&out)]);
    assert_eq!(
        told["bytes"].as_u64(),
        Some(fs::metadata(&out).unwrap().len())
    );
    let written: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(written, report);
}

/// Networks, some of which fail, by a hand-made journal of an earlier version: costs as `inspect` has them.
#[test]
fn networks_have_costs_curves_and_failures() {
    let here = tempfile::tempdir().unwrap();
    let [run, out] = ["run", "a.html"].map(|name| here.path().join(name));
    let mut by_hand = ByHand::new("sample", 90, 1, "2");
    for sample in 0..60 {
        match sample % 6 {
            4 => by_hand.child(sample, Status::Diverged, vec![0.25]),
            5 => by_hand.child(sample, Status::Crash, vec![]),
            _ => by_hand.child(
                sample,
                Status::Ok,
                vec![0.25, 0.5, 0.5 + sample as f64 / 256.0],
            ),
        }
    }
    by_hand.write(&run);
    let html = page(&[&run], &out);
    for words in [
        "60 of 90 samples",
        "10 crash, 10 diverged",
        "it ended as &quot;crash&quot; &lt;&amp;&gt;",
        "Training of the best three",
        "sample 57",
        "Operations spent in training",
        "Multiply-adds an image",
        "0.0.9",
    ] {
        assert!(html.contains(words), "{words}");
    }
    let report = json(&["report", &text(&run)]);
    let found = &report["runs"][0];
    assert_eq!(found["training_seconds"].as_f64(), Some(60.0 * 2.25));
    assert_eq!(found["seconds"].as_f64(), Some(60.0 * 2.5));
    let failures: Vec<_> = found["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["count"])
        .collect();
    assert_eq!(failures, [10, 10]);
    let child = &found["children"][7];
    let arch = here.path().join("arch.json");
    fs::write(&arch, child["architecture"].to_string()).unwrap();
    let inspected = json(&["inspect", "--arch", &text(&arch)]);
    assert_eq!(child["multiply_adds"], inspected["multiply_adds"]);
    // 2 operations a multiply-add, 3 passes of 4,480 images and one of 500, as many epochs as there are.
    let flops: f64 = found["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child| {
            let epochs = match child["status"].as_str().unwrap() {
                "ok" => 3.0,
                "diverged" => 1.0,
                _ => 0.0,
            };
            2.0 * child["multiply_adds"].as_f64().unwrap() * (3.0 * 4480.0 + 500.0) * epochs
        })
        .sum();
    assert!((found["flops"].as_f64().unwrap() / flops - 1.0).abs() < 1e-9);
}

#[test]
fn cells_and_searches_that_are_shared_out_are_reported() {
    let here = tempfile::tempdir().unwrap();
    let [cells, shared, out] = ["cells", "shared", "a.html"].map(|name| here.path().join(name));
    let mut by_hand = ByHand::new("cell-sample", 30, 1, "2");
    for sample in 0..30 {
        by_hand.child(
            sample,
            Status::Ok,
            vec![900.0, 400.0, 300.0 - sample as f64],
        );
    }
    by_hand.write(&cells);
    let html = page(&[&cells], &out);
    for words in [
        "perplexity 271.00",
        "h_t = ",
        "validation perplexity",
        "inject combination",
        "how many tokens",
    ] {
        assert!(html.contains(words), "{words}");
    }
    bench(
        &shared,
        "policy",
        1,
        80,
        &["--shards", "2", "--replicas", "2"],
    );
    let html = page(&[&shared], &out);
    assert!(html.contains("2 shards, 2 replicas"));
}

#[test]
fn a_run_under_way_is_read_and_left_alone() {
    let here = tempfile::tempdir().unwrap();
    let run = here.path().join("run");
    let mut by_hand = ByHand::new("sample", 60, 1, "2");
    // Children end in any order.
    for sample in [0, 2, 1, 5, 3] {
        by_hand.child(sample, Status::Ok, vec![0.5]);
    }
    by_hand.write(&run);
    let journal = run.join(FILE_NAME);
    let mut bytes = fs::read(&journal).unwrap();
    bytes.extend(b"{\"event\":\"child\",\"sam"); // a line that is being written
    fs::write(&journal, &bytes).unwrap();
    let (_writer, _) = Journal::resume(&Real, &journal).unwrap();
    let words = nas(&["report", &text(&run)]).stdout;
    assert!(words.contains("under way, 5 of 60 samples"), "{words}");
    page(&[&run], &here.path().join("a.html"));
    assert_eq!(fs::read(&journal).unwrap(), bytes);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 2);
}

/// What can be reported of it is, and what to do is said.
#[test]
fn a_run_in_which_nothing_was_trained() {
    let here = tempfile::tempdir().unwrap();
    let [run, out] = ["run", "a.html"].map(|name| here.path().join(name));
    let mut by_hand = ByHand::new("sample", 9, 1, "2");
    (0..3).for_each(|sample| by_hand.child(sample, Status::TooLarge, vec![]));
    by_hand.write(&run);
    let html = page(&[&run], &out);
    assert!(html.contains("No child of this run was trained to the end; most frequent: too_large"));
    let ended = nas(&["report", &text(&run)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("go on with the search"), "{ended:?}");
}

#[test]
fn what_cannot_be_reported_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&here.path().join(name));
    let (run, out) = (at("run"), at("a.html"));
    let mut by_hand = ByHand::new("sample", 9, 1, "2");
    by_hand.write(&here.path().join("begun"));
    by_hand.child(0, Status::Ok, vec![0.5]);
    by_hand.write(Path::new(&run));
    let words = ["no child", "has ended yet", "nas-engine search --resume"];
    refused(&["report", &at("begun"), "--out", &out], 2, "usage", &words);
    refused(&["report", &at("none")], 2, "usage", &["there is no run"]);
    refused(
        &["report", &run, &format!("{run}/.")],
        2,
        "usage",
        &["the same run"],
    );
    refused(
        &["report", &run, "--out", &at("a.pdf")],
        2,
        "usage",
        &[".html, .csv, .json, .md", "--format"],
    );
    refused(
        &["report", &run, "--out", &text(here.path())],
        2,
        "usage",
        &["--out", "folder"],
    );
    fs::write(&out, "mine").unwrap();
    refused(
        &["report", &run, "--out", &out],
        2,
        "usage",
        &["is there already", "--force"],
    );
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    let ended = nas(&["report", &run, "--format", "csv", "--json"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(nas(&["report"]).code, 2);
    // The second one would write over charts of the first.
    let (first, second, plots) = (at("b.md"), at("c.md"), at("plots"));
    let ended = nas(&["report", &run, "--out", &first, "--plots", &plots]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let arguments = ["report", &run, "--out", &second, "--plots", &plots];
    refused(&arguments, 2, "usage", &["--plots", "is there already"]);
    assert!(!Path::new(&second).exists());
}
