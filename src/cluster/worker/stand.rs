//! Where a child stands, as its cells tell: who has begun it, and how far its newest checkpoint is.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::At;
use crate::cluster::engine::{Engine, EngineError, Swap};
use crate::cluster::key::Cell;
use crate::cluster::message::{Attempt, Attempts, Checkpoint, Done};
use crate::cluster::role::{self, RoleError};
use crate::text;

/// Where a child stands.
pub(super) struct Stand {
    pub(super) attempts: Attempts,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Stand {
    pub(super) fn done(&self) -> Done {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or(Done::default(), |checkpoint| checkpoint.done)
    }

    /// Attempts that ended without a word and without getting further.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Attempt> {
        let done = self.done();
        let attempts = self.attempts.attempts.iter();
        attempts
            .filter(move |attempt| !attempt.released && !attempt.crashed && attempt.from == done)
    }

    pub(super) fn crashed(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .attempts
            .iter()
            .filter(|attempt| attempt.crashed)
    }
}

pub(super) fn nodes<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> BTreeSet<&'a str> {
    attempts.map(|attempt| &*attempt.node).collect()
}

impl<E: Engine> At<'_, E> {
    pub(super) async fn stand(&self, i: u64) -> Result<Stand, RoleError> {
        let (_, attempts) = role::cell(self.engine, Cell::Attempts(i)).await?;
        let (_, checkpoint) = role::cell(self.engine, Cell::Checkpoint(i)).await?;
        Ok(Stand {
            attempts: match attempts {
                Some(bytes) => Attempts::from_bytes(&bytes)?,
                None => Attempts::default(),
            },
            checkpoint: match checkpoint {
                Some(bytes) => Some(Checkpoint::from_bytes(&bytes)?),
                None => None,
            },
        })
    }

    /// Notes that this worker begins a child; not where another does at the same time.
    pub(super) async fn attempt(&self, i: u64, mine: &Attempt) -> Result<bool, RoleError> {
        let (revision, bytes) = role::cell(self.engine, Cell::Attempts(i)).await?;
        let mut list = match bytes {
            Some(bytes) => Attempts::from_bytes(&bytes)?,
            None => Attempts::default(),
        };
        list.attempts.push(mine.clone());
        let swap = self
            .engine
            .swap(Cell::Attempts(i), revision, list.to_bytes())
            .await;
        match swap {
            Ok(Swap::Done) => Ok(true),
            Ok(Swap::Refused) => Ok(false),
            // It may be noted: then it does not count against the child.
            Ok(Swap::Unknown) | Err(EngineError::Retry(_)) => {
                self.mark(i, mine, |attempt| attempt.released = true)
                    .await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the note of this worker's attempt, if it can be done at once: without it the attempt counts
    /// as lost, of which a child may have some.
    pub(super) async fn mark(
        &self,
        i: u64,
        mine: &Attempt,
        change: impl Fn(&mut Attempt) + Send,
    ) -> Result<(), RoleError> {
        for _ in 0..4 {
            let (revision, bytes) = role::cell(self.engine, Cell::Attempts(i)).await?;
            let Some(bytes) = bytes else {
                return Ok(());
            };
            let mut list = Attempts::from_bytes(&bytes)?;
            let its = list
                .attempts
                .iter_mut()
                .find(|attempt| attempt.worker == mine.worker);
            let Some(attempt) = its else {
                return Ok(());
            };
            change(attempt);
            let swap = self
                .engine
                .swap(Cell::Attempts(i), revision, list.to_bytes())
                .await;
            match swap {
                Ok(Swap::Done) => return Ok(()),
                Ok(_) | Err(EngineError::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Keeps a checkpoint, if it is of a later epoch than the one that is there.
    pub(super) async fn keep(&self, i: u64, done: Done, bytes: Vec<u8>) -> Result<(), RoleError> {
        let (revision, old) = role::cell(self.engine, Cell::Checkpoint(i)).await?;
        let old = match old {
            Some(bytes) => Some(Checkpoint::from_bytes(&bytes)?),
            None => None,
        };
        if old.as_ref().is_some_and(|old| old.done >= done) {
            return Ok(());
        }
        let new = Checkpoint {
            done,
            blob: format!("{i}/{}/{:016x}", done.epochs, self.engine.unique()),
            bytes: bytes.len() as u64,
            sha256: text::hex(&Sha256::digest(&bytes)),
        };
        role::insist(self.engine, || self.engine.put(&new.blob, bytes.clone())).await?;
        let swap = self
            .engine
            .swap(Cell::Checkpoint(i), revision, new.to_bytes())
            .await;
        let unused = match swap {
            Ok(Swap::Done) => old.map(|old| old.blob),
            Ok(Swap::Refused) => Some(new.blob),
            // It may be in use: it stays, and costs room.
            Ok(Swap::Unknown) | Err(EngineError::Retry(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(blob) = unused {
            self.engine.drop_blob(&blob).await;
        }
        Ok(())
    }

    /// Lets go of the checkpoint of a child that has ended.
    pub(super) async fn forget(&self, i: u64) -> Result<(), RoleError> {
        let (_, bytes) = role::cell(self.engine, Cell::Checkpoint(i)).await?;
        if let Some(bytes) = bytes {
            let last = Checkpoint::from_bytes(&bytes)?;
            self.engine.drop_blob(&last.blob).await;
        }
        Ok(())
    }

    /// What a child goes on from; nothing where it begins, or the checkpoint is not what was kept.
    pub(super) async fn load(&self, stand: &Stand) -> Result<Option<Vec<u8>>, RoleError> {
        let Some(checkpoint) = &stand.checkpoint else {
            return Ok(None);
        };
        let bytes = role::insist(self.engine, || self.engine.get(&checkpoint.blob)).await?;
        let is_whole = |bytes: &Vec<u8>| text::hex(&Sha256::digest(bytes)) == checkpoint.sha256;
        Ok(bytes.filter(is_whole))
    }
}
