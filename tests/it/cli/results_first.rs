//! A result is not lost by what comes after it: results first, then the error; the cause goes before the
//! cleanup; what is missing is mended.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::search::{Place, snapshot};
use super::{Ended, data_folder, example, json, nas, object, program, run, text};

/// No file may become larger than so many bytes: as on a disk that is full, but for the tests' own
/// output.
fn with_room(command: &mut Command, bytes: u64) -> &mut Command {
    let limit = move || {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: both calls are safe to make between fork and exec, and the limit outlives the call.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN); // a write fails instead
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(limit) }
}

fn train(data: &str, save: &str, more: &[&str]) -> Command {
    let small = example("small.json");
    let mut command = program();
    command.args(["train", "--arch", &small, "--data", data, "--epochs", "2"]);
    command.args(["--batch", "8", "--limit", "60", "--test", "--save", save]);
    command.args(more);
    command
}

/// The figures of a training.
fn figures(trained: &Value) -> Value {
    let mut epochs = trained["epochs"].clone();
    for epoch in epochs.as_array_mut().unwrap() {
        let epoch = epoch.as_object_mut().unwrap();
        epoch.retain(|key, _| !key.contains("second"));
    }
    serde_json::json!([
        epochs,
        trained["validation_accuracy"],
        trained["test_accuracy"]
    ])
}

#[test]
fn weights_that_find_no_room_take_no_result_with_them() {
    let data = data_folder(60, 12);
    let folder = tempfile::tempdir().unwrap();
    let (data, save) = (
        text(data.path()),
        text(&folder.path().join("w.safetensors")),
    );
    let sound = run(train(&data, &save, &["--json"]).env("NAS_ENGINE_QUIET", "1"));
    assert_eq!(sound.code, 0, "{sound:?}");
    fs::remove_file(&save).unwrap();
    let full = run(with_room(&mut train(&data, &save, &["--json"]), 4096));
    assert_eq!(full.code, 2, "{full:?}");
    let result = object(&full);
    assert_eq!(figures(&result), figures(&object(&sound)));
    let message = result["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("w.safetensors") && message.contains("--save"),
        "{message}"
    );
    let words = run(with_room(&mut train(&data, &save, &[]), 4096));
    assert!(
        words.code == 2 && words.stdout.contains("test accuracy"),
        "{words:?}"
    );
    assert!(!Path::new(&save).exists());
}

#[test]
fn weights_whose_place_is_gone_are_written_elsewhere() {
    let data = data_folder(60, 12);
    let folder = tempfile::tempdir().unwrap();
    let (place, spare) = (folder.path().join("place"), folder.path().join("spare"));
    [&place, &spare]
        .into_iter()
        .for_each(|folder| fs::create_dir(folder).unwrap());
    let (data, save) = (text(data.path()), text(&place.join("w.safetensors")));
    let mut command = train(&data, &save, &["--json"]);
    command
        .env("TMPDIR", &spare)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.find(|line| line.as_ref().unwrap().starts_with("epoch 1"));
    assert!(first.is_some());
    fs::remove_dir_all(&place).unwrap();
    let words: Vec<String> = lines.map(Result::unwrap).collect();
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{words:?}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    let left: Vec<_> = fs::read_dir(&spare)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let [weights] = &left[..] else {
        panic!("{left:?}, {words:?}");
    };
    assert!(words.last().unwrap().contains(&text(weights)), "{words:?}");
    let evaluated = json(&["eval", "--data", &data, "--weights", &text(weights)]);
    assert_eq!(evaluated["accuracy"], result["validation_accuracy"]);
}

/// An error of a search under way: what to do, and that it can be gone on with.
fn is_to_be_resumed(ended: &Ended) {
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("--resume"), "{ended:?}");
    assert!(!ended.stderr.contains("another --out"), "{ended:?}");
}

#[test]
fn a_full_disk_is_the_cause_and_best_json_is_not() {
    let place = Place::new();
    place.search("whole", &[]);
    let whole = fs::metadata(place.journal("whole")).unwrap().len();
    // Weights are of some 2 kB, so that with less room they fail, with more the journal does.
    for room in [1200, whole / 2, whole - 200] {
        let name = format!("run-{room}");
        let mut command = program();
        command.args(place.arguments(&name, &[]));
        is_to_be_resumed(&run(with_room(&mut command, room)));
        // Neither can be written now; the one that stops the search is told.
        let best = place.path(&name).join("best.json");
        let _ = fs::remove_file(&best);
        fs::create_dir(&best).unwrap();
        let mut command = program();
        command.args(["search", "--resume", &text(&place.path(&name))]);
        let both = run(with_room(&mut command, room));
        is_to_be_resumed(&both);
        assert!(!both.stderr.contains("best.json"), "{both:?}");
        // With room: the result, then what is wrong with best.json.
        let late = place.resume(&name, &["--json"]);
        is_to_be_resumed(&late);
        assert!(late.stderr.contains("best.json"), "{late:?}");
        let result = object(&late);
        assert_eq!(result["samples"], 7);
        assert!(
            result["best"]
                .as_array()
                .is_some_and(|best| !best.is_empty())
        );
        let again = place.resume(&name, &[]);
        is_to_be_resumed(&again);
        assert!(again.stdout.contains("accuracy"), "{again:?}");
        fs::remove_dir(&best).unwrap();
        assert_eq!(place.resume(&name, &[]).code, 0);
        assert_eq!(place.facts(&name), place.facts("whole"));
        let weights = |name| {
            let files = snapshot(&place.path(name).join("weights")).into_iter();
            let named = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
                (path.file_name().unwrap().to_owned(), bytes)
            };
            files.map(named).collect::<Vec<_>>()
        };
        assert!(weights(&name) == weights("whole"), "weights of {name}");
    }
}

#[test]
fn weights_that_are_missing_or_damaged_are_trained_again() {
    let place = Place::new();
    place.search("run", &["--samples", "5"]);
    place.search("whole", &[]);
    let folder = place.path("run").join("weights");
    let sound = snapshot(&folder);
    assert!(sound.len() > 1, "{}", sound.len());
    let journal = fs::read(place.journal("run")).unwrap();
    let spoil = || {
        let (first, bytes) = &sound[0];
        fs::remove_file(first).unwrap();
        let (second, _) = &sound[1];
        let mut damaged = fs::read(second).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(second, damaged).unwrap();
        bytes.len()
    };
    spoil();
    let mended = place.resume("run", &[]);
    assert_eq!(mended.code, 0, "{mended:?}");
    let said = mended.stderr.matches("missing or damaged").count();
    assert_eq!(said, 2, "{mended:?}");
    assert!(snapshot(&folder) == sound, "other files");
    assert_eq!(
        fs::read(place.journal("run")).unwrap(),
        journal,
        "nothing else changes"
    );
    let left = fs::read_dir(place.path("run").join("checkpoints")).unwrap();
    let left = left.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| name.starts_with("controller")));

    // On another device they would have other bits: they stay missing, in words.
    spoil();
    let elsewhere = place.resume("run", &["--device", "reference"]);
    assert_eq!(elsewhere.code, 0, "{elsewhere:?}");
    assert!(elsewhere.stdout.contains("accuracy"), "{elsewhere:?}");
    let stay = elsewhere
        .stderr
        .matches("stay missing: trained again on reference")
        .count();
    assert_eq!(stay, 2, "{elsewhere:?}");
    assert!(!sound[0].0.exists());

    // So does a run that goes on, and it ends as one that lost nothing.
    let longer = place.resume("run", &["--samples", "7"]);
    assert_eq!(longer.code, 0, "{longer:?}");
    let names = |name| {
        let files = snapshot(&place.path(name).join("weights")).into_iter();
        files
            .map(|(path, bytes)| (path.file_name().unwrap().to_owned(), bytes))
            .collect::<Vec<_>>()
    };
    let (a, b) = (names("run"), names("whole"));
    let samples = |files: &[(std::ffi::OsString, Vec<u8>)]| -> Vec<_> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(samples(&a), samples(&b));
    assert!(a == b, "the same children with other weights");

    // Without the data the results are shown all the same.
    fs::remove_file(folder.join(&a[0].0)).unwrap();
    fs::remove_file(place.data.path().join("test_batch.bin")).unwrap();
    let without = place.resume("run", &[]);
    assert_eq!(without.code, 0, "{without:?}");
    assert!(without.stdout.contains("accuracy"), "{without:?}");
    assert!(
        without.stderr.contains("missing and stay so"),
        "{without:?}"
    );
}

#[test]
fn a_search_that_achieves_nothing_fails() {
    let place = Place::new();
    let config = place.path("settings.toml");
    let sound = fs::read_to_string(&config).unwrap();
    let diverges = sound.replace("[train]", "[train]\nlearning_rate = 1e30");
    fs::write(&config, diverges).unwrap();
    let ended = run(program().args(place.arguments("run", &["--json"])));
    assert_eq!(ended.code, 1, "{ended:?}");
    let result = object(&ended);
    assert_eq!(result["failures"]["diverged"], 7);
    let message = result["error"]["message"].as_str().unwrap();
    for words in ["7 diverged", "sample 0", "epoch 1", "learning_rate"] {
        assert!(message.contains(words), "{words} in {message}");
    }
    // While it ran, and afterwards.
    assert!(
        ended.stderr.contains("batch 0: 3 of 7") && ended.stderr.contains("3 failed (3 diverged)")
    );
    let again = place.resume("run", &[]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stdout.contains("7 failed (7 diverged)"), "{again:?}");
    let status = nas(&["status", &text(&place.path("run"))]);
    assert!(
        status.stdout.contains("7 failed (7 diverged)"),
        "{status:?}"
    );

    let too_large = format!("{sound}\n[device]\nmemory_bytes = 1000\n");
    fs::write(&config, too_large).unwrap();
    let ended = run(program().args(place.arguments("small", &[])));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("device.memory_bytes"), "{ended:?}");
    fs::write(&config, sound).unwrap();
    let sound = run(program().args(place.arguments("sound", &[])));
    assert!(
        sound.code == 0 && !sound.stderr.contains("failed"),
        "{sound:?}"
    );
}

#[test]
fn a_training_that_diverges_keeps_the_epochs_before() {
    let data = data_folder(60, 12);
    let small = example("small.json");
    let ended = nas(&[
        "train",
        "--arch",
        &small,
        "--data",
        &text(data.path()),
        "--batch",
        "8",
        "--epochs",
        "9",
        "--learning-rate",
        "1e30",
        "--json",
    ]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let error = &object(&ended)["error"];
    assert!(
        error["message"].as_str().unwrap().contains("diverged"),
        "{ended:?}"
    );
}
