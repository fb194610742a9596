//! A run on an engine as the journal of a search in one process, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engine::{Engine, EngineError, Swap};
use super::facts::Facts;
use super::key::{Cell, Fact};
use super::learner::Learner;
use super::message::{Ended, Replica, ReplicaHead, Round, Shard};
use super::record::Record;
use super::replay::{ReplayError, Standing, Step, replay};
use super::role::{self, RoleError};
use crate::config::StrategyKind;
use crate::run::entry::{self, Child, Entry, Timing, Update};
use crate::run::history::History;

/// How long is waited for what must be there, and is not seen yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a run cannot be exported or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The engine, or what it holds.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// What it holds is no run.
    #[error("{0}; what the server had acknowledged is gone, or it was written by another program")]
    Replay(#[from] ReplayError),
    /// What it holds does not agree with itself.
    #[error(
        "{0} is not what the facts come to on this machine: the run was computed by another version of the program, \
         or something was changed by hand"
    )]
    Differs(String),
    /// There is another run already.
    #[error("{0} is there already, with another value; choose another name")]
    Taken(String),
}

impl From<EngineError> for ExportError {
    fn from(error: EngineError) -> ExportError {
        RoleError::Engine(error).into()
    }
}

impl From<super::message::MessageError> for ExportError {
    fn from(error: super::message::MessageError) -> ExportError {
        RoleError::Message(error).into()
    }
}

/// What an engine holds of a run: one moment of it, although it goes on.
#[derive(Debug)]
pub struct OnRecord {
    facts: Facts,
    rounds: BTreeMap<u64, Round>,
    shards: Vec<Shard>,
}

/// Reads a run, under way or done. Where all its children have ended, the last gradients are waited for a while,
/// and not having them is warned of. The shards first: what facts say beyond them is left out.
///
/// # Errors
/// See [`ExportError`].
pub async fn read<E: Engine>(engine: &E, learner: &Learner) -> Result<OnRecord, ExportError> {
    // From the end of the first look, which may take longer than that by itself.
    let mut waits_until = None;
    loop {
        let is_over = role::fact(engine, Fact::End).await?.is_some();
        let on_record = look(engine, learner).await?;
        let is_over = is_over || on_record.has_all_children(learner);
        let is_short = is_over && !on_record.has_all_gradients(learner);
        let now = engine.now();
        let is_too_late = now > *waits_until.get_or_insert(now + PATIENCE);
        if is_short && is_too_late {
            tracing::warn!(
                "all children have ended, and not all gradients are counted, or a copy of the server is behind; \
                 export again later to have them all"
            );
        }
        if on_record.facts.is_whole(learner) && !is_short || is_too_late {
            return Ok(on_record);
        }
        engine.sleep(Duration::from_millis(200)).await; // a copy of the server is behind
    }
}

impl OnRecord {
    fn has_all_children(&self, learner: &Learner) -> bool {
        self.facts.children.len() as u64 == learner.scheme().samples
    }

    /// Whether every shard has counted all rounds.
    fn has_all_gradients(&self, learner: &Learner) -> bool {
        let rounds = learner.scheme().rounds();
        self.shards.iter().all(|shard| shard.rounds() >= rounds)
    }
}

async fn look<E: Engine>(engine: &E, learner: &Learner) -> Result<OnRecord, ExportError> {
    let scheme = learner.scheme();
    let mut shards = Vec::new();
    for s in 0..scheme.shards {
        let (_, bytes) = role::cell(engine, Cell::Shard(s)).await?;
        let shard = match bytes {
            Some(bytes) => Shard::from_bytes(&bytes)?,
            None => learner.fresh(s),
        };
        if !learner.fits(s, &shard) {
            return Err(RoleError::other_run(format!("the cell of shard {s}")).into());
        }
        shards.push(shard);
    }
    let mut facts = Facts {
        orders: shards
            .iter()
            .map(|shard| shard.head.order.clone())
            .collect(),
        ..Facts::default()
    };
    let mut rounds = BTreeMap::new();
    for t in 0..scheme.rounds() {
        let Some(bytes) = role::fact(engine, Fact::Round(t)).await? else {
            continue;
        };
        let round = Round::from_bytes(&bytes)?;
        if !learner.fits_round(t, &round) {
            return Err(RoleError::other_run(format!("round {t}")).into());
        }
        facts.rounds.insert(t, begun(t, &round));
        rounds.insert(t, round);
    }
    facts.cut(learner);
    rounds.retain(|t, _| facts.rounds.contains_key(t));
    for sample in rounds.keys().flat_map(|&t| scheme.samples_of(t)) {
        if let Some(bytes) = role::fact(engine, Fact::Child(sample)).await? {
            let child = Ended::from_bytes(&bytes)?.line();
            let t = sample / scheme.children_per_round;
            let place = (sample - scheme.samples_of(t).start) as usize;
            // A worker wrote it, and may have written anything.
            let is_its = child.tokens == rounds[&t].tokens[place];
            if (child.sample, child.batch) != (sample, t) || !is_its {
                return Err(RoleError::other_run(format!("the result of sample {sample}")).into());
            }
            facts.children.insert(sample, child);
        }
    }
    Ok(OnRecord {
        facts,
        rounds,
        shards,
    })
}

/// A round's line of the journal.
pub(super) fn begun(t: u64, round: &Round) -> entry::Round {
    entry::Round {
        round: t,
        replica: round.replica,
        n: round.n,
        counted: round.counted.clone(),
        duplicate_of: round.duplicate_of.clone(),
        timing: Timing::default(),
    }
}

/// The line of a gradient that a shard has counted.
pub(super) fn counted(
    learner: &Learner,
    children: &BTreeMap<u64, Child>,
    (shard, round): (u32, &entry::Round),
    baseline: Option<f64>,
    after: &Shard,
) -> Update {
    let samples: Vec<u64> = learner.scheme().samples_of(round.round).collect();
    let has_reward = |sample: &&u64| {
        children
            .get(sample)
            .is_some_and(|child| child.reward.is_some())
    };
    Update {
        batch: round.round,
        counted: samples.iter().filter(has_reward).copied().collect(),
        samples,
        baseline,
        controller_sha256: after.sha256(),
        shard: Some(shard),
        replica: Some(round.replica),
        round: Some(round.round),
        timing: Timing::default(),
    }
}

impl OnRecord {
    /// The lines of its journal but the first and the last, in an order in which they can have come.
    /// Everything is computed again, and compared with what is on record.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn lines(&self, learner: &Learner) -> Result<Vec<Entry>, ExportError> {
        let mut lines = Vec::new();
        let mut read_at: BTreeMap<u64, u64> = BTreeMap::new();
        let mut staleness: BTreeMap<u64, u64> = BTreeMap::new();
        let standing = replay(learner, &self.facts, &mut |step| {
            match step {
                Step::Begun {
                    round,
                    state,
                    tokens,
                } => {
                    let t = round.round;
                    if self.rounds[&t].tokens != tokens {
                        return Err(ExportError::Differs(format!("round {t}")));
                    }
                    read_at.insert(t, state.head.versions[0]);
                    let samples = learner.scheme().samples_of(t);
                    let children = samples.filter_map(|sample| self.facts.children.get(&sample));
                    let children: Vec<Child> = children.cloned().collect();
                    let at = children.iter().map(begun_at).min_by(f64::total_cmp);
                    let mut round = round.clone();
                    round.timing.at = at.unwrap_or_else(crate::run::now);
                    lines.push(Entry::Round(round));
                    lines.extend(children.into_iter().map(Entry::Child));
                }
                Step::Counted {
                    shard,
                    round,
                    baseline,
                    late,
                    after,
                } => {
                    if shard == 0 {
                        staleness.insert(round.round, late);
                    }
                    let children = &self.facts.children;
                    let mut update = counted(learner, children, (shard, round), baseline, after);
                    let samples = update
                        .samples
                        .iter()
                        .filter_map(|sample| children.get(sample));
                    let at = samples.map(|child| child.timing.at).max_by(f64::total_cmp);
                    update.timing.at = at.unwrap_or_default();
                    lines.push(Entry::Update(update));
                }
            }
            Ok(())
        })?;
        self.check(&standing)?;
        for line in &mut lines {
            if let Entry::Child(child) = line {
                let now = || {
                    let version = standing.shards[0].head.version;
                    version.saturating_sub(read_at[&child.batch])
                };
                let late = staleness.get(&child.batch).copied();
                child.staleness = Some(late.unwrap_or_else(now));
            }
        }
        Ok(lines)
    }

    /// That the shards hold what the facts come to.
    fn check(&self, standing: &Standing) -> Result<(), ExportError> {
        for (s, (found, computed)) in self.shards.iter().zip(&standing.shards).enumerate() {
            let mut found = found.clone();
            // Of the engine alone.
            found.head.position = computed.head.position;
            found.head.repeats = computed.head.repeats;
            if found != *computed {
                return Err(ExportError::Differs(format!("shard {s}")));
            }
        }
        Ok(())
    }
}

/// The journal of one controller that learns alone, from that of one shard and one replica: the same search.
pub fn alone(lines: Vec<Entry>) -> Vec<Entry> {
    let line = |line: Entry| match line {
        Entry::Round(_) => None,
        Entry::Child(child) => Some(Entry::Child(child.alone())),
        // What nothing is learned from has no line there.
        Entry::Update(update) => update.baseline.is_some().then(|| {
            Entry::Update(Update {
                shard: None,
                replica: None,
                round: None,
                ..update
            })
        }),
        other => Some(other),
    };
    lines.into_iter().filter_map(line).collect()
}

fn begun_at(child: &Child) -> f64 {
    child.timing.at - child.timing.seconds
}

/// Writes a run into an engine that holds none of its name.
///
/// # Errors
/// See [`ExportError`].
pub async fn write<E: Engine>(
    engine: &E,
    learner: &Learner,
    facts: &Facts,
) -> Result<(), ExportError> {
    let standing = replay(learner, facts, &mut |_| Ok::<(), ExportError>(()))?;
    restore(engine, facts, &standing).await
}

/// The facts of one controller's journal: its whole batches, and what is on record of the one under way.
///
/// # Errors
/// Samples that are not what the controller draws.
pub fn of_one(learner: &Learner, history: &History) -> Result<Facts, ReplayError> {
    let mut facts = Facts::of_one(history);
    let t = facts.rounds.len() as u64;
    let again = history.to_try_again(StrategyKind::Policy);
    let is_of_it = |child: &&Child| child.batch == t && !again.contains(&child.sample);
    let children: Vec<&Child> = history.children.values().filter(is_of_it).collect();
    if children.is_empty() {
        return Ok(facts);
    }
    let standing = replay(learner, &facts, &mut |_| Ok::<(), ReplayError>(()))?;
    let controller = Replica {
        head: ReplicaHead::default(),
        weights: (standing.shards.into_iter())
            .flat_map(|shard| shard.weights)
            .collect(),
    };
    let samples = learner.scheme().samples_of(t);
    let tokens = learner.propose(&controller, samples.clone());
    for child in &children {
        let place = child.sample.checked_sub(samples.start);
        let drawn = place.and_then(|place| tokens.get(place as usize));
        if drawn != Some(&child.tokens) {
            return Err(ReplayError::Round {
                round: t,
                what: format!(
                    "has a sample {} that its controller does not draw",
                    child.sample
                ),
            });
        }
    }
    let record = Record::of(learner, facts.children.values());
    let round = entry::Round {
        round: t,
        replica: 0,
        n: t + 1,
        counted: vec![t],
        duplicate_of: record.duplicates(learner, samples.start, &tokens),
        timing: Timing::default(),
    };
    facts.rounds.insert(t, round);
    let children = children
        .into_iter()
        .map(|child| (child.sample, child.clone()));
    facts.children.extend(children);
    Ok(facts)
}

/// As [`write`], with what the facts come to.
///
/// # Errors
/// See [`ExportError`].
pub(super) async fn restore<E: Engine>(
    engine: &E,
    facts: &Facts,
    standing: &Standing,
) -> Result<(), ExportError> {
    for (&t, round) in &facts.rounds {
        let round = Round {
            replica: round.replica,
            n: round.n,
            counted: round.counted.clone(),
            tokens: standing.tokens[&t].clone(),
            duplicate_of: round.duplicate_of.clone(),
        };
        once(engine, Fact::Round(t), round.to_bytes()).await?;
    }
    for (&sample, child) in &facts.children {
        let ended = Ended::of(child);
        once(engine, Fact::Child(sample), ended.to_bytes()).await?;
    }
    for (s, shard) in (0..).zip(&standing.shards) {
        set(engine, Cell::Shard(s), shard.to_bytes()).await?;
        for gradient in &standing.logs[s as usize] {
            let bytes = gradient.to_bytes();
            role::insist(engine, || {
                engine.push(s, gradient.head.replica, bytes.clone())
            })
            .await?;
        }
    }
    for (r, replica) in (0..).zip(&standing.replicas) {
        if replica.head.n > 0 {
            set(engine, Cell::Replica(r), replica.to_bytes()).await?;
        }
    }
    Ok(())
}

async fn once<E: Engine>(engine: &E, fact: Fact, value: Vec<u8>) -> Result<(), ExportError> {
    match role::once(engine, fact, value.clone()).await? == value {
        true => Ok(()),
        false => Err(ExportError::Taken(fact.to_string())),
    }
}

/// Gives a cell its first value; a repetition of what was written in part is harmless.
async fn set<E: Engine>(engine: &E, cell: Cell, value: Vec<u8>) -> Result<(), ExportError> {
    loop {
        match engine.swap(cell, 0, value.clone()).await {
            Ok(Swap::Done) => return Ok(()),
            Ok(Swap::Refused | Swap::Unknown) | Err(EngineError::Retry(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match role::cell(engine, cell).await? {
            (_, Some(found)) if found == value => return Ok(()),
            (_, Some(_)) => return Err(ExportError::Taken(cell.to_string())),
            (_, None) => engine.sleep(Duration::from_millis(100)).await,
        }
    }
}
