//! Commands as a user types them, on small synthetic data: what they print and how they end.

mod audit;
mod bad_files;
mod bad_input;
mod cell;
mod cluster;
mod compare;
mod cut;
mod data;
mod environment;
mod export;
mod file_systems;
mod finish;
mod folder;
mod held_out;
mod import;
mod inputs;
mod inspect;
mod language;
mod logits;
mod moved;
mod nas_bench_201;
mod numbers;
mod predict;
mod report;
mod results_first;
mod resume;
mod roofline;
mod search;
mod shared;
mod slurm;
mod status;
mod stop;
mod tensorboard;
mod terminal;
mod train;
mod watch;
mod weights;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nas_engine::data::Dataset;
use nas_engine::device::cuda::machine::archs;
use serde_json::Value;
use tempfile::TempDir;

/// The built program, without settings from the environment, and heeding an interrupt also where the
/// tests run in the background of a script, which ignores it.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nas-engine"));
    // SAFETY: one call that may be made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        })
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NAS_ENGINE_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Ended {
    let began = Instant::now();
    let output = command.output().unwrap();
    let ended = Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: began.elapsed(),
    };
    assert!(
        !ended.stderr.contains("panicked"),
        "{command:?}\n{}",
        ended.stderr
    );
    ended
}

/// Runs the program with arguments.
fn nas<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    run(program().args(arguments))
}

/// Runs the program with arguments and `--json`; the object it prints, which is all it prints.
fn json<S: AsRef<OsStr>>(arguments: &[S]) -> Value {
    let ended = run(program().args(arguments).arg("--json"));
    assert_eq!(ended.code, 0, "{ended:?}");
    object(&ended)
}

/// The one JSON object on standard output.
fn object(ended: &Ended) -> Value {
    let value: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {ended:?}"));
    assert!(value.is_object(), "{ended:?}");
    value
}

/// A folder of learnable images in the CIFAR-10 layout.
fn data_folder(n_train: usize, n_test: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), n_train, n_test, 1);
    folder
}

fn write_data(folder: &Path, n_train: usize, n_test: usize, seed: u64) {
    let dataset = Dataset::synthetic(n_train, n_test, 10, seed);
    let records = |range: std::ops::Range<usize>| -> Vec<u8> {
        let record = |index| {
            let (label, image) = dataset.record(index);
            [&[label], image.as_slice()].concat()
        };
        range.flat_map(record).collect()
    };
    fs::write(folder.join("data_batch_1.bin"), records(0..n_train)).unwrap();
    fs::write(
        folder.join("test_batch.bin"),
        records(n_train..n_train + n_test),
    )
    .unwrap();
}

/// A path as an argument.
fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Writes a file into a folder; its path as an argument.
fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    text(&path)
}

/// An architecture of the repository's examples.
fn example(name: &str) -> String {
    text(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(name),
    )
}

#[test]
fn doctor_says_what_can_be_used() {
    let doctor = json(&["doctor"]);
    assert_eq!(doctor["version"], env!("CARGO_PKG_VERSION"));
    assert!(doctor["cores"].as_u64().unwrap() > 0);
    let cuda = &doctor["cuda"];
    assert!(
        cuda["driver"].is_null() || cuda["driver"].is_string(),
        "{cuda}"
    );
    assert_eq!(cuda["compiled_architectures"], serde_json::json!(archs()));
    assert_eq!(cuda["toolkit"].is_null(), archs().is_empty(), "{cuda}");
    let devices = doctor["devices"].as_array().unwrap();
    let cpu = devices
        .iter()
        .find(|device| device["name"] == "cpu")
        .unwrap();
    assert_eq!(
        (cpu["usable"].as_bool(), cpu["kind"].as_str()),
        (Some(true), Some("cpu"))
    );
    assert!(cpu["memory_bytes"].as_u64().unwrap() > 1 << 20);
    for device in devices {
        let usable = device["usable"].as_bool().unwrap();
        assert_eq!(device["reason"].is_null(), usable, "{device}");
    }
    // What `auto` takes is what can be used: GPUs, or the CPU where there are none.
    let gpus = devices.iter().filter(|device| device["kind"] == "gpu");
    let usable: Vec<&Value> = gpus
        .filter(|gpu| gpu["usable"] == true)
        .map(|gpu| &gpu["name"])
        .collect();
    let auto = &doctor["auto"];
    match usable.is_empty() {
        true => assert_eq!(auto["devices"], serde_json::json!(["cpu"])),
        false => assert_eq!(auto["devices"], serde_json::json!(usable)),
    }
    let reason = auto["reason"].as_str().unwrap();
    assert!(reason.contains("GPU can be used"), "{auto}");
    let words = nas(&["doctor"]).stdout;
    assert!(words.contains("cpu") && words.contains(reason), "{words}");
}

#[test]
fn completions_are_scripts() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = nas(&["completions", shell]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(
            ended.stdout.contains("nas-engine") && ended.stdout.contains("resume"),
            "{shell}"
        );
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [["--help"], ["--version"]] {
        let ended = nas(&arguments);
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (0, ""),
            "{arguments:?}"
        );
        assert!(ended.stdout.contains("nas-engine"));
    }
    assert_eq!(nas::<&str>(&[]).code, 2);
}

#[test]
fn a_closed_standard_output_ends_a_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = run(program().args(["completions", "bash"]).stdout(writer));
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
}

#[test]
fn inspect_says_the_size_of_an_architecture() {
    let v1 = json(&["inspect", "--arch", &example("v1.json"), "--preset", "v1"]);
    assert_eq!(v1["parameters"], 4_201_630);
    assert_eq!(v1["layers"].as_array().unwrap().len(), 15);
    let last = &v1["layers"][14];
    assert_eq!(
        (&last["index"], &last["output"]),
        (&15.into(), &serde_json::json!([48, 32, 32]))
    );
    assert_eq!(v1["classifier_inputs"], serde_json::json!([15]));
    assert_eq!(v1["classifier_features"], 48);
    assert!(v1["tokens"].is_array() && v1["tokens_reason"].is_null());
    let sum = |key: &str| -> u64 {
        let layers = v1["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer[key].as_u64().unwrap())
            .sum()
    };
    assert_eq!(sum("parameters") + 490, 4_201_630);
    assert_eq!(
        sum("multiply_adds") + 480,
        v1["multiply_adds"].as_u64().unwrap()
    );

    let small = json(&[
        "inspect",
        "--arch",
        &example("small.json"),
        "--classes",
        "7",
    ]);
    assert!(small["tokens"].is_null());
    assert!(
        small["tokens_reason"].as_str().unwrap().contains("layer"),
        "{small}"
    );
    let memory = |batch: &str| {
        let arguments = [
            "inspect",
            "--arch",
            &example("small.json"),
            "--batch",
            batch,
        ];
        json(&arguments)["training_memory_bytes"].as_u64().unwrap()
    };
    assert!(memory("128") > 3 * memory("32"));
    let table = nas(&["inspect", "--arch", &example("small.json")]).stdout;
    assert!(
        table.contains("3x3x24/2") && table.contains("classifier"),
        "{table}"
    );
}

#[test]
fn flags_go_over_environment_over_file_over_preset() {
    let data = data_folder(60, 12);
    let file = file(data.path(), "run.toml", "[train]\nepochs = 4\nbatch = 16\n");
    let here = tempfile::tempdir().unwrap();
    let config = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = program();
        command
            .current_dir(here.path())
            .args(["search", "--dry-run", "--json", "--data"])
            .arg(data.path())
            .args(flags);
        let ended = run(command.envs(environment.iter().copied()));
        assert_eq!(ended.code, 0, "{ended:?}");
        object(&ended)["config"].clone()
    };
    let epochs = |config: &Value| config["train"]["epochs"].as_u64().unwrap();
    let set = [
        ("NAS_ENGINE_EPOCHS", "5"),
        ("NAS_ENGINE_CONFIG", file.as_str()),
    ];
    let all = config(&["--epochs", "6"], &set);
    assert_eq!(
        (epochs(&all), all["train"]["batch"].as_u64()),
        (6, Some(16))
    );
    assert_eq!(epochs(&config(&[], &set)), 5);
    assert_eq!(epochs(&config(&["--config", &file], &[])), 4);
    assert_eq!(epochs(&config(&[], &[])), 3);
    assert_eq!(
        config(&["--preset", "v2", "--config", &file], &[])["search"]["samples"],
        12_800
    );
    let written = fs::read_dir(here.path()).unwrap().count();
    assert_eq!(written, 0, "a dry run writes nothing");
}

#[test]
fn without_data_the_bundled_sample_is_used_and_that_is_said() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["search", "--dry-run"])
        .env("NAS_ENGINE_CACHE_DIR", cache.path());
    let ended = run(&mut command);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("bundled") && ended.stderr.contains("--data"),
        "{ended:?}"
    );
    for words in [
        "preset = \"sample\"",
        "parameters",
        "training memory",
        "Nothing was run",
    ] {
        assert!(ended.stdout.contains(words), "{words} in {ended:?}");
    }
}
