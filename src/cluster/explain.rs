//! Why a search of several shards or replicas designed a child: how likely each of its decisions was by the
//! parameters that its replica had read.

use super::embedded::search::{SharedError, learner};
use super::facts::Facts;
use super::replay::{ReplayError, Step, replay};
use crate::config::Config;
use crate::run::entry::Child;
use crate::run::history::History;
use crate::search::explain::{Explanation, explained};

/// Explains a child that is on record. How likely its decisions were afterwards is not said: updates of other
/// replicas come between.
///
/// # Errors
/// A journal that is not of this search.
pub fn explain(
    config: &Config,
    history: &History,
    child: &Child,
) -> Result<Explanation, SharedError> {
    let learner = learner(config)?;
    learner.space().decode(&child.tokens)?;
    let facts = Facts::of(history, learner.scheme().shards)?;
    let mut found = None;
    let ended = replay(&learner, &facts, &mut |step| match step {
        Step::Begun { round, state, .. } if round.round == child.batch => {
            found = Some(learner.distributions(state, &child.tokens));
            Err(Ended::Found)
        }
        _ => Ok(()),
    });
    let before = match (ended, found) {
        (Err(Ended::Impossible(error)), _) => return Err(error.into()),
        (_, Some(before)) => before,
        (_, None) => {
            return Err(SharedError::Replay(ReplayError::Round {
                round: child.batch,
                what: "is not on record".to_owned(),
            }));
        }
    };
    let update = history.updates.get(&child.batch);
    let baseline = update.and_then(|update| update.baseline);
    Ok(explained(learner.space(), child, &before, None, baseline))
}

/// Why a replay has ended.
enum Ended {
    Found,
    Impossible(ReplayError),
}

impl From<ReplayError> for Ended {
    fn from(error: ReplayError) -> Ended {
        Ended::Impossible(error)
    }
}
