//! `inspect --variant`: the paper's ablations of a network, as the command writes them.

use serde_json::Value;

use super::bad_input::refused;
use super::{example, json, text};

#[test]
fn variants_are_shown_and_written() {
    let here = tempfile::tempdir().unwrap();
    let v1 = example("v1.json");
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    // Both were written by hand.
    for (variant, written) in [("dense", "v1-all-skips.json"), ("none", "v1-no-skips.json")] {
        let out = text(&here.path().join(variant));
        let inspect = ["inspect", "--arch", &v1, "--variant", variant];
        let shown = json(&[&inspect[..], &["--out", &out]].concat());
        assert_eq!(
            shown["parameters"],
            json(&["inspect", "--arch", &example(written)])["parameters"]
        );
        assert_eq!(read(&out), read(&example(written)));
        refused(
            &[&inspect[..], &["--out", &out]].concat(),
            2,
            "usage",
            &["--out", &out],
        );
    }
    let out = text(&here.path().join("more"));
    json(&[
        "inspect",
        "--arch",
        &v1,
        "--variant",
        "add-filters:40",
        "--out",
        &out,
    ]);
    let filters = |path: &str| -> Vec<u64> {
        let layers = read(path)["layers"].as_array().unwrap().clone();
        layers
            .iter()
            .map(|layer| layer["filters"].as_u64().unwrap())
            .collect()
    };
    let more: Vec<u64> = filters(&v1).iter().map(|n| n + 40).collect();
    assert_eq!(filters(&out), more);
    for (arch, variant, words) in [
        (&*v1, "sparse", "--variant"),
        (&v1, "add-filters:4096", "filters"),
        (
            &example("cell-lstm.json"),
            "dense",
            "convolutional networks",
        ),
    ] {
        refused(
            &["inspect", "--arch", arch, "--variant", variant],
            2,
            "usage",
            &[words],
        );
    }
}
