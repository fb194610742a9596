//! Damaged journals; resume equals never having stopped; one writer at a time.

use std::fs;
use std::path::PathBuf;

use nas_engine::disk::Real;
use nas_engine::run::journal::{self, FILE_NAME, Journal, JournalError};
use nas_engine::search::SearchError;
use nas_engine::search::evaluator::Stub;
use tempfile::TempDir;

use crate::search::{Case, by_architecture, with_failures};

const SMALL: Case = Case {
    samples: 5,
    children_per_update: 2,
    ..Case::DEFAULT
};

/// The journal of a small search.
fn written(case: &Case) -> (TempDir, PathBuf, Vec<u8>) {
    // In memory where there is such a place: thousands of searches wait for the disk at each line.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    case.run(folder.path(), &mut Stub::new(0, with_failures))
        .unwrap();
    let path = folder.path().join(FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    (folder, path, bytes)
}

#[test]
fn a_journal_cut_at_any_byte_is_completed_to_the_same_journal() {
    for learns in [true, false] {
        let case = Case { learns, ..SMALL };
        let (folder, path, bytes) = written(&case);
        let whole = journal::facts(&Real, &path).unwrap();
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let order = cut as u64;
            case.run(folder.path(), &mut Stub::new(order, with_failures))
                .unwrap_or_else(|error| panic!("cut at byte {cut}: {error}"));
            assert_eq!(
                journal::facts(&Real, &path).unwrap(),
                whole,
                "cut at byte {cut}"
            );
        }
    }
}

#[test]
fn resuming_a_finished_search_changes_no_byte() {
    let (folder, path, bytes) = written(&SMALL);
    SMALL
        .run(folder.path(), &mut Stub::new(1, by_architecture))
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn damage_before_the_last_line_is_an_error_that_says_where() {
    let (folder, path, bytes) = written(&SMALL);
    let n_lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let mut line = 1;
    let mut offset = 0;
    for at in 0..bytes.len() {
        // Without the newline before the last line the two are one line, and torn.
        let last_newline = line == n_lines - 1 && bytes[at] == b'\n';
        if at % 3 == 0 && line < n_lines && !last_newline {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            fs::write(&path, &bad).unwrap();
            let error = SMALL
                .run(folder.path(), &mut Stub::new(0, by_architecture))
                .unwrap_err();
            let SearchError::Journal(JournalError::Damaged {
                line: l, offset: o, ..
            }) = error
            else {
                panic!("byte {at}: {error}");
            };
            assert_eq!((l, o), (line, offset), "byte {at}");
        }
        if bytes[at] == b'\n' {
            (line, offset) = (line + 1, at as u64 + 1);
        }
    }
}

#[test]
fn facts_that_do_not_fit_together_are_damage() {
    let (folder, path, bytes) = written(&SMALL);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let update = lines
        .iter()
        .position(|line| line.contains("\"update\""))
        .unwrap();
    let twice = [&lines[..], &lines[..1]].concat().concat();
    let without_child = [&lines[1..=update], &lines[update + 1..]].concat().concat();
    for (what, text) in [("sample", twice), ("an update from sample", without_child)] {
        fs::write(&path, text).unwrap();
        let error = SMALL
            .run(folder.path(), &mut Stub::new(0, by_architecture))
            .unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn one_writer_at_a_time_and_readers_do_not_wait() {
    let (_folder, path, _) = written(&SMALL);
    let (_writer, _) = Journal::resume(&Real, &path).unwrap();
    let second = Journal::resume(&Real, &path).unwrap_err();
    assert!(matches!(second, JournalError::Locked { .. }), "{second}");
    assert!(
        second.to_string().contains("another nas-engine"),
        "{second}"
    );
    assert_eq!(journal::read(&Real, &path).unwrap().torn, 0);
}

#[test]
fn a_torn_line_is_read_around_and_left_alone() {
    let (_folder, path, mut bytes) = written(&SMALL);
    let whole = journal::read(&Real, &path).unwrap();
    bytes.extend_from_slice(b"{\"event\":\"child\",\"sam");
    fs::write(&path, &bytes).unwrap();
    let torn = journal::read(&Real, &path).unwrap();
    assert_eq!((torn.lines.len(), torn.torn), (whole.lines.len(), 21));
    assert_eq!(torn.end, bytes.len() as u64 - 21);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
