//! Messages as bytes: JSON, and with numbers the form of a checkpoint; each with the version of its form.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Saved};

/// Version of all this. A message of a newer one is never guessed at.
pub const SCHEMA: u32 = 1;

/// Why a message cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Its bytes are not as they were written.
    #[error("{what} cannot be read: {flaw}")]
    Flaw {
        /// Of what it is.
        what: &'static str,
        /// What is wrong.
        flaw: String,
    },
    /// A newer version of the program wrote it.
    #[error(
        "{what} has schema {theirs}, and this program knows up to {SCHEMA}; use the program that began the run"
    )]
    Newer {
        /// Of what it is.
        what: &'static str,
        /// Its schema.
        theirs: u32,
    },
}

/// Something that is kept or sent.
pub(super) trait Message: Serialize + DeserializeOwned {
    /// What people call it.
    const WHAT: &'static str;
}

/// A message with its schema.
#[derive(Serialize, Deserialize)]
struct Versioned<M> {
    schema: u32,
    message: M,
}

/// The schema alone, of whatever else there is.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

pub(super) fn flaw<M: Message>(flaw: impl ToString) -> MessageError {
    MessageError::Flaw {
        what: M::WHAT,
        flaw: flaw.to_string(),
    }
}

fn check_schema<M: Message>(theirs: u32) -> Result<(), MessageError> {
    match theirs {
        0 => Err(flaw::<M>("its schema is 0")),
        1..=SCHEMA => Ok(()),
        _ => Err(MessageError::Newer {
            what: M::WHAT,
            theirs,
        }),
    }
}

pub(super) fn to_json<M: Message>(message: &M) -> Vec<u8> {
    let versioned = Versioned {
        schema: SCHEMA,
        message,
    };
    serde_json::to_vec(&versioned).expect("a message is JSON")
}

pub(super) fn from_json<M: Message>(bytes: &[u8]) -> Result<M, MessageError> {
    // The schema first: of a newer one all else may be different.
    let Schema { schema } = serde_json::from_slice(bytes).map_err(flaw::<M>)?;
    check_schema::<M>(schema)?;
    let versioned: Versioned<M> = serde_json::from_slice(bytes).map_err(flaw::<M>)?;
    Ok(versioned.message)
}

pub(super) fn to_numbers<M: Message>(message: &M, arrays: &[&[f64]]) -> Vec<u8> {
    let versioned = Versioned {
        schema: SCHEMA,
        message,
    };
    checkpoint::to_bytes(&versioned, arrays)
}

pub(super) fn from_numbers<M: Message, const N: usize>(
    bytes: &[u8],
) -> Result<(M, [Vec<f64>; N]), MessageError> {
    let saved: Saved<serde_json::Value> = checkpoint::from_bytes(bytes).map_err(flaw::<M>)?;
    let schema: Schema = serde_json::from_value(saved.header.clone()).map_err(flaw::<M>)?;
    check_schema::<M>(schema.schema)?;
    let versioned: Versioned<M> = serde_json::from_value(saved.header).map_err(flaw::<M>)?;
    let arrays = saved
        .arrays
        .try_into()
        .map_err(|_| flaw::<M>("it has other lists of numbers"))?;
    Ok((versioned.message, arrays))
}
