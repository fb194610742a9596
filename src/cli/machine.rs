//! What this machine has, and what this process takes of it; from `/proc`, so on Linux only.

mod limits;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that are taken whatever the cores: so few do no harm.
const FEW_THREADS: usize = 16;

/// Threads to use where so many were asked for: every core where none were, and no more than that where
/// far more were, for they would take memory and time and give nothing.
pub fn threads(asked: Option<usize>, cores: usize) -> usize {
    match asked {
        Some(asked) if asked <= FEW_THREADS.max(cores.saturating_mul(4)) => asked,
        _ => cores,
    }
}

/// Bytes of memory that this process may use: the machine's, or less in a container, in a job or by
/// `ulimit`.
pub fn memory_bytes() -> Option<u64> {
    let total = kilobytes("/proc/meminfo", "MemTotal:")? * 1024;
    Some(total.min(limits::memory().unwrap_or(total)))
}

/// Anonymous memory of this process now: all that is not mapped from a file.
fn anonymous_bytes() -> Option<u64> {
    Some(kilobytes("/proc/self/status", "RssAnon:")? * 1024)
}

/// The number on the line of a `/proc` file that begins with a name.
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Watches the anonymous memory of this process from a thread of its own, looking every few
/// milliseconds: an arena lives much longer than that.
pub struct MemoryWatch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Begins to watch.
    pub fn start() -> MemoryWatch {
        let (peak, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (peak_seen, stopped) = (Arc::clone(&peak), Arc::clone(&stop));
        let watch = move || {
            while let Some(bytes) = anonymous_bytes() {
                peak_seen.fetch_max(bytes, Ordering::Relaxed);
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        };
        let thread = thread::Builder::new()
            .name("memory watch".into())
            .spawn(watch)
            .ok();
        MemoryWatch { peak, stop, thread }
    }

    /// The most that was seen; nothing where the system does not say.
    pub fn peak(mut self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()?;
        Some(self.peak.load(Ordering::Relaxed)).filter(|&peak| peak > 0)
    }
}
