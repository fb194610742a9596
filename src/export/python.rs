//! A Python that the user names, as a reader: onnxruntime for ONNX files, torch for folders of PyTorch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::tensor::{Call, Tensor};

/// What runs there.
const SCRIPT: &str = include_str!("check.py");

/// Why a Python gave no answers.
#[derive(Debug)]
pub enum PythonError {
    /// It cannot be started, or lacks a module.
    Missing(String),
    /// It failed.
    Failed(String),
}

/// What an export gives for some calls, output by output, and the name and version of what computed it.
pub type Answers = (String, Vec<Vec<Tensor>>);

/// What exports give there, each for its calls.
///
/// # Errors
/// Where it lacks what is needed, or fails.
pub fn answers(python: &Path, exports: &[(&Path, &[Call])]) -> Result<Vec<Answers>, PythonError> {
    let failed = |error: io::Error| PythonError::Failed(error.to_string());
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut folders = vec![];
    for (number, (path, calls)) in exports.iter().enumerate() {
        let folder = folder.path().join(number.to_string());
        fs::create_dir(&folder).map_err(failed)?;
        ask(&folder, path, calls).map_err(failed)?;
        folders.push(folder);
    }
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args(&folders)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            PythonError::Missing(format!("cannot start {}: {error}", python.display()))
        })?;
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.trim().lines().last().unwrap_or("it said nothing");
    match output.status.code() {
        Some(0) => {}
        Some(MISSING) => return Err(PythonError::Missing(last.to_owned())),
        _ => return Err(PythonError::Failed(last.to_owned())),
    }
    let all: Option<Vec<Answers>> = folders.iter().map(|folder| read(folder)).collect();
    all.ok_or_else(|| PythonError::Failed("its answers cannot be read".to_owned()))
}

/// What the script ends with where a module is missing.
const MISSING: i32 = 7;

/// Writes the calls: `calls.json`, and a file of bytes an input.
fn ask(folder: &Path, path: &Path, calls: &[Call]) -> io::Result<()> {
    let mut list = vec![];
    for (number, call) in calls.iter().enumerate() {
        let mut inputs = vec![];
        for (place, input) in call.inputs.iter().enumerate() {
            let name = format!("{number}.{place}.in");
            fs::write(folder.join(&name), input.bytes())?;
            inputs.push(json!({"file": name, "shape": input.shape, "kind": input.kind()}));
        }
        list.push(json!({"inputs": inputs, "goes_on": call.goes_on}));
    }
    let path: PathBuf = std::path::absolute(path)?;
    let path = path
        .to_str()
        .ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
    let text = json!({"path": path, "calls": list}).to_string();
    fs::write(folder.join("calls.json"), text)
}

/// Reads the answers: `answers.json`, and a file of bytes an output.
fn read(folder: &Path) -> Option<Answers> {
    let text = fs::read_to_string(folder.join("answers.json")).ok()?;
    let answers: Value = serde_json::from_str(&text).ok()?;
    let tensor = |output: &Value| -> Option<Tensor> {
        let bytes = fs::read(folder.join(output["file"].as_str()?)).ok()?;
        let sizes = output["shape"].as_array()?.iter();
        let shape: Option<Vec<usize>> = sizes
            .map(|size| usize::try_from(size.as_u64()?).ok())
            .collect();
        let (words, _) = bytes.as_chunks::<4>();
        let values = words.iter().map(|&word| f32::from_le_bytes(word));
        Some(Tensor::floats(&shape?, values.collect()))
    };
    let call = |outputs: &Value| -> Option<Vec<Tensor>> {
        outputs.as_array()?.iter().map(tensor).collect()
    };
    let calls: Option<Vec<_>> = answers["calls"].as_array()?.iter().map(call).collect();
    Some((answers["reader"].as_str()?.to_owned(), calls?))
}
