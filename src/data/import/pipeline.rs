//! Work that is read by one thread and done by others, in bounded memory.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::ImportError;

/// More threads than this wait for the disk.
const MOST_THREADS: usize = 8;

/// Does `work` on all that `next` gives until it gives nothing, on as many threads as there are cores, in
/// any order. Few items wait at a time. Ends at the first error.
///
/// # Errors
/// That of `next` or of `work`.
pub(super) fn pipeline<T: Send>(
    mut next: impl FnMut() -> Result<Option<T>, ImportError>,
    work: impl Fn(T) -> Result<(), ImportError> + Sync,
) -> Result<(), ImportError> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    let n_threads = n_threads.min(MOST_THREADS);
    let (sender, receiver) = sync_channel(1);
    // Workers alone hold the receiving end: where all have failed, sending does too.
    let receiver = Mutex::new(receiver);
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        let (receiver, failed, work) = (&receiver, &failed, &work);
        let worker = move || {
            while let Some(item) = receive(receiver) {
                if let Err(error) = work(item) {
                    failed
                        .lock()
                        .expect("storing does not panic")
                        .get_or_insert(error);
                }
            }
        };
        for _ in 0..n_threads {
            scope.spawn(worker);
        }
        let has_failed = || failed.lock().expect("storing does not panic").is_some();
        // Dropped at its end, the sender tells the workers that there is no more.
        let sender = sender;
        while !has_failed()
            && let Some(item) = next()?
        {
            if sender.send(item).is_err() {
                break;
            }
        }
        Ok::<(), ImportError>(())
    })?;
    match failed.into_inner().expect("storing does not panic") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn receive<T>(receiver: &Mutex<Receiver<T>>) -> Option<T> {
    receiver
        .lock()
        .expect("receiving does not panic")
        .recv()
        .ok()
}
