//! Numbers of flags that are out of range: every flag says what it takes.

use std::collections::BTreeSet;
use std::fs;

use super::search::Place;
use super::{data_folder, example, nas, program, run, text};

/// Every command with its flags that take a whole number, as `--help` shows them.
fn flags(command: &[&str]) -> BTreeSet<String> {
    let help = nas(&[command, &["--help"]].concat()).stdout;
    let words: Vec<&str> = help.split_whitespace().collect();
    let pairs = words.windows(2);
    let whole = pairs.filter(|pair| pair[0].starts_with("--") && ["<N>", "<S>"].contains(&pair[1]));
    whole.map(|pair| pair[0].to_owned()).collect()
}

#[test]
fn every_flag_with_a_number_says_its_range() {
    let data = data_folder(60, 12);
    let data = text(data.path());
    let small = example("small.json");
    let cell = example("cell-lstm.json");
    let commands: [(&[&str], &[&str]); 10] = [
        (&["search"], &["--dry-run", "--data", &data]),
        (&["train"], &["--arch", &small, "--data", &data]),
        (&["eval"], &["--weights", "/absent"]),
        (&["sample"], &["--weights", "/absent"]),
        (&["inspect"], &["--arch", &small]),
        (&["roofline"], &["--arch", &small]),
        (&["audit"], &["/absent"]),
        (&["data", "show"], &[&data]),
        (
            &["data", "import", "idx"],
            &["/absent", "--out", "/absent/out"],
        ),
        (
            &["data", "import", "folder"],
            &["/absent", "--out", "/absent/out"],
        ),
    ];
    let mut n_checked = 0;
    for (command, more) in commands {
        for flag in flags(command) {
            let refused = |value: &str| {
                let more = match flag.as_str() {
                    "--hidden" if command == ["train"] => &["--arch", &cell][..],
                    "--hidden" | "--vocabulary" if command == ["inspect"] => &["--arch", &cell],
                    _ => more,
                };
                let ended = nas(&[command, more, &[&flag, value]].concat());
                assert_eq!(ended.code / 2, 1, "{command:?} {flag} {value}: {ended:?}");
                ended.stderr
            };
            for value in ["99999999999999999999", "-99999999999999999999", "x"] {
                let words = refused(value);
                assert!(
                    words.contains(&flag) && words.contains("a whole number"),
                    "{words}"
                );
            }
            // Those that are only known to be wrong when a file was read.
            let needs_a_file = ["eval", "audit"].contains(&command[0]);
            if !needs_a_file {
                let words = refused("-1");
                assert!(
                    words.contains(&flag) && words.contains("a whole number"),
                    "{words}"
                );
            }
            n_checked += 1;
        }
    }
    assert!(n_checked > 20, "{n_checked}");
    let seed = nas(&["search", "--dry-run", "--seed", "-1"]).stderr;
    assert!(
        seed.contains("is -1") && seed.contains("0 or more"),
        "{seed}"
    );
}

#[test]
fn numbers_of_a_file_say_their_range_too() {
    let folder = tempfile::tempdir().unwrap();
    for (text, words) in [
        (
            "[train]\nepochs = -3\n",
            "is -3; give a whole number from 1",
        ),
        (
            "[search]\nseed = -1\n",
            "is -1; give a whole number of 0 or more",
        ),
        ("[device]\nthreads = -1\n", "from 1 to 1024"),
        (
            "[space]\nfilters = [-8]\n",
            "is -8; give a whole number of 0 or more",
        ),
    ] {
        let path = super::file(folder.path(), "run.toml", text);
        let ended = nas(&["search", "--dry-run", "--config", &path]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

#[test]
fn far_more_threads_than_cores_are_not_started() {
    let place = Place::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let most = 16.max(4 * cores) as u64;
    let config = place.path("settings.toml");
    let written = fs::read_to_string(&config).unwrap();
    for (name, variable, flag) in [
        ("flag", None, Some("1000")),
        ("variable", Some("1000"), None),
        ("file", None, None),
    ] {
        let section = "\n[device]\nthreads = 1000\n";
        let file = if name == "file" { section } else { "" };
        fs::write(&config, format!("{written}{file}")).unwrap();
        let mut command = program();
        command.args(place.arguments(name, &["--samples", "2"]));
        command.envs(variable.map(|threads| ("NAS_ENGINE_THREADS", threads)));
        command.args(flag.iter().flat_map(|threads| ["--threads", threads]));
        let ended = run(&mut command);
        assert_eq!(ended.code, 0, "{ended:?}");
        let said = format!("{cores} threads are used");
        if most < 1000 {
            assert!(ended.stderr.contains(&said), "{name}: {ended:?}");
        }
        let journal = fs::read_to_string(place.journal(name)).unwrap();
        for line in journal.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let threads = line["timing"]["threads"].as_u64().unwrap_or(1);
            assert!(threads <= most, "{name}: {line}");
        }
    }
}
