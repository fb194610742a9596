//! `roofline`: the same counts as `inspect`, times beside measured ones.

use serde_json::{Value, json};

use super::{example, file, json, nas};

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn passes_add_up() {
    let arch = example("v1.json");
    let inspected = json(&["inspect", "--arch", &arch]);
    for gpu in ["h200", "h100", "a100", "4090"] {
        let said = json(&["roofline", "--arch", &arch, "--gpu", gpu, "--batch", "64"]);
        assert_eq!(said["gpu"]["name"], gpu);
        let passes = said["passes"].as_array().unwrap();
        let sum = |key: &str| passes.iter().map(|pass| number(&pass[key])).sum::<f64>();
        for key in ["flops", "exact_flops", "bytes", "ideal_seconds"] {
            let step = number(&said["step"][key]);
            assert!((sum(key) / step - 1.0).abs() < 1e-9, "{key}: {step}");
        }
        let forward = passes.iter().filter(|pass| pass["pass"] == "forward");
        let flops: f64 = forward.map(|pass| number(&pass["flops"])).sum();
        assert_eq!(flops, 64.0 * 2.0 * number(&inspected["multiply_adds"]));
        assert_eq!(said["epoch"]["steps"], 703);
        assert_eq!(said["step"]["measured_seconds"], Value::Null);
        let ideal = number(&said["gpu"]["flops_per_second"]);
        let other = number(&said["gpu"]["bytes_per_second"]);
        for pass in passes {
            let (flops, bytes) = (
                number(&pass["flops"]) / ideal,
                number(&pass["bytes"]) / other,
            );
            assert_eq!(number(&pass["ideal_seconds"]), flops.max(bytes), "{pass}");
            let bound = if flops > bytes { "compute" } else { "memory" };
            assert_eq!(pass["bound"], bound, "{pass}");
        }
    }
}

#[test]
fn measured_times_stand_beside() {
    let folder = tempfile::tempdir().unwrap();
    let arch = example("small.json");
    let words = nas(&["roofline", "--arch", &arch]).stdout;
    assert!(
        words.contains("not measured") && words.contains("ideal"),
        "{words}"
    );
    let times = json!({
        "device": "some GPU",
        "step_seconds": 0.5,
        "batch": 128,
        "passes": [{"layer": 1, "pass": "forward", "seconds": 0.25}],
        "driver": "580",
    });
    let path = file(folder.path(), "times.json", times.to_string());
    let said = json(&["roofline", "--arch", &arch, "--measured", &path]);
    assert_eq!(said["measured_on"], "some GPU");
    assert_eq!(said["step"]["measured_seconds"], 0.5);
    assert_eq!(said["epoch"]["seconds_at_measured_step"], 0.5 * 351.0);
    assert_eq!(
        said["child"]["seconds_at_measured_step"],
        50.0 * 0.5 * 351.0
    );
    let passes = said["passes"].as_array().unwrap();
    let measured = |pass: &&Value| pass["measured_seconds"] == 0.25;
    assert_eq!(passes.iter().filter(measured).count(), 1);
    let words = nas(&["roofline", "--arch", &arch, "--measured", &path]).stdout;
    assert!(
        words.contains("some GPU") && words.contains("measured: 500.000 ms"),
        "{words}"
    );
    let of_64 = [
        "roofline",
        "--arch",
        &arch,
        "--measured",
        &path,
        "--batch",
        "64",
    ];
    super::bad_input::refused(&of_64, 2, "usage", &["128", "64", "--batch"]);
}
