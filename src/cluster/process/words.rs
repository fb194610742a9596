//! What a child's process writes to standard error: handed on as it comes, and the last line kept, which
//! says more of a crash than the number of a signal.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Bytes of the end that are kept.
const KEPT: usize = 400;

/// How long the end is waited for after the process has ended: others may have it open.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a process writes to standard error.
#[derive(Debug)]
pub(super) struct Words {
    /// The end of it.
    end: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
    /// Until when more of it is waited for.
    until: Option<Instant>,
}

impl Words {
    /// Hands on what a process writes.
    pub(super) fn of(mut from: ChildStderr) -> Words {
        let end = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&end);
        let task = tokio::spawn(async move {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut some).await {
                // Nobody to tell where it is closed.
                let _ = io::stderr().write_all(&some[..n]);
                let mut end = lock(&kept);
                end.extend_from_slice(&some[..n]);
                let more = end.len().saturating_sub(KEPT);
                end.drain(..more);
            }
        });
        Words {
            end,
            task,
            until: None,
        }
    }

    /// What it wrote until now is of no account any more.
    pub(super) fn forget(&self) {
        lock(&self.end).clear();
    }

    /// The last line of a process that has ended; empty where it wrote nothing. May be dropped and asked for
    /// again.
    pub(super) async fn last(&mut self) -> String {
        // Where others have it open there may be more, which nobody waits for.
        let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        if !self.task.is_finished() {
            let _ = timeout_at(until, &mut self.task).await;
        }
        last_line(&lock(&self.end))
    }
}

fn lock(end: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something() {
        assert_eq!(last_line(b""), "");
        assert_eq!(last_line(b"a\nb\n\n  \n"), "b");
        assert_eq!(last_line(b"\xff cut\xc3"), "\u{fffd} cut\u{fffd}");
    }
}
