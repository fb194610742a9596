//! File systems that refuse a call for another reason than rights or room: the program, with the C
//! library's calls replaced by such that refuse as asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::search::Place;
use super::{Ended, bad_input::layers, file, program, run, text};

/// Calls that fail with the number in `REFUSE_<CALL>`, of folders or of files.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
static int refused(const char *call) {
    const char *number = getenv(call);
    if (!number) return 0;
    errno = atoi(number);
    return 1;
}
static int is_folder(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISDIR(found.st_mode);
}
int flock(int fd, int operation) {
    if (refused("REFUSE_FLOCK")) return -1;
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(fd, operation);
}
int fsync(int fd) {
    if (refused(is_folder(fd) ? "REFUSE_FSYNC_FOLDER" : "REFUSE_FSYNC_FILE")) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
    if (refused("REFUSE_FSYNC_FILE")) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

/// The shim as a library.
fn shim() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    // As the host runner of the kernels is built.
    let built = Command::new("g++")
        .args(["-x", "c", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    (folder, library)
}

/// Runs the program where calls are refused.
fn refusing(library: &Path, calls: &[(&str, i32)], arguments: &[String]) -> Ended {
    let mut command = program();
    command.env("LD_PRELOAD", library).args(arguments);
    for (call, number) in calls {
        command.env(call, number.to_string());
    }
    run(&mut command)
}

#[test]
fn a_search_goes_on_where_locks_or_syncs_are_refused() {
    let (_folder, library) = shim();
    let place = Place::new();
    place.search("whole", &["--samples", "2"]);
    let whole = place.facts("whole");
    let [locks, loss] = ["knows no locks", "a power cut may lose"];
    let cases: [(&str, &[i32], Option<&str>); 3] = [
        // ENOSYS, ENOLCK, EOPNOTSUPP, EINVAL and the kernel's ENOTSUPP.
        ("REFUSE_FLOCK", &[38, 37, 95, 22, 524], Some(locks)),
        // EINVAL, EBADF, ENOSYS, EOPNOTSUPP.
        ("REFUSE_FSYNC_FOLDER", &[22, 9, 38, 95, 524], None),
        ("REFUSE_FSYNC_FILE", &[22, 38, 95, 524], Some(loss)),
    ];
    for (call, numbers, warning) in cases {
        for &number in numbers {
            let name = format!("{call}-{number}");
            let arguments = place.arguments(&name, &["--samples", "2"]);
            let ended = refusing(&library, &[(call, number)], &arguments);
            assert_eq!(ended.code, 0, "{name}: {ended:?}");
            assert_eq!(place.facts(&name), whole, "{name}");
            let warned = [locks, loss].map(|words| ended.stderr.matches(words).count());
            let expected = [locks, loss].map(|words| usize::from(Some(words) == warning));
            assert_eq!(warned, expected, "{name}: {}", ended.stderr);
            let resume = [
                "search",
                "--resume",
                &text(&place.path(&name)),
                "--samples",
                "3",
            ];
            let resume = resume.map(str::to_owned);
            let ended = refusing(&library, &[(call, number)], &resume);
            assert_eq!(ended.code, 0, "{name}, resumed: {ended:?}");
        }
    }
}

/// What does say something of rights, room or damage is an error as ever.
#[test]
fn other_refusals_are_errors() {
    let (_folder, library) = shim();
    let place = Place::new();
    // EIO, ENOSPC, EDQUOT.
    for number in [5, 28, 122] {
        for call in ["REFUSE_FLOCK", "REFUSE_FSYNC_FOLDER", "REFUSE_FSYNC_FILE"] {
            let arguments = place.arguments(&format!("{call}-{number}"), &["--samples", "2"]);
            let ended = refusing(&library, &[(call, number)], &arguments);
            assert_ne!(ended.code, 0, "{call} {number}: {ended:?}");
        }
    }
}

#[test]
fn weights_and_checkpoints_are_kept_where_syncs_are_refused() {
    let (folder, library) = shim();
    let place = Place::new();
    let layer = layers(r#"{"filter":[1,1],"filters":8,"inputs":[0]}"#);
    let arch = file(folder.path(), "a.json", layer);
    let saved = text(&folder.path().join("w.safetensors"));
    let config = file(folder.path(), "c.toml", "[train]\ncheckpoint_seconds = 0\n");
    let arguments = [
        "train",
        "--arch",
        &arch,
        "--data",
        &text(place.data.path()),
        "--batch",
        "8",
        "--epochs",
        "2",
        "--save",
        &saved,
        "--config",
        &config,
    ];
    let calls = [("REFUSE_FSYNC_FOLDER", 22), ("REFUSE_FSYNC_FILE", 22)];
    let ended = refusing(&library, &calls, &arguments.map(str::to_owned));
    assert_eq!(ended.code, 0, "{ended:?}");
    let warned = ended.stderr.matches("a power cut may lose").count();
    assert_eq!(warned, 1, "said once: {}", ended.stderr);
    assert!(fs::metadata(&saved).unwrap().len() > 0);
}
