//! When a command ends before it is done: at a signal, after a time, or because whoever began it is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Args;

use crate::cli::failure::{Failure, Kind};
use crate::cli::stop::{self, TimeFlags};

/// The flag by which another process of this program begins a command.
pub const WITH_INPUT: &str = "--with-input";

/// Flags of roles.
#[derive(Args)]
pub struct EndFlags {
    #[command(flatten)]
    time: TimeFlags,
    #[command(flatten)]
    input: InputFlags,
}

/// Whether another process of this program has begun this one.
#[derive(Args)]
pub struct InputFlags {
    /// Stop when standard input ends too, as it does when its writer is killed, who says all there is to say of it
    #[arg(long, hide = true)]
    with_input: bool,
}

impl EndFlags {
    /// A flag that is set when the role is to end.
    pub fn flag(&self) -> Result<Arc<AtomicBool>, Failure> {
        self.input.flag(&self.time)
    }

    /// That the role was stopped.
    pub fn stopped(&self, message: String) -> Failure {
        self.input.stopped(message)
    }
}

impl InputFlags {
    /// A flag that is set when the command is to end.
    pub fn flag(&self, time: &TimeFlags) -> Result<Arc<AtomicBool>, Failure> {
        let stop = stop::flag(time)?;
        if self.with_input {
            let set = Arc::clone(&stop);
            let wait = move || {
                // An input that cannot be read has nobody at its other end either.
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                set.store(true, Ordering::Relaxed);
            };
            let begun = thread::Builder::new().name("input".into()).spawn(wait);
            begun.map_err(|error| {
                Failure::new(Kind::Run, format!("cannot start a thread: {error}"))
            })?;
        }
        Ok(stop)
    }

    /// That the command was stopped; without words where somebody else says so.
    pub fn stopped(&self, message: String) -> Failure {
        let message = match self.with_input {
            true => String::new(),
            false => message,
        };
        Failure::new(Kind::Stopped, message)
    }
}
