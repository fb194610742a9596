//! Children in processes of their own, for which scripts stand in: how they end, and that they do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nas_engine::cluster::message::Job;
use nas_engine::cluster::process::{Memory, Process, Processes, Report, Said};
use nas_engine::cluster::worker::{Step, Trainer, Training};
use nas_engine::run::Status;
use nas_engine::run::entry::Timing;
use nas_engine::space::SpaceKind;
use nas_engine::train::Scores;

use super::nats::runtime;

/// A child that is a script; it knows the folder of all children as `$1`, and is told its own.
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
        let trainer = Processes::new(
            (program, vec![]),
            folder.path().into(),
            SpaceKind::Conv,
            Arc::new(memory),
        );
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
        "cat > /dev/null; echo $$ > \"$1/own\"; sleep 1000 & echo $! > \"$1/other\"; wait",
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

/// What a process says of a child that ended.
fn says(status: Status) -> String {
    let said = Said::Ended(Report {
        status,
        scores: Scores::none(SpaceKind::Conv),
        parameters: None,
        message: None,
        timing: Timing::default(),
    });
    format!("echo '{}'", serde_json::to_string(&said).unwrap())
}

/// Processes that train two children, one after the other, and how the second ended.
fn two(child: &str, memory: Memory) -> (usize, Status, String) {
    let script = Script::new(
        &format!("echo $$ >> \"$1/processes\"; while read -r name; do\n{child}\ndone"),
        memory,
    );
    let ends: Vec<(Status, String)> = runtime().block_on(async {
        let mut ends = vec![];
        for _ in 0..2 {
            match script.begin().next().await {
                Step::Ended(end) => ends.push((end.status, end.message.unwrap_or_default())),
                other => panic!("{other:?}"),
            }
        }
        ends
    });
    let processes = fs::read_to_string(script.path("processes")).unwrap();
    let n_processes = processes.lines().count();
    drop(script);
    wait("no process stays", || !processes.lines().any(runs));
    let (status, message) = ends.into_iter().next_back().unwrap();
    (n_processes, status, message)
}

#[test]
fn a_process_trains_one_child_after_the_other_until_one_ends_badly() {
    let ok = says(Status::Ok);
    assert_eq!(two(&ok, Memory::Free), (1, Status::Ok, String::new()));
    let diverged = says(Status::Diverged);
    assert_eq!(two(&diverged, Memory::Free).0, 1);
    // Whatever such a child left in the process is no other's.
    let without_memory = says(Status::OutOfMemory);
    let ended = two(&without_memory, Memory::Free);
    assert_eq!((ended.0, ended.1), (2, Status::OutOfMemory));
    let ended = two("echo broken >&2; exit 1", Memory::Free);
    assert_eq!((ended.0, ended.1), (2, Status::Crash));
    // With a limit each has all of it.
    assert_eq!(two(&ok, Memory::Data(1 << 30)).0, 2);
}

/// What the first left in the process may be why; alone the child has all there is.
#[test]
fn a_child_that_lacks_memory_after_another_is_begun_again() {
    let script = Script::new(
        &format!(
            "read -r name; {}; read -r name; {}; read -r name || :",
            says(Status::Ok),
            says(Status::OutOfMemory)
        ),
        Memory::Free,
    );
    runtime().block_on(async {
        let first = script.begin().next().await;
        assert!(
            matches!(&first, Step::Ended(end) if end.status == Status::Ok),
            "{first:?}"
        );
        let second = script.begin().next().await;
        assert!(matches!(second, Step::Stopped), "{second:?}");
    });
}

/// The worker looks for other things now and then, more often than it waits for last words.
#[test]
fn a_crash_is_told_though_somebody_else_may_still_write() {
    let script = Script::new("sleep 1000 > /dev/null & kill -SEGV $$", Memory::Free);
    runtime().block_on(async {
        let mut process = script.begin();
        let told = async {
            loop {
                let soon = Duration::from_millis(100);
                if let Ok(step) = tokio::time::timeout(soon, process.next()).await {
                    return step;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(20), told).await;
        assert!(matches!(told, Ok(Step::Ended(_))), "{told:?}");
    });
}

#[test]
fn the_last_words_are_those_of_the_child_that_crashed() {
    let first_only = format!(
        "if [ -e \"$1/second\" ]; then kill -SEGV $$; fi
        : > \"$1/second\"; echo 'of the first' >&2; sleep 0.2; {}",
        says(Status::Ok)
    );
    let (n_processes, status, message) = two(&first_only, Memory::Free);
    assert_eq!((n_processes, status), (1, Status::Crash));
    assert_eq!(message, "its process ended by signal 11");
}

#[test]
fn a_process_that_ends_while_it_waits_takes_no_child_along() {
    let script = Script::new(
        &format!("echo $$ > \"$1/own\"; read -r name; {}", says(Status::Ok)),
        Memory::Free,
    );
    runtime().block_on(async {
        for _ in 0..2 {
            let end = script.begin().next().await;
            assert!(
                matches!(&end, Step::Ended(end) if end.status == Status::Ok),
                "{end:?}"
            );
            let own = fs::read_to_string(script.path("own")).unwrap();
            wait("it ends by itself", || !runs(&own));
        }
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
