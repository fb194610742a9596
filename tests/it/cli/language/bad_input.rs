//! What cells cannot be trained with, and what is said of it.

use std::collections::HashMap;
use std::fs;

use safetensors::SafeTensors;

use super::super::{bad_input, data_folder, example, file, nas, text};
use super::Place;

fn refused(arguments: &[String], code: i32, kind: &str, words: &[&str]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    bad_input::refused(&arguments, code, kind, words);
}

/// The command that trains an LSTM by the settings of a place.
fn train(place: &Place, more: &[&str]) -> Vec<String> {
    let cell = example("cell-lstm.json");
    let train = ["train", "--arch", &cell, "--config", &place.config];
    [&train[..], more]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[test]
fn texts() {
    let place = Place::new();
    let on = |text: &str| {
        let path = file(place.folder.path(), "other.txt", text);
        train(&place, &["--data", &path])
    };
    refused(&on(""), 3, "data", &["other.txt", "empty"]);
    refused(&on("a b c d e f"), 3, "data", &["other.txt", "part"]);
    let short = "a b c ".repeat(20);
    let words = ["other.txt", "4 rows of", "--batch", "train.steps"];
    refused(&on(&short), 2, "usage", &words);
    let images = data_folder(20, 4);
    let images = text(images.path());
    let words = ["images", "text"];
    refused(&train(&place, &["--data", &images]), 3, "data", &words);
}

#[test]
fn flags() {
    let place = Place::new();
    let data = &place.data[..];
    for (flag, value, kind, words) in [
        ("--hidden", "0", "config", &["--hidden", "from 1"][..]),
        ("--hidden", "99999", "config", &["--hidden", "16384"]),
        ("--dropout", "1", "config", &["--dropout", "below 1"]),
        ("--vocabulary", "0", "config", &["--vocabulary", "from 2"]),
        ("--epochs", "0", "config", &["--epochs"]),
        ("--limit", "20", "usage", &["--limit", "images"]),
        (
            "--augment",
            "none",
            "usage",
            &["--augment", "a recurrent cell"],
        ),
    ] {
        refused(
            &train(&place, &["--data", data, flag, value]),
            2,
            kind,
            words,
        );
    }
    let network = example("small.json");
    let hidden = ["train", "--arch", &network, "--hidden", "8"].map(str::to_owned);
    refused(
        &hidden,
        2,
        "usage",
        &["--hidden", "a convolutional network"],
    );
    let other = ["train", "--arch", &network, "--config", &place.config].map(str::to_owned);
    refused(
        &other,
        2,
        "usage",
        &["small.json", "--space conv", "--space cell"],
    );
}

/// Budgets and sizes in a file, where they stand.
#[test]
fn settings() {
    let place = Place::new();
    let data = &place.data[..];
    let with = |line: &str, words: &[&str]| {
        let toml = format!("[search]\npreset = \"cell-sample\"\n[train]\n{line}\n");
        let config = file(place.folder.path(), "wrong.toml", toml);
        let search = ["search", "--data", data, "--config", &config].map(str::to_owned);
        refused(&search, 2, "config", words);
    };
    with(
        "parameters = 40",
        &["`train.parameters` is 40, too few", "one hidden unit"],
    );
    with("parameters = 0", &["wrong.toml, line 4", "1 or more"]);
    with(
        "parameters = 9\nhidden = 9",
        &["`train.parameters`", "one of them"],
    );
    with("steps = 0", &["wrong.toml, line 4", "from 1 to 1024"]);
    with("layers = 65", &["wrong.toml, line 4", "from 1 to 64"]);
    with("decay = 0.0", &["wrong.toml, line 4", "above 0"]);
    with("max_norm = -1.0", &["wrong.toml, line 4", "above 0"]);
    with("augment = \"none\"", &["`train.augment` is no setting"]);

    // What no machine has the memory for.
    let huge = "[search]\npreset = \"cell-sample\"\n[train]\nlayers = 64\nhidden = 16384\n";
    let huge = file(place.folder.path(), "huge.toml", huge);
    let cell = example("cell-lstm.json");
    let huge = ["train", "--arch", &cell, "--config", &huge, "--data", data].map(str::to_owned);
    refused(
        &huge,
        2,
        "usage",
        &["the plan takes", "machine with more memory"],
    );
}

/// Weights and the text that they are of.
#[test]
fn weights_of_another_model() {
    let place = Place::new();
    let data = &place.data[..];
    let saved = place.path("w.safetensors");
    place.train("cell-lstm.json", &["--save", &saved]);
    let eval = |more: &[&str]| {
        [&["eval", "--weights", &saved][..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let other = file(place.folder.path(), "words.txt", "x y z w ".repeat(90));
    refused(
        &eval(&["--data", &other]),
        3,
        "data",
        &["other words", "--data"],
    );
    refused(
        &eval(&["--data", data, "--level", "char"]),
        2,
        "usage",
        &["--level"],
    );
    refused(
        &eval(&["--data", data, "--vocabulary", "5"]),
        2,
        "usage",
        &["--vocabulary"],
    );
    let init = train(&place, &["--data", data, "--hidden", "7", "--init", &saved]);
    refused(
        &init,
        3,
        "weights",
        &["embedding.weight", "[7, 6]", "[7, 7]"],
    );
}

/// A saved file with other metadata and, where `value` is given, that as the first word's bias.
fn edited(saved: &str, path: &str, metadata: &[(&str, Option<&str>)], value: Option<f32>) {
    let bytes = fs::read(saved).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut words: HashMap<String, String> = header.metadata().clone().unwrap();
    // As another program writes it, which knows of no digest.
    words.retain(|key, _| key != "format" && key != "content_sha256");
    for &(key, text) in metadata {
        match text {
            Some(text) => words.insert(key.to_owned(), text.to_owned()),
            None => words.remove(key),
        };
    }
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, tensor)| {
        let mut data = tensor.data().to_vec();
        if let Some(value) = value.filter(|_| name == "decoder.bias") {
            data[..4].copy_from_slice(&value.to_le_bytes());
        }
        (name, tensor.dtype(), tensor.shape().to_vec(), data)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    let written = safetensors::serialize(views, Some(words)).unwrap();
    fs::write(path, written).unwrap();
}

#[test]
fn weights_files_that_were_edited() {
    let place = Place::new();
    let (saved, path) = (
        place.path("w.safetensors"),
        place.path("edited.safetensors"),
    );
    place.train("cell-lstm.json", &["--save", &saved]);
    let command = |name: &str| {
        let mut words = vec![name.to_owned(), "--weights".to_owned(), path.clone()];
        if name == "eval" {
            words.extend(["--data".to_owned(), place.data.clone()]);
        }
        words
    };
    let whole = fs::read(&saved).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    for name in ["eval", "sample"] {
        refused(&command(name), 3, "weights", &["edited.safetensors"]);
    }
    let words = ["edited.safetensors", "not finite, or too large"];
    for value in [f32::NAN, f32::INFINITY] {
        edited(&saved, &path, &[], Some(value));
        for name in ["eval", "sample"] {
            refused(&command(name), 3, "weights", &words);
        }
    }
    // A loss that is a number, and whose perplexity is none.
    edited(&saved, &path, &[], Some(2000.0));
    refused(&command("eval"), 3, "weights", &words);
    for limit in ["0", "1", "-3"] {
        edited(&saved, &path, &[("vocabulary_limit", Some(limit))], None);
        refused(
            &command("eval"),
            3,
            "weights",
            &["edited.safetensors", "vocabulary_limit"],
        );
    }
    // Words that are not there, or not those of the digest.
    let other_order = r#"["b","a","c","d","e","f","<unk>"]"#;
    for classes in [None, Some("[]"), Some(other_order)] {
        edited(&saved, &path, &[("classes", classes)], None);
        refused(
            &command("sample"),
            3,
            "weights",
            &["edited.safetensors", "`classes`"],
        );
    }
    // Data of the same words, but not those it was trained on: a warning.
    edited(&saved, &path, &[("data_sha256", Some("0"))], None);
    let command = command("eval");
    let ended = nas(&command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("was trained on other data"),
        "{}",
        ended.stderr
    );
}

#[test]
fn weights_of_a_network_write_no_text() {
    let images = data_folder(40, 10);
    let place = Place::new();
    let (arch, saved) = (example("small.json"), place.path("network.safetensors"));
    let images = text(images.path());
    let train = ["train", "--arch", &arch, "--data", &images, "--epochs", "1"];
    let train = [&train[..], &["--batch", "8", "--save", &saved]].concat();
    assert_eq!(nas(&train).code, 0);
    let sample = ["sample", "--weights", &saved].map(str::to_owned);
    refused(
        &sample,
        3,
        "weights",
        &["network.safetensors", "convolutional network"],
    );
}
