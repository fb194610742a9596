//! Shares tasks among the threads of the pool in which a step runs.

use std::sync::Mutex;

/// Threads of the pool in which a step runs; 1 outside of any.
pub fn threads() -> usize {
    rayon::current_thread_index().map_or(1, |_| rayon::current_num_threads())
}

/// Runs every task once. Which thread takes which task is open, so results must not depend on it.
pub fn each<T: Send>(tasks: impl Iterator<Item = T> + Send, run: impl Fn(T) + Sync) {
    each_with(tasks, std::iter::repeat(()), |task, ()| run(task));
}

/// As [`each`], with a workspace for each thread. Fewer workspaces than threads let some rest.
pub fn each_with<T: Send, W: Send>(
    tasks: impl Iterator<Item = T> + Send,
    mut workspaces: impl Iterator<Item = W> + Send,
    run: impl Fn(T, &mut W) + Sync,
) {
    let threads = threads();
    if threads == 1 {
        let mut workspace = workspaces
            .next()
            .expect("a workspace for one thread at least");
        tasks.for_each(|task| run(task, &mut workspace)); // no queue, no wake-up
        return;
    }
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().expect("taking a task does not panic").next();
    rayon::scope(|scope| {
        for mut workspace in workspaces.take(threads) {
            let (next, run) = (&next, &run);
            scope.spawn(move |_| {
                while let Some(task) = next() {
                    run(task, &mut workspace);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_inside_and_outside_of_a_pool() {
        let count = || {
            let mut values = [0u32; 100];
            each(values.iter_mut().enumerate(), |(i, value)| {
                *value += i as u32
            });
            values.iter().sum::<u32>()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        assert_eq!(count(), 4950);
        assert_eq!(pool.expect("three threads start").install(count), 4950);
    }
}
