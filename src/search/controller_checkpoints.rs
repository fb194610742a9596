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
