//! What may be written to a terminal besides text, and around a progress bar.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use clap::ColorChoice;
use indicatif::ProgressBar;
use tracing_subscriber::fmt::MakeWriter;

/// Whether a terminal may be sent escape codes: neither `NO_COLOR` nor a terminal that knows none.
fn takes_escapes() -> bool {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("NO_COLOR").is_none() && variable("TERM").is_some_and(|term| term != "dumb")
}

/// Whether standard error may have a progress bar.
pub fn takes_bar() -> bool {
    io::stderr().is_terminal() && takes_escapes()
}

/// Colours of help and of wrong arguments: where the stream is a terminal that takes them.
pub fn colours() -> ColorChoice {
    match takes_escapes() {
        true => ColorChoice::Auto,
        false => ColorChoice::Never,
    }
}

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

    /// A whole line, or several.
    pub fn line(&self, text: &str) {
        // Nobody to tell where standard error is closed.
        let _ = (&mut &*self).write_all(format!("{text}\n").as_bytes());
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Write for &Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.bar() {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
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
