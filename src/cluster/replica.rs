//! The role of a replica of the controller: opens a round, draws its architectures, waits for what they
//! achieve, and sends its gradient to every shard. Any number of processes may be the same replica: all that
//! a round depends on is frozen in its cell and in facts, so that they do the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engine::{Engine, EngineError, Revision, Swap};
use super::key::{Cell, Fact};
use super::learner::Learner;
use super::message::{Ended, Job, Replica, ReplicaHead, Round, Shard};
use super::record::Record;
use super::role::{self, RoleError};
use crate::controller::Scored;

/// How long is waited for results before they are looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often jobs are offered again whose result is not there.
const SWEEP: Duration = Duration::from_secs(60);

/// Is replica `r` until no round is left.
///
/// # Errors
/// See [`RoleError`].
pub async fn replica<E: Engine>(engine: &E, learner: &Learner, r: u32) -> Result<(), RoleError> {
    let role = Role { engine, learner, r };
    let mut record = Record::default();
    loop {
        let (revision, bytes) = role::cell(engine, Cell::Replica(r)).await?;
        let state = match bytes {
            Some(bytes) => Replica::from_bytes(&bytes)?,
            None => Replica {
                head: ReplicaHead::default(),
                weights: vec![],
            },
        };
        if !learner.fits_replica(&state) {
            return Err(RoleError::other_run(format!("the cell of replica {r}")));
        }
        if state.head.open {
            role.work(revision, &state, &mut record).await?;
        } else if !role.open(revision, &state).await? {
            return Ok(());
        }
    }
}

struct Role<'a, E> {
    engine: &'a E,
    learner: &'a Learner,
    r: u32,
}

impl<E: Engine> Role<'_, E> {
    /// Opens the next round, and freezes what it depends on; whether there is one. Where another process
    /// was quicker, its round is the next.
    async fn open(&self, revision: Revision, closed: &Replica) -> Result<bool, RoleError> {
        let Some(round) = self.next_round(closed).await? else {
            return Ok(false);
        };
        let Some(shards) = self.shards(round, revision).await? else {
            return Ok(true); // another process has opened it
        };
        let state = Replica {
            head: ReplicaHead {
                n: closed.head.n + 1,
                round: Some(round),
                open: true,
                versions: shards.iter().map(|shard| shard.head.version).collect(),
                counted: shards.iter().map(Shard::rounds).collect(),
                baseline: shards[0].head.baseline,
            },
            weights: shards.into_iter().flat_map(|shard| shard.weights).collect(),
        };
        self.swap(revision, &state).await?;
        Ok(true)
    }

    /// The round after a replica's last: the next of its own where synchronous, else the lowest that
    /// nobody has claimed.
    async fn next_round(&self, closed: &Replica) -> Result<Option<u64>, RoleError> {
        let scheme = self.learner.scheme();
        let rounds = scheme.rounds();
        if scheme.is_synchronous() {
            let k = u64::from(scheme.replicas);
            let next = closed.head.round.map_or(u64::from(self.r), |last| last + k);
            return Ok(Some(next).filter(|&next| next < rounds));
        }
        self.free_round(closed.head.round.map_or(0, |last| last + 1))
            .await
    }

    async fn free_round(&self, from: u64) -> Result<Option<u64>, RoleError> {
        for round in from..self.learner.scheme().rounds() {
            if role::fact(self.engine, Fact::Round(round)).await?.is_none() {
                return Ok(Some(round));
            }
        }
        Ok(None)
    }

    /// All shards; where synchronous, as they are at the round's wave, which is waited for. Nothing where
    /// the replica's cell changes meanwhile.
    async fn shards(
        &self,
        round: u64,
        revision: Revision,
    ) -> Result<Option<Vec<Shard>>, RoleError> {
        let scheme = self.learner.scheme();
        let wave = round / u64::from(scheme.replicas);
        loop {
            let mut shards = Vec::new();
            for s in 0..scheme.shards {
                let (_, bytes) = role::cell(self.engine, Cell::Shard(s)).await?;
                shards.push(match bytes {
                    Some(bytes) => Shard::from_bytes(&bytes)?,
                    None => self.learner.fresh(s),
                });
                if !self.learner.fits(s, &shards[s as usize]) {
                    return Err(RoleError::other_run(format!("the cell of shard {s}")));
                }
            }
            if !scheme.is_synchronous() || shards.iter().all(|shard| shard.head.version == wave) {
                return Ok(Some(shards));
            }
            self.engine.changed(PATIENCE).await;
            if self.is_superseded(revision).await? {
                return Ok(None);
            }
        }
    }

    /// Works on the open round: claims it, has its children trained, sends the gradient, and closes it.
    async fn work(
        &self,
        revision: Revision,
        state: &Replica,
        record: &mut Record,
    ) -> Result<(), RoleError> {
        let t = state.head.round.expect("an open replica has a round");
        let round = self.claim(t, state, record).await?;
        if (round.replica, round.n) != (self.r, state.head.n) {
            return self.elsewhere(t, revision, state).await;
        }
        let Some(children) = self.children(t, &round, revision).await? else {
            return Ok(()); // another process has closed it
        };
        if self.learner.scheme().synchronous {
            check_all_have_results(&children)?;
        }
        let scored: Vec<Scored> = children
            .values()
            .zip(&round.tokens)
            .filter_map(|(ended, tokens)| {
                let reward = ended.child.reward?;
                Some(Scored { tokens, reward })
            })
            .collect();
        self.send(state, &scored).await?;
        let closed = Replica {
            head: ReplicaHead {
                open: false,
                versions: vec![],
                counted: vec![],
                baseline: None,
                ..state.head
            },
            weights: vec![],
        };
        self.swap(revision, &closed).await
    }

    /// The fact of the round's architectures, whoever has written it.
    async fn claim(
        &self,
        t: u64,
        state: &Replica,
        record: &mut Record,
    ) -> Result<Round, RoleError> {
        if let Some(bytes) = role::fact(self.engine, Fact::Round(t)).await? {
            return self.read_round(t, &bytes);
        }
        let samples = self.learner.scheme().samples_of(t);
        let tokens = self.learner.propose(state, samples.clone());
        let before = match self.learner.scheme().is_synchronous() {
            true => {
                self.learner
                    .scheme()
                    .wave(t / u64::from(self.learner.scheme().replicas))
                    .start
            }
            false => t,
        };
        record.read_up_to(before, self.engine, self.learner).await?;
        let mine = Round {
            replica: self.r,
            n: state.head.n,
            counted: state.head.counted.clone(),
            duplicate_of: record.duplicates(self.learner, samples.start, &tokens),
            tokens,
        };
        let bytes = role::once(self.engine, Fact::Round(t), mine.to_bytes()).await?;
        self.read_round(t, &bytes)
    }

    fn read_round(&self, t: u64, bytes: &[u8]) -> Result<Round, RoleError> {
        let round = Round::from_bytes(bytes)?;
        match self.learner.fits_round(t, &round) {
            true => Ok(round),
            false => Err(RoleError::other_run(format!("round {t}"))),
        }
    }

    /// Another replica has the round: takes the next free one, or, where none is left, was never open.
    async fn elsewhere(
        &self,
        t: u64,
        revision: Revision,
        state: &Replica,
    ) -> Result<(), RoleError> {
        let mut state = state.clone();
        match self.free_round(t + 1).await? {
            Some(free) => state.head.round = Some(free),
            None => {
                state.head = ReplicaHead {
                    n: state.head.n - 1, // numbers have no gap
                    round: Some(self.learner.scheme().rounds()),
                    ..ReplicaHead::default()
                };
                state.weights.clear();
            }
        }
        self.swap(revision, &state).await
    }

    /// How the round's children ended, by sample. Nothing where the replica's cell changes meanwhile.
    async fn children(
        &self,
        t: u64,
        round: &Round,
        revision: Revision,
    ) -> Result<Option<BTreeMap<u64, Ended>>, RoleError> {
        let samples = self.learner.scheme().samples_of(t);
        let n = round.tokens.len();
        let mut ended = BTreeMap::new();
        let mut next_sweep = self.engine.now();
        loop {
            for sample in samples.clone() {
                if !ended.contains_key(&sample)
                    && let Some(bytes) = role::fact(self.engine, Fact::Child(sample)).await?
                {
                    ended.insert(sample, Ended::from_bytes(&bytes)?);
                    if round.duplicate_of.contains(&Some(sample)) {
                        next_sweep = self.engine.now(); // a repeat of it waits
                    }
                }
            }
            if ended.len() == n {
                return Ok(Some(ended));
            }
            if self.engine.now() >= next_sweep {
                self.offer(t, round, &ended).await?;
                next_sweep = self.engine.now() + SWEEP;
            }
            self.engine.changed(PATIENCE).await;
            if self.is_superseded(revision).await? {
                return Ok(None);
            }
        }
    }

    /// Offers the children that have no result: again and again, for a job may be lost.
    async fn offer(
        &self,
        t: u64,
        round: &Round,
        ended: &BTreeMap<u64, Ended>,
    ) -> Result<(), RoleError> {
        let samples = self.learner.scheme().samples_of(t);
        for (sample, (tokens, &duplicate_of)) in
            samples.zip(round.tokens.iter().zip(&round.duplicate_of))
        {
            // One that repeats a sample of its own round waits for that.
            let waits = duplicate_of.is_some_and(|of| {
                self.learner.scheme().samples_of(t).contains(&of) && !ended.contains_key(&of)
            });
            if waits || ended.contains_key(&sample) {
                continue;
            }
            let job = Job {
                sample,
                round: t,
                tokens: tokens.clone(),
                duplicate_of,
            };
            let body = job.to_bytes();
            role::insist(self.engine, || self.engine.offer(sample, body.clone())).await?;
        }
        Ok(())
    }

    /// Sends every shard its share of the round's gradient. A round that nothing is learned from is sent
    /// too, for its number.
    async fn send(&self, state: &Replica, scored: &[Scored<'_>]) -> Result<(), RoleError> {
        let gradient = self.learner.gradient(state, scored);
        for s in 0..self.learner.scheme().shards {
            let message = self
                .learner
                .message(s, &state.head, self.r, scored, gradient.as_ref());
            let bytes = message.to_bytes();
            role::insist(self.engine, || self.engine.push(s, self.r, bytes.clone())).await?;
        }
        Ok(())
    }

    async fn is_superseded(&self, revision: Revision) -> Result<bool, EngineError> {
        let (now, _) = role::cell(self.engine, Cell::Replica(self.r)).await?;
        Ok(now > revision)
    }

    /// Changes the replica's cell. Whatever comes of it, the cell is read again.
    async fn swap(&self, revision: Revision, state: &Replica) -> Result<(), RoleError> {
        match self
            .engine
            .swap(Cell::Replica(self.r), revision, state.to_bytes())
            .await
        {
            Ok(Swap::Done | Swap::Refused | Swap::Unknown) | Err(EngineError::Retry(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A synchronous run learns from every child, or stops.
fn check_all_have_results(children: &BTreeMap<u64, Ended>) -> Result<(), RoleError> {
    let without = children
        .iter()
        .find(|(_, ended)| ended.child.reward.is_none());
    match without {
        None => Ok(()),
        Some((&sample, ended)) => Err(RoleError::NoResult {
            sample,
            status: ended.child.status.word(),
        }),
    }
}
