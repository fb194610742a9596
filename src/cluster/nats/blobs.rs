//! Blobs as NATS's object stores keep them, which its other tools read, by requests that a role may be
//! permitted one by one: the client's own calls ask for the right to make consumers, and whoever may make one
//! may have it deliver to any subject, those of other roles too.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use data_encoding::BASE64URL;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Nats;
use super::wire::{Published, Wire};
use crate::cluster::engine::{EngineError, unique};

/// Bytes of a piece, one message.
const PIECE: usize = 128 << 10;

/// Pieces that are asked for at a time: 8 MiB, for which a server does not take one for a slow reader.
const AT_A_TIME: usize = 64;

/// A blob's entry.
#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    bucket: String,
    /// What its pieces are called.
    nuid: String,
    size: u64,
    chunks: u64,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    deleted: bool,
}

/// An object store.
pub(super) struct Blobs<'w> {
    pub(super) wire: &'w Wire,
    pub(super) bucket: String,
}

impl Blobs<'_> {
    pub(super) fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket)
    }

    /// The subject of the pieces that are called so.
    pub(super) fn pieces(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket)
    }

    /// The subject of a name's entry.
    pub(super) fn entry(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, BASE64URL.encode(name.as_bytes()))
    }

    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        let entry = Entry {
            name: name.to_owned(),
            bucket: self.bucket.clone(),
            nuid: format!("{:016x}", unique()),
            size: bytes.len() as u64,
            chunks: bytes.len().div_ceil(PIECE) as u64,
            digest: format!("SHA-256={}", BASE64URL.encode(&Sha256::digest(bytes))),
            deleted: false,
        };
        for piece in bytes.chunks(PIECE) {
            let subject = self.pieces(&entry.nuid);
            self.store(&subject, HeaderMap::new(), piece.to_vec())
                .await?;
        }
        self.write(&entry).await
    }

    /// What a name stands for; nothing where it is gone.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(entry) = self.find(name).await? else {
            return Ok(None);
        };
        let (stream, pieces) = (self.stream(), self.pieces(&entry.nuid));
        let (mut bytes, mut at) = (Vec::new(), 0);
        while (bytes.len() as u64) < entry.size {
            let some = self.wire.after(&stream, &pieces, at, AT_A_TIME).await?;
            let Some(&(last, _)) = some.last() else {
                // It was dropped meanwhile, or never was whole: nothing to go on from.
                tracing::debug!("{name}: a piece of it is not there");
                return Ok(None);
            };
            at = last;
            bytes.extend(some.into_iter().flat_map(|(_, piece)| piece));
        }
        Ok(Some(bytes))
    }

    /// Lets go of a name, then of its pieces: of all but an empty one in their place.
    pub(super) async fn drop(&self, name: &str) -> Result<(), EngineError> {
        let Some(entry) = self.find(name).await? else {
            return Ok(());
        };
        let gone = Entry {
            size: 0,
            chunks: 0,
            deleted: true,
            ..entry
        };
        self.write(&gone).await?;
        self.store(&self.pieces(&gone.nuid), in_place(), vec![])
            .await
    }

    /// Subjects of the pieces of all blobs that are there, or were let go of.
    pub(super) async fn all_pieces(&self, engine: &Nats) -> Result<BTreeSet<String>, EngineError> {
        let entries = format!("$O.{}.M.*", self.bucket);
        let entries = engine.all_after(&self.stream(), &entries, 0).await?;
        let read = entries.iter().map(|(_, subject, bytes)| {
            let entry: Entry = serde_json::from_slice(bytes).map_err(|error| {
                EngineError::Refused(format!("{subject}: no entry of a checkpoint: {error}"))
            })?;
            Ok(self.pieces(&entry.nuid))
        });
        read.collect()
    }

    async fn find(&self, name: &str) -> Result<Option<Entry>, EngineError> {
        let found = self.wire.last(&self.stream(), &self.entry(name)).await?;
        let Some((_, bytes)) = found else {
            return Ok(None);
        };
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| {
            EngineError::Refused(format!(
                "{name}: its entry in {} is none: {error}",
                self.bucket
            ))
        })?;
        Ok(Some(entry).filter(|entry| !entry.deleted))
    }

    async fn write(&self, entry: &Entry) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(entry).expect("an entry is JSON");
        self.store(&self.entry(&entry.name), in_place(), bytes)
            .await
    }

    async fn store(
        &self,
        subject: &str,
        headers: HeaderMap,
        bytes: Vec<u8>,
    ) -> Result<(), EngineError> {
        match self.wire.publish_with(subject, headers, bytes).await? {
            Published::Stored => Ok(()),
            Published::Refused | Published::Full => {
                Err(EngineError::Retry(format!("{subject} is not taken")))
            }
        }
    }
}

/// That a message takes the place of all others of its subject.
fn in_place() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "sub");
    headers
}
