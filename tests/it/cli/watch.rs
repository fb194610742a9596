//! `watch`: on terminals of any size, and what it says when it is left.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nas_engine::disk::Real;
use nas_engine::run::journal::{FILE_NAME, Journal};
use nas_engine::run::now;

use super::status::{append, at_rest, begun, new, stop};
use super::terminal::terminal;
use super::{bad_input, nas, program, text};

/// Leaves the other screen, on which the run is drawn.
const LEAVES: &str = "\x1b[?1049l";

/// The command on a terminal of so many columns and lines, which is left by q: what is drawn, without blanks
/// and with escape codes, and what is said afterwards.
fn watch(run: &Path, size: [u16; 2], variables: &[(&str, &str)]) -> [String; 2] {
    let (theirs, mut ours) = terminal(size);
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = program();
    command
        .args(["watch", &text(run)])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color")
        .envs(variables.iter().copied())
        .stdin(end())
        .stdout(end())
        .stderr(end());
    away_from_the_terminal_of_the_tests(&mut command);
    let mut child = command.spawn().unwrap();
    drop((command, theirs));
    let (mut written, mut buffer, mut is_left) = (Vec::new(), [0; 4096], false);
    // A terminal whose last program has gone gives an error in place of an end.
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        written.extend(&buffer[..n]);
        if !is_left {
            is_left = true;
            ours.write_all(b"q").unwrap();
        }
    }
    let written = String::from_utf8(written).unwrap();
    assert!(child.wait().unwrap().success(), "{written:?}");
    let (drawn, after) = written.split_once(LEAVES).expect(&written);
    [drawn.replace(' ', ""), after.to_owned()]
}

/// Without it the size would be that of the terminal on which the tests run.
fn away_from_the_terminal_of_the_tests(command: &mut Command) {
    // SAFETY: both calls may be made between fork and exec.
    let away = || match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(away) };
}

/// Where nothing can be drawn, `watch` names the command that serves there.
#[test]
fn watch_needs_a_terminal() {
    let folder = begun();
    let run = text(folder.path());
    bad_input::refused(&["watch", &run], 2, "usage", &["status", &run]);
}

#[test]
fn a_terminal_of_any_size_is_drawn_on() {
    let folder = begun();
    for (size, words) in [
        ([0, 0], "eachchild"), // it does not tell, and is taken for a usual one
        ([80, 24], "eachchild"),
        ([10, 3], "small"),
        ([1, 1], "…"),
        ([u16::MAX, 1], "small"),
        ([u16::MAX, u16::MAX], "eachchild"),
    ] {
        let [drawn, after] = watch(folder.path(), size, &[]);
        let drawn = without_codes(&drawn);
        assert!(drawn.contains(words), "{size:?}: {drawn}");
        assert!(after.contains("20 of 48 samples"), "{after}");
    }
}

/// Text without escape codes.
fn without_codes(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic());
        plain += end.map_or("", |end| &piece[end + 1..]);
    }
    plain
}

#[test]
fn the_last_words_say_what_becomes_of_the_search() {
    let last_words =
        |run: &Path| watch(run, [80, 24], &[("NAS_ENGINE_TIME_LIMIT", "1s")])[1].clone();
    let folder = begun();
    let (run, journal) = (folder.path(), folder.path().join(FILE_NAME));
    let (writer, _) = Journal::resume(&Real, &journal).unwrap();
    let words = last_words(run);
    assert!(
        words.contains("the search goes on: 20 of 48 samples so far"),
        "{words}"
    );
    drop(writer);
    // As a search that was killed leaves it.
    let words = last_words(run);
    assert!(!words.contains("goes on"), "{words}");
    assert_eq!(
        words.contains("--resume"),
        at_rest(&journal) == "stopped",
        "{words}"
    );
    append(run, &stop(now()));
    let words = last_words(run);
    let expected = [
        "the search has stopped: 20 of 48 samples",
        "search --resume",
    ];
    assert!(
        expected.iter().all(|expected| words.contains(expected)),
        "{words}"
    );

    let folder = new();
    let journal = folder.path().join(FILE_NAME);
    let (_writer, _) = Journal::resume(&Real, &journal).unwrap();
    let [drawn, _] = watch(folder.path(), [80, 24], &[]);
    let drawn = without_codes(&drawn);
    assert!(drawn.contains("nochildhasendedyet"), "{drawn}");
}

/// A view has no time limit: that of searches, with its words, would mean nothing.
#[test]
fn the_help_speaks_of_the_view_alone() {
    let help = nas(&["watch", "--help"]).stdout;
    assert!(
        help.contains("--every") && !help.contains("time-limit"),
        "{help}"
    );
}
