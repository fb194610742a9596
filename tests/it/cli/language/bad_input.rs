//! What cells cannot be trained with, and what is said of it.

use std::fs;

use super::super::bad_input::refused;
use super::super::{data_folder, example, file, text};
use super::Place;

#[test]
fn bad_input() {
    let place = Place::new();
    let cell = example("cell-lstm.json");
    let train = |more: &[&str]| {
        let train = ["train", "--arch", &cell, "--config", &place.config];
        [&train[..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let refused = |arguments: &[String], code, kind, words: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(&arguments, code, kind, words);
    };
    let data = &place.data[..];
    let on = |text: &str| {
        let path = file(place.folder.path(), "other.txt", text);
        train(&["--data", &path])
    };
    refused(&on(""), 3, "data", &["other.txt", "empty"]);
    refused(&on("a b c d e f"), 3, "data", &["other.txt", "part"]);
    let short = "a b c ".repeat(20);
    refused(
        &on(&short),
        2,
        "usage",
        &["other.txt", "4 rows of", "batch"],
    );
    let images = data_folder(20, 4);
    let images = text(images.path());
    refused(&train(&["--data", &images]), 3, "data", &["images", "text"]);
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
        refused(&train(&["--data", data, flag, value]), 2, kind, words);
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

    // Budgets and sizes in a file, where they stand.
    let with = |line: &str, words: &[&str]| {
        let toml = format!("[search]\npreset = \"cell-sample\"\n[train]\n{line}\n");
        let config = file(place.folder.path(), "wrong.toml", toml);
        let search = ["search", "--data", data, "--config", &config].map(str::to_owned);
        refused(&search, 2, "config", words);
    };
    with(
        "parameters = 40",
        &["40 parameters are too few", "one hidden unit"],
    );
    with("parameters = 0", &["wrong.toml, line 4", "from 1"]);
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
    let huge = ["train", "--arch", &cell, "--config", &huge, "--data", data].map(str::to_owned);
    refused(
        &huge,
        2,
        "usage",
        &["the plan takes", "machine with more memory"],
    );

    // Weights and the text that they are of.
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
    let init = train(&["--data", data, "--hidden", "7", "--init", &saved]);
    refused(
        &init,
        3,
        "weights",
        &["embedding.weight", "[7, 6]", "[7, 7]"],
    );
    let cut = fs::read(&saved).unwrap();
    let cut = file(
        place.folder.path(),
        "cut.safetensors",
        &cut[..cut.len() - 5],
    );
    for command in ["eval", "sample"] {
        let arguments = [command, "--weights", &cut].map(str::to_owned);
        refused(&arguments, 3, "weights", &["cut.safetensors"]);
    }
}
