//! Tasks for the threads of the pool, each thread with its own scratch.

use std::sync::Mutex;

/// Runs every task with `each` floats of `scratch`, on as many threads as it has room for. Which
/// thread takes which task is open, so results must not depend on it.
pub(super) fn share<T: Send>(
    tasks: impl Iterator<Item = T> + Send,
    scratch: &mut [f32],
    each: usize,
    run: impl Fn(T, &mut [f32]) + Sync,
) {
    let room = scratch.len().checked_div(each).unwrap_or(usize::MAX);
    assert!(
        room > 0,
        "scratch of {} floats, {each} for each thread",
        scratch.len()
    );
    let threads = rayon::current_num_threads().min(room);
    if threads == 1 {
        tasks.for_each(|task| run(task, &mut scratch[..each])); // no queue, no wake-up
        return;
    }
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().expect("taking a task does not panic").next();
    rayon::scope(|scope| {
        let mut rest = scratch;
        for _ in 0..threads {
            let (own, after) = rest.split_at_mut(each);
            rest = after;
            let (next, run) = (&next, &run);
            scope.spawn(move |_| {
                while let Some(task) = next() {
                    run(task, own);
                }
            });
        }
    });
}
