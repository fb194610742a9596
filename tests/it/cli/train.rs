//! `train` and `eval` as a user types them.

use std::fs;

use serde_json::Value;

use super::{data_folder, file, json, program, run, text};

const ARCHITECTURE: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
    {"filter":[1,3],"filters":12,"inputs":[0,1]}],"learning_rate":0.02}"#;

fn accuracy(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

// paper P3.7, P6.7
#[test]
fn what_train_saves_eval_finds_again() {
    let data = data_folder(100, 20);
    let folder = data.path();
    let (arch, data) = (file(folder, "arch.json", ARCHITECTURE), text(folder));
    let saved = text(&folder.join("w.safetensors"));
    let train = [
        "train",
        "--arch",
        &arch,
        "--data",
        &data,
        "--epochs",
        "4",
        "--batch",
        "16",
        "--test",
        "--log-steps",
        "--save",
        &saved,
    ];
    let trained = json(&train);
    let epochs = trained["epochs"].as_array().unwrap();
    // 90 images to train on, batches of 16, the last smaller one dropped.
    assert_eq!(
        trained["step_losses"].as_array().unwrap().len(),
        4 * (90 / 16)
    );
    let rates: Vec<f64> = epochs
        .iter()
        .map(|epoch| accuracy(&epoch["learning_rate"]))
        .collect();
    for (rate, expected) in rates.iter().zip([0.02, 0.02, 0.002, 0.0002]) {
        assert!(
            (rate - expected).abs() < 1e-12,
            "the architecture's own rate: {rates:?}"
        );
    }
    for (number, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch["epoch"], number + 1);
        for key in [
            "train_loss",
            "validation_loss",
            "seconds",
            "images_per_second",
        ] {
            assert!(epoch[key].is_number(), "{key} in {epoch}");
        }
        let steps = &trained["step_losses"].as_array().unwrap()[5 * number..][..5];
        let mean = steps.iter().map(accuracy).sum::<f64>() / 5.0;
        assert!(
            (mean - accuracy(&epoch["train_loss"])).abs() < 1e-9,
            "{epoch}"
        );
    }
    assert_eq!(
        trained["validation_accuracy"],
        epochs[3]["validation_accuracy"]
    );
    assert!(trained["planned_memory_bytes"].as_u64().unwrap() > 0);
    assert!(trained["peak_memory_bytes"].as_u64().unwrap() > 0);

    let eval = |split: &str| {
        json(&[
            "eval",
            "--weights",
            &saved,
            "--data",
            &data,
            "--split",
            split,
        ])
    };
    let (validation, test) = (eval("validation"), eval("test"));
    assert_eq!(
        (&validation["split"], &validation["total"]),
        (&"validation".into(), &10.into())
    );
    assert_eq!(validation["accuracy"], trained["validation_accuracy"]);
    let difference = accuracy(&validation["loss"]) - accuracy(&epochs[3]["validation_loss"]);
    assert!(difference.abs() < 1e-5, "{validation}");
    assert_eq!(
        (&test["total"], &test["accuracy"]),
        (&20.into(), &trained["test_accuracy"])
    );
    let share = accuracy(&test["correct"]) / 20.0;
    assert!((share - accuracy(&test["accuracy"])).abs() < 1e-12);

    let again = json(&[&train[..], &["--init", &saved, "--learning-rate", "1e-9"]].concat());
    assert_eq!(accuracy(&again["epochs"][0]["learning_rate"]), 1e-9);
    assert_eq!(
        again["epochs"][0]["validation_accuracy"],
        trained["validation_accuracy"]
    );
}

// paper P9.4
#[test]
fn the_seed_decides_and_the_test_records_stay_unread() {
    let data = data_folder(100, 20);
    let (arch, folder) = (
        file(data.path(), "arch.json", ARCHITECTURE),
        text(data.path()),
    );
    let train = |more: &[&str]| {
        let fixed = [
            "train", "--arch", &arch, "--data", &folder, "--epochs", "1", "--batch", "16",
        ];
        json(&[&fixed[..], more].concat())
    };
    let loss = |trained: &Value| accuracy(&trained["epochs"][0]["train_loss"]);
    let first = train(&["--seed", "1"]);
    assert_eq!(
        loss(&first),
        loss(&train(&["--seed", "1", "--threads", "1"]))
    );
    assert_ne!(loss(&first), loss(&train(&["--seed", "2"])));
    assert!(first["test_accuracy"].is_null());
    assert!(first.get("step_losses").is_none());
    // The same child, whatever the test records are.
    let test = data.path().join("test_batch.bin");
    fs::copy(data.path().join("data_batch_1.bin"), test).unwrap();
    let other = train(&["--seed", "1"]);
    for key in ["train_loss", "validation_loss", "validation_accuracy"] {
        assert_eq!(first["epochs"][0][key], other["epochs"][0][key], "{key}");
    }
}

/// Twice `-v` tells times by step, three times by layer too.
#[test]
fn more_words_tell_where_the_time_goes() {
    let data = data_folder(100, 20);
    let folder = data.path();
    let arch = file(folder, "arch.json", ARCHITECTURE);
    let said = |flag: &str| {
        let mut command = program();
        command.args([flag, "train", "--arch", &arch, "--data", &text(folder)]);
        let ended = run(command.args(["--epochs", "1", "--batch", "16", "--device", "cpu"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stderr
    };
    let (steps, layers) = (said("-vv"), said("-vvv"));
    assert!(steps.contains("conv_fwd  "), "{steps}");
    assert!(!steps.contains("conv_fwd layer"), "{steps}");
    for layer in [1, 2] {
        assert!(
            layers.contains(&format!("conv_fwd layer {layer} y ")),
            "{layers}"
        );
        assert!(
            layers.contains(&format!("batchnorm_fwd layer {layer} output ")),
            "{layers}"
        );
    }
}
