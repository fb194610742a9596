//! `status`: what it says of who works on a run, and that it disturbs nobody.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nas_engine::config::{self, Config};
use nas_engine::disk::{Disk, DiskFile, Found, Real};
use nas_engine::run::entry::{Entry, RunTiming, Started, Stop, Timing};
use nas_engine::run::journal::{self, FILE_NAME, Journal};
use nas_engine::run::skim::RunBytes;
use nas_engine::run::state::Locks;
use nas_engine::run::{RunError, checkpoints, now, under_way};
use nas_engine::search::evaluator::Stub;
use serde_json::Value;
use tempfile::TempDir;

use super::{bad_input, json, nas, text};
use crate::search::{Case, by_architecture};

/// The state of a run that nobody works on and whose last line is not that of a stop.
pub fn at_rest(journal: &Path) -> &'static str {
    match Locks::look(journal).all_seen {
        true => "stopped",
        false => "unknown", // the tests run in a container, or on a disk of others
    }
}

/// A run that has just begun, of 48 samples.
pub fn new() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = Config::preset("sample").unwrap().to_toml();
    fs::write(folder.path().join(config::FILE_NAME), settings).unwrap();
    append(folder.path(), &Entry::Run(started(now())));
    folder
}

/// A run of 20 of 48 samples.
pub fn begun() -> TempDir {
    let folder = new();
    let mut stub = Stub::new(0, by_architecture);
    Case::DEFAULT.run(folder.path(), &mut stub).unwrap();
    folder
}

fn started(at: f64) -> Started {
    Started {
        version: "0".to_owned(),
        config_sha256: "1".to_owned(),
        data_sha256: "2".to_owned(),
        samples: 48,
        timing: RunTiming {
            at,
            device: "cpu".to_owned(),
            threads: 1,
        },
    }
}

pub fn stop(at: f64) -> Entry {
    let timing = Timing {
        at,
        ..Timing::default()
    };
    Entry::Stop(Stop {
        samples: 20,
        timing,
    })
}

pub fn append(run: &Path, entry: &Entry) {
    let path = run.join(FILE_NAME);
    let mut journal = match path.exists() {
        true => Journal::resume(&Real, &path).unwrap().0,
        false => Journal::create(&Real, &path).unwrap(),
    };
    journal.append(entry).unwrap();
}

fn status(run: &Path) -> Value {
    json(&["status", &text(run)])
}

#[test]
fn the_state_follows_the_lock_and_the_last_line() {
    let folder = begun();
    let (run, journal) = (folder.path(), folder.path().join(FILE_NAME));
    assert_eq!(status(run)["state"], at_rest(&journal));
    let (writer, _) = Journal::resume(&Real, &journal).unwrap();
    assert_eq!(status(run)["state"], "running");
    drop(writer);
    assert_eq!(status(run)["state"], at_rest(&journal));
    append(run, &stop(now()));
    assert_eq!(status(run)["state"], "stopped");
    // Who goes on with it holds the lock before the first line.
    let (writer, _) = Journal::resume(&Real, &journal).unwrap();
    assert_eq!(status(run)["state"], "running");
    drop(writer);
    append(run, &Entry::Run(started(now())));
    assert_eq!(status(run)["state"], at_rest(&journal));
    // The lock of another file with the same number counts for nothing here; that of a link does.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(run, &link).unwrap();
    let (_writer, _) = Journal::resume(&Real, &journal).unwrap();
    assert_eq!(status(&link)["state"], "running");
}

#[test]
fn status_has_all_its_keys_and_the_age_of_the_last_line() {
    let folder = begun();
    append(folder.path(), &stop(now() - 100.0));
    let found = status(folder.path());
    let keys: Vec<&str> = found.as_object().unwrap().keys().map(|k| &**k).collect();
    let expected = [
        "state",
        "samples",
        "total",
        "best",
        "mean_reward",
        "mean_reward_first_quarter",
        "mean_reward_last_quarter",
        "failures",
        "children_per_hour",
        "seconds",
        "seconds_left",
        "seconds_since_last_line",
    ];
    assert_eq!(keys, expected);
    let age = found["seconds_since_last_line"].as_f64().unwrap();
    assert!((100.0..160.0).contains(&age), "{age}");
    assert_eq!(
        (&found["samples"], &found["total"]),
        (&20.into(), &48.into())
    );
    let words = nas(&["status", &text(folder.path())]).stdout;
    assert!(words.starts_with("stopped: 20 of 48 samples"), "{words}");
    assert!(words.contains("last line 1m 4"), "{words}");
    // A run of which nothing is written yet has no last line.
    fs::write(folder.path().join(FILE_NAME), "").unwrap();
    let found = status(folder.path());
    assert_eq!(found["seconds_since_last_line"], Value::Null);
}

#[test]
fn a_clock_that_was_set_back_gives_no_nonsense() {
    for (began, last) in [(1e9, 1e9), (0.0, 1e9), (1e9, -1e9), (-100.0, -200.0)] {
        let folder = begun();
        append(folder.path(), &Entry::Run(started(now() + began)));
        append(folder.path(), &stop(now() + last));
        let found = status(folder.path());
        for key in ["seconds_since_last_line", "seconds"] {
            let value = found[key].as_f64().unwrap();
            assert!((0.0..2e9).contains(&value), "{key} {found}");
        }
        for key in ["children_per_hour", "seconds_left"] {
            assert!(
                found[key].as_f64().is_none_or(|x| x >= 0.0),
                "{key} {found}"
            );
        }
    }
}

/// Every file of a directory with its bytes and the time of its last change.
fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            (path.clone(), fs::read(&path).unwrap(), changed)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_line_that_is_being_written_is_passed_over_and_nothing_changes() {
    let folder = begun();
    let journal = folder.path().join(FILE_NAME);
    let bytes = fs::read(&journal).unwrap();
    let last = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .unwrap();
    let numbers = |found: &Value| {
        [&found["samples"], &found["mean_reward"], &found["best"]].map(Value::clone)
    };
    fs::write(&journal, &bytes[..=last]).unwrap();
    let before = numbers(&status(folder.path()));
    for cut in [last + 2, last + 40, bytes.len() - 1] {
        fs::write(&journal, &bytes[..cut]).unwrap();
        let files = snapshot(folder.path());
        assert_eq!(numbers(&status(folder.path())), before, "cut at byte {cut}");
        assert_eq!(snapshot(folder.path()), files);
    }
}

/// A disk that lets nobody write, and at will does not let a file be seen or read.
#[derive(Debug)]
struct OfAnother {
    unseen: &'static str,
    unread: &'static str,
}

impl OfAnother {
    fn denied<T>() -> io::Result<T> {
        Err(ErrorKind::PermissionDenied.into())
    }
}

impl Disk for OfAnother {
    fn found(&self, path: &Path) -> io::Result<Option<Found>> {
        match path.ends_with(self.unseen) {
            true => OfAnother::denied(),
            false => Real.found(path),
        }
    }

    fn target(&self, path: &Path) -> PathBuf {
        Real.target(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        Real.names(folder)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.ends_with(self.unread) {
            true => OfAnother::denied(),
            false => Real.read(path),
        }
    }

    fn read_start(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        match path.ends_with(self.unread) {
            true => OfAnother::denied(),
            false => Real.read_start(path, most),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        panic!("{} is written", path.display())
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        panic!("{} is opened to write, or locked", path.display())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        panic!("{} is made", path.display())
    }

    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("{} is moved", from.display())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        panic!("{} is removed", path.display())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        panic!("{} is synced", folder.display())
    }
}

#[test]
fn a_run_of_somebody_else_is_read_or_refused_in_words_that_fit() {
    let folder = begun();
    let read = |unseen, unread| {
        let disk = OfAnother { unseen, unread };
        let run = RunBytes::read(&disk, folder.path())?;
        Ok::<_, RunError>(run.history()?.children.len())
    };
    assert_eq!(read("-", "-").unwrap(), 20);
    for (unseen, unread, name) in [
        (config::FILE_NAME, "-", config::FILE_NAME),
        ("-", config::FILE_NAME, config::FILE_NAME),
        (FILE_NAME, "-", FILE_NAME),
        ("-", FILE_NAME, FILE_NAME),
    ] {
        let words = read(unseen, unread).unwrap_err().to_string();
        for expected in ["cannot read", name, "permission denied", "check the right"] {
            assert!(words.contains(expected), "no '{expected}' in {words}");
        }
        assert!(!words.contains("write"), "{words}");
    }
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = begun();
    let (run, file) = (folder.path(), folder.path().join(FILE_NAME));
    bad_input::refused(&["status", &text(&file)], 2, "usage", &["there is no run"]);
    let journal = fs::read(&file).unwrap();
    // A changed byte in the second line.
    let second = 1 + journal.iter().position(|&byte| byte == b'\n').unwrap();
    let mut bad = journal.clone();
    bad[second + 30] ^= 1;
    fs::write(&file, &bad).unwrap();
    let place = format!("line 2, byte {second}");
    let words = [&*place, "crc32", "restore"];
    bad_input::refused(&["status", &text(run)], 3, "journal", &words);
    assert!(journal::read(&Real, &file).is_err());
    fs::remove_file(&file).unwrap();
    bad_input::refused(&["status", &text(run)], 3, "journal", &["is missing"]);
    fs::write(&file, journal).unwrap();
    fs::remove_file(run.join(config::FILE_NAME)).unwrap();
    bad_input::refused(&["status", &text(run)], 2, "usage", &["config.toml"]);
}

/// Before any child has ended there is no table, but who is under way.
#[test]
fn a_search_that_has_just_begun_has_no_table() {
    let folder = new();
    let (run, journal) = (text(folder.path()), folder.path().join(FILE_NAME));
    let words = || nas(&["status", &run]).stdout;
    let said = |what: &str| {
        let words = words();
        assert!(words.contains(" of 48 samples, last line "), "{words}");
        assert!(words.ends_with(&format!("{what}\n")), "{words}");
        for table in ["mean reward", "architecture", "0.0s\n"] {
            assert!(!words.contains(table), "{words}");
        }
    };
    let (writer, _) = Journal::resume(&Real, &journal).unwrap();
    // Threads of this process, which holds the lock; other tests have some too.
    let (ends, has_ended) = std::sync::mpsc::channel::<()>();
    let child = std::thread::Builder::new().name(under_way::thread_name(5));
    let child = child.spawn(move || has_ended.recv()).unwrap();
    said(" under way");
    assert!(words().contains("no child has ended yet; "), "{}", words());
    drop(ends);
    let _ = child.join();
    drop(writer);
    let checkpoints = folder.path().join(checkpoints::FOLDER);
    fs::create_dir_all(&checkpoints).unwrap();
    fs::write(checkpoints.join("3"), "").unwrap();
    append(folder.path(), &stop(now()));
    said("it stopped before any child ended; 1 have checkpoints");
    assert_eq!(status(folder.path())["samples"], 0);
}
