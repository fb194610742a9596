//! Data and weights that cannot be used.

use std::fs;
use std::path::Path;

use super::bad_input::{layers, refused};
use super::{data_folder, example, file, nas, text, write_data};

#[test]
fn data() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &[&str]); 8] = [
        (
            "missing",
            |folder| fs::remove_dir_all(folder).unwrap(),
            &["--data"],
        ),
        (
            "no test file",
            |f| fs::remove_file(f.join("test_batch.bin")).unwrap(),
            &["test_batch"],
        ),
        (
            "no training file",
            |f| fs::remove_file(train(f)).unwrap(),
            &["data_batch_1.bin"],
        ),
        (
            "empty",
            |folder| fs::write(train(folder), b"").unwrap(),
            &["data_batch_1.bin", "empty"],
        ),
        (
            "truncated",
            |f| cut(f, -1),
            &["data_batch_1.bin", "record 39", "byte offset 119847"],
        ),
        (
            "oversized",
            |f| cut(f, 5),
            &["data_batch_1.bin", "record 40", "byte offset 122920"],
        ),
        (
            "label",
            |f| label(f, 10),
            &["data_batch_1.bin", "record 1", "label 10", "3073"],
        ),
        (
            "gap",
            |f| fs::write(f.join("data_batch_3.bin"), [0]).unwrap(),
            &["data_batch_2.bin"],
        ),
    ];
    for (name, spoil, words) in cases {
        let folder = data_folder(40, 8);
        spoil(folder.path());
        let data = text(folder.path());
        println!("{name}");
        refused(&["search", "--data", &data, "--dry-run"], 3, "data", words);
        refused(
            &["train", "--data", &data, "--arch", &example("small.json")],
            3,
            "data",
            words,
        );
        if name == "missing" {
            fs::create_dir(folder.path()).unwrap(); // for the folder to remove itself
        }
    }
}

fn train(folder: &Path) -> std::path::PathBuf {
    folder.join("data_batch_1.bin")
}

/// Makes the training file longer or shorter.
fn cut(folder: &Path, by: isize) {
    let mut bytes = fs::read(train(folder)).unwrap();
    bytes.resize(bytes.len().checked_add_signed(by).unwrap(), 0);
    fs::write(train(folder), bytes).unwrap();
}

/// Changes the label of the second record.
fn label(folder: &Path, to: u8) {
    let mut bytes = fs::read(train(folder)).unwrap();
    bytes[3073] = to;
    fs::write(train(folder), bytes).unwrap();
}

#[test]
fn weights() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(40, 8);
    let data = text(data.path());
    let arch = file(
        folder.path(),
        "a.json",
        layers(r#"{"filter":[1,1],"filters":8,"inputs":[0]}"#),
    );
    let saved = text(&folder.path().join("good.safetensors"));
    let arguments = ["--batch", "16", "--epochs", "1", "--save", &saved];
    let trained = nas(&[&["train", "--arch", &arch, "--data", &data], &arguments[..]].concat());
    assert_eq!(trained.code, 0, "{trained:?}");

    let good = fs::read(&saved).unwrap();
    let mut scrambled = good.clone();
    scrambled[..8].fill(0xff);
    let without_metadata =
        r#"{"classifier.bias":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#;
    let bare = [
        &(without_metadata.len() as u64).to_le_bytes(),
        without_metadata.as_bytes(),
    ];
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "safetensors"),
        ("cut", &good[..good.len() - 1], "safetensors"),
        ("scrambled", &scrambled, "safetensors"),
        ("text", b"these are not weights at all", "safetensors"),
        ("bare", &bare.concat(), "metadata"),
    ];
    for (name, bytes, words) in cases {
        let path = file(folder.path(), name, bytes);
        refused(
            &["eval", "--weights", &path, "--data", &data],
            3,
            "weights",
            &[name, words],
        );
    }
    refused(
        &["eval", "--weights", "absent", "--data", &data],
        3,
        "weights",
        &["absent"],
    );
    let other = [
        "train",
        "--arch",
        &example("small.json"),
        "--data",
        &data,
        "--init",
        &saved,
    ];
    refused(&other, 3, "weights", &["good.safetensors", "conv.weight"]);
}

#[test]
fn weights_of_other_data_are_evaluated_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), 40, 8, 1);
    let data = text(folder.path());
    let arch = file(
        folder.path(),
        "a.json",
        layers(r#"{"filter":[1,1],"filters":8,"inputs":[0]}"#),
    );
    let saved = text(&folder.path().join("w.safetensors"));
    let arguments = ["--batch", "16", "--epochs", "1", "--save", &saved];
    nas(&[&["train", "--arch", &arch, "--data", &data], &arguments[..]].concat());
    let eval = ["eval", "--weights", &saved, "--data", &data];
    assert!(!nas(&eval).stderr.contains("other data"));
    write_data(folder.path(), 40, 8, 2);
    let ended = nas(&eval);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("other data"), "{ended:?}");
}

#[test]
fn data_without_an_image_to_validate_on() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), 40, 8, 1);
    let data = text(folder.path());
    let layer = layers(r#"{"filter":[1,1],"filters":8,"inputs":[0]}"#);
    let arch = file(folder.path(), "a.json", layer);
    let saved = text(&folder.path().join("w.safetensors"));
    let arguments = ["--batch", "8", "--epochs", "1", "--save", &saved];
    let trained = nas(&[&["train", "--arch", &arch, "--data", &data], &arguments[..]].concat());
    assert_eq!(trained.code, 0, "{trained:?}");

    write_data(folder.path(), 9, 8, 1);
    let words = ["9 training records", "at least 10"];
    let eval = ["eval", "--weights", &saved, "--data", &data];
    refused(&eval, 2, "usage", &words);
    let test = nas(&[&eval[..], &["--split", "test"]].concat());
    assert_eq!(test.code, 0, "{test:?}");
    let config = file(folder.path(), "small.toml", "[train]\nbatch = 8\n");
    let search = ["search", "--data", &data, "--dry-run"];
    let small = [&search[..], &["--config", &config]].concat();
    refused(&small, 2, "usage", &words);
    refused(&search, 2, "usage", &["batch of 32", "train.batch"]);
}
