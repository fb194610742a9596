//! What is called validation is of the records that were held out, or a warning says that it is not.

use std::fs;

use super::search::Place;
use super::{Ended, data_folder, example, file, json, nas, text, write_data};

/// Trains a small network; its arguments besides.
fn train(data: &str, save: &str, more: &[&str]) -> serde_json::Value {
    let small = example("small.json");
    let fixed = [
        "train", "--arch", &small, "--data", data, "--epochs", "2", "--batch", "8", "--save", save,
    ];
    json(&[&fixed, more].concat())
}

fn eval(data: &str, weights: &str, more: &[&str]) -> Ended {
    nas(&[&["eval", "--data", data, "--weights", weights], more].concat())
}

#[test]
fn eval_gives_what_training_said_under_any_limit_and_split() {
    let data = data_folder(300, 60);
    let folder = tempfile::tempdir().unwrap();
    let (data, save) = (
        text(data.path()),
        text(&folder.path().join("w.safetensors")),
    );
    let with_seed = file(folder.path(), "seed.toml", "[train]\nsplit_seed = 7\n");
    for more in [
        &["--limit", "80"][..],
        &["--limit", "120", "--no-shuffle"],
        &["--limit", "60", "--config", &with_seed],
        &["--limit", "1000"],
        &[],
    ] {
        let trained = train(&data, &save, &[more, &["--test"]].concat());
        for split in ["validation", "test"] {
            let ended = eval(&data, &save, &["--split", split, "--json"]);
            assert!(!ended.stderr.contains("WARN"), "{more:?}: {ended:?}");
            let evaluated: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(
                evaluated["accuracy"],
                trained[format!("{split}_accuracy")],
                "{more:?}"
            );
        }
    }
}

#[test]
fn eval_of_a_searchs_weights_gives_what_its_journal_says() {
    let place = Place::new();
    let found = place.search("run", &["--limit", "50"]);
    let data = text(place.data.path());
    let mut n_files = 0;
    for entry in fs::read_dir(place.path("run").join("weights")).unwrap() {
        let path = entry.unwrap().path();
        let sample: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let best = found["best"].as_array().unwrap();
        let best = best.iter().find(|best| best["sample"] == sample).unwrap();
        let ended = eval(&data, &text(&path), &["--json"]);
        let evaluated: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        // The reward is of the best of the last epochs, the weights are of the last.
        assert!(evaluated["accuracy"].as_f64() <= best["accuracy"].as_f64());
        assert_eq!(evaluated["total"], 5, "{ended:?}");
        assert!(!ended.stderr.contains("WARN"), "{ended:?}");
        n_files += 1;
    }
    assert!(n_files > 0);
}

#[test]
fn another_split_is_told() {
    let data = data_folder(300, 60);
    let folder = tempfile::tempdir().unwrap();
    let (path, save) = (
        text(data.path()),
        text(&folder.path().join("w.safetensors")),
    );
    train(&path, &save, &["--limit", "80"]);
    // Held out of 300, but not all of 80: how many is counted here anew.
    let trained_on = nas_engine::data::Split::new(80, 0, true).train;
    let validation = nas_engine::data::Split::new(300, 0, true).validation;
    let both = validation.iter().filter(|n| trained_on.contains(n)).count();
    let words = format!("{both} of the 30 that are read here are among those");
    let other = eval(&path, &save, &["--limit", "300"]);
    assert_eq!(other.code, 0, "{other:?}");
    assert!(
        other.stderr.contains("WARN") && other.stderr.contains(&words),
        "{other:?}"
    );
    // A test record is none that was trained on.
    let test = eval(&path, &save, &["--limit", "300", "--split", "test"]);
    assert!(!test.stderr.contains("WARN"), "{test:?}");
    let init = |more: &[&str]| {
        let small = example("small.json");
        let fixed = [
            "train", "--arch", &small, "--data", &path, "--epochs", "1", "--batch", "8", "--init",
            &save,
        ];
        nas(&[&fixed, more].concat())
    };
    assert!(!init(&["--limit", "80"]).stderr.contains("WARN"));
    let ended = init(&[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("--init") && ended.stderr.contains(&words),
        "{ended:?}"
    );
    // Other data: no limit is taken from the file, and the doubt is told.
    let other = tempfile::tempdir().unwrap();
    write_data(other.path(), 200, 40, 9);
    let ended = eval(&text(other.path()), &save, &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("200 + 40") && ended.stderr.contains("other data"),
        "{ended:?}"
    );
}

/// The same bytes, of which more are in the file of test records.
#[test]
fn the_same_bytes_cut_elsewhere_are_another_split() {
    let data = data_folder(100, 20);
    let folder = tempfile::tempdir().unwrap();
    let save = text(&folder.path().join("w.safetensors"));
    train(&text(data.path()), &save, &[]);
    let names = ["data_batch_1.bin", "test_batch.bin"];
    let bytes = names
        .map(|name| fs::read(data.path().join(name)).unwrap())
        .concat();
    let (train, test) = bytes.split_at(80 * 3073);
    fs::write(data.path().join(names[0]), train).unwrap();
    fs::write(data.path().join(names[1]), test).unwrap();
    let ended = eval(&text(data.path()), &save, &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("of the 8 that are read here"),
        "{ended:?}"
    );
    let test = eval(&text(data.path()), &save, &["--split", "test"]);
    assert!(
        test.stderr.contains("of the 40 that are read here"),
        "{test:?}"
    );
}

#[test]
fn a_text_cut_elsewhere_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let words: String = (0..4000).map(|n| format!("w{} ", n * n % 7)).collect();
    let parts = tempfile::tempdir().unwrap();
    let one = file(folder.path(), "one.txt", &words);
    for (name, range) in [
        ("train", 0..6000),
        ("valid", 6000..9000),
        ("test", 9000..words.len()),
    ] {
        file(parts.path(), &format!("{name}.txt"), &words[range]);
    }
    let (cell, parts) = (example("cell-lstm.json"), text(parts.path()));
    let save = text(&folder.path().join("w.safetensors"));
    let ended = nas(&[
        "train", "--arch", &cell, "--data", &one, "--epochs", "1", "--batch", "2", "--hidden", "4",
        "--save", &save,
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!eval(&one, &save, &[]).stderr.contains("WARN"));
    let other = eval(&parts, &save, &[]);
    assert_eq!(other.code, 0, "{other:?}");
    assert!(other.stderr.contains("cut into other parts"), "{other:?}");
}

/// Weights of three classes, and data of ten: what does not fit are the data.
#[test]
fn weights_of_other_classes_ask_for_their_data() {
    let data = data_folder(60, 12);
    let mut records = fs::read(data.path().join("data_batch_1.bin")).unwrap();
    records
        .iter_mut()
        .step_by(3073)
        .for_each(|label| *label %= 3);
    let names = "classes = [\"cat\", \"dog\", \"eel\"]";
    file(data.path(), "data_batch_1.bin", &records);
    file(data.path(), "test_batch.bin", &records[..3073 * 12]);
    file(data.path(), "dataset.toml", names);
    let folder = tempfile::tempdir().unwrap();
    let (three, save) = (
        text(data.path()),
        text(&folder.path().join("w.safetensors")),
    );
    train(&three, &save, &[]);
    let ten = data_folder(60, 12);
    let ten = text(ten.path());
    let small = example("small.json");
    let again = [
        "train", "--arch", &small, "--data", &ten, "--batch", "8", "--init", &save,
    ];
    for ended in [eval(&ten, &save, &[]), nas(&again)] {
        assert_eq!(ended.code, 3, "{ended:?}");
        let words = "w.safetensors was trained on 3 classes (cat, dog, eel) and the data have 10; give --data \
                     with these 3 classes";
        assert!(ended.stderr.contains(words), "{ended:?}");
        assert!(!ended.stderr.contains("WARN"), "{ended:?}");
    }
    assert_eq!(eval(&three, &save, &[]).code, 0);
}
