//! A child's training as a worker sees it: its checkpoints are kept, its lease too, and it has its limits.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::spent::Spent;
use super::{At, Leave, PATIENCE, Step, Trained, Training};
use crate::cluster::engine::{Engine, Lease};
use crate::cluster::message::Attempt;
use crate::cluster::role::RoleError;
use crate::search::evaluator::Outcome;

impl<E: Engine> At<'_, E> {
    /// Trains until the child ends, or is to be given back.
    pub(super) async fn train<C: Training>(
        &self,
        (i, mine): (u64, &Attempt),
        training: &mut C,
        lease: &mut E::Lease,
        spent: &mut Spent,
    ) -> Result<Trained, RoleError> {
        let mut kept = self.engine.now();
        let mut told = None;
        loop {
            let now = self.engine.now();
            spent.look(now);
            if let Some(outcome) = self.timeout(spent, i) {
                return Ok(Trained::Outcome(outcome));
            }
            if self.is_to_stop() {
                training.stop();
                if now >= *told.get_or_insert(now) + self.worker.grace {
                    tracing::warn!("sample {i} does not stop, and is ended; what it kept is kept");
                    return Ok(Trained::Released(Leave::GiveBack(Duration::ZERO)));
                }
                if self.pulse.stopping() {
                    self.pulse.tell(self.engine).await;
                }
            }
            let step = {
                let next = pin!(training.next());
                let time = pin!(self.engine.sleep(self.worker.keep.min(PATIENCE)));
                match select(next, time).await {
                    Either::Left((step, _)) => Some(step),
                    Either::Right(_) => None,
                }
            };
            match step {
                None => {}
                Some(Step::Epoch(epoch)) => self.epoch(epoch).await,
                Some(Step::Checkpoint { done, bytes }) => {
                    self.epoch(done.epochs).await;
                    self.keep(i, done, bytes).await?;
                    if self.worker.child_time.is_some() {
                        let seconds = spent.own.as_secs_f64();
                        self.mark(i, mine, |attempt| attempt.seconds = seconds)
                            .await?;
                    }
                }
                Some(Step::Stopped) => {
                    return Ok(Trained::Released(Leave::GiveBack(Duration::ZERO)));
                }
                Some(Step::Unusable(words)) => return Ok(Trained::Released(Leave::Quit(words))),
                Some(Step::Ended(outcome)) => return Ok(Trained::Outcome(*outcome)),
            }
            if self.engine.now() >= kept + self.worker.keep {
                lease.keep().await;
                kept = self.engine.now();
            }
        }
    }
    /// How a child ends whose time is over.
    pub(super) fn timeout(&self, spent: &Spent, i: u64) -> Option<Outcome> {
        spent.over(self.worker.child_time, i, self.learner.space().kind())
    }

    /// Tells that so many epochs of a child are done.
    async fn epoch(&self, epoch: u64) {
        if self.pulse.epoch(epoch, self.engine.now()) {
            self.pulse.tell(self.engine).await;
        }
    }
    /// Waits for something, and keeps a lease meanwhile.
    pub(super) async fn keeping<T>(
        &self,
        lease: &mut E::Lease,
        work: impl Future<Output = T> + Send,
    ) -> T {
        let mut work = pin!(work);
        loop {
            let time = pin!(self.engine.sleep(self.worker.keep));
            match select(work.as_mut(), time).await {
                Either::Left((ended, _)) => return ended,
                Either::Right(_) => lease.keep().await,
            }
        }
    }
}
