//! Random inputs to everything that is read from outside: nothing panics, and nothing asks for more
//! memory than the input justifies. How many a format: `FUZZ_INPUTS` (2,000).

pub mod allocations;
mod import;
mod mutate;

use std::fs;
use std::path::Path;

use nas_engine::cluster::beat::Beat;
use nas_engine::config::Config;
use nas_engine::data::Dataset;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::journal;
use nas_engine::space::{Architecture, Space};
use nas_engine::train::weights_file::WeightsFile;
use serde_json::json;

use crate::durable::disk::TestDisk;
use mutate::mutate;

/// Bytes that any reader may ask for at once, whatever the input: buffers, tables, messages.
const FREE: usize = 1 << 20;

/// Bytes of one allocation a byte of input, above that.
const PER_BYTE: usize = 64;

/// Inputs of a format, unless the variable says how many.
fn n_inputs(default: u64) -> u64 {
    std::env::var("FUZZ_INPUTS").map_or(default, |n| n.parse().unwrap())
}

/// Reads mutations of good inputs of a format; how many were read without an error.
fn read_all(format: u64, good: &[Vec<u8>], read: impl FnMut(Vec<u8>) -> bool) -> usize {
    read_some(format, good, 2_000, read)
}

/// As [`read_all`], of another number of inputs where reading takes long.
fn read_some(
    format: u64,
    good: &[Vec<u8>],
    default: u64,
    mut read: impl FnMut(Vec<u8>) -> bool,
) -> usize {
    let n = n_inputs(default);
    for input in good {
        assert!(read(input.clone()), "a good input is read");
    }
    let mut n_read = 0;
    for index in 0..n {
        let mut rng = Rng::new(format, Purpose::Test, index);
        let input = mutate(good, &mut rng);
        let length = input.len();
        let shown = input[..length.min(400)].escape_ascii().to_string();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            allocations::largest(|| read(input))
        }));
        let Ok((is_read, largest)) = ended else {
            panic!("input {index} of {format}, {length} bytes: {shown}");
        };
        assert!(
            largest <= FREE + PER_BYTE * length,
            "input {index} of {format}: {largest} bytes asked for, {length} read: {shown}"
        );
        n_read += usize::from(is_read);
    }
    // Mutations that are all refused at the first byte test nothing.
    assert!(n_read > 0 && n_read < n as usize, "{n_read} of {n} read");
    n_read
}

fn examples(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A temporary folder in memory where there is such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

#[test]
fn architectures() {
    read_all(1, &examples(".json"), |input| {
        String::from_utf8(input).is_ok_and(|text| {
            let architecture = Architecture::from_json(&text);
            // What is read can be written, and read again as the same.
            if let Ok(architecture) = &architecture {
                let again = Architecture::from_json(&architecture.to_json());
                assert_eq!(again.as_ref(), Ok(architecture));
            }
            architecture.is_ok()
        })
    });
}

#[test]
fn configurations() {
    let good: Vec<Vec<u8>> = ["sample", "v1", "v2", "v3", "ptb", "cell-sample"]
        .map(|name| Config::preset(name).unwrap().to_toml().into_bytes())
        .to_vec();
    read_all(2, &good, |input| {
        String::from_utf8(input).is_ok_and(|text| {
            let path = Path::new("config.toml");
            let config = Config::resolve_text(path, text, &[], "sample");
            if let Ok(config) = &config {
                let _ = Space::new(&config.space);
                let again = Config::resolve_text(path, config.to_toml(), &[], "sample");
                assert_eq!(again.unwrap().sha256(), config.sha256());
            }
            config.is_ok()
        })
    });
}

#[test]
fn heartbeats() {
    let beat = json!({"schema": 1, "message": {"worker": 7, "node": "a", "device": "cpu", "state": "training",
        "sample": 3, "epoch": 2, "seconds_since_step": 1.5, "seconds": 60.0,
        "idle": {"queue_empty": 2.5, "job_queued": 0.5}}});
    read_all(20, &[beat.to_string().into_bytes()], |input| {
        let beat = Beat::from_bytes(&input);
        if let Ok(beat) = &beat {
            assert_eq!(Beat::from_bytes(&beat.to_bytes()).as_ref(), Ok(beat));
        }
        beat.is_ok()
    });
}

/// A child's, an update's, a run's, a stop's and a lost device's line, with the sums of their bytes.
fn lines() -> Vec<Vec<u8>> {
    let architecture = json!({"space": "conv", "layers": [{"filter": [3, 3], "filters": 8}]});
    let bodies = [
        json!({"event": "run", "version": "0.1.0", "config_sha256": "ab", "data_sha256": "cd", "samples": 48,
            "timing": {"at": 1.5, "device": "cpu", "threads": 2}}),
        json!({"event": "child", "sample": 0, "batch": 0, "tokens": [1, 0, 2], "architecture": architecture,
            "status": "ok", "accuracies": [0.5, 0.25], "reward": 0.125, "parameters": 99,
            "timing": {"at": 2.5, "seconds": 1.0}}),
        json!({"event": "update", "batch": 0, "samples": [0], "baseline": 0.25, "controller_sha256": "ef",
            "counted": [0], "timing": {"at": 3.5, "seconds": 0.5}}),
        json!({"event": "round", "round": 0, "replica": 1, "n": 1, "counted": [0, 2], "duplicate_of": [null, 7],
            "timing": {"at": 3.5, "seconds": 0.0}}),
        json!({"event": "child", "sample": 1, "batch": 0, "tokens": [1], "architecture": {},
            "status": "crash", "accuracies": [], "reward": null, "message": "it", "writer": "00ff", "attempts": 2,
            "staleness": 3, "timing": {"at": 2.5, "seconds": 1.0}}),
        json!({"event": "update", "batch": 0, "samples": [0], "baseline": null, "controller_sha256": "ef",
            "counted": [], "shard": 1, "replica": 1, "round": 0, "timing": {"at": 3.5, "seconds": 0.5}}),
        json!({"event": "lost", "sample": 1, "message": "gone", "timing": {"at": 4.5, "seconds": 0.0}}),
        json!({"event": "stop", "samples": 1, "timing": {"at": 5.5, "seconds": 0.0}}),
    ];
    bodies
        .map(|object| {
            let text = object.to_string();
            summed(&text.as_bytes()[..text.len() - 1])
        })
        .to_vec()
}

/// A line of an object without its last brace, with the sum of its bytes.
fn summed(body: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(body);
    [body, format!(",\"crc32\":\"{sum:08x}\"}}\n").as_bytes()].concat()
}

#[test]
fn journals() {
    let path = Path::new("/journal.jsonl");
    let good = lines();
    let mut index = 0;
    read_all(3, &good, |mut input| {
        index += 1;
        // Every other one with a sum that is right again.
        let at = input.windows(10).rposition(|key| key == b",\"crc32\":\"");
        if let Some(at) = at.filter(|_| index % 2 == 0) {
            let body: Vec<u8> = input[..at]
                .iter()
                .copied()
                .filter(|&byte| byte != b'\n')
                .collect();
            input = summed(&body);
        }
        let bytes = [&good[0], &input[..], &good[4]].concat();
        let disk = TestDisk::of_files(&[(path.to_path_buf(), bytes)].into());
        journal::read(&disk, path).is_ok()
    });
}

#[test]
fn weights() {
    let metadata = json!({"architecture": "{\"space\":\"conv\",\"layers\":[{\"filter\":[3,3],\"filters\":8}]}",
        "seed": "0", "split_seed": "0", "augment": "none", "classes": "[\"a\",\"b\"]", "data_sha256": "ab",
        "epochs": "1", "validation_accuracy": "0.5"});
    let header = |tensors: serde_json::Value| {
        let mut header = tensors;
        header["__metadata__"] = metadata.clone();
        let mut text = header.to_string();
        text += &" ".repeat(text.len().next_multiple_of(8) - text.len());
        [
            &(text.len() as u64).to_le_bytes()[..],
            text.as_bytes(),
            &[0; 48],
        ]
        .concat()
    };
    let tensor = |shape: [u64; 2], from: u64, to: u64| json!({"dtype": "F32", "shape": shape, "data_offsets": [from, to]});
    let good = [
        header(
            json!({"classifier.weight": tensor([2, 4], 0, 32), "classifier.bias": tensor([2, 2], 32, 48)}),
        ),
        header(json!({"embedding.weight": tensor([3, 4], 0, 48)})),
    ];
    read_all(4, &good, |input| {
        let file = WeightsFile::of(Path::new("weights"), input);
        if let Ok(file) = &file {
            let _ = (file.metadata(), file.language_sizes());
        }
        file.is_ok()
    });
}

#[test]
fn records_of_images() {
    let records: Vec<u8> = (0..3)
        .flat_map(|label| [&[label][..], &[7; 3072]].concat())
        .collect();
    let folder = folder();
    fs::write(folder.path().join("test_batch.bin"), &records).unwrap();
    read_all(5, &[records], |input| {
        fs::write(folder.path().join("data_batch_1.bin"), input).unwrap();
        let dataset = Dataset::open(folder.path(), None);
        if let Ok(dataset) = &dataset {
            assert_eq!(
                dataset.class_counts().iter().sum::<u64>() as usize,
                dataset.n_train() + 3
            );
        }
        dataset.is_ok()
    });
}

#[test]
fn descriptions_of_data() {
    let folder = folder();
    let record = [0; 3073];
    fs::write(folder.path().join("data_batch_1.bin"), record).unwrap();
    fs::write(folder.path().join("test_batch.bin"), record).unwrap();
    let good = b"name = \"pets\"\nclasses = [\"cat\", \"dog\"]\ntraining = 1\ntest = 1\nsource = \"/pets\"\n\
                 sha256 = \"ab\"\nfit = \"resize\"\n";
    read_all(6, &[good.to_vec()], |input| {
        fs::write(folder.path().join("dataset.toml"), input).unwrap();
        let dataset = Dataset::open(folder.path(), None);
        if let Ok(dataset) = &dataset {
            assert!((2..=256).contains(&dataset.classes().len()));
        }
        dataset.is_ok()
    });
}
