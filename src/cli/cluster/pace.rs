//! What a server carries, and how many workers a scheme keeps busy: said where a run begins.

use std::time::{Duration, Instant};

use crate::cluster::engine::EngineError;
use crate::cluster::nats::Nats;
use crate::cluster::scheme::Scheme;
use crate::text;

/// Writes that are timed, one after the other, as long as there is time for them.
const WRITES: u32 = 200;

/// Time for them: some servers are slow.
const TIME: Duration = Duration::from_secs(1);

/// A replica waits for the slowest of its children: so many children at once for each worker leave few idle.
const CHILDREN_PER_WORKER: f64 = 1.5;

/// How fast a run may go.
#[derive(Debug)]
pub struct Pace {
    /// Writes that the server brings to its disk, one after the other.
    pub writes_per_second: f64,
    /// Children that so many writes are enough for.
    pub children_per_hour: f64,
    /// Children under way at most.
    pub at_once: u64,
    /// How late gradients are in the mean, in updates.
    late_by: f64,
}

impl Pace {
    /// Times a server.
    ///
    /// # Errors
    /// Where it does not keep what it is sent.
    pub async fn measure(engine: &Nats, scheme: &Scheme) -> Result<Pace, EngineError> {
        let began = Instant::now();
        let mut n = 0;
        while n < WRITES && (n == 0 || began.elapsed() < TIME) {
            engine.keeps().await?;
            n += 1;
        }
        Ok(Pace::of(
            f64::from(n) / began.elapsed().as_secs_f64(),
            scheme,
        ))
    }

    fn of(writes_per_second: f64, scheme: &Scheme) -> Pace {
        let late_by = match scheme.is_synchronous() {
            true => 0.0,
            false => f64::from(scheme.replicas - 1) / f64::from(scheme.gradients_per_update),
        };
        Pace {
            writes_per_second,
            children_per_hour: 3600.0 * writes_per_second / writes_per_child(scheme),
            at_once: u64::from(scheme.replicas) * scheme.children_per_round,
            late_by,
        }
    }

    /// In lines.
    pub fn words(&self) -> String {
        let workers = (self.at_once as f64 / CHILDREN_PER_WORKER).floor().max(1.0);
        format!(
            "the server: {} writes a second, one after the other, enough for {} children an hour\nits children: {} at \
             a time at most, which keeps {} workers busy; gradients late by {:.1} updates in the mean\n",
            text::count(self.writes_per_second as u64),
            text::count(self.children_per_hour as u64),
            text::count(self.at_once),
            text::count(workers as u64),
            self.late_by,
        )
    }
}

/// Without checkpoints: a job, an attempt and a result; of a round its fact, its replica's cell when it is
/// opened and closed, and a gradient and a cell of each shard.
fn writes_per_child(scheme: &Scheme) -> f64 {
    let of_a_round = 3.0 + 2.0 * f64::from(scheme.shards);
    3.0 + of_a_round / scheme.children_per_round as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Staleness;

    #[test]
    fn the_papers_scheme() {
        // paper P8.5
        let scheme = Scheme {
            shards: 20,
            replicas: 100,
            children_per_round: 8,
            gradients_per_update: 1,
            staleness: Staleness::Paper,
            synchronous: false,
            samples: 12_800,
        };
        // docs/results/2026-11-30-many-machines counted 8.8, some children being offered again.
        assert!((writes_per_child(&scheme) - 8.375).abs() < 1e-12);
        let pace = Pace::of(2_000.0, &scheme);
        assert_eq!(
            pace.words(),
            "the server: 2,000 writes a second, one after the other, enough for 859,701 children an hour\n\
             its children: 800 at a time at most, which keeps 533 workers busy; gradients late by 99.0 updates in the \
             mean\n"
        );
        let synchronous = Scheme {
            synchronous: true,
            ..scheme
        };
        assert_eq!(Pace::of(2_000.0, &synchronous).late_by, 0.0);
    }
}
