//! Where the time of a session goes: by the name of the step at level `debug`, by step and layer at
//! level `trace`.

use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Times of the steps of each name.
pub struct Timings {
    steps: Option<Vec<Steps>>,
    by_layer: bool,
}

/// Steps of one name: their number, their time in all and that of the fastest.
struct Steps {
    name: Cow<'static, str>,
    n: u32,
    total: Duration,
    least: Duration,
}

impl Default for Timings {
    /// Takes times only if somebody listens.
    fn default() -> Timings {
        Timings {
            steps: tracing::enabled!(tracing::Level::DEBUG).then(Vec::new),
            by_layer: tracing::enabled!(tracing::Level::TRACE),
        }
    }
}

impl Timings {
    /// A step begins.
    pub fn start(&self) -> Option<Instant> {
        self.steps.is_some().then(Instant::now)
    }

    /// A step that began at `start` is over. `buffer` is the name of what it writes, asked for where
    /// times are told by layer.
    pub fn stop<'a>(
        &mut self,
        name: &'static str,
        buffer: impl FnOnce() -> Option<&'a str>,
        start: Option<Instant>,
    ) {
        let Some((steps, start)) = self.steps.as_mut().zip(start) else {
            return;
        };
        let spent = start.elapsed();
        let name = match self.by_layer.then(buffer).flatten() {
            Some(buffer) => Cow::Owned(format!("{name} {buffer}")),
            None => Cow::Borrowed(name),
        };
        match steps.iter_mut().find(|other| other.name == name) {
            Some(steps) => {
                steps.total += spent;
                steps.least = steps.least.min(spent);
                steps.n += 1;
            }
            None => steps.push(Steps {
                name,
                n: 1,
                total: spent,
                least: spent,
            }),
        }
    }

    /// Tells the times since the last call, the longest first.
    pub fn log(&mut self) {
        let Some(steps) = &mut self.steps else {
            return;
        };
        steps.sort_by_key(|steps| std::cmp::Reverse(steps.total));
        let all: Duration = steps.iter().map(|steps| steps.total).sum();
        for Steps {
            name,
            n,
            total,
            least,
        } in steps.drain(..)
        {
            let share = 100.0 * total.as_secs_f64() / all.as_secs_f64();
            let [total, least] = [total, least].map(|time| time.as_secs_f64() * 1e3);
            tracing::debug!(
                "{name:40} {n:6} times, {total:9.1} ms, {share:4.1} %, the fastest {least:8.3} ms"
            );
        }
    }
}
