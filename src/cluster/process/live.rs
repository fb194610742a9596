//! A process that trains one child after the other.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::memory::{Held, Memory};
use super::words::Words;

/// A process that is told of children. Dropped, it ends, and all that it has begun ends with it.
#[derive(Debug)]
pub(super) struct Live {
    process: Child,
    /// Closed where it is to end.
    input: Option<File>,
    lines: Lines<BufReader<ChildStdout>>,
    words: Words,
    held: Held,
}

impl Live {
    /// Begins a process, with a limit of its memory.
    pub(super) fn start(command: &mut Command, memory: &Memory) -> io::Result<Live> {
        // Signals that are meant for the worker do not reach it: the end of its input tells it to stop, also
        // where the worker is no more.
        command.process_group(0).kill_on_drop(true);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (Some(input), Some(output), Some(errors), Some(id)) =
            (pipes.0, pipes.1, pipes.2, process.id())
        else {
            return Err(io::Error::other("it has no pipes"));
        };
        Ok(Live {
            // One that cannot be held to its limit is not let go on: dropped, it ends.
            held: memory.hold(id)?,
            process,
            input: Some(input.into_owned_fd()?.into()),
            lines: BufReader::new(output).lines(),
            words: Words::of(errors),
        })
    }

    /// Tells it to train the child of a folder.
    ///
    /// # Errors
    /// Where it has ended.
    pub(super) fn train(&mut self, folder: &Path) -> io::Result<()> {
        let name = folder.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(input), None) = (name, self.input.as_mut(), self.process.try_wait()?)
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        self.words.forget();
        self.held.again();
        // It waits for this line, so that the pipe is empty, and nothing is waited for here.
        input.write_all(format!("{name}\n").as_bytes())
    }

    /// The next line that it says; none where it ends. May be dropped and asked for again.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }

    /// Asks it to come to an end.
    pub(super) fn stop(&mut self) {
        self.input = None;
    }

    /// How it ended, once it says no more, and its last words.
    pub(super) async fn end(&mut self) -> (Option<ExitStatus>, String) {
        let status = self.process.wait().await;
        (status.ok(), self.words.last().await)
    }

    /// Whether it ended by this signal, with these last words, for want of memory.
    pub(super) fn lacked_memory(&self, signal: i32, last_words: &str) -> bool {
        self.held.lacked_memory(signal, last_words)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // One that has ended has no number any more, which may be another's by now.
        let id = self.process.id();
        if let Some(id) = id.and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}
