//! A search of several shards or replicas in one process: what it achieves, that it goes on after any end with
//! the same journal, and that an audit finds what was changed in one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nas_engine::cluster::{
    self,
    facts::Facts,
    replay::{ReplayError, replay},
};
use nas_engine::disk::Real;
use nas_engine::run::{self as run_directory, journal::Journal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, data_folder, object, program, run, text};

const SETTINGS: [&str; 10] = [
    "--limit",
    "60",
    "--samples",
    "12",
    "--epochs",
    "2",
    "--seed",
    "3",
    "--device",
    "cpu",
];

/// Rounds of two children each.
const CONFIG: &str = "[search]\nchildren_per_update = 2\n";

pub struct Place {
    folder: TempDir,
    data: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), CONFIG).unwrap();
        Place {
            folder,
            data: data_folder(120, 16),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, name: &str, more: &[&str]) -> Command {
        let mut command = program();
        command.args(["search", "--no-progress"]).args(SETTINGS);
        command.args(["--config", &text(&self.path("config.toml"))]);
        command.args(["--data", &text(self.data.path())]);
        command.args(["--out", &text(&self.path(name))]).args(more);
        command
    }

    fn search(&self, name: &str, more: &[&str]) -> BTreeMap<String, Value> {
        let ended = run(&mut self.command(name, more));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        facts(&self.path(name))
    }

    fn resume(&self, name: &str, more: &[&str]) -> Ended {
        let mut command = program();
        command.args([
            "search",
            "--no-progress",
            "--resume",
            &text(&self.path(name)),
        ]);
        run(command.args(more))
    }

    fn audit(&self, name: &str) -> Ended {
        run(program().args(["audit", "--json", &text(&self.path(name))]))
    }
}

/// All lines of a journal.
pub fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("journal.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The facts of a journal by what they are of, without when they came and who wrote them.
pub fn facts(run: &Path) -> BTreeMap<String, Value> {
    let mut facts = BTreeMap::new();
    for mut line in lines(run) {
        let key = match line["event"].as_str().unwrap() {
            "child" => format!("child {}", line["sample"]),
            "round" => format!("round {}", line["round"]),
            "update" => format!("update {} {}", line["batch"], line["shard"]),
            _ => continue,
        };
        for name in ["timing", "writer", "crc32"] {
            line.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(
            facts.insert(key.clone(), line),
            None,
            "{key} is there twice"
        );
    }
    facts
}

/// What only one of two journals has, by the names of the facts.
pub fn differences(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> Vec<String> {
    let names = a
        .keys()
        .chain(b.keys().filter(|name| !a.contains_key(*name)));
    let differ = names.filter(|name| a.get(*name) != b.get(*name));
    differ.cloned().collect()
}

// paper P7.3
#[test]
fn one_shard_and_one_replica_are_the_search_of_one_controller() {
    let place = Place::new();
    let alone = place.search("alone", &[]);
    let flags = ["--shards", "1", "--replicas", "1", "--synchronous"];
    assert_eq!(differences(&alone, &place.search("one", &flags)), [""; 0]);
    let has_more = |name| alone.values().any(|line| line.get(name).is_some());
    assert!(
        !["attempts", "staleness", "shard", "replica", "round"]
            .into_iter()
            .any(has_more)
    );
}

// paper P7.3, P7.4
#[test]
fn shards_do_not_show_in_a_synchronous_search() {
    let place = Place::new();
    let mut known: Option<(Value, BTreeMap<String, Value>)> = None;
    for shards in ["1", "3", "20"] {
        let flags = ["--shards", shards, "--replicas", "3", "--synchronous"];
        let facts = place.search(shards, &flags);
        let audit = object(&place.audit(shards));
        assert_eq!(
            (&audit["same"], &audit["samples"]),
            (&json!(true), &json!(12))
        );
        let children = facts
            .into_iter()
            .filter(|(name, _)| name.starts_with("child"));
        let found = (audit["controller_sha256"].clone(), children.collect());
        match &known {
            Some(known) => assert!(*known == found, "{shards} shards"),
            None => known = Some(found),
        }
    }
}

/// Killed again and again, at any moment: the journal of a search that never was.
#[test]
fn a_killed_search_goes_on_with_the_same_journal() {
    let place = Place::new();
    let flags = ["--shards", "3", "--replicas", "2", "--synchronous"];
    let whole = place.search("whole", &flags);
    let mut process = place.command("killed", &flags);
    for after in [4, 9, 14, 19, 27] {
        let quiet = process.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        let began = Instant::now();
        let journal = place.path("killed").join("journal.jsonl");
        while fs::read_to_string(&journal)
            .unwrap_or_default()
            .lines()
            .count()
            < after
        {
            assert!(began.elapsed() < Duration::from_secs(120));
            sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        process = program();
        process.args(["search", "--resume", &text(&place.path("killed"))]);
    }
    let ended = place.resume("killed", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(differences(&whole, &facts(&place.path("killed"))), [""; 0]);
    assert_eq!(object(&place.audit("killed"))["same"], true);
}

/// A search without order: whatever it came to, it comes to again from its journal.
#[test]
fn an_asynchronous_search_stops_goes_on_and_is_recomputed() {
    let place = Place::new();
    let flags = [
        "--shards",
        "2",
        "--replicas",
        "3",
        "--gradients",
        "2",
        "--staleness",
        "scale:2",
    ];
    let stopped = [&flags[..], &["--time-limit", "1s"]].concat();
    let ended = run(&mut place.command("run", &stopped));
    if ended.code != 0 {
        assert_eq!(ended.code, 75, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("samples are on record; go on with"),
            "{}",
            ended.stderr
        );
        assert_eq!(object(&place.audit("run"))["same"], true);
    }
    let refused = place.resume("run", &["--samples", "14"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let ended = place.resume("run", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let audit = object(&place.audit("run"));
    assert_eq!(
        (&audit["same"], &audit["samples"]),
        (&json!(true), &json!(12))
    );
    let all = facts(&place.path("run"));
    // One child a round: twelve of them, each counted by two shards.
    let of = |kind: &str| all.keys().filter(|name| name.starts_with(kind)).count();
    assert_eq!([of("round"), of("child"), of("update")], [12, 12, 24]);
    let explained = run(program().args(["explain", "--json", &text(&place.path("run")), "11"]));
    let explained = object(&explained);
    assert!(explained["log_probability"].as_f64().unwrap() < 0.0);
    let status = object(&run(program().args([
        "status",
        "--json",
        &text(&place.path("run")),
    ])));
    assert_eq!(status["state"], "finished");
}

/// Every kind of line, changed with a check sum that fits: the audit names the line and the field.
#[test]
fn an_audit_finds_what_was_changed() {
    let place = Place::new();
    let flags = ["--shards", "2", "--replicas", "2"];
    place.search("run", &flags);
    let original = lines(&place.path("run"));
    let of = |event: &str, n: usize| {
        let mut all = original.iter().enumerate();
        let found = all
            .by_ref()
            .filter(|(_, line)| line["event"] == event)
            .nth(n);
        found.unwrap().0
    };
    let tokens = original[of("child", 3)]["tokens"].clone();
    let other_tokens = original[of("child", 4)]["tokens"].clone();
    assert_ne!(tokens, other_tokens);
    let cases: [(usize, &str, Value); 8] = [
        (of("run", 0), "config_sha256", json!("00")),
        (of("child", 5), "batch", json!(0)),
        (of("child", 5), "reward", json!(0.25)),
        (of("update", 2), "baseline", json!(0.5)),
        (of("update", 3), "controller_sha256", json!("00")),
        (of("update", 1), "replica", json!(7)),
        (of("update", 1), "counted", json!([])),
        (of("update", 1), "shard", json!(2)),
    ];
    for (at, field, value) in cases {
        let mut changed = original.clone();
        changed[at][field] = value.clone();
        assert!(write(&place.path("run"), &changed));
        let ended = place.audit("run");
        let difference = object_of(&ended)["first_difference"].clone();
        assert_eq!(
            (&difference["line"], &difference["what"]),
            (&json!(at + 1), &json!(field)),
            "{field} of line {}: {}",
            at + 1,
            ended.stdout
        );
        assert_ne!(ended.code, 0);
    }
    // A round that was begun earlier than it was: its architectures are others.
    let at = of("round", 4);
    let mut changed = original.clone();
    changed[at]["counted"] = json!([0, 0]);
    assert!(write(&place.path("run"), &changed));
    let difference = object_of(&place.audit("run"))["first_difference"].clone();
    assert!(
        difference["line"].as_u64().unwrap() > at as u64,
        "{difference}"
    );
    // Two gradients in another order.
    let mut changed = original.clone();
    let (a, b) = (of("update", 0), of("update", 2));
    changed.swap(a, b);
    assert!(write(&place.path("run"), &changed));
    assert_eq!(object_of(&place.audit("run"))["same"], false);
}

/// Every line left out, there twice or with a number that cannot be: a difference, and never more than that.
#[test]
fn damaged_journals_are_told_apart() {
    let place = Place::new();
    for flags in [
        &["--replicas", "2"][..],
        &["--replicas", "2", "--synchronous", "--shards", "2"],
    ] {
        let name = format!("run{}", flags.len());
        place.search(&name, flags);
        let path = place.path(&name);
        let original = lines(&path);
        let mut damaged: Vec<(String, bool, Vec<Value>)> = Vec::new();
        for at in 0..original.len() - 1 {
            let mut without = original.clone();
            without.remove(at);
            // A search may have been killed before a shard counted its last gradients.
            let line = &original[at];
            let later = original[at + 1..].iter();
            let later =
                later.filter(|other| other["event"] == "update" && other["shard"] == line["shard"]);
            let is_honest = line["event"] == "update" && later.count() < 2;
            damaged.push((format!("without line {}", at + 1), is_honest, without));
            let mut twice = original.clone();
            twice.insert(at, original[at].clone());
            if original[at]["event"] != "run" {
                damaged.push((format!("line {} twice", at + 1), false, twice));
            }
            for (key, value) in original[at].as_object().unwrap() {
                // The number of samples may have been another one when it began.
                let is_read = !["timing", "staleness", "attempts", "parameters"].contains(&&**key);
                if !value.is_u64() || !is_read {
                    continue;
                }
                for number in [
                    json!(u64::from(u32::MAX)),
                    json!(1_u64 << 62),
                    json!(u64::MAX),
                ] {
                    let mut other = original.clone();
                    other[at][key] = number.clone();
                    damaged.push((
                        format!("{key} of line {} is {number}", at + 1),
                        false,
                        other,
                    ));
                }
            }
        }
        for (how, is_honest, lines) in damaged {
            if !write(&path, &lines) {
                continue; // it is no line
            }
            let record = run_directory::record(&Real, &path, &[]).unwrap();
            let config = record.config.clone();
            let audit = cluster::audit::audit(record, None, "reference").unwrap();
            assert!(audit.difference.is_some() || is_honest, "{how}");
            // As `--resume` reads it: whatever it makes of it.
            let Ok(facts) = run_directory::read(&Real, &path) else {
                continue;
            };
            let learner = cluster::embedded::search::learner(&config).unwrap();
            if let Ok(facts) = Facts::of(&facts.history, learner.scheme().shards) {
                let _ = replay(&learner, &facts, &mut |_| Ok::<(), ReplayError>(()));
            }
        }
    }
}

fn object_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr))
}

/// Writes a journal with sums that fit; whether all its lines are lines.
fn write(run: &Path, lines: &[Value]) -> bool {
    let path = run.join("journal.jsonl");
    fs::remove_file(&path).unwrap();
    let mut journal = Journal::create(&Real, &path).unwrap();
    for line in lines {
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("crc32");
        let Ok(entry) = serde_json::from_value(line) else {
            return false;
        };
        journal.append(&entry).unwrap();
    }
    true
}
