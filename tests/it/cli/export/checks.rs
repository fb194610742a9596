//! A reader that gives something else than the program: the export is refused, and nothing of it is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Place;
use crate::cli::{json, nas};

/// A Python that has onnxruntime, whose answers are changed: within the script that asks, `part` is replaced by
/// `by`.
fn changed(place: &Place, part: &str, by: &str) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let asks = include_str!("../../../../src/export/check.py");
    assert!(asks.contains(part), "{part}");
    fs::write(place.path("asks.py"), asks.replace(part, by)).unwrap();
    let script = format!(
        "#!/bin/sh\nshift 2\nexec {} {} \"$@\"\n",
        python.display(),
        place.path("asks.py")
    );
    let path = place.path("python");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn an_export_that_a_reader_reads_otherwise_is_refused() {
    let place = Place::new();
    let value = "np.ascontiguousarray(value)";
    let cases = [
        (value, "(value * np.float32(1.002))", "and should be"),
        (value, "np.flip(value, -1).copy()", "and should be"),
        (value, "(value * np.float32(np.nan))", "NaN and should be"),
        ("list(value.shape)", "[1, *value.shape]", "in place of"),
        ("job[\"calls\"]", "job[\"calls\"][:1]", "answered 1 call"),
        (
            "before = run(",
            "raise ValueError('broken'); before = run(",
            "broken",
        ),
        ("answers, before = [], []", "return", "cannot be read"),
    ];
    for weights in [&place.network, &place.cell] {
        let out = place.path("out.onnx");
        let export = [
            "export",
            "--weights",
            weights,
            "--format",
            "onnx",
            "--out",
            &out,
            "--python",
        ];
        for (part, by, words) in cases {
            let python = changed(&place, part, by);
            let before = place.names();
            let command = [&export[..], &[&python]].concat();
            let ended = nas(&command);
            assert_eq!((ended.code, &*ended.stdout), (1, ""), "{by}: {ended:?}");
            let is_told =
                ended.stderr.contains(words) && ended.stderr.contains("nothing was written");
            assert!(is_told, "{by}: {ended:?}");
            assert_eq!(place.names(), before, "{by}: nothing is left");
        }
        // The same Python, unchanged.
        let python = changed(&place, value, value);
        let said = json(&[&export[..], &[&python]].concat());
        let by = said["checked_by"].as_array().unwrap();
        assert!(
            by[1].as_str().unwrap().starts_with("onnxruntime 1."),
            "{said}"
        );
        fs::remove_file(&out).unwrap();
    }
}
