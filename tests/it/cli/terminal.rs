//! Every command on a terminal: what stands there in the end is what a pipe gets, and no escape code
//! goes where none is wanted.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{data_folder, example, file, nas, program, text};

/// Columns of the terminal.
const COLUMNS: usize = 100;

/// A terminal of so many columns and lines: the end that a program has, and the end that a person sees.
pub fn terminal([columns, lines]: [u16; 2]) -> (OwnedFd, File) {
    let size = libc::winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both descriptors and the size live through the call; no name and no modes are asked for.
    let opened = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), &size) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just opened both, and nobody else has them.
    unsafe { (OwnedFd::from_raw_fd(theirs), File::from_raw_fd(ours)) }
}

/// Runs a command on a terminal; its exit code and all that it wrote.
fn on_terminal(command: &mut Command) -> (i32, String) {
    let (theirs, mut ours) = terminal([COLUMNS as u16, 24]);
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut child = command
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    drop(theirs);
    let mut written = Vec::new();
    let mut buffer = [0; 4096];
    // A terminal whose last program has gone gives an error in place of an end.
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        written.extend(&buffer[..n]);
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (code, String::from_utf8(written).unwrap())
}

/// What a terminal shows of text with the escape codes that move, remove and colour.
fn screen(text: &str) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![vec![]];
    // Rows that go on with the one above, which was full.
    let mut wrapped = BTreeSet::new();
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(
                    letters.next(),
                    Some('['),
                    "an unknown escape code in {text:?}"
                );
                let mut number = String::new();
                let end = loop {
                    match letters.next().expect("an escape code has an end") {
                        end if end.is_ascii_alphabetic() => break end,
                        other => number.push(other),
                    }
                };
                let n = number.parse().unwrap_or(1);
                match end {
                    'A' => row = row.checked_sub(n).expect("nothing is above the first line"),
                    'B' => row += n,
                    'K' if number == "2" => {
                        lines[row].clear();
                        wrapped.remove(&row);
                    }
                    'K' => lines[row].truncate(column),
                    'J' => lines.truncate(row + 1),
                    'm' => {}
                    other => panic!("an unknown escape code {other} in {text:?}"),
                }
            }
            letter => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), vec![]);
                    wrapped.insert(row);
                }
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), vec![]);
    }
    let mut whole: Vec<String> = vec![];
    for (row, line) in lines.iter().enumerate() {
        match whole.last_mut().filter(|_| wrapped.contains(&row)) {
            Some(last) => last.extend(line),
            None => whole.push(line.iter().collect()),
        }
    }
    whole
}

/// Lines in order of their letters, with `#` for what measures time or memory.
fn comparable<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let plain = |line: &str| {
        let mut words = String::new();
        for word in line.split_whitespace() {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            let is_unit = ["s", "ms", "kB", "MB", "GB"].contains(&word);
            match is_number {
                true if words.ends_with('#') => {}
                true => words.push('#'),
                false if is_unit => {}
                false => words += word,
            }
        }
        words
    };
    let mut lines: Vec<String> = lines.into_iter().map(plain).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    lines
}

/// Data, an architecture and settings of a search of a second, and where all is written.
struct Place {
    here: TempDir,
    data: TempDir,
}

impl Place {
    fn new() -> Place {
        let here = tempfile::tempdir().unwrap();
        file(here.path(), "settings.toml", super::search::CONFIG);
        Place {
            here,
            data: data_folder(80, 16),
        }
    }

    /// A command on an empty environment but for what a terminal has.
    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = program();
        for name in [
            "NO_COLOR",
            "TERM",
            "CI",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "COLUMNS",
        ] {
            command.env_remove(name);
        }
        let data = text(self.data.path());
        let arguments = arguments.iter().map(|argument| match *argument {
            "DATA" => data.clone(),
            "SMALL" => example("small.json"),
            other => other.to_owned(),
        });
        command
            .current_dir(self.here.path())
            .args(arguments)
            .envs(variables.iter().copied());
        command
    }

    /// Removes what a command writes.
    fn clear(&self, arguments: &[&str]) {
        if arguments.contains(&"--out") {
            let _ = fs::remove_dir_all(self.here.path().join("run"));
            let _ = fs::remove_file(self.here.path().join("exported"));
        }
        if arguments.contains(&"--save") {
            let _ = fs::remove_file(self.here.path().join("w"));
        }
    }
}

/// Every command as somebody types it, in an order in which each finds what it reads; and wrong ones.
const COMMANDS: [&[&str]; 30] = [
    &["predict", "--weights", "nothing.safetensors", "a.png"],
    &["finish", "nowhere"],
    &["watch", "nowhere"],
    &["cluster", "delete", "a", "--server", "nats://127.0.0.1:1"],
    &["cluster", "drain", "a", "--server", "nats://127.0.0.1:1"],
    &["cluster", "server-config", "a", "--keys", "keys"],
    &["cluster", "status", "a", "--server", "nats://127.0.0.1:1"],
    &[
        "cluster",
        "init",
        "a",
        "--i-checked-sync",
        "--server",
        "nats://127.0.0.1:1",
    ],
    &[
        "search",
        "--data",
        "DATA",
        "--config",
        "settings.toml",
        "--out",
        "run",
    ],
    &["search", "--resume", "run"],
    &[
        "search",
        "--data",
        "DATA",
        "--config",
        "settings.toml",
        "--dry-run",
        "--threads",
        "1000",
    ],
    &["status", "run"],
    &["audit", "run", "--retrain", "0"],
    &["explain", "run", "1"],
    &["report", "run"],
    &["compare", "run"],
    &[
        "train", "--arch", "SMALL", "--data", "DATA", "--epochs", "1", "--batch", "8", "--save",
        "w",
    ],
    &["eval", "--data", "DATA", "--weights", "w", "--limit", "40"],
    &["sample", "--weights", "w"],
    &[
        "export",
        "--weights",
        "w",
        "--data",
        "DATA",
        "--format",
        "onnx",
        "--out",
        "exported",
    ],
    &["inspect", "--arch", "SMALL"],
    &["roofline", "--arch", "SMALL"],
    &["data", "show", "DATA"],
    &["data", "verify", "DATA"],
    &["doctor"],
    &["doctor", "-v", "--json"],
    &["completions", "bash"],
    &["search", "--samples", "0"],
    &["serach"],
    &["train", "--help"],
];

#[test]
fn every_command_is_clean_on_a_terminal() {
    let help = nas(&["--help"]).stdout;
    let (_, listed) = help.split_once("Commands:").unwrap();
    let listed = listed.lines().skip(1).take_while(|line| !line.is_empty());
    // A description that takes several lines goes on further to the right.
    let listed = listed.filter_map(|line| {
        line.strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
    });
    for command in listed.filter_map(|line| line.split_whitespace().next()) {
        let is_tried = COMMANDS.iter().any(|arguments| arguments[0] == command);
        assert!(
            is_tried || command == "help",
            "{command} is not tried on a terminal"
        );
    }
    let place = Place::new();
    let kinds: [&[(&str, &str)]; 4] = [
        &[("TERM", "xterm-256color")],
        &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
        &[("TERM", "dumb")],
        &[("TERM", "dumb"), ("CI", "1")],
    ];
    for arguments in COMMANDS {
        place.clear(arguments);
        let piped = super::run(&mut place.command(arguments, &[]));
        let lines = || piped.stdout.lines().chain(piped.stderr.lines());
        for variables in kinds {
            place.clear(arguments);
            let (code, written) = on_terminal(&mut place.command(arguments, variables));
            let words = format!("{arguments:?} with {variables:?}:\n{written}");
            assert_eq!(code, piped.code, "{words}");
            let may_have_codes = variables.len() == 1 && variables[0].1 != "dumb";
            assert!(
                may_have_codes || !written.contains('\x1b'),
                "escape codes: {words}"
            );
            // Which batches have a line depends on the time; a bar is in the place of all of them.
            let is_batch = |line: &&str| line.starts_with("batch ");
            let expected = lines().filter(|line| !is_batch(line));
            let shown = screen(&written);
            let shown = shown.iter().map(String::as_str);
            let has_bar = may_have_codes && arguments.contains(&"run");
            assert!(
                !has_bar || !shown.clone().any(|line| is_batch(&line)),
                "{words}"
            );
            let shown = shown.filter(|line| !is_batch(line));
            assert_eq!(comparable(shown), comparable(expected), "{words}");
        }
    }
}

#[test]
fn a_line_beside_a_progress_bar_stands_alone() {
    let place = Place::new();
    let begin = [
        "search",
        "--data",
        "DATA",
        "--config",
        "settings.toml",
        "--out",
        "run",
    ];
    let begun = super::run(&mut place.command(&[&begin[..], &["--samples", "4"]].concat(), &[]));
    assert_eq!(begun.code, 0, "{begun:?}");
    // Its weights are trained again while the bar is there, and that is told.
    let weights = place.here.path().join("run/weights");
    let lost = fs::read_dir(&weights)
        .unwrap()
        .map(|file| file.unwrap().path());
    lost.for_each(|path: std::path::PathBuf| fs::remove_file(path).unwrap());
    let arguments = ["search", "--resume", "run", "--samples", "7"];
    let variables = [("TERM", "xterm-256color")];
    let (code, written) = on_terminal(&mut place.command(&arguments, &variables));
    assert_eq!(code, 0, "{written}");
    assert!(written.contains('█'), "a bar: {written}");
    let shown = screen(&written);
    let told: Vec<&String> = shown
        .iter()
        .filter(|line| line.contains("no weights"))
        .collect();
    assert!(!told.is_empty(), "{shown:#?}");
    for line in told {
        assert!(
            line.trim().starts_with("WARN") && line.trim().ends_with("again"),
            "{line}"
        );
    }
    let left = shown.iter().find(|line| line.contains(['█', '░']));
    assert_eq!(left, None, "{shown:#?}");
    assert!(Path::new(&weights).read_dir().unwrap().count() > 0);
}

#[test]
fn the_screen_is_that_of_a_terminal() {
    assert_eq!(screen("one\r\ntwo\r"), ["one", "two"]);
    assert_eq!(
        screen("one\r\nlong\x1b[1A\r\x1b[2Ka\x1b[1B\rb"),
        ["a", "bong"]
    );
    let long = "x".repeat(COLUMNS + 1);
    assert_eq!(
        screen(&format!("{long}\r\x1b[2K\x1b[1Aa\r\nb")),
        [format!("a{}", "x".repeat(COLUMNS - 1)), "b".to_owned()]
    );
    assert_eq!(screen(&long), [long]);
    assert_eq!(screen("\x1b[1m\x1b[31mred\x1b[0m\x1b[K"), ["red"]);
}

/// Of files and classes: nothing that they are called reaches the terminal as a command or a line.
#[test]
fn names_are_shown_and_not_obeyed() {
    let place = Place::new();
    let classes = "classes = [\"a\\u001b[31m\\nb\", \"c\\td\", \"\\u009b\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
    file(place.data.path(), "dataset.toml", classes);
    let show = |more: &[&str]| {
        let arguments = [&["data", "show", "DATA"][..], more].concat();
        super::run(&mut place.command(&arguments, &[]))
    };
    let shown = show(&[]);
    for name in [r"a\x1b[31m\nb  ", r"c\td  ", r"\u009b  "] {
        assert!(shown.stdout.contains(name), "{}", shown.stdout);
    }
    let json = super::object(&show(&["--json"]));
    assert_eq!(json["class_counts"][0]["name"], "a\x1b[31m\nb");

    let bad = place.here.path().join("x\x1b[2J\nerror: y");
    fs::create_dir(&bad).unwrap();
    let bad = text(&bad);
    for arguments in [
        &["data", "show", &bad][..],
        &["search", "--dry-run", "--data", &bad],
        &["train", "--resume", &bad],
    ] {
        let ended = super::run(&mut place.command(arguments, &[]));
        assert_ne!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains(r"x\x1b[2J\nerror: y"), "{ended:?}");
        assert!(!ended.stderr.contains('\x1b'), "{ended:?}");
        assert_eq!(ended.stderr.matches("\nerror: ").count(), 0, "{ended:?}");
    }
    // In the one object it is itself.
    let arguments = ["data", "show", &bad, "--json"];
    let json = super::object(&super::run(&mut place.command(&arguments, &[])));
    let message = json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&bad), "{message}");
}
