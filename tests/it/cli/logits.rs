//! `eval --logits`: what is written is what was evaluated.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::bad_input::refused;
use super::{data_folder, example, file, json, text};

const ARCHITECTURE: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]}]}"#;

/// Correct predictions and mean cross-entropy of a file of logits.
pub fn score(path: &str) -> (usize, usize, f64) {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (logits, labels) = (
        tensors.tensor("logits").unwrap(),
        tensors.tensor("labels").unwrap(),
    );
    let &[n, k] = logits.shape() else {
        panic!("{:?}", logits.shape())
    };
    assert_eq!(labels.shape(), [n]);
    let logits = logits.data().as_chunks::<4>().0.iter();
    let logits: Vec<f64> = logits.map(|&x| f32::from_le_bytes(x).into()).collect();
    let labels = labels.data().as_chunks::<8>().0.iter();
    let labels = labels.map(|&x| i64::from_le_bytes(x) as usize);
    let (mut correct, mut loss) = (0, 0.0);
    for (row, label) in logits.chunks_exact(k).zip(labels) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
        loss += (largest + total.ln() - row[label]) / n as f64;
        correct += usize::from(row.iter().position(|&x| x == largest) == Some(label));
    }
    (n, correct, loss)
}

#[test]
fn logits_of_a_network_are_those_that_were_scored() {
    let data = data_folder(60, 150);
    let folder = data.path();
    let (arch, data) = (file(folder, "arch.json", ARCHITECTURE), text(folder));
    let (saved, logits) = (text(&folder.join("w")), text(&folder.join("logits")));
    json(&[
        "train", "--arch", &arch, "--data", &data, "--epochs", "1", "--batch", "16", "--save",
        &saved,
    ]);
    let eval = ["eval", "--weights", &saved, "--data", &data, "--logits"];
    // More than a batch, the last one smaller.
    for (split, n) in [("validation", 6), ("test", 150)] {
        let said: Value = json(&[&eval[..], &[&logits, "--split", split]].concat());
        let (found, correct, loss) = score(&logits);
        assert_eq!(
            (found, correct as u64),
            (n, said["correct"].as_u64().unwrap())
        );
        assert!(
            (loss - said["loss"].as_f64().unwrap()).abs() < 1e-5,
            "{loss} {said}"
        );
    }
    let place = [&eval[..], &[&data]].concat();
    refused(&place, 2, "usage", &["--logits", "folder"]);
}

/// Nothing is evaluated and nothing written where logits would take more than 4 GB.
#[test]
fn logits_that_are_too_many_are_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let words: Vec<String> = (0..10_000).map(|n| format!("w{n}")).collect();
    file(folder, "train.txt", words.join(" "));
    file(folder, "valid.txt", words[..400].join(" "));
    file(folder, "test.txt", "w1 ".repeat(200_000));
    let config = "[train]\nlayers = 1\nhidden = 2\nbatch = 20\n";
    let config = file(folder, "config.toml", config);
    let (data, saved, logits) = (
        text(folder),
        text(&folder.join("w")),
        text(&folder.join("logits")),
    );
    json(&[
        "train",
        "--arch",
        &example("cell-worked.json"),
        "--config",
        &config,
        "--data",
        &data,
        "--epochs",
        "1",
        "--save",
        &saved,
    ]);
    let eval = [
        "eval",
        "--weights",
        &saved,
        "--data",
        &data,
        "--logits",
        &logits,
    ];
    let test = [&eval[..], &["--split", "test"]].concat();
    refused(
        &test,
        2,
        "usage",
        &["8.00 GB, for 199,999 predictions of 10,001", "4.00 GB"],
    );
    assert!(!Path::new(&logits).exists());
    json(&[&eval[..], &["--split", "validation"]].concat());
    let n_bytes = fs::metadata(&logits).unwrap().len();
    assert!(n_bytes > 4 * 399 * 10_001, "{n_bytes}");
}
