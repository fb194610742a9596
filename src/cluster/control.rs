//! Whether a run is to go on: what an operator says by `cluster drain`, to all its roles at once.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};

use super::codec::{Message, MessageError, from_json, to_json};
use super::engine::{Engine, EngineError, Swap};
use super::key::Cell;
use super::role::{self, RoleError};

/// How often is looked whether the run is drained.
const LOOK: Duration = Duration::from_secs(5);

/// What an operator says of a run; without a word of theirs it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Nobody is to work on it.
    pub drained: bool,
}

impl Message for Control {
    const WHAT: &'static str = "the cell by which the run is drained";
}

impl Control {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    /// From bytes.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Control, MessageError> {
        from_json(bytes)
    }
}

/// How a role comes to an end in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself: the run is done, or it was told to stop.
    Own,
    /// The run is drained.
    Drained,
}

/// What was said last.
///
/// # Errors
/// See [`RoleError`].
pub async fn control<E: Engine>(engine: &E) -> Result<Control, RoleError> {
    let (_, bytes) = role::cell(engine, Cell::Control).await?;
    let control = bytes.map(|bytes| Control::from_bytes(&bytes)).transpose()?;
    Ok(control.unwrap_or_default())
}

/// Says it, unless it is said already.
///
/// # Errors
/// See [`RoleError`].
pub async fn say<E: Engine>(engine: &E, control: Control) -> Result<(), RoleError> {
    loop {
        let (revision, bytes) = role::cell(engine, Cell::Control).await?;
        let said = bytes.map(|bytes| Control::from_bytes(&bytes)).transpose()?;
        if said.unwrap_or_default() == control {
            return Ok(());
        }
        let swap = engine.swap(Cell::Control, revision, control.to_bytes());
        match swap.await {
            // Whatever came of it, it is read again.
            Ok(Swap::Done | Swap::Refused | Swap::Unknown) => {}
            Err(EngineError::Retry(words)) => tracing::debug!("{words}"),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the run is drained.
///
/// # Errors
/// See [`RoleError`].
pub async fn drained<E: Engine>(engine: &E) -> Result<(), RoleError> {
    while !control(engine).await?.drained {
        engine.changed(LOOK).await;
    }
    Ok(())
}

/// Is in a role until it comes to its end, or the run is drained: then it is left where it is, which is what
/// happens to a role that is killed, and costs nothing of one that trains nothing.
///
/// # Errors
/// See [`RoleError`].
pub async fn unless_drained<E: Engine>(
    engine: &E,
    role: impl Future<Output = Result<(), RoleError>> + Send,
) -> Result<End, RoleError> {
    match select(pin!(drained(engine)), pin!(role)).await {
        Either::Left((drained, _)) => drained.map(|()| End::Drained),
        Either::Right((ended, _)) => ended.map(|()| End::Own),
    }
}
