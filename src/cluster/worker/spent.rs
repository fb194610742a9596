//! How long a child has been trained, all attempts together, and how long it may be.

use std::time::Duration;

use super::stand::Stand;
use crate::run::Status;
use crate::run::entry::Timing;
use crate::search::evaluator::Outcome;
use crate::space::SpaceKind;
use crate::text;
use crate::train::Scores;

/// Time between two looks that counts, at most: a worker that was stopped for longer did not train.
const LONGEST: Duration = Duration::from_secs(10);

/// A child's time.
pub(super) struct Spent {
    /// That of earlier attempts, as far as is known.
    before: Duration,
    /// That of this one.
    pub(super) own: Duration,
    looked: Duration,
}

impl Spent {
    /// That of a child which is begun now.
    pub(super) fn before(stand: &Stand, now: Duration) -> Spent {
        let attempts = &stand.attempts.attempts;
        let times = attempts
            .iter()
            .map(|attempt| Duration::try_from_secs_f64(attempt.seconds).unwrap_or_default());
        Spent {
            before: times.fold(Duration::ZERO, Duration::saturating_add),
            own: Duration::ZERO,
            looked: now,
        }
    }

    /// Counts from now on.
    pub(super) fn begin(&mut self, now: Duration) {
        self.looked = now;
    }

    /// Counts the time since it was looked at last.
    pub(super) fn look(&mut self, now: Duration) {
        self.own += now.saturating_sub(self.looked).min(LONGEST);
        self.looked = now;
    }

    /// How a child ends that has used up its time.
    pub(super) fn over(
        &self,
        limit: Option<Duration>,
        sample: u64,
        kind: SpaceKind,
    ) -> Option<Outcome> {
        let all = self.before.saturating_add(self.own);
        let limit = limit.filter(|limit| all >= *limit)?;
        let seconds = all.as_secs_f64();
        Some(Outcome {
            sample,
            status: Status::Timeout,
            scores: Scores::none(kind),
            parameters: None,
            message: Some(format!(
                "it was trained for {}, and a child of this run may be for {} (--child-time-limit)",
                text::duration(seconds),
                text::duration(limit.as_secs_f64())
            )),
            timing: Timing {
                seconds,
                ..Timing::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::message::{Attempt, Attempts, Done};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn all_attempts_count_but_not_the_time_in_which_a_worker_stood_still() {
        let attempt = |seconds| Attempt {
            node: "a".into(),
            worker: 1,
            from: Done::default(),
            released: true,
            crashed: false,
            seconds,
        };
        // What cannot be a time is none.
        let times = [30.0, 20.5, f64::NAN, -4.0, 1e300];
        let stand = Stand {
            attempts: Attempts {
                attempts: times.map(attempt).to_vec(),
            },
            checkpoint: None,
        };
        let mut spent = Spent::before(&stand, seconds(1000));
        for now in [1001, 1004, 1000, 1003, 1303] {
            spent.look(seconds(now));
        }
        assert_eq!(spent.own, seconds(1 + 3 + 3 + 10));
        let over = |limit| spent.over(Some(seconds(limit)), 5, SpaceKind::Conv);
        assert!(spent.over(None, 5, SpaceKind::Conv).is_none());
        assert!(over(68).is_none());
        let outcome = over(67).unwrap();
        assert_eq!((outcome.sample, outcome.status), (5, Status::Timeout));
        assert_eq!(outcome.timing.seconds, 67.5);
        let message = outcome.message.unwrap();
        assert!(message.contains("1m 07s (--child-time-limit)"), "{message}");
    }
}
