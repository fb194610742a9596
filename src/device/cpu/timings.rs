//! Where the time of a session goes, by the name of the step; told at level `debug`.

use std::time::{Duration, Instant};

/// Time and number of the steps of each name.
pub struct Timings(Option<Vec<(&'static str, Duration, u32)>>);

impl Default for Timings {
    /// Takes times only if somebody listens.
    fn default() -> Timings {
        Timings(tracing::enabled!(tracing::Level::DEBUG).then(Vec::new))
    }
}

impl Timings {
    /// A step begins.
    pub fn start(&self) -> Option<Instant> {
        self.0.is_some().then(Instant::now)
    }

    /// A step that began at `start` is over.
    pub fn stop(&mut self, name: &'static str, start: Option<Instant>) {
        let Some((steps, start)) = self.0.as_mut().zip(start) else {
            return;
        };
        let spent = start.elapsed();
        match steps.iter_mut().find(|(other, ..)| *other == name) {
            Some((_, total, n)) => {
                *total += spent;
                *n += 1;
            }
            None => steps.push((name, spent, 1)),
        }
    }

    /// Tells the times since the last call, the longest first.
    pub fn log(&mut self) {
        let Some(steps) = &mut self.0 else {
            return;
        };
        steps.sort_by_key(|(_, spent, _)| std::cmp::Reverse(*spent));
        let total: Duration = steps.iter().map(|(_, spent, _)| spent).sum();
        for (name, spent, n) in steps.drain(..) {
            let share = 100.0 * spent.as_secs_f64() / total.as_secs_f64();
            let spent_ms = spent.as_secs_f64() * 1e3;
            tracing::debug!("{name:24} {n:6} times, {spent_ms:9.1} ms, {share:4.1} %");
        }
    }
}
