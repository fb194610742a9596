//! A reader that gives something else than the program: the export is refused, and nothing of it is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Place;
use crate::cli::{json, nas, program};

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

/// What is waited for comes within half a minute.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        sleep(Duration::from_millis(10));
    }
}

/// While a Python that the user names reads the export, and never ends.
#[test]
fn an_export_that_is_stopped_leaves_neither_a_file_nor_a_process() {
    let place = Place::new();
    let (python, number) = (place.path("python"), place.path("number"));
    let script = format!("#!/bin/sh\necho $$ >{number}.new\nmv {number}.new {number}\nsleep 600\n");
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let before = place.names();
    let temporary = tempfile::tempdir().unwrap();
    let out = place.path("out");
    for (format, signal) in [("onnx", "-INT"), ("pytorch", "-TERM"), ("onnx", "-USR1")] {
        let child = program()
            .args([
                "export",
                "--weights",
                &place.network,
                "--format",
                format,
                "--out",
                &out,
            ])
            .args(["--python", &python, "--json"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the Python does not begin", || Path::new(&number).exists());
        let hidden = place.names();
        assert!(
            hidden.iter().any(|name| name.ends_with(".unfinished")),
            "{hidden:?}"
        );
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let ended = child.wait_with_output().unwrap();
        let words = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(75), "{words}");
        assert!(
            words.contains("stopped, and nothing of it is left at ") && words.contains(&out),
            "{words}"
        );
        let said: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(said["error"]["kind"], "stopped");
        let process = PathBuf::from(format!(
            "/proc/{}",
            fs::read_to_string(&number).unwrap().trim()
        ));
        wait_for("the Python goes on", || !process.exists());
        fs::remove_file(&number).unwrap();
        assert_eq!(place.names(), before, "{format}: nothing is left");
        assert_eq!(
            fs::read_dir(temporary.path()).unwrap().count(),
            0,
            "{format}"
        );
    }
}
