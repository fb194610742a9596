//! The checkpoints of a search's controller, so that a long search goes on without learning again what
//! its journal says. They save time alone: one that is missing, damaged or of another journal is not
//! used.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Saved, Slots};
use crate::controller::{Controller, ControllerState};
use crate::run::RunError;
use crate::run::history::History;

/// What a checkpoint is of, and where the search stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    /// Of the run's settings that decide results.
    config_sha256: String,
    /// Of the controller, as the update before says.
    controller_sha256: String,
    /// The batch that is next.
    batch: u64,
    /// Its first sample.
    first: u64,
    /// Adam's steps.
    step: u64,
    baseline: Option<f64>,
    /// Bytes of the journal when it was written, the update's line among them.
    journal_bytes: u64,
}

/// Keeps the checkpoints of a controller.
pub struct ControllerCheckpoints {
    slots: Slots,
    config_sha256: String,
    every: Duration,
    last: Instant,
    /// The newest, where it is not written.
    waiting: Option<(Header, ControllerState)>,
}

impl ControllerCheckpoints {
    /// Keeps them in `slots`, one after an update once `every` has passed since the last.
    pub fn new(slots: Slots, config_sha256: String, every: Duration) -> ControllerCheckpoints {
        ControllerCheckpoints {
            slots,
            config_sha256,
            every,
            last: Instant::now(),
            waiting: None,
        }
    }

    /// Gives a controller what it had learned by the newest checkpoint that agrees with what is on
    /// record: the batch that is next, and its first sample.
    pub(super) fn restore(
        &mut self,
        controller: &mut Controller,
        history: &History,
    ) -> Option<(u64, u64)> {
        let (saved, wrong) = self.slots.read::<Header>();
        for error in wrong {
            tracing::warn!("{error} (the controller learns again what the journal says)");
        }
        let Saved { header, arrays } = saved?;
        let [weights, mean, square] = arrays.try_into().ok()?;
        let state = ControllerState {
            weights,
            mean,
            square,
            step: header.step,
            baseline: header.baseline,
        };
        let before = header.batch.checked_sub(1)?;
        let update = history.updates.get(&before)?;
        let agrees = header.config_sha256 == self.config_sha256
            && update.controller_sha256 == header.controller_sha256
            && update
                .samples
                .last()
                .is_some_and(|last| last + 1 == header.first)
            && state.sha256() == header.controller_sha256;
        (agrees && controller.restore(state)).then_some((header.batch, header.first))
    }

    /// Keeps what the controller has learned, if it is time; `next` are the batch that is next and its
    /// first sample.
    pub(super) fn offer(
        &mut self,
        controller: &Controller,
        (batch, first): (u64, u64),
        journal_bytes: u64,
    ) -> Result<(), RunError> {
        let state = controller.state();
        let header = Header {
            config_sha256: self.config_sha256.clone(),
            controller_sha256: state.sha256(),
            batch,
            first,
            step: state.step,
            baseline: state.baseline,
            journal_bytes,
        };
        self.waiting = Some((header, state));
        match self.last.elapsed() >= self.every {
            true => self.keep_last(),
            false => Ok(()),
        }
    }

    /// Writes the newest, where it is not written.
    pub(super) fn keep_last(&mut self) -> Result<(), RunError> {
        let Some((header, state)) = self.waiting.take() else {
            return Ok(());
        };
        let arrays = [&state.weights[..], &state.mean, &state.square];
        let written = self.slots.write(&header, &arrays);
        self.last = Instant::now();
        written.map_err(|(path, error)| RunError::keep(&path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controller::{ControllerConfig, Scored};
    use crate::disk::Real;
    use crate::run::entry::Update;
    use crate::space::{Space, SpaceConfig};

    fn controller(hidden: usize) -> Controller<'static> {
        let space = Space::new(&SpaceConfig::preset("sample").unwrap()).unwrap();
        let config = ControllerConfig {
            hidden,
            ..ControllerConfig::default()
        };
        Controller::new(space, &config, 1)
    }

    /// What a session that begins later makes of the checkpoint, which is of the settings `ours`, of batch
    /// 3 and of sample 9: by its own settings, by what its journal says of the update before, and by the
    /// size of its controller.
    #[test]
    fn only_a_checkpoint_of_what_is_on_record_is_gone_on_with() {
        let mut learned = controller(4);
        let tokens = learned.sample_batch(0..2);
        let scored = |k: usize, reward| Scored {
            tokens: &tokens[k],
            reward,
        };
        learned.learn(&[scored(0, 0.2), scored(1, 0.7)]);
        let sha256 = learned.sha256();
        let folder = tempfile::tempdir().unwrap();
        let open = |config: &str, every| {
            let slots = Slots::new(Arc::new(Real), folder.path().join("controller"));
            ControllerCheckpoints::new(slots, config.into(), every)
        };
        let n_files = || std::fs::read_dir(folder.path()).unwrap().count();

        let mut hourly = open("ours", Duration::from_secs(3600));
        hourly.offer(&learned, (3, 9), 100).unwrap();
        assert_eq!(n_files(), 0, "it is not time for one");
        hourly.keep_last().unwrap();
        assert_eq!(n_files(), 1);
        hourly.keep_last().unwrap();
        assert_eq!(n_files(), 1, "it is written already");
        let mut always = open("ours", Duration::ZERO);
        always.restore(&mut controller(4), &History::default());
        always.offer(&learned, (3, 9), 100).unwrap();
        assert_eq!(n_files(), 2);

        let ours = ("ours", 2, &[6, 7, 8][..], sha256.as_str(), 4);
        let cases = [
            (ours, Some((3, 9))),
            (("theirs", ours.1, ours.2, ours.3, ours.4), None),
            ((ours.0, 3, ours.2, ours.3, ours.4), None),
            ((ours.0, ours.1, &[6, 7], ours.3, ours.4), None),
            ((ours.0, ours.1, &[6, 7, 8, 9], ours.3, ours.4), None),
            ((ours.0, ours.1, &[], ours.3, ours.4), None),
            ((ours.0, ours.1, ours.2, "another", ours.4), None),
            ((ours.0, ours.1, ours.2, ours.3, 5), None),
        ];
        for ((config, batch, samples, controller_sha256, hidden), expected) in cases {
            let mut history = History::default();
            let update = Update {
                batch,
                samples: samples.into(),
                baseline: Some(0.45),
                controller_sha256: controller_sha256.into(),
                counted: samples.into(),
                ..Update::default()
            };
            history.updates.insert(batch, update);
            let mut fresh = controller(hidden);
            let before = fresh.sha256();
            let found = open(config, Duration::ZERO).restore(&mut fresh, &history);
            let case = format!("{config}, {batch}, {samples:?}, {controller_sha256}, {hidden}");
            assert_eq!(found, expected, "{case}");
            let after = match expected {
                Some(_) => &sha256,
                None => &before,
            };
            assert_eq!(fresh.sha256(), *after, "{case}");
        }
    }
}
