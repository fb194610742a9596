//! What is left of processes that were killed: no roles that nobody has begun, and no folders for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::{program, run, text};
use super::chaos::signal;
use super::{Place, SETTINGS, children};

/// Whether a process runs: one that nobody has asked for its end yet does not.
fn runs(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

fn is_role(id: u32) -> bool {
    let words = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let is_role = |role: &str| words.contains(&format!("\0{role}\0"));
    ["apply", "replica", "worker"].into_iter().any(is_role)
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn roles_of_a_search_that_is_killed_end() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let mut search = program();
    search.args(["search", "--cluster", &place.server.url()]);
    search
        .args(["--i-checked-sync", "--run-name", "one", "--no-progress"])
        .args(["--data", &text(place.data.path())])
        .args(["--out", &text(&folder.path().join("run"))])
        .args(SETTINGS)
        .args(["--epochs", "100000"]);
    search.env("TMPDIR", folder.path());
    search.stdout(Stdio::null()).stderr(Stdio::null());
    let mut search = search.spawn().unwrap();
    let roles = || {
        let begun = children(search.id());
        begun.into_iter().filter(|&id| is_role(id)).collect()
    };
    wait("it begins its roles", || {
        let roles: Vec<u32> = roles();
        roles.len() == 3
    });
    wait("a child is trained", || {
        place.status("one")["workers"][0]["sample"].is_u64()
    });
    let roles: Vec<u32> = roles();
    search.kill().unwrap();
    search.wait().unwrap();
    wait("they end", || !roles.iter().any(|&id| runs(id)));
    // In good order: the child was given back, and what the worker kept while it worked is gone.
    let status = place.status("one");
    assert_eq!(status["workers"], serde_json::json!([]), "{status}");
    assert!(named(folder.path(), "nas-engine-worker-").is_empty());
}

/// What is said of a stop is said once.
#[test]
fn a_search_on_a_server_that_is_stopped_says_so_once() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let mut search = program();
    search.args(["search", "--cluster", &place.server.url()]);
    search
        .args(["--i-checked-sync", "--run-name", "one", "--no-progress"])
        .args(["--data", &text(place.data.path())])
        .args(["--out", &text(&folder.path().join("run"))])
        .args(SETTINGS)
        .args(["--epochs", "100000"]);
    search.stdout(Stdio::null()).stderr(Stdio::piped());
    let search = search.spawn().unwrap();
    wait("it begins its roles", || {
        let begun = children(search.id());
        begun.into_iter().filter(|&id| is_role(id)).count() == 3
    });
    signal(&search, libc::SIGTERM);
    let ended = search.wait_with_output().unwrap();
    let words = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{words}");
    assert_eq!(words.matches("stopped:").count(), 1, "{words}");
    assert!(!words.contains("without this process"), "{words}");
}

fn named(folder: &Path, begins: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let ours = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(begins));
    ours.map(|entry| entry.path()).collect()
}

#[test]
fn a_worker_removes_what_killed_ones_left() {
    let place = Place::new();
    assert_eq!(place.init("one", &[]).code, 0);
    let folder = tempfile::tempdir().unwrap();
    let left = || named(folder.path(), "nas-engine-worker-");
    let begin = || place.worker_in(Some(folder.path()), "one", "a");
    let mut first = begin();
    let has_begun = |n: usize| {
        wait("it has a folder", || {
            let ready = left();
            ready
                .iter()
                .filter(|path| path.join("owner").exists())
                .count()
                == n
        });
    };
    has_begun(1);
    let of_first = left();
    let mut second = begin();
    has_begun(2);
    first.kill().unwrap();
    first.wait().unwrap();
    let mut third = begin();
    wait("it is removed", || !of_first[0].exists());
    has_begun(2);
    for worker in [&mut second, &mut third] {
        signal(worker, libc::SIGTERM);
        assert_eq!(worker.wait().unwrap().code(), Some(75));
    }
    assert!(left().is_empty(), "{:?}", left());
}

#[test]
fn an_export_that_is_stopped_or_was_killed_leaves_nothing() {
    let place = Place::new();
    assert_eq!(place.init("one", &[]).code, 0);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut export = place.cluster("export", "one", &["--out", &text(&out)]);
    // As one that was killed leaves it.
    let left = folder.path().join(".run.abcdef.unfinished");
    fs::create_dir(&left).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(left.join("owner"), boot).unwrap();
    let server = Pid::from_raw(place.server.id().cast_signed()).unwrap();
    kill_process(server, Signal::STOP).unwrap();
    let begun = export.stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    signal(&begun, libc::SIGTERM);
    let ended = begun.wait_with_output().unwrap();
    kill_process(server, Signal::CONT).unwrap();
    let words = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{words}");
    assert!(words.contains("nothing is exported"), "{words}");
    assert!(!out.exists());
    let ended = run(&mut export);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["run"]);
}
