//! Work that is read by one thread and done by others, in bounded memory.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::ImportError;
use super::stop::Stop;

/// More threads than this wait for the disk.
const MOST_THREADS: usize = 8;

/// Does `work` on all that `next` gives until it gives nothing, on as many threads as there are cores, up to
/// 8, in any order. Few items wait at a time. Ends at the first error, and where it is told to stop.
///
/// # Errors
/// That of `next` or of `work`, or that it was stopped.
///
/// # Panics
/// If `work` does.
pub(super) fn pipeline<T: Send>(
    stop: Stop,
    mut next: impl FnMut() -> Result<Option<T>, ImportError>,
    work: impl Fn(T) -> Result<(), ImportError> + Sync,
) -> Result<(), ImportError> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    let n_threads = n_threads.min(MOST_THREADS);
    let (sender, receiver) = sync_channel(1);
    let receiver = Arc::new(Mutex::new(receiver));
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..n_threads {
            let (receiver, failed, work) = (Arc::clone(&receiver), &failed, &work);
            scope.spawn(move || {
                while let Some(item) = receive(&receiver) {
                    if let Err(error) = work(item) {
                        failed
                            .lock()
                            .expect("storing does not panic")
                            .get_or_insert(error);
                    }
                }
            });
        }
        // Workers alone hold the receiving end now: where all have panicked, sending fails.
        drop(receiver);
        let has_failed = || failed.lock().expect("storing does not panic").is_some();
        // Dropped at its end, the sender tells the workers that there is no more.
        let sender = sender;
        while !has_failed()
            && let Some(item) = next()?
        {
            stop.check()?;
            if sender.send(item).is_err() {
                break;
            }
        }
        stop.check()
    })?;
    match failed.into_inner().expect("storing does not panic") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn receive<T>(receiver: &Mutex<Receiver<T>>) -> Option<T> {
    // Receiving leaves nothing half done.
    let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
    receiver.recv().ok()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn never(flag: &AtomicBool) -> Stop<'_> {
        Stop {
            flag,
            out: Path::new("out"),
        }
    }

    /// Endlessly many items, and workers that all panic: the caller panics too, and does not wait for ever.
    #[test]
    fn workers_that_panic_end_the_work() {
        let flag = AtomicBool::new(false);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            pipeline(
                never(&flag),
                || Ok(Some(())),
                |()| panic!("as a test has it"),
            )
        }));
        assert!(ended.is_err());
    }

    #[test]
    fn endless_work_can_be_stopped() {
        let (flag, n) = (AtomicBool::new(false), AtomicUsize::new(0));
        let work = |()| {
            if n.fetch_add(1, Ordering::Relaxed) == 100 {
                flag.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        let ended = pipeline(never(&flag), || Ok(Some(())), work);
        assert!(
            matches!(ended, Err(ImportError::Stopped { .. })),
            "{ended:?}"
        );
    }
}
