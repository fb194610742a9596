//! Drawn architectures of every layer type, stride and unequal size, and drawn cells, in every reader.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use nas_engine::data::Augment;
use nas_engine::export::expected::RECORDS;
use nas_engine::export::onnx::{ImageInput, Steps};
use nas_engine::export::tensor::Call;
use nas_engine::export::{self, Check, OnnxOptions, Place, python};
use nas_engine::space::ConvArchitecture;

use super::drawn::{Child, calls, cell, language, network};
use crate::oracle::draw;

/// Networks that are drawn besides those that are written out, and cells.
const N_NETWORKS: u64 = 20;
const N_CELLS: u64 = 16;

/// As many as the published figure is about, which a person starts:
/// `NAS_ENGINE_TORCH_PYTHON=… cargo test --release --test it -- --ignored --nocapture export::`.
const N_MANY: (u64, u64) = (1000, 100);

/// Records of each of those: the reference takes its time.
const N_RECORDS: usize = 4;

/// Names the interpreter that has onnxruntime, in place of `.venv/bin/python`.
const PYTHON_VARIABLE: &str = "NAS_ENGINE_EXPORT_PYTHON";
/// Names the interpreter that has torch.
const TORCH_VARIABLE: &str = "NAS_ENGINE_TORCH_PYTHON";

/// An export that the program has read back already.
struct Exported {
    path: PathBuf,
    calls: Vec<Call>,
    what: String,
}

/// The networks in a folder, each once.
fn networks(folder: &Path, numbers: std::ops::Range<u64>) -> Vec<Child> {
    let mut cases = vec![];
    if numbers.start == 0 {
        cases.extend(draw::written());
    }
    cases.extend(numbers.map(draw::case));
    let child = |(at, case): (usize, &draw::Case)| {
        let seed = 10_000 * at as u64 + case.seed;
        network(folder, &case.architecture, case.classes, case.augment, seed)
    };
    cases.iter().enumerate().filter_map(child).collect()
}

/// How a child is written: every way in turn.
fn options(number: usize) -> OnnxOptions {
    OnnxOptions {
        input: [ImageInput::Bytes, ImageInput::View][number % 2],
        steps: [
            Steps::Unrolled(1),
            Steps::Unrolled(3),
            Steps::Scan,
            Steps::Unrolled(10),
        ][number % 4],
    }
}

/// Exports a child as ONNX, which the reader in the program has to understand.
fn as_onnx(folder: &Path, child: &Child, n_records: usize, number: usize) -> Exported {
    let options = options(number);
    let calls = calls(child, n_records, options.input, options.steps);
    let what = format!("{options:?} of {}", child.metadata.architecture.to_json());
    let path = folder.join(format!("{}.onnx", child.metadata.seed));
    let check = Check {
        calls: &calls,
        python: None,
    };
    let child = (&child.model, &child.metadata);
    let place = Place {
        out: &path,
        stop: &AtomicBool::new(false),
    };
    let checked = export::write_onnx(child, options, Some(check), place);
    let checked = checked.unwrap_or_else(|error| panic!("{error}\n{what}"));
    assert_eq!(checked.by.len(), 1, "{what}");
    assert!(checked.records >= n_records, "{} {what}", checked.records);
    Exported { path, calls, what }
}

/// Exports a child as a folder for PyTorch too, which nothing has read yet.
fn as_torch(folder: &Path, child: &Child, onnx: &Exported) -> Exported {
    let path = folder.join(format!("{}.torch", child.metadata.seed));
    let place = Place {
        out: &path,
        stop: &AtomicBool::new(false),
    };
    export::write_torch((&child.model, &child.metadata), None, place).unwrap();
    Exported {
        path,
        calls: onnx.calls.clone(),
        what: onnx.what.clone(),
    }
}

/// Asks a Python, in one process, and compares.
fn compare(python: &Path, exports: &[Exported]) {
    let questions = exports.iter().map(|e| (&*e.path, &*e.calls));
    let answers = python::answers(
        python,
        &questions.collect::<Vec<_>>(),
        &AtomicBool::new(false),
    );
    let answers = answers.unwrap_or_else(|error| {
        panic!(
            "{}: {error:?}; scripts/test sets onnxruntime up",
            python.display()
        )
    });
    assert_eq!(answers.len(), exports.len());
    for (export, (reader, answers)) in exports.iter().zip(&answers) {
        assert_eq!(answers.len(), export.calls.len());
        for (call, outputs) in export.calls.iter().zip(answers) {
            assert_eq!(outputs.len(), call.expected.len());
            for (expected, found) in call.expected.iter().zip(outputs) {
                let compared = expected.compare(found);
                compared.unwrap_or_else(|reason| panic!("{reader}: {reason}\n{}", export.what));
            }
        }
    }
}

fn onnxruntime() -> PathBuf {
    let given = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python"))
}

#[test]
fn drawn_networks_and_cells_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut exports = vec![];
    for (number, child) in networks(folder.path(), 0..N_NETWORKS).iter().enumerate() {
        exports.push(as_onnx(folder.path(), child, RECORDS, number));
    }
    exports.extend(strided_points(folder.path()));
    assert!(exports.len() > 20);
    for number in 0..N_CELLS {
        let child = language(folder.path(), &cell(number), 500_000 + number);
        exports.push(as_onnx(folder.path(), &child, RECORDS, number as usize));
    }
    check_form(&exports);
    compare(&onnxruntime(), &exports);
}

/// What a reader has stumbled over: convolutions of single pixels that stride over the image itself.
fn strided_points(folder: &Path) -> Vec<Exported> {
    let views = [Augment::PadCrop, Augment::UpsampleCrop];
    let export = |(number, &view): (usize, &Augment)| {
        let json = r#"{"space":"conv","layers":[{"filter":[1,1],"filters":8,"stride":[1,2],"inputs":[0]}]}"#;
        let architecture = ConvArchitecture::from_json(json).unwrap();
        let child = network(folder, &architecture, 3, view, 400_000 + number as u64);
        as_onnx(folder, &child.unwrap(), RECORDS, 2 * number)
    };
    views.iter().enumerate().map(export).collect()
}

/// Files in the form that ONNX asks for, of the version that formats.md, section 3, says, by the package `onnx`.
fn check_form(exports: &[Exported]) {
    let script = "\
import sys, onnx
for path in sys.argv[1:]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17), path
    assert model.producer_name == 'nas-engine', path
    names = [node.name for node in model.graph.node]
    assert all(names) and len(names) == len(set(names)), path
    operators = {node.op_type for node in model.graph.node}
    assert 'Loop' not in operators, path
    for node in model.graph.node:
        assert node.op_type != 'Concat' or len(node.input) > 1, (path, node)
        assert node.op_type != 'Gemm' or len(node.input) == 3, (path, node)
        assert not {'auto_pad', 'ceil_mode'} & {a.name for a in node.attribute}, (path, node)
    keys = {entry.key for entry in model.metadata_props}
    assert {'architecture', 'classes', 'nas_engine_version'} <= keys, keys
";
    let output = Command::new(onnxruntime())
        .args(["-c", script])
        .args(exports.iter().map(|export| &export.path))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}

/// Of the published figure: none of 1,000 networks differs in onnxruntime, nor in PyTorch where an interpreter is
/// named that has it.
#[test]
#[ignore = "takes long; a person starts it"]
fn a_thousand_networks_differ_nowhere() {
    let (mut n, mut next) = (0, 0);
    while n < N_MANY.0 {
        let folder = tempfile::tempdir().unwrap();
        let children = networks(folder.path(), next..next + 50);
        n += compare_everywhere(folder.path(), &children);
        next += 50;
    }
    println!("{n} networks: 0 differ");
}

/// As above, of 100 cells.
#[test]
#[ignore = "takes long; a person starts it"]
fn a_hundred_cells_differ_nowhere() {
    let mut n = 0;
    while n < N_MANY.1 {
        let folder = tempfile::tempdir().unwrap();
        let child = |number| language(folder.path(), &cell(number), number);
        let children: Vec<Child> = (n..n + 25).map(child).collect();
        n += compare_everywhere(folder.path(), &children);
    }
    println!("{n} cells: 0 differ");
}

/// How many were compared.
fn compare_everywhere(folder: &Path, children: &[Child]) -> u64 {
    let numbered = children.iter().enumerate();
    let onnx: Vec<Exported> = numbered
        .map(|(number, child)| as_onnx(folder, child, N_RECORDS, number))
        .collect();
    compare(&onnxruntime(), &onnx);
    let mut readers = "tract-onnx, onnxruntime".to_owned();
    if let Some(torch) = std::env::var_os(TORCH_VARIABLE).map(PathBuf::from) {
        let both = children.iter().zip(&onnx);
        let folders: Vec<Exported> = both
            .map(|(child, onnx)| as_torch(folder, child, onnx))
            .collect();
        compare(&torch, &folders);
        readers += ", torch";
    }
    println!("{} more: 0 differ in {readers}", children.len());
    children.len() as u64
}
