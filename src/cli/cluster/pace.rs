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

/// How fast a server lets a run go.
#[derive(Debug)]
pub struct Pace {
    /// Writes that the server brings to its disk, one after the other.
    pub writes_per_second: f64,
    /// Children that so many writes are enough for.
    pub children_per_hour: f64,
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
        Pace {
            writes_per_second,
            children_per_hour: 3600.0 * writes_per_second / writes_per_child(scheme),
        }
    }

    /// As a line.
    pub fn words(&self) -> String {
        format!(
            "the server makes {:.1} writes a second, one after the other: enough for {} children an hour\n",
            self.writes_per_second,
            text::count(self.children_per_hour as u64),
        )
    }
}

/// Children under way at most.
pub fn at_once(scheme: &Scheme) -> u64 {
    let places = u64::from(scheme.replicas) * scheme.children_per_round;
    places.min(scheme.samples)
}

/// How many workers a scheme keeps busy, as a line.
pub fn scheme(scheme: &Scheme) -> String {
    let at_once = at_once(scheme);
    let workers = (at_once as f64 / CHILDREN_PER_WORKER).floor().max(1.0);
    let late = match scheme.is_synchronous() {
        true => String::new(),
        false => {
            let late = f64::from(scheme.replicas - 1) / f64::from(scheme.gradients_per_update);
            format!("; gradients come about {late:.1} updates late")
        }
    };
    format!(
        "children under way: {} at most, enough to keep {} workers busy{late}\n",
        text::count(at_once),
        text::count(workers as u64),
    )
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
        let paper = Scheme {
            shards: 20,
            replicas: 100,
            children_per_round: 8,
            gradients_per_update: 1,
            staleness: Staleness::Paper,
            synchronous: false,
            samples: 12_800,
        };
        // docs/results/2026-11-30-many-machines counted 8.8, some children being offered again.
        assert!((writes_per_child(&paper) - 8.375).abs() < 1e-12);
        assert_eq!(
            Pace::of(2_000.0, &paper).words(),
            "the server makes 2000.0 writes a second, one after the other: enough for 859,701 children an hour\n"
        );
        assert_eq!(
            scheme(&paper),
            "children under way: 800 at most, enough to keep 533 workers busy; gradients come about 99.0 updates late\n"
        );
        let small = Scheme {
            synchronous: true,
            samples: 10,
            ..paper
        };
        assert_eq!(
            scheme(&small),
            "children under way: 10 at most, enough to keep 6 workers busy\n"
        );
    }
}
