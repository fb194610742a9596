//! Children in processes of their own, for which scripts stand in: how they end, and that they do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nas_engine::cluster::message::Job;
use nas_engine::cluster::process::{Memory, Process, Processes};
use nas_engine::cluster::worker::{Step, Trainer, Training};
use nas_engine::run::Status;
use nas_engine::space::SpaceKind;

use super::nats::runtime;

/// A child that is a script; it knows its own folder as `$1`.
struct Script {
    folder: tempfile::TempDir,
    trainer: Processes,
}

impl Script {
    fn new(text: &str, memory: Memory) -> Script {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("child");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let trainer = Processes {
            program,
            arguments: vec![],
            folder: folder.path().into(),
            kind: SpaceKind::Conv,
            memory: Arc::new(memory),
        };
        Script { folder, trainer }
    }

    fn begin(&self) -> Process {
        let job = Job {
            sample: 3,
            round: 0,
            tokens: vec![],
            duplicate_of: None,
        };
        self.trainer.begin(&job, None)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// How a script ends: its status and message.
fn end(text: &str, memory: Memory) -> (Status, String) {
    let script = Script::new(text, memory);
    runtime().block_on(async {
        let mut process = script.begin();
        match process.next().await {
            Step::Ended(outcome) => (outcome.status, outcome.message.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    })
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs: one that nobody has asked for its end yet does not.
fn runs(id: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(id.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

#[test]
fn a_crash_is_told_with_the_last_words() {
    let (status, message) = end(
        "echo first >&2; echo 'it broke' >&2; kill -SEGV $$",
        Memory::Free,
    );
    assert_eq!(status, Status::Crash);
    assert_eq!(message, "its process ended by signal 11: it broke");
    let (status, message) = end("exit 1", Memory::Free);
    assert_eq!(
        (status, &*message),
        (Status::Crash, "its process ended with code 1")
    );
    // By whom nobody knows, and not for want of memory.
    let (status, message) = end("kill -KILL $$", Memory::Free);
    assert_eq!(
        (status, &*message),
        (Status::Crash, "its process ended by signal 9")
    );
}

#[test]
fn a_child_without_memory_is_told_apart_from_one_that_crashes() {
    let words = "memory allocation of 99 bytes failed";
    let script = format!("echo {words} >&2; kill -ABRT $$");
    let (status, message) = end(&script, Memory::Data(1 << 30));
    assert_eq!(status, Status::OutOfMemory);
    assert_eq!(
        message,
        format!("its process ended by signal 6 for want of memory: {words}")
    );
    assert_eq!(end(&script, Memory::Free).0, Status::Crash);
    let other = "echo something else >&2; kill -ABRT $$";
    assert_eq!(end(other, Memory::Data(1 << 30)).0, Status::Crash);
}

#[test]
fn a_process_has_the_limit_of_its_data() {
    // The limit is set when the process has begun.
    let script = "while [ \"$(ulimit -d)\" != 98304 ]; do :; done; echo it is 98304 >&2; exit 1";
    let (_, message) = end(script, Memory::Data(96 << 20));
    assert!(message.ends_with("it is 98304"), "{message}");
}

#[test]
fn a_child_that_ignores_the_end_of_its_input_ends_with_all_that_it_began() {
    let script = Script::new(
        "cat > /dev/null; echo $$ > \"$1/../own\"; sleep 1000 & echo $! > \"$1/../other\"; wait",
        Memory::Free,
    );
    runtime().block_on(async {
        let mut process = script.begin();
        process.stop();
        let whole =
            |name: &str| fs::read_to_string(script.path(name)).is_ok_and(|id| id.ends_with('\n'));
        wait("it goes on after the end of its input", || {
            whole("own") && whole("other")
        });
        let next = tokio::time::timeout(Duration::from_millis(100), process.next()).await;
        assert!(next.is_err(), "it does not end by itself");
        let ids = ["own", "other"].map(|name| fs::read_to_string(script.path(name)).unwrap());
        assert!(ids.iter().all(|id| runs(id)));
        drop(process);
        wait("both end", || !ids.iter().any(|id| runs(id)));
    });
}

#[test]
fn a_device_is_tested_by_a_process_of_its_own() {
    let test = |text: &str| {
        let script = Script::new(text, Memory::Free);
        let tested = runtime().block_on(script.trainer.test());
        let arguments = fs::read_to_string(script.path("arguments")).unwrap();
        assert_eq!(
            arguments,
            format!("--test {}\n", script.folder.path().display())
        );
        tested
    };
    let good = "echo \"$@\" > \"$2/arguments\"";
    assert_eq!(test(good), Ok(()));
    let bad = test(&format!("{good}; exit 4")).unwrap_err();
    assert!(
        bad.contains("a test of its device failed (exit status: 4)"),
        "{bad}"
    );
}
