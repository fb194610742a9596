//! The role that keeps a shard: takes gradients from its log, in order, and moves its parameters. Any
//! number of processes may keep the same shard; they cost each other time.

use std::time::Duration;

use super::engine::{Engine, EngineError, Position, Revision, Swap};
use super::key::{Cell, Fact};
use super::learner::Learner;
use super::message::{Gradient, Shard};
use super::role::{self, RoleError};

/// Gradients that are taken at a time.
const AT_A_TIME: usize = 64;

/// How long is waited for gradients before the log is read again.
const PATIENCE: Duration = Duration::from_secs(5);

/// That nothing is left, which is said by its being there.
const END: &[u8] = b"{\"schema\":1}";

/// Keeps shard `shard` until all rounds are in it.
///
/// # Errors
/// See [`RoleError`].
pub async fn applier<E: Engine>(
    engine: &E,
    learner: &Learner,
    shard: u32,
) -> Result<(), RoleError> {
    loop {
        let (revision, bytes) = role::cell(engine, Cell::Shard(shard)).await?;
        let before = match bytes {
            Some(bytes) => Shard::from_bytes(&bytes)?,
            None => learner.fresh(shard),
        };
        if !learner.fits(shard, &before) {
            return Err(RoleError::other_run(format!("the cell of shard {shard}")));
        }
        if before.rounds() >= learner.scheme().rounds() {
            engine.trim(shard, before.head.position).await;
            if shard == 0 {
                // For workers, who may read no shard.
                role::once(engine, Fact::End, END.to_vec()).await?;
            }
            return Ok(());
        }
        let read = match learner.scheme().is_synchronous() {
            true => wave(engine, learner, shard, before.clone()).await?,
            false => some(engine, learner, shard, before.clone()).await?,
        };
        match read {
            Read::Nothing => engine.changed(PATIENCE).await,
            Read::Moved(after) => keep(engine, shard, revision, &after).await?,
            Read::Gap { replica, mark, n } => {
                alarm(engine, shard, (revision, &before), (replica, mark, n)).await?;
            }
        }
    }
}

/// What a look at the log came to.
enum Read {
    /// There is nothing to count.
    Nothing,
    /// The shard with what there was.
    Moved(Box<Shard>),
    /// A replica's gradient is missing before this one.
    Gap { replica: u32, mark: u64, n: u64 },
}

/// A gradient of the log.
fn read(learner: &Learner, shard: u32, bytes: &[u8]) -> Result<Gradient, RoleError> {
    let gradient = Gradient::from_bytes(bytes)?;
    match learner.fits_gradient(shard, &gradient) {
        true => Ok(gradient),
        false => Err(RoleError::other_run(format!(
            "a gradient for shard {shard}"
        ))),
    }
}

/// How a gradient stands to those that were counted.
enum Turn {
    Next,
    Repeat,
    Gap { mark: u64 },
}

/// The third rule: it counts if and only if it is the next of its replica.
fn turn(shard: &Shard, gradient: &Gradient) -> Turn {
    let head = &gradient.head;
    let mark = shard.head.marks.get(&head.replica).copied().unwrap_or(0);
    match head.n {
        n if n <= mark => Turn::Repeat,
        n if n == mark + 1 => Turn::Next,
        _ => Turn::Gap { mark },
    }
}

/// Counts some gradients, each by itself.
async fn some<E: Engine>(
    engine: &E,
    learner: &Learner,
    shard: u32,
    mut state: Shard,
) -> Result<Read, RoleError> {
    let entries = role::log(engine, shard, state.head.position, AT_A_TIME).await?;
    if entries.is_empty() {
        return Ok(Read::Nothing);
    }
    for (position, bytes) in entries {
        let gradient = read(learner, shard, &bytes)?;
        match turn(&state, &gradient) {
            Turn::Next => learner.count(&mut state, &gradient),
            Turn::Repeat => state.head.repeats += 1,
            Turn::Gap { mark } => {
                let (replica, n) = (gradient.head.replica, gradient.head.n);
                return Ok(Read::Gap { replica, mark, n });
            }
        }
        state.head.position = position;
    }
    Ok(Read::Moved(Box::new(state)))
}

/// Counts the gradients of the next wave once all are there; nothing is written before.
async fn wave<E: Engine>(
    engine: &E,
    learner: &Learner,
    shard: u32,
    mut state: Shard,
) -> Result<Read, RoleError> {
    let rounds = learner.scheme().wave(state.head.version);
    let mut wave: Vec<Option<Gradient>> = rounds.clone().map(|_| None).collect();
    let mut position: Position = state.head.position;
    while wave.iter().any(Option::is_none) {
        let entries = role::log(engine, shard, position, AT_A_TIME).await?;
        if entries.is_empty() {
            return Ok(Read::Nothing);
        }
        for (at, bytes) in entries {
            position = at;
            let gradient = read(learner, shard, &bytes)?;
            let place = gradient.head.round.checked_sub(rounds.start);
            let place = place.and_then(|place| wave.get_mut(place as usize));
            match (turn(&state, &gradient), place) {
                (Turn::Next, Some(place @ None)) => *place = Some(gradient),
                (Turn::Next | Turn::Repeat, _) => state.head.repeats += 1,
                (Turn::Gap { mark }, _) => {
                    let (replica, n) = (gradient.head.replica, gradient.head.n);
                    return Ok(Read::Gap { replica, mark, n });
                }
            }
        }
    }
    let wave: Vec<Gradient> = wave.into_iter().flatten().collect();
    learner.count_wave(&mut state, &wave);
    state.head.position = position;
    Ok(Read::Moved(Box::new(state)))
}

/// Writes a shard that has moved, and lets go of what is in it. Whoever is refused, or is not told, reads
/// all again.
async fn keep<E: Engine>(
    engine: &E,
    shard: u32,
    revision: Revision,
    after: &Shard,
) -> Result<(), RoleError> {
    let swap = engine
        .swap(Cell::Shard(shard), revision, after.to_bytes())
        .await;
    if known(swap)? == Swap::Done {
        engine.trim(shard, after.head.position).await;
    }
    Ok(())
}

/// A gradient is missing: either a rival has moved on and let go of it, which the cell tells, or what the
/// engine had acknowledged is gone.
async fn alarm<E: Engine>(
    engine: &E,
    shard: u32,
    (revision, before): (Revision, &Shard),
    (replica, mark, n): (u32, u64, u64),
) -> Result<(), RoleError> {
    let swap = engine
        .swap(Cell::Shard(shard), revision, before.to_bytes())
        .await;
    match known(swap)? {
        Swap::Refused | Swap::Unknown => Ok(()),
        Swap::Done => Err(RoleError::Engine(EngineError::Lost(format!(
            "shard {shard}: after gradient {mark} of replica {replica} comes {n}; what the server had \
             acknowledged is gone"
        )))),
    }
}

/// No answer is no error here.
fn known(swap: Result<Swap, EngineError>) -> Result<Swap, EngineError> {
    match swap {
        Err(EngineError::Retry(_)) => Ok(Swap::Unknown),
        swap => swap,
    }
}
