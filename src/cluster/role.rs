//! What all roles share: how they end, and calls that are repeated until there is an answer.

use std::future::Future;
use std::time::Duration;

use super::engine::{Engine, EngineError, Position, Revision};
use super::key::{Cell, Fact};
use super::message::MessageError;

/// Why a role cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The engine says so.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What others wrote cannot be understood.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The run was begun by another configuration.
    #[error("{0}")]
    OtherRun(String),
    /// What trains is not to be used any more.
    #[error("{0}")]
    Device(String),
    /// In a synchronous run a child has no result, and the run cannot be what it is to be without it.
    #[error(
        "sample {sample} ended as {status}, which a synchronous run does not learn from: it stops here"
    )]
    NoResult {
        /// The sample.
        sample: u64,
        /// How it ended.
        status: &'static str,
    },
}

impl RoleError {
    /// Something that others wrote and that cannot be of this run.
    pub(super) fn other_run(what: impl std::fmt::Display) -> RoleError {
        RoleError::OtherRun(format!(
            "{what} is of another controller than that of this run's settings; use one program everywhere, and \
             one name for one run"
        ))
    }
}

/// How long is waited before a call is repeated: between these, drawn so that many do not come at once.
const PAUSE: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// Repeats a call until it has an answer.
///
/// # Errors
/// What repeating does not help against.
pub async fn insist<E, T, F>(engine: &E, call: impl Fn() -> F + Send) -> Result<T, EngineError>
where
    E: Engine,
    T: Send,
    F: Future<Output = Result<T, EngineError>> + Send,
{
    loop {
        match call().await {
            Err(EngineError::Retry(words)) => {
                tracing::debug!("{words}");
                let [least, most] = PAUSE;
                let share = (engine.unique() % 1024) as f64 / 1024.0;
                engine.sleep(least + (most - least).mul_f64(share)).await;
            }
            answer => return answer,
        }
    }
}

/// A fact, where it is there.
pub async fn fact<E: Engine>(engine: &E, fact: Fact) -> Result<Option<Vec<u8>>, EngineError> {
    insist(engine, || engine.fact(fact)).await
}

/// Writes a fact unless it is there; the value that counts.
pub async fn once<E: Engine>(
    engine: &E,
    fact: Fact,
    value: Vec<u8>,
) -> Result<Vec<u8>, EngineError> {
    insist(engine, || engine.once(fact, value.clone())).await
}

/// A cell and its revision.
pub async fn cell<E: Engine>(
    engine: &E,
    cell: Cell,
) -> Result<(Revision, Option<Vec<u8>>), EngineError> {
    insist(engine, || engine.cell(cell)).await
}

/// The log of a shard after a position.
pub(super) async fn log<E: Engine>(
    engine: &E,
    shard: u32,
    after: Position,
    most: usize,
) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
    insist(engine, || engine.log(shard, after, most)).await
}
