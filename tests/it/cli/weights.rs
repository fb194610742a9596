//! Weights files that say what their tensors do not hold, or a name twice, and files of another kind in the place of
//! weights or of an architecture: told the same by every command.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use nas_engine::data::Augment;
use nas_engine::space::{Architecture, ConvArchitecture};
use serde_json::{Map, Value, json};

use super::bad_input::refused;
use super::{example, file, nas, object, program, run, text};
use crate::export::drawn;

const CLASSES: usize = 7;

/// Weights of a network of 7 classes and of a cell, in a folder.
fn drawn_in(folder: &Path) -> [String; 2] {
    let network = fs::read_to_string(example("small.json")).unwrap();
    let network = ConvArchitecture::from_json(&network).unwrap();
    let network = drawn::network(folder, &network, CLASSES, Augment::UpsampleCrop, 1);
    let cell = fs::read_to_string(example("cell-worked.json")).unwrap();
    let Ok(Architecture::Cell(cell)) = Architecture::from_json(&cell) else {
        panic!("a cell")
    };
    let cell = drawn::language(folder, &cell, 2);
    [text(&network.unwrap().file), text(&cell.file)]
}

/// The header of weights, as of another program, which writes no digest, and the bytes of their tensors.
fn taken_apart(weights: &str) -> (Map<String, Value>, Vec<u8>) {
    let bytes = fs::read(weights).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let strings = header["__metadata__"].as_object_mut().unwrap();
    strings.remove("content_sha256").unwrap();
    strings.remove("format").unwrap();
    (header, data.to_vec())
}

fn put_together(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}

/// Weights whose metadata name other classes.
fn with_classes(folder: &Path, weights: &str, classes: &[String]) -> String {
    let (mut header, data) = taken_apart(weights);
    header["__metadata__"]["classes"] = json!(classes).to_string().into();
    let header = Value::Object(header).to_string();
    file(folder, "other.safetensors", put_together(&header, &data))
}

/// Every command that reads weights whole, of a network and of a cell.
fn commands<'a>(weights: &'a str, out: &'a str) -> [Vec<&'a str>; 5] {
    [
        vec!["eval", "--weights", weights],
        vec!["predict", "--weights", weights, "picture.png"],
        vec![
            "export",
            "--weights",
            weights,
            "--format",
            "onnx",
            "--out",
            out,
        ],
        vec!["export", "--arch", weights, "--format", "svg", "--out", out],
        vec!["sample", "--weights", weights],
    ]
}

#[test]
fn classes_that_are_not_those_of_the_tensors_are_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let [network, cell] = drawn_in(folder.path());
    let out = text(&folder.path().join("out"));
    let names = |n: usize| -> Vec<String> { (0..n).map(|n| format!("c{n}")).collect() };
    for (n, words) in [
        (0, "names 0 classes, not 1 to 1000000"),
        (3, "names 3 classes, and tensor `classifier.weight` is of 7"),
        (8, "names 8 classes, and tensor `classifier.weight` is of 7"),
    ] {
        let other = with_classes(folder.path(), &network, &names(n));
        for command in commands(&other, &out) {
            let words = [
                "other.safetensors",
                "metadata `classes`",
                words,
                "train --save",
            ];
            refused(&command, 3, "weights", &words);
        }
    }
    let (header, _) = taken_apart(&cell);
    let rows = header["embedding.weight"]["shape"][0].as_u64().unwrap() as usize;
    let other = with_classes(folder.path(), &cell, &names(rows + 1));
    let words = format!(
        "names {} words, and tensor `embedding.weight` is of {rows}",
        rows + 1
    );
    for command in commands(&other, &out) {
        refused(&command, 3, "weights", &["metadata `classes`", &words]);
    }
    assert!(!Path::new(&out).exists());
    // As many as there are, by other names.
    let other = with_classes(folder.path(), &network, &names(CLASSES));
    let command = [
        "export",
        "--weights",
        &other,
        "--format",
        "safetensors",
        "--out",
        &out,
    ];
    assert_eq!(nas(&command).code, 0);
}

#[test]
fn a_name_that_is_twice_in_a_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [network, _] = drawn_in(folder.path());
    let out = text(&folder.path().join("out"));
    let (header, data) = taken_apart(&network);
    let bias = header["classifier.bias"].to_string();
    let header = Value::Object(header).to_string();
    let read = |header: &str| {
        let path = file(
            folder.path(),
            "twice.safetensors",
            put_together(header, &data),
        );
        let ended = nas(&[
            "export",
            "--weights",
            &path,
            "--format",
            "safetensors",
            "--out",
            &out,
        ]);
        let _ = fs::remove_file(&out);
        (ended.code, ended.stderr)
    };
    assert_eq!(read(&header).0, 0);
    for (entry, name) in [
        (format!("{{\"classifier.bias\":{bias},"), "classifier.bias"),
        (
            "{\"classifier.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},".into(),
            "classifier.bias",
        ),
        ("{\"__metadata__\":{},".into(), "__metadata__"),
    ] {
        let (code, words) = read(&header.replacen('{', &entry, 1));
        assert_eq!(code, 3, "{words}");
        assert!(
            words.contains(name) && words.contains("twice.safetensors"),
            "{words}"
        );
    }
    let seed = header.replacen("\"seed\":", "\"seed\":\"3\",\"seed\":", 1);
    let (code, words) = read(&seed);
    assert!(
        code == 3 && words.contains("its header names `seed` twice"),
        "{words}"
    );
}

#[test]
fn an_architecture_in_the_place_of_weights_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("out"));
    let arch = example("small.json");
    let pretty = format!("\u{feff}\n{}", fs::read_to_string(&arch).unwrap());
    for arch in [
        arch,
        file(folder.path(), "pretty.json", pretty),
        file(folder.path(), "a.json", "{}"),
    ] {
        let train = vec!["train", "--arch", &arch, "--limit", "100", "--init", &arch];
        let mut all = commands(&arch, &out).to_vec();
        all.remove(3); // which takes both
        all.push(train);
        for command in all {
            if command[0] == "train" && arch.ends_with("a.json") {
                continue; // no architecture
            }
            let words = [
                &*arch,
                "is JSON and holds no weights",
                "--arch",
                "train --save",
            ];
            let ended = run(program().args(&command).arg("--json"));
            let error = &object(&ended)["error"];
            assert_eq!(
                (ended.code, &error["kind"]),
                (3, &"weights".into()),
                "{ended:?}"
            );
            let message = error["message"].as_str().unwrap();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}

#[test]
fn weights_in_the_place_of_an_architecture_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let [network, _] = drawn_in(folder.path());
    // Longer than an architecture may be.
    let long = file(
        folder.path(),
        "long",
        [fs::read(&network).unwrap(), vec![0; 5 << 20]].concat(),
    );
    for weights in [&network, &long] {
        for command in ["inspect", "train", "roofline"] {
            let command = [command, "--arch", weights];
            let words = [
                &**weights,
                "looks like weights",
                "JSON of an architecture",
                "export --arch",
            ];
            refused(&command, 2, "architecture", &words);
        }
    }
    // By a pipe.
    let mut child = program()
        .args(["inspect", "--arch", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = fs::read(&network).unwrap();
    let _ = child.stdin.take().unwrap().write_all(&bytes);
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && words.contains("looks like weights"),
        "{words}"
    );
}
