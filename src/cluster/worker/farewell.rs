//! How long a worker that was told to stop waits for a server that does not answer.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{At, PATIENCE};
use crate::cluster::engine::Engine;
use crate::cluster::key::Cell;

/// How long a worker that was told to stop tells the server so, once its child has stopped.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long a server may be silent meanwhile. What a child keeps is kept by the server alone, so that its time to
/// stop is of no use where that is away.
const SILENCE: Duration = Duration::from_secs(12);

impl<E: Engine> At<'_, E> {
    /// Waits until it has been told to stop, and then for as long as the server answers, but no longer than all
    /// takes that a server which takes it is told.
    pub(super) async fn too_late(&self) {
        while !self.is_to_stop() {
            self.engine.sleep(PATIENCE).await;
        }
        let mut answered = self.engine.now();
        let last = answered + self.worker.grace + FAREWELL;
        loop {
            let until = last.min(answered + SILENCE);
            let left = until.saturating_sub(self.engine.now());
            if left.is_zero() {
                return;
            }
            let asked = {
                let (asked, time) = (
                    pin!(self.engine.cell(Cell::Control)),
                    pin!(self.engine.sleep(left)),
                );
                match select(asked, time).await {
                    Either::Left((asked, _)) => asked.is_ok(),
                    Either::Right(_) => false,
                }
            };
            if asked {
                answered = self.engine.now();
            }
            self.engine.sleep(PATIENCE.min(left)).await;
        }
    }
}
