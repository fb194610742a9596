//! `export` as a user types it: drawings, files for other programs, and what is refused.

mod checks;

use std::fs;
use std::path::Path;

use nas_engine::data::Augment;
use nas_engine::space::{Architecture, CellArchitecture, ConvArchitecture};
use serde_json::Value;
use tempfile::TempDir;

use super::bad_input::refused;
use super::{data_folder, example, file, json, nas, text};
use crate::export::drawn;

const ARCHITECTURE: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
    {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[1]},
    {"type":"lcn","inputs":[2]},
    {"filter":[1,3],"filters":12,"inputs":[0,1,3]}]}"#;

/// A folder with weights of a network and of a cell.
struct Place {
    folder: TempDir,
    network: String,
    cell: String,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let architecture = ConvArchitecture::from_json(ARCHITECTURE).unwrap();
        let network = drawn::network(folder.path(), &architecture, 7, Augment::UpsampleCrop, 1);
        let cell = include_str!("../../../examples/cell-worked.json");
        let Ok(Architecture::Cell(cell)) = Architecture::from_json(cell) else {
            panic!("a cell")
        };
        let cell = drawn::language(folder.path(), &cell, 2);
        Place {
            network: text(&network.unwrap().file),
            cell: text(&cell.file),
            folder,
        }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// Names in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

#[test]
fn architectures_are_drawn() {
    let place = Place::new();
    let plain = file(place.folder.path(), "arch.json", ARCHITECTURE);
    let draw = |arch: &str, format: &str, more: &[&str]| -> String {
        let out = place.path("drawing");
        let command = ["export", "--arch", arch, "--format", format, "--out", &out];
        let said = json(&[&command[..], more].concat());
        assert_eq!(
            (&said["path"], &said["format"]),
            (&out.as_str().into(), &format.into())
        );
        assert!(
            said["records"].is_null() && said["largest_difference"].is_null(),
            "{said}"
        );
        let drawing = fs::read_to_string(&out).unwrap();
        fs::remove_file(&out).unwrap();
        drawing
    };
    for arch in [&plain, &place.network] {
        let svg = draw(arch, "svg", &[]);
        assert!(
            svg.starts_with("<svg ") && svg.contains("conv 1x3, 12 filters"),
            "{svg}"
        );
        let dot = draw(arch, "dot", &[]);
        assert!(
            dot.starts_with("digraph network") && dot.contains("n1 -> n4 [style"),
            "{dot}"
        );
    }
    let of = |arch: &str, more: &[&str]| -> Value {
        serde_json::from_str(&draw(arch, "json", more)).unwrap()
    };
    let network = of(&plain, &["--classes", "7"]);
    assert_eq!(
        network,
        of(&place.network, &[]),
        "weights say how many classes"
    );
    assert_eq!(
        network["layers"][3]["input"],
        serde_json::json!([3 + 8 + 8, 32, 32])
    );
    let inspected = json(&["inspect", "--arch", &plain, "--classes", "7"]);
    for key in ["parameters", "multiply_adds"] {
        assert_eq!(network[key], inspected[key]);
    }
    assert_eq!(of(&plain, &[])["classifier"]["classes"], 10);

    let worked = example("cell-worked.json");
    assert!(draw(&worked, "svg", &[]).contains(">c_t<"));
    assert!(draw(&worked, "dot", &[]).starts_with("digraph cell"));
    let cell = of(&worked, &[]);
    assert!(cell["parameters"].is_null() && cell["equations"].is_array());
    let sized = of(&place.cell, &[]);
    assert_eq!(sized["architecture"], cell["architecture"]);
    assert!(sized["parameters"].as_u64() > Some(0) && sized["multiply_adds"].as_u64() > Some(0));
    assert!(draw(&example("cell-lstm.json"), "svg", &[]).contains(">h_t<"));
}

#[test]
fn a_network_is_written_and_checked() {
    let place = Place::new();
    let data = data_folder(20, 4);
    let (out, data) = (place.path("a.onnx"), text(data.path()));
    let said = json(&[
        "export",
        "--weights",
        &place.network,
        "--format",
        "onnx",
        "--out",
        &out,
        "--data",
        &data,
    ]);
    assert_eq!(
        (&said["records"], &said["format"]),
        (&64.into(), &"onnx".into())
    );
    assert!(
        said["largest_difference"].as_f64().unwrap() < 1e-3,
        "{said}"
    );
    assert_eq!(said["checked_by"].as_array().unwrap().len(), 1, "{said}");
    let bytes = fs::read(&out).unwrap();
    let holds = |words: &str| {
        bytes
            .windows(words.len())
            .any(|part| part == words.as_bytes())
    };
    for words in [
        "nas-engine",
        "validation_accuracy",
        "class \\\"0\\\"",
        "tract-onnx",
    ] {
        assert!(holds(words), "{words}");
    }
    // The same bytes every time.
    let again = place.path("b.onnx");
    json(&[
        "export",
        "--weights",
        &place.network,
        "--format",
        "onnx",
        "--out",
        &again,
    ]);
    assert_eq!(fs::read(&again).unwrap(), bytes);

    let unchecked = place.path("c.onnx");
    let said = json(&[
        "export",
        "--weights",
        &place.network,
        "--format",
        "onnx",
        "--input",
        "view",
        "--out",
        &unchecked,
        "--no-check",
    ]);
    assert!(
        said["records"].is_null() && said["checked_by"] == serde_json::json!([]),
        "{said}"
    );
    let text = fs::read(&unchecked).unwrap();
    let words = b"nothing (--no-check)";
    assert!(text.windows(words.len()).any(|part| part == words));
    let left: Vec<String> = place.names();
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
}

#[test]
fn a_cell_is_written_and_checked() {
    let place = Place::new();
    for (name, more) in [
        ("one", &[][..]),
        ("five", &["--steps", "5"]),
        ("any", &["--scan"]),
    ] {
        let out = place.path(name);
        let command = [
            "export",
            "--weights",
            &place.cell,
            "--format",
            "onnx",
            "--out",
            &out,
        ];
        let said = json(&[&command[..], more].concat());
        assert!(said["records"].as_u64() >= Some(64), "{said}");
    }
}

#[test]
fn plain_tensors_are_those_of_pytorch() {
    let place = Place::new();
    for weights in [&place.network, &place.cell] {
        let out = place.path("plain");
        let said = json(&[
            "export",
            "--weights",
            weights,
            "--format",
            "safetensors",
            "--out",
            &out,
        ]);
        assert_eq!(said["checked_by"].as_array().unwrap().len(), 1, "{said}");
        let bytes = fs::read(&out).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
        match weights == &place.network {
            true => assert_eq!(shape("layers.1.conv.weight"), [8, 3, 3, 3]),
            false => {
                let hidden = shape("embedding.weight")[1];
                assert_eq!(shape("layers.1.input.weight"), [2 * hidden, hidden]);
                assert_eq!(shape("decoder.weight"), shape("embedding.weight"));
            }
        }
        fs::remove_file(&out).unwrap();
    }
}

/// Of a folder for PyTorch, where no torch is at hand.
#[test]
fn without_torch_a_folder_is_refused_or_not_checked() {
    let place = Place::new();
    let out = place.path("folder");
    let command = [
        "export",
        "--weights",
        &place.network,
        "--format",
        "pytorch",
        "--out",
        &out,
    ];
    let missing = place.path("no-python");
    let ended = nas(&[&command[..], &["--python", &missing]].concat());
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("--no-check") && ended.stderr.contains("torch"),
        "{ended:?}"
    );
    assert!(!Path::new(&out).exists());
    json(&[&command[..], &["--no-check"]].concat());
    let script = fs::read_to_string(Path::new(&out).join("model.py")).unwrap();
    assert!(
        script.contains("def load()") && !script.contains("@CONSTANTS@"),
        "{script}"
    );
    assert!(Path::new(&out).join("weights.safetensors").is_file());
    let left = place.names();
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
}

#[test]
fn what_cannot_be_exported_is_told() {
    let place = Place::new();
    let before = place.names();
    let out = place.path("out");
    let export = |code: i32, kind: &str, flags: &[&str], words: &[&str]| {
        let command = [&["export", "--out", &out], flags].concat();
        refused(&command, code, kind, words);
        assert!(!Path::new(&out).exists(), "{flags:?}");
    };
    let (network, cell) = (place.network.as_str(), place.cell.as_str());
    let with = |code: i32, kind: &str, weights: &str, more: &[&str], words: &[&str]| {
        let flags = ["--format", "onnx", "--weights", weights];
        export(code, kind, &[&flags[..], more].concat(), words);
    };
    with(
        2,
        "usage",
        network,
        &["--steps", "2"],
        &["--steps", "recurrent cell"],
    );
    with(2, "usage", network, &["--scan"], &["--scan"]);
    with(
        2,
        "usage",
        cell,
        &["--input", "view"],
        &["--input", "convolutional"],
    );
    with(2, "usage", cell, &["--steps", "0"], &["--steps is 0"]);
    with(2, "usage", network, &["--classes", "3"], &["--classes"]);
    export(
        2,
        "usage",
        &["--arch", network, "--format", "onnx"],
        &["--weights"],
    );
    export(
        2,
        "usage",
        &["--weights", network, "--format", "svg"],
        &["--arch"],
    );
    export(
        2,
        "usage",
        &["--arch", network, "--format", "svg", "--no-check"],
        &["--no-check"],
    );
    let plain = [
        "--weights",
        network,
        "--format",
        "safetensors",
        "--input",
        "view",
    ];
    export(2, "usage", &plain, &["--format onnx"]);

    // Weights that are none, cut, of another architecture, or no numbers.
    let bytes = fs::read(network).unwrap();
    for n in [0, 4, 100, bytes.len() - 1] {
        let cut = file(place.folder.path(), "cut", &bytes[..n]);
        with(3, "weights", &cut, &[], &["cut"]);
        fs::remove_file(&cut).unwrap();
    }
    with(3, "weights", &place.path("absent"), &[], &["absent"]);
    let mut hostile = (u64::MAX).to_le_bytes().to_vec();
    hostile.extend(b"{}");
    let hostile = file(place.folder.path(), "hostile", hostile);
    with(3, "weights", &hostile, &[], &["hostile"]);
    fs::remove_file(&hostile).unwrap();
    assert_eq!(place.names(), before);

    // Something is there: a file, a folder, a link that leads nowhere.
    fs::write(&out, "mine").unwrap();
    let there = [
        "export",
        "--out",
        &out,
        "--format",
        "onnx",
        "--weights",
        network,
    ];
    refused(&there, 2, "usage", &["exists already"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    fs::remove_file(&out).unwrap();
    fs::create_dir(&out).unwrap();
    refused(&there, 2, "usage", &["exists already"]);
    fs::remove_dir(&out).unwrap();
    std::os::unix::fs::symlink("nowhere", &out).unwrap();
    refused(&there, 2, "usage", &["exists already"]);
    fs::remove_file(&out).unwrap();
    let nowhere = place.path("no/file");
    let absent = [
        "export",
        "--out",
        &nowhere,
        "--format",
        "onnx",
        "--no-check",
        "--weights",
        network,
    ];
    let words = format!(
        "{nowhere}: the folder {} does not exist; make it, or name another place",
        place.path("no")
    );
    refused(&absent, 2, "usage", &["cannot write", &nowhere, &words]);
    let drawing = [
        "export", "--arch", network, "--format", "svg", "--out", &nowhere,
    ];
    refused(&drawing, 2, "usage", &["cannot write", &nowhere, &words]);
}

#[test]
fn weights_that_are_no_numbers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let cell = CellArchitecture::Lstm;
    let child = drawn::language(folder.path(), &cell, 3);
    // A file of no digest, as other programs write it.
    let bytes = fs::read(&child.file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    metadata.remove("content_sha256");
    metadata.remove("format");
    let mut views = tensors.tensors();
    let spoilt = [f32::NAN.to_le_bytes(); 1 << 12].concat();
    for (name, view) in &mut views {
        if name == "decoder.bias" {
            let (kind, shape) = (view.dtype(), view.shape().to_vec());
            let n = 4 * shape[0];
            *view = safetensors::tensor::TensorView::new(kind, shape, &spoilt[..n]).unwrap();
        }
    }
    let spoilt = safetensors::serialize(views, Some(metadata)).unwrap();
    let path = file(folder.path(), "spoilt", spoilt);
    let out = text(&folder.path().join("out"));
    for format in ["onnx", "safetensors"] {
        let command = [
            "export",
            "--weights",
            &path,
            "--format",
            format,
            "--out",
            &out,
        ];
        refused(&command, 3, "weights", &["not finite"]);
        assert!(!Path::new(&out).exists());
    }
}
