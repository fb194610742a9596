//! `eval --logits`: what is written is what was evaluated.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::bad_input::refused;
use super::{data_folder, example, file, json, nas, text};

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
    // That it is written is said, and whether something was there.
    fs::remove_file(&logits).unwrap();
    for end in ["\n", ", in place of the file that was there\n"] {
        let ended = nas(&[&eval[..], &[&logits]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        let note = format!("written: {logits}{end}");
        assert!(ended.stderr.contains(&note), "{ended:?}");
        let quiet = nas(&[&eval[..], &[&logits, "--quiet"]].concat());
        assert_eq!((quiet.code, &*quiet.stderr), (0, ""), "{quiet:?}");
        if end != "\n" {
            fs::remove_file(&logits).unwrap();
        }
    }
}

/// A place that cannot be written is told before the work, with the folder that is missing and what to do.
#[test]
fn a_folder_that_is_missing_is_named_before_anything_is_written() {
    let data = data_folder(60, 20);
    let folder = data.path();
    let (arch, data) = (file(folder, "arch.json", ARCHITECTURE), text(folder));
    let saved = text(&folder.join("w"));
    let train = [
        "train", "--arch", &arch, "--data", &data, "--epochs", "1", "--batch", "16", "--save",
    ];
    json(&[&train[..], &[&saved]].concat());
    let eval = ["eval", "--weights", &saved, "--data", &data, "--logits"];
    let sheet = ["data", "show", &data, "--sheet"];
    let inspect = ["inspect", "--arch", &arch, "--out"];
    let missing = format!(
        "the folder {} does not exist; make it",
        text(&folder.join("no"))
    );
    let no_folder = format!("{saved} is no folder; name another place");
    for command in [&eval[..], &train, &sheet, &inspect] {
        let refuse = |place: &str, words: &[&str]| {
            refused(&[command, &[place]].concat(), 2, "usage", words);
        };
        let flag = command.last().unwrap();
        let place = text(&folder.join("no/x"));
        refuse(&place, &["cannot write", flag, &place, &missing]);
        let place = format!("{saved}/x");
        refuse(&place, &["cannot write", flag, &no_folder]);
        let place = text(&folder.join("new/"));
        refuse(&place, &["cannot write", flag, &place, "it names a folder"]);
    }
    // What is read is not written over.
    let weights = fs::read(&saved).unwrap();
    let images = text(&folder.join("data_batch_1.bin"));
    for (command, place) in [
        (&eval[..], &saved),
        (&eval, &images),
        (&train, &images),
        (&train, &arch),
    ] {
        let words = ["would write over what is read", "name another file"];
        refused(&[command, &[place]].concat(), 2, "usage", &words);
    }
    assert_eq!(fs::read(&saved).unwrap(), weights);
    // What is written in the place of another file is said.
    let picture = text(&folder.join("sheet.png"));
    for (command, place) in [(&train[..], &saved), (&sheet, &picture), (&sheet, &picture)] {
        let there = Path::new(place).exists();
        let ended = nas(&[command, &[place]].concat());
        let note = format!("written: {place}, in place of the file that was there\n");
        assert_eq!(
            (ended.code, ended.stderr.contains(&note)),
            (0, there),
            "{ended:?}"
        );
    }
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
