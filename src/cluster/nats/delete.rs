//! Taking a run off its server, and pieces of checkpoints that workers left who were killed while they sent them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nats, Stream};
use crate::cluster::engine::EngineError;

/// What a run takes on its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Streams, that of checkpoints counted.
    pub streams: u64,
    /// Messages in these.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl Extent {
    /// Whether nothing of the run is missing, as it is where a removal was cut short.
    pub fn is_whole(self) -> bool {
        self.streams == STREAMS.len() as u64 + 1
    }
}

/// In the order in which they go. That by which the run is known goes last: until then all of it can be asked for
/// again.
const STREAMS: [Stream; 4] = [Stream::Job, Stream::Gradient, Stream::Cell, Stream::Fact];

#[derive(Deserialize)]
struct Info {
    state: State,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    /// How many messages each has, where subjects were asked for.
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

impl Nats {
    /// What the run takes.
    ///
    /// # Errors
    /// Where the server does not tell.
    pub async fn extent(&self) -> Result<Extent, EngineError> {
        let mut extent = Extent::default();
        for stream in self.streams() {
            let info: Option<Info> = self.wire.about("INFO", &stream, json!({})).await?;
            if let Some(Info { state }) = info {
                extent.streams += 1;
                extent.messages += state.messages;
                extent.bytes += state.bytes;
            }
        }
        Ok(extent)
    }

    /// Removes the run with all that it has; nothing where that is done.
    ///
    /// # Errors
    /// Where the server does not do it: some of it may be gone.
    pub async fn delete(&self) -> Result<(), EngineError> {
        for stream in self.streams() {
            let _: Option<Value> = self.wire.about("DELETE", &stream, json!({})).await?;
        }
        Ok(())
    }

    fn streams(&self) -> impl Iterator<Item = String> {
        let checkpoints = self.blobs().stream();
        let others = STREAMS.map(|stream| self.layout.stream(stream));
        [checkpoints].into_iter().chain(others)
    }

    /// How many children have ended.
    ///
    /// # Errors
    /// Where the server does not tell.
    pub async fn n_ended(&self) -> Result<u64, EngineError> {
        let stream = self.layout.stream(Stream::Fact);
        let subjects = self.layout.subject("fact.child.*");
        Ok(self.subjects(&stream, &subjects).await?.len() as u64)
    }

    /// Subjects of pieces that belong to no checkpoint, and how many each has: they are being sent, or whoever
    /// sent them has given up or is no more.
    ///
    /// # Errors
    /// Where the server does not tell.
    pub async fn loose_pieces(&self) -> Result<BTreeMap<String, u64>, EngineError> {
        let blobs = self.blobs();
        // In this order: what is kept meanwhile is not taken for loose.
        let mut pieces = self.subjects(&blobs.stream(), &blobs.pieces("*")).await?;
        let kept: BTreeSet<String> = blobs.all_pieces(self).await?;
        pieces.retain(|subject, _| !kept.contains(subject));
        Ok(pieces)
    }

    /// Removes pieces.
    ///
    /// # Errors
    /// Where the server does not do it.
    pub async fn drop_pieces(&self, subject: &str) -> Result<(), EngineError> {
        let body = json!({"filter": subject});
        let stream = self.blobs().stream();
        let _: Option<Value> = self.wire.about("PURGE", &stream, body).await?;
        Ok(())
    }

    /// Subjects of a stream, and how many messages each has.
    async fn subjects(&self, stream: &str, of: &str) -> Result<BTreeMap<String, u64>, EngineError> {
        let mut all = BTreeMap::new();
        loop {
            // The server tells so many at a time.
            let body = json!({"subjects_filter": of, "offset": all.len()});
            let info: Option<Info> = self.wire.about("INFO", stream, body).await?;
            let some = info.and_then(|info| info.state.subjects);
            let n_before = all.len();
            all.extend(some.into_iter().flatten());
            if all.len() == n_before {
                return Ok(all);
            }
        }
    }
}
