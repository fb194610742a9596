//! Where imports go: an empty folder that cannot be replaced too.

use std::fs;
use std::process::Command;

use super::super::{file, text};
use super::{HUNDRED, Place, names};

/// In a mount namespace of its own, a file system is mounted at the empty `--out`, as of a container's volume.
#[test]
fn a_mount_point_is_filled() {
    let place = Place::new();
    let archive = file(place.0.path(), "cifar-100-python.tar.gz", HUNDRED);
    let out = place.out();
    fs::create_dir(&out).unwrap();
    let script = r#"mount -t tmpfs tmpfs "$1" || exit 99
        "$2" data import cifar100 "$3" --out "$1" && ls -A "$1" && "$2" data verify "$1" >/dev/null"#;
    let program = env!("CARGO_BIN_EXE_nas-engine");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", &out, program, &archive]);
    let Ok(ended) = command.output() else {
        println!("not run: unshare is not there");
        return;
    };
    let stderr = String::from_utf8(ended.stderr).unwrap();
    if ended.status.code() == Some(99) || stderr.contains("unshare") {
        println!("not run: nothing may be mounted here ({stderr})");
        return;
    }
    let stdout = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{stdout} {stderr}");
    let files = "batches.meta.txt\ndata_batch_1.bin\ndataset.toml\ntest_batch.bin\n";
    assert!(stdout.ends_with(files), "{stdout}");
    assert!(names(out.as_ref()).is_empty(), "it was another namespace");
    assert_eq!(text(&place.0.path().join("out")), out);
}
