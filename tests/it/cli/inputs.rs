//! What may be given where a file is read: nothing is waited for or read for ever, and byte order marks
//! and missing cache folders do no harm.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::bad_input::layers;
use super::search::Place;
use super::{Ended, example, file, json, object, program, run, text};

/// Things that have no end or never begin.
fn endless(folder: &Path) -> Vec<String> {
    let [pipe, sparse] = ["pipe", "sparse"].map(|name| folder.join(name));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    fs::File::create(&sparse)
        .unwrap()
        .set_len(100 << 30)
        .unwrap();
    let (pipe, sparse) = (text(&pipe), text(&sparse));
    vec![
        pipe,
        sparse,
        "/dev/zero".into(),
        text(folder),
        "/dev/stdin".into(),
    ]
}

#[test]
fn endless_inputs_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = endless(folder.path());
    let (arch, none) = (example("small.json"), text(&folder.path().join("none")));
    let commands: [(&[&str], i32); 12] = [
        (&["inspect", "--arch"], 2),
        (&["train", "--arch"], 2),
        (&["search", "--dry-run", "--config"], 2),
        (&["roofline", "--arch", &arch, "--measured"], 2),
        (&["train", "--arch", &arch, "--limit", "100", "--init"], 3),
        (&["train", "--resume"], 3),
        (&["eval", "--weights"], 3),
        (&["sample", "--weights"], 3),
        (&["search", "--dry-run", "--data"], 3),
        (&["search", "--dry-run", "--space", "cell", "--data"], 3),
        (&["data", "show"], 3),
        (&["data", "import", "ptb", "--out", &none], 3),
    ];
    for (arguments, code) in commands {
        for input in &inputs {
            let zeros = fs::File::open("/dev/zero").unwrap();
            let ended = run(program().args(arguments).arg(input).stdin(zeros));
            assert_eq!(ended.code, code, "{arguments:?} {input}: {ended:?}");
            // `/dev/stdin` may be named by what it leads to.
            let named = ended.stderr.contains(&**input) || ended.stderr.contains("/dev/zero");
            assert!(named, "{arguments:?} {input}: {ended:?}");
            assert!(
                ended.took < Duration::from_secs(10),
                "{arguments:?} {input}: {ended:?}"
            );
        }
    }
}

/// A run whose files are such.
#[test]
fn endless_files_of_a_run_are_refused_at_once() {
    let place = Place::new();
    place.search("run", &["--samples", "2"]);
    let things = tempfile::tempdir().unwrap();
    let endless = endless(things.path());
    let commands = [
        &["status"][..],
        &["audit"],
        &["search", "--samples", "3", "--resume"],
    ];
    for (name, code) in [("journal.jsonl", 3), ("config.toml", 2)] {
        let path = place.path("run").join(name);
        let kept = fs::read(&path).unwrap();
        for thing in &endless[..4] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(thing, &path).unwrap();
            for command in commands {
                let ended = run(program().args(command).arg(place.path("run")));
                assert_eq!(ended.code, code, "{name} {thing} {command:?}: {ended:?}");
                assert!(
                    ended.stderr.contains(name) || ended.stderr.contains("run"),
                    "{ended:?}"
                );
                assert!(ended.took < Duration::from_secs(10), "{ended:?}");
            }
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, kept).unwrap();
    }
    assert_eq!(place.resume("run", &["--samples", "3"]).code, 0);
}

/// What a shell makes of `--arch <(cat a.json)` and of `--arch /dev/stdin < a.json`.
#[test]
fn a_pipe_that_ends_is_read() {
    let arch = example("small.json");
    let known = json(&["inspect", "--arch", &arch]);
    let mut child = program()
        .args(["inspect", "--arch", "/dev/stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = fs::read(&arch).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        known
    );
    let nas = env!("CARGO_BIN_EXE_nas-engine");
    for script in [
        format!("{nas} inspect --json --arch <(cat {arch})"),
        format!("{nas} inspect --json --config /dev/null --arch /dev/stdin < {arch}"),
    ] {
        let ended = run(Command::new("bash").args(["-c", &script]));
        assert_eq!(object(&ended), known, "{script}: {ended:?}");
    }
}

/// Files as some editors save them.
#[test]
fn byte_order_marks_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let layer = layers(r#"{"filter":[1,1],"filters":8,"inputs":[0]}"#);
    let marked = |name: &str, text: &str| file(folder.path(), name, format!("\u{feff}{text}"));
    let (plain, arch) = (
        file(folder.path(), "plain.json", &layer),
        marked("a.json", &layer),
    );
    assert_eq!(
        json(&["inspect", "--arch", &arch]),
        json(&["inspect", "--arch", &plain])
    );
    let config = marked("c.toml", "[search]\nsamples = 7\n");
    let dry = json(&["search", "--dry-run", "--config", &config]);
    assert_eq!(dry["config"]["search"]["samples"], 7);
    let config = marked("bad.toml", "[search]\nsample = 7\n");
    let ended = run(program().args(["search", "--dry-run", "--config", &config]));
    assert!(ended.stderr.contains("line 2"), "{ended:?}");
    let measured = marked("m.json", r#"{"device":"a","step_seconds":0.5}"#);
    json(&["roofline", "--arch", &plain, "--measured", &measured]);
    let words = "the cat sat\non the mat\n".repeat(50);
    let (bare, text) = (
        file(folder.path(), "bare.txt", &words),
        marked("text.txt", &words),
    );
    let show = |path: &str| {
        let cache = folder.path().join("cache");
        let ended = run(program()
            .env("NAS_ENGINE_CACHE_DIR", cache)
            .args(["data", "show", path, "--json"]));
        let mut shown = object(&ended);
        shown["name"].take();
        shown
    };
    assert_eq!(show(&text), show(&bare));
}

/// Runs a command with this environment and no other home.
fn at_home(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = program();
    for name in ["HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    run(command
        .envs(variables.iter().copied())
        .current_dir(folder)
        .args(arguments))
}

#[test]
fn all_is_usable_without_a_cache_folder() {
    let folder = tempfile::tempdir().unwrap();
    let words = "the cat sat\non the mat\n".repeat(50);
    let text = file(folder.path(), "text.txt", &words);
    let commands: [&[&str]; 4] = [
        &["data", "show", &text],
        &["data", "verify", "--space", "cell"],
        &["data", "verify"],
        &["search", "--space", "cell", "--dry-run"],
    ];
    let place = folder.path().join("cache");
    let place = place.to_str().unwrap();
    for arguments in commands {
        let arguments = [arguments, &["--json"]].concat();
        let known = at_home(
            folder.path(),
            &[("NAS_ENGINE_CACHE_DIR", place)],
            &arguments,
        );
        assert_eq!(known.code, 0, "{known:?}");
        for variables in [
            // No folder can be made below a file, or in /proc.
            &[("NAS_ENGINE_CACHE_DIR", &*text)][..],
            &[("HOME", "/proc")],
            &[("HOME", "/")],
            &[],
        ] {
            let ended = at_home(folder.path(), variables, &arguments);
            assert_eq!(ended.code, 0, "{variables:?}: {ended:?}");
            assert_eq!(object(&ended), object(&known), "{variables:?}");
        }
    }
    // `doctor` names the folder, and says whether it can be written.
    let doctor = |variables: &[(&str, &str)]| {
        object(&at_home(folder.path(), variables, &["doctor", "--json"]))["cache"].take()
    };
    let cache = doctor(&[("NAS_ENGINE_CACHE_DIR", place)]);
    assert_eq!(cache["folder"], place);
    assert_eq!(cache["usable"], true, "{cache}");
    assert!(cache["bytes"].as_u64().unwrap() > 18_000_000, "{cache}");
    let cache = doctor(&[("NAS_ENGINE_CACHE_DIR", &text)]);
    assert_eq!(cache["usable"], false, "{cache}");
    assert_eq!(cache["bytes"], 0, "{cache}");
}

/// A checkpoint, which has the name of the weights, is text.
#[test]
fn names_that_are_not_utf_8_are_refused_where_they_are_kept() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    for flag in ["--save", "--data"] {
        let arguments = ["train", "--arch", &example("small.json"), flag];
        let ended = run(program().args(arguments).arg(&name));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended.stderr.contains(flag) && ended.stderr.contains("UTF-8"),
            "{ended:?}"
        );
    }
}

/// The widest networks: sizes follow from geometry, and no table is made for them.
#[test]
fn the_widest_networks_are_inspected_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let layer = |number: u64| {
        let inputs: Vec<u64> = (0..number).collect();
        serde_json::json!({"filter": [15, 15], "filters": 4096, "inputs": inputs}).to_string()
    };
    let all: Vec<String> = (1..=128).map(layer).collect();
    let arch = file(folder.path(), "a.json", layers(&all.join(",")));
    let ended = run(program().args(["inspect", "--json", "--arch", &arch]));
    // A second, where nothing else runs; minutes where tables are made.
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    let channels = |number: u64| 3 + 4096 * (number - 1);
    let of_layer = |number| 15 * 15 * channels(number) * 4096 + 2 * 4096;
    let classifier = 10 * (4096 + 1);
    let parameters: u64 = (1..=128).map(of_layer).sum::<u64>() + classifier;
    assert_eq!(object(&ended)["parameters"], parameters);
}
