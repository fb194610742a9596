//! What may be written to a terminal besides text, and around a progress bar.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use clap::ColorChoice;
use indicatif::ProgressBar;
use tracing_subscriber::fmt::MakeWriter;

use crate::text;

/// Whether a terminal may be sent escape codes: neither `NO_COLOR` nor a terminal that knows none.
fn takes_escapes() -> bool {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("NO_COLOR").is_none() && variable("TERM").is_some_and(|term| term != "dumb")
}

/// Whether standard error may have a progress bar.
pub fn takes_bar() -> bool {
    io::stderr().is_terminal() && takes_escapes()
}

/// Whether standard output may be drawn over.
pub fn takes_redraws() -> bool {
    io::stdout().is_terminal() && takes_escapes()
}

/// Colours of help and of wrong arguments: where the stream is a terminal that takes them.
pub fn colours() -> ColorChoice {
    match takes_escapes() {
        true => ColorChoice::Auto,
        false => ColorChoice::Never,
    }
}

/// Where a message begins a line of its own; a line break in a name stands otherwise.
const BREAK: &str = "\n  ";

/// Standard error, with a progress bar at its end where there is one: a line that is written takes the
/// bar away and puts it back below.
#[derive(Clone, Debug, Default)]
pub struct Stderr {
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Stderr {
    /// Has a bar from now on, or none any more.
    pub fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar() = bar;
    }

    /// A line; what control characters it holds, of a name, do nothing to the terminal.
    pub fn line(&self, text: &str) {
        self.show(&text::one_line(text));
    }

    /// A message; lines of its own, as of a list, begin with two blanks.
    pub fn message(&self, text: &str) {
        let lines: Vec<_> = text.split(BREAK).map(text::one_line).collect();
        self.show(&lines.join(BREAK));
    }

    /// Several lines.
    pub fn lines(&self, text: &str) {
        self.show(&text::lines(text));
    }

    fn show(&self, text: &str) {
        let text = format!("{text}\n");
        let write = || io::stderr().write_all(text.as_bytes());
        // Nobody to tell where standard error is closed.
        let _ = match &*self.bar() {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Warnings, each written whole.
impl Write for &Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.line(text.strip_suffix('\n').unwrap_or(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = &'a Stderr;

    fn make_writer(&'a self) -> &'a Stderr {
        self
    }
}
