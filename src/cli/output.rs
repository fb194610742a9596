//! Where a command's words go: results to standard output, notes and errors to standard error.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::{ExitCode, exit};

use serde::Serialize;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::failure::{Failure, Kind};
use super::terminal::{self, Stderr};
use crate::text;

/// To the first line and column of a terminal.
const FROM_THE_TOP: &str = "\x1b[H";

/// The end of a line, of which nothing older is left.
const LINE_END: &str = "\x1b[K\n";

/// What is older is taken away, down to the end.
const TO_THE_END: &str = "\x1b[J";

/// The two streams of a command.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether the result is a JSON object.
    pub json: bool,
    /// Whether standard error has errors only.
    pub quiet: bool,
    /// Where all goes that is no result.
    pub stderr: Stderr,
}

impl Output {
    /// Sets up both streams.
    pub fn new(json: bool, quiet: bool, verbose: u8) -> Output {
        let level = match (quiet, verbose) {
            (true, _) => LevelFilter::ERROR,
            (_, 0) => LevelFilter::WARN,
            (_, 1) => LevelFilter::INFO,
            (_, 2) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let stderr = Stderr::default();
        // A second set-up, in one process, leaves the first as it is.
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(stderr.clone())
            .with_ansi(false) // the crate's feature is left out
            .with_target(false)
            .without_time()
            .try_init();
        if json {
            crate::data::also_in_json();
        }
        Output {
            json,
            quiet,
            stderr,
        }
    }

    /// The result, in the form that was asked for.
    pub fn result(&self, json: &impl Serialize, text: &str) -> Result<(), Failure> {
        if !self.json {
            return self.text(text);
        }
        write(|stdout| {
            // An object may be of many megabytes: no text of all of it is made.
            let mut stdout = BufWriter::with_capacity(1 << 16, stdout);
            serde_json::to_writer(&mut stdout, json)?;
            stdout.write_all(b"\n")?;
            stdout.flush()
        })
    }

    /// A result that stands in the place of the one before, on a terminal; else after it: an object a line,
    /// or blocks of text with an empty line after each.
    pub fn again(&self, json: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json {
            return self.result(json, text);
        }
        let text = text::lines(text);
        let block = match terminal::takes_redraws() {
            true => format!("{FROM_THE_TOP}{}{TO_THE_END}", text.replace('\n', LINE_END)),
            false => format!("{text}\n"),
        };
        write(|stdout| stdout.write_all(block.as_bytes()))
    }

    /// Shows what there is of a result although the command fails; with `--json` in the one object that
    /// tells of the failure.
    pub fn partial(&self, json: &Value, text: &str, failure: Failure) -> Result<Failure, Failure> {
        if !self.json {
            self.text(text)?;
        }
        Ok(Failure {
            partial: Some(json.clone()),
            ..failure
        })
    }

    /// Text on standard output; of what it names, no control character reaches a terminal.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        write(|stdout| stdout.write_all(text::lines(text).as_bytes()))
    }

    /// Comma-separated values on standard output: as [`Output::text`], but line breaks of either kind stand as they
    /// are in quoted fields.
    pub fn csv(&self, text: &str) -> Result<(), Failure> {
        write(|stdout| stdout.write_all(text::records(text).as_bytes()))
    }

    /// A line on standard error, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr.line(text);
        }
    }

    /// Says what work runs on, and why, where its name left a choice.
    pub fn device(&self, device: &str, why: Option<&str>) {
        let why = why.map_or(String::new(), |why| format!("; {why}"));
        self.note(&format!("device: {device}{why}"));
    }

    /// Says why the command failed; its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        let label = match failure.kind {
            Kind::Stopped => "stopped",
            _ => "error",
        };
        // Without a message somebody else says it.
        if !failure.message.is_empty() {
            self.stderr
                .message(&format!("{label}: {}", failure.message));
        }
        self.end(failure)
    }

    /// As [`Output::fail`], of arguments that make no command: how it is used stands in lines below.
    pub fn fail_with_usage(&self, message: String) -> ExitCode {
        self.stderr.lines(&format!("error: {message}"));
        self.end(&Failure::new(Kind::Usage, message))
    }

    fn end(&self, failure: &Failure) -> ExitCode {
        let Failure {
            kind,
            message,
            partial,
        } = failure;
        if self.json {
            let mut object = partial.clone().unwrap_or_else(|| json!({}));
            object["error"] = json!({"kind": kind.word(), "message": message});
            let _ = writeln!(io::stdout(), "{object}");
        }
        ExitCode::from(kind.exit_code())
    }
}

/// Writes to standard output. Whoever closed it wants no more: the program ends, well.
fn write(what: impl FnOnce(&mut StdoutLock) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match what(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            let message = format!("cannot write to standard output: {error}");
            Err(Failure::new(Kind::Run, message))
        }
    }
}
