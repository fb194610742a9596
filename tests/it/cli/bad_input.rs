//! Bad input: each gives a message that names the thing and the next step, the right exit code,
//! no panic, in under a second.

use std::time::Duration;

use super::{data_folder, example, file, nas, object, program, run, text};

/// Runs a command that must be refused, as text and with `--json`.
pub fn refused(arguments: &[&str], code: i32, kind: &str, words: &[&str]) {
    let mut ended = nas(arguments);
    for _ in 0..2 {
        if ended.took < Duration::from_secs(1) {
            break; // else the machine is busy, and another try tells more
        }
        ended = nas(arguments);
    }
    assert!(
        ended.took < Duration::from_secs(1),
        "{arguments:?}: {ended:?}"
    );
    assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "{arguments:?}");
    for words in words {
        assert!(
            ended.stderr.contains(words),
            "{arguments:?}: no '{words}' in {}",
            ended.stderr
        );
    }
    let json = run(program().args(arguments).arg("--json"));
    let error = &object(&json)["error"];
    assert_eq!(
        (json.code, error["kind"].as_str()),
        (code, Some(kind)),
        "{arguments:?}: {json:?}"
    );
    let message = error["message"].as_str().unwrap();
    for words in words {
        assert!(
            message.contains(words),
            "{arguments:?}: no '{words}' in {message}"
        );
    }
}

/// A layer of an architecture.
pub fn layers(layers: &str) -> String {
    format!("{{\"space\":\"conv\",\"layers\":[{layers}]}}")
}

#[test]
fn architectures() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"filter":[3,3],"filters":8,"inputs":[0]}"#;
    let with = |layer: &str| layers(&format!("{good},{layer}"));
    let conv = |filter: &str, filters: &str, inputs: &str| {
        with(&format!(
            r#"{{"filter":{filter},"filters":{filters},"inputs":{inputs}}}"#
        ))
    };
    let window = r#"{"type":"max_pool","pool":[33,2],"stride":[2,2],"inputs":[1]}"#;
    // What a layer reads it passes on, so that the channels double forty times.
    let doubling: Vec<String> = (1..=40)
        .map(|number| {
            let inputs: Vec<usize> = (0..number).collect();
            format!(r#"{{"type":"lcn","inputs":{inputs:?}}}"#)
        })
        .collect();
    // Every other rule of the format: tests/it/space/json.rs.
    let cases = [
        ("forward", conv("[3,3]", "8", "[3]"), "layer 2"),
        ("itself", conv("[3,3]", "8", "[2]"), "layer 2"),
        ("order", conv("[3,3]", "8", "[1,0]"), "ascending"),
        ("twice", conv("[3,3]", "8", "[1,1]"), "ascending"),
        ("zero", conv("[0,3]", "8", "[1]"), "odd"),
        ("even", conv("[3,2]", "8", "[1]"), "odd"),
        ("range", conv("[3,3]", "4097", "[1]"), "4096"),
        ("window", with(window), "layer 2"),
        (
            "key",
            with(r#"{"filter":[3,3],"filters":8,"inputs":[1],"padding":1}"#),
            "`padding`",
        ),
        ("cut", with(window)[..60].to_owned(), "JSON"),
        ("deep", "[".repeat(1000) + &"]".repeat(1000), "JSON"),
        ("channels", layers(&doubling.join(",")), "layer 14"),
    ];
    for (name, json, words) in cases {
        let path = file(folder.path(), &format!("{name}.json"), json);
        refused(
            &["inspect", "--arch", &path],
            2,
            "architecture",
            &[name, words],
        );
    }
    let data = data_folder(40, 8);
    for (name, words) in [("forward", "forward.json"), ("window", "layer 2")] {
        let path = text(&folder.path().join(format!("{name}.json")));
        let data = text(data.path());
        refused(
            &["train", "--data", &data, "--arch", &path],
            2,
            "architecture",
            &[words],
        );
    }
    let path = text(&folder.path().join("absent.json"));
    refused(
        &["inspect", "--arch", &path],
        2,
        "architecture",
        &["absent.json", "--arch"],
    );
    let path = file(folder.path(), "bytes.json", [0xff, 0xfe, 0x00]);
    refused(
        &["inspect", "--arch", &path],
        2,
        "architecture",
        &["bytes.json"],
    );
}

#[test]
fn configurations() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(40, 8);
    let cases = [
        ("[train]\nepochs = \"three\"\n", "line 2", "`train.epochs`"),
        ("[train]\n\nepoch = 3\n", "line 3", "did you mean `epochs`"),
        ("[trian]\nepochs = 3\n", "line 1", "did you mean `train`"),
        ("[space]\nfilters = []\n", "line 2", "`space.filters`"),
        (
            "[space]\nfilter_heights = [3, 4]\n",
            "line 2",
            "`space.filter_heights`",
        ),
        (
            "[space]\nfilters = [8, \"x\"]\n",
            "line 2",
            "`space.filters`",
        ),
        ("[train]\nbatch = 0\n", "line 2", "`train.batch` is 0"),
        ("[train]\nbatch = 1.5\n", "line 2", "`train.batch`"),
        ("[train]\nepochs = 0\n", "line 2", "`train.epochs` is 0"),
        (
            "[train]\nlearning_rate = nan\n",
            "line 2",
            "`train.learning_rate`",
        ),
        ("[train]\nmomentum = 1.0\n", "line 2", "`train.momentum`"),
        ("[train]\naugment = \"zoom\"\n", "line 2", "pad-crop"),
        ("[search]\nsamples = 0\n", "line 2", "`search.samples` is 0"),
        (
            "[search]\nchildren_per_update = 0\n",
            "line 2",
            "`search.children_per_update`",
        ),
        (
            "[search]\npreset = \"v4\"\n",
            "line 2",
            "v1, v2, v3, sample",
        ),
        ("[search]\nstrategy = 3\n", "line 2", "`search.strategy`"),
        ("[data]\nlimit = 9\n", "line 2", "`data.limit` is 9"),
        ("[device]\nname = \"gpu\"\n", "line 2", "`device.name`"),
        (
            "[controller]\nbaseline_decay = 2.0\n",
            "line 2",
            "`controller.baseline_decay`",
        ),
        ("train = 3\n", "line 1", "`train`"),
        ("[train\nepochs = 3\n", "line 1", "TOML"),
        ("[train]\nepochs = 3\nepochs = 4\n", "line 3", "TOML"),
    ];
    for (text, line, words) in cases {
        let path = file(folder.path(), "run.toml", text);
        let data = super::text(data.path());
        let arguments = ["search", "--data", &data, "--dry-run", "--config", &path];
        refused(&arguments, 2, "config", &["run.toml", line, words]);
    }
    refused(
        &["search", "--config", "absent.toml"],
        2,
        "config",
        &["absent.toml", "--config"],
    );
}

#[test]
fn flags() {
    let data = data_folder(40, 8);
    let data = text(data.path());
    let small = example("small.json");
    let train = |more: &[&str], words: &[&str]| {
        let arguments = [&["train", "--arch", &small, "--data", &data], more].concat();
        refused(&arguments, 2, "config", words);
    };
    train(&["--epochs", "0"], &["--epochs", "1"]);
    train(&["--epochs", "-3"], &["--epochs", "-3"]);
    train(&["--batch", "0"], &["--batch"]);
    train(&["--limit", "5"], &["--limit", "10"]);
    train(
        &["--learning-rate", "-0.1"],
        &["--learning-rate", "above 0"],
    );
    train(&["--learning-rate", "NaN"], &["--learning-rate"]);
    train(&["--seed", "-1"], &["--seed"]);
    train(&["--threads", "0"], &["--threads"]);
    train(&["--device", "tpu"], &["--device", "cuda:N"]);
    train(&["--device", "cuda:0,0"], &["--device", "GPU 0 twice"]);
    let usage = |arguments: &[&str], words: &[&str]| refused(arguments, 2, "usage", words);
    usage(
        &["train", "--arch", &small, "--data", &data],
        &["batch of 128", "--batch"],
    );
    usage(
        &["train", "--arch", &small, "--epochs", "many"],
        &["--epochs", "many"],
    );
    usage(
        &["train", "--arch", &small, "--epoch", "3"],
        &["--epoch", "--epochs"],
    );
    usage(
        &["train", "--arch", &small, "--augment", "zoom"],
        &["--augment", "upsample-crop"],
    );
    usage(
        &["search", "--convolution", "fast"],
        &["--convolution", "direct"],
    );
    usage(&["search", "--strategy", "luck"], &["--strategy", "random"]);
    usage(&["search", "--preset", "v4"], &["--preset", "v3", "sample"]);
    usage(&["train"], &["--arch"]);
    usage(&["serach"], &["serach", "search"]);
    let save = [
        "train",
        "--arch",
        &small,
        "--data",
        &data,
        "--save",
        "/absent/w.safetensors",
    ];
    usage(&save, &["--save", "/absent"]);
    let device = [
        "train",
        "--arch",
        &small,
        "--data",
        &data,
        "--save",
        "/dev/zero",
    ];
    usage(&device, &["--save", "/dev/zero", "device"]);
    usage(&["search", "--space", "cel"], &["--space", "cell"]);
    usage(
        &["search", "--space", "cell", "--preset", "v1"],
        &["--space cell", "`v1`", "--preset ptb or cell-sample"],
    );
    usage(
        &["search", "--space", "conv", "--preset", "ptb"],
        &["`ptb`", "--preset v1 or v2 or v3 or sample"],
    );
    usage(&["search", "--resume", "/absent"], &["--resume", "/absent"]);
    usage(
        &["search", "--resume", "/absent", "--epochs", "3"],
        &["--epochs", "--samples"],
    );
    usage(
        &["search", "--data", &data, "--out", "/proc/absent/run"],
        &["/proc/absent", "--out"],
    );
    usage(&["status", "/absent"], &["/absent"]);
    usage(&["inspect", "--arch", &small, "--batch", "0"], &["--batch"]);
    usage(
        &["inspect", "--arch", &small, "--classes", "-2"],
        &["--classes"],
    );
}

#[test]
fn rooflines() {
    let small = example("small.json");
    let roofline = |more: &[&str], words: &[&str]| {
        let arguments = [&["roofline", "--arch", &small], more].concat();
        refused(&arguments, 2, "usage", words);
    };
    roofline(&["--batch", "0"], &["--batch", "16384"]);
    roofline(&["--batch", "-1"], &["--batch"]);
    roofline(&["--gpu", "v100"], &["v100", "h200", "4090"]);
    roofline(
        &["--measured", "/absent.json"],
        &["/absent.json", "--measured"],
    );
    roofline(&["--measured", &small], &["device", "step_seconds"]);
    for passes in [
        r#"{"layer":1,"pass":"forwards","seconds":1}"#,
        r#"{"layer":99,"pass":"forward","seconds":1}"#,
        r#"{"layer":1,"pass":"forward","seconds":1},{"layer":1,"pass":"forward","seconds":2}"#,
    ] {
        let text = format!(r#"{{"device":"A","passes":[{passes}]}}"#);
        let folder = tempfile::tempdir().unwrap();
        let times = file(folder.path(), "times.json", &text);
        roofline(&["--measured", &times], &["is no pass of layer", "once"]);
    }
    refused(&["roofline"], 2, "usage", &["--arch"]);
    let absent = ["roofline", "--arch", "/absent.json"];
    refused(&absent, 2, "architecture", &["/absent.json"]);
}

/// Without a driver, or with fewer GPUs than that.
#[test]
fn a_gpu_that_is_not_there() {
    let data = data_folder(40, 8);
    let data = text(data.path());
    let small = example("small.json");
    let absent = ["--data", &data, "--device", "cuda:0,255"];
    let words = ["cuda:", "--device cpu"];
    let train = [&["train", "--arch", &small], &absent[..]].concat();
    refused(&train, 4, "device", &words);
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let config = file(folder.path(), "small.toml", "[train]\nbatch = 8\n");
    let search = ["search", "--config", &config, "--out", &out];
    refused(&[&search, &absent[..]].concat(), 4, "device", &words);
    assert!(
        !folder.path().join("run").exists(),
        "nothing is left behind"
    );
    let hidden = run(program()
        .args(&train[..5])
        .args(["--device", "cuda"])
        .env("CUDA_VISIBLE_DEVICES", ""));
    assert_eq!(hidden.code, 4, "{hidden:?}");
    assert!(hidden.stderr.contains("--device cpu"), "{hidden:?}");
}
