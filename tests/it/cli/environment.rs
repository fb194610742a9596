//! Flags from the environment: empty is unset, what was typed wins, and an error names the variable.

use serde_json::Value;

use super::search::Place;
use super::{Ended, object, program, run, text};

/// Runs the program with arguments and variables.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    run(program().args(arguments).envs(variables.iter().copied()))
}

fn is_json(ended: &Ended) -> bool {
    serde_json::from_str::<Value>(&ended.stdout).is_ok_and(|value| value.is_object())
}

#[test]
fn an_empty_variable_is_unset() {
    let place = Place::new();
    let empty = [
        "SAMPLES",
        "EPOCHS",
        "JSON",
        "QUIET",
        "VERBOSE",
        "DRY_RUN",
        "RESUME",
        "DATA",
        "CONFIG",
        "SEED",
        "THREADS",
        "DEVICE",
        "OUT",
        "TIME_LIMIT",
        "PRESET",
        "NO_PROGRESS",
    ];
    let mut command = program();
    let (data, config) = (text(place.data.path()), text(&place.path("settings.toml")));
    command.args(["search", "--dry-run", "--data", &data, "--config", &config]);
    let plain = run(&mut command);
    for name in empty {
        command.env(format!("NAS_ENGINE_{name}"), "");
    }
    let ended = run(&mut command);
    assert_eq!(
        (ended.code, &ended.stdout, &ended.stderr),
        (0, &plain.stdout, &plain.stderr)
    );
}

#[test]
fn a_switch_is_on_or_off() {
    for (word, on) in [
        ("1", true),
        ("true", true),
        ("YES", true),
        ("on", true),
        ("0", false),
        ("False", false),
        ("no", false),
        ("off", false),
    ] {
        let set = [("NAS_ENGINE_JSON", word)];
        assert_eq!(is_json(&with(&set, &["doctor"])), on, "{word}");
        let wrong = with(&set, &["doctor", "--absent"]);
        assert_eq!((wrong.code, is_json(&wrong)), (2, on), "{word}: {wrong:?}");
    }
    let wrong = with(&[("NAS_ENGINE_JSON", "maybe")], &["doctor"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    for words in ["maybe", "NAS_ENGINE_JSON", "yes or on"] {
        assert!(wrong.stderr.contains(words), "{wrong:?}");
    }
}

#[test]
fn what_was_typed_goes_before_the_environment() {
    let place = Place::new();
    let data = text(place.data.path());
    let dry = |variables: &[(&str, &str)], more: &[&str]| {
        let fixed = ["search", "--dry-run", "--data", &data, "--limit", "60"];
        let arguments: Vec<&str> = more.iter().chain(&fixed).copied().collect();
        with(variables, &arguments)
    };
    // Before the command and after it.
    let quiet = [("NAS_ENGINE_QUIET", "1")];
    assert_eq!(dry(&quiet, &[]).stderr, "");
    assert!(dry(&quiet, &["-v"]).stderr.contains("data:"));
    let after = ["doctor", "-v"];
    assert_eq!(with(&quiet, &after).code, 0);
    let verbose = [("NAS_ENGINE_VERBOSE", "2")];
    assert_eq!(dry(&verbose, &["--quiet"]).stderr, "");
    assert!(dry(&[("NAS_ENGINE_VERBOSE", "yes")], &[]).code == 0);
    for (variables, arguments) in [
        (&[][..], &["doctor", "-q", "-v"][..]),
        (&[quiet[0], verbose[0]], &["doctor"]),
    ] {
        let both = with(variables, arguments);
        assert_eq!(both.code, 2, "{both:?}");
        assert!(both.stderr.contains("--quiet and --verbose"), "{both:?}");
        assert_eq!(
            both.stderr.contains("NAS_ENGINE_QUIET"),
            !variables.is_empty(),
            "{both:?}"
        );
    }
}

#[test]
fn a_wrong_value_names_its_variable() {
    let place = Place::new();
    let data = text(place.data.path());
    for (name, value, words) in [
        ("SAMPLES", "many", "a whole number from 1"),
        ("SAMPLES", "0", "a whole number from 1"),
        ("SEED", "-1", "0 or more"),
        ("TIME_LIMIT", "soon", "23h30m"),
        ("DEVICE", "tpu", "cuda:N"),
        ("PRESET", "v9", "v3"),
        ("CONFIG", "/absent.toml", "/absent.toml"),
        ("OUT", "/proc/absent/run", "/proc/absent"),
        ("EPOCHS", "1.5", "a whole number"),
    ] {
        let variable = format!("NAS_ENGINE_{name}");
        let variables = [(variable.as_str(), value), ("NAS_ENGINE_DATA", &data)];
        let ended = with(&variables, &["search", "--limit", "60"]);
        assert_eq!(ended.code, 2, "{name}={value}: {ended:?}");
        let json = with(&variables, &["search", "--limit", "60", "--json"]);
        let message = object(&json)["error"]["message"].to_string();
        for said in [&ended.stderr, &message] {
            assert!(said.contains(&variable), "{name}={value}: {said}");
            assert!(said.contains(words), "{name}={value}: {said}");
            assert!(!said.contains("NAS_ENGINE_DATA"), "{name}={value}: {said}");
        }
    }
    // A flag that was typed is nobody's variable.
    let typed = with(&[("NAS_ENGINE_SEED", "3")], &["search", "--seed", "-1"]);
    assert!(!typed.stderr.contains("NAS_ENGINE_SEED"), "{typed:?}");
}

#[test]
fn no_run_where_a_dry_run_was_asked_for() {
    let place = Place::new();
    place.search("run", &["--samples", "3"]);
    let before = std::fs::read(place.journal("run")).unwrap();
    let path = text(&place.path("run"));
    for (variables, arguments) in [
        (
            &[("NAS_ENGINE_DRY_RUN", "1")][..],
            &["search", "--resume", &path][..],
        ),
        (&[], &["search", "--resume", &path, "--dry-run"]),
        (
            &[("NAS_ENGINE_DRY_RUN", "1"), ("NAS_ENGINE_RESUME", &path)],
            &["search"],
        ),
    ] {
        let ended = with(variables, &[arguments, &["--samples", "7"]].concat());
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("nothing was run"), "{ended:?}");
        assert_eq!(std::fs::read(place.journal("run")).unwrap(), before);
    }
    let off = with(
        &[("NAS_ENGINE_DRY_RUN", "0")],
        &["search", "--resume", &path],
    );
    assert_eq!(off.code, 0, "{off:?}");
}

/// Nobody is told that a variable has set what was typed as a letter.
#[test]
fn a_letter_is_typed_too() {
    for typed in [&["-q", "-v"][..], &["-qv"]] {
        let ended = with(&[("NAS_ENGINE_QUIET", "0")], &[&["doctor"], typed].concat());
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(
            !ended.stderr.contains("NAS_ENGINE_QUIET"),
            "{}",
            ended.stderr
        );
    }
}

/// What is set for all commands means nothing to some of them; what was typed is meant.
#[test]
fn a_variable_alone_asks_for_no_sheet() {
    let place = Place::new();
    let data = text(place.data.path());
    let sheet = text(&place.path("sheet.png"));
    let show = ["data", "show", &data];
    let set = [("NAS_ENGINE_AUGMENTED", "1")];
    let ended = with(&set, &show);
    assert_eq!(ended.code, 0, "{ended:?}");
    let typed = with(&set, &[&show[..], &["--augmented"]].concat());
    assert_eq!(typed.code, 2, "{typed:?}");
    assert!(typed.stderr.contains("--sheet"), "{typed:?}");
    let both = [&show[..], &["--sheet", &sheet]].concat();
    assert_eq!(with(&set, &both).code, 0);
    let augmented = std::fs::read(&sheet).unwrap();
    assert_eq!(with(&[], &both).code, 0);
    assert_ne!(std::fs::read(&sheet).unwrap(), augmented);
}
