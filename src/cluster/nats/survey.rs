//! What a run's state is read from by many messages at a time, for those who look on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Nats, Stream, layout};
use crate::cluster::engine::{EngineError, Position};

/// Messages of a request.
const AT_A_TIME: usize = 256;

/// The queue of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that are handed out, or were given back for later: each takes a place.
    pub handed_out: u64,
    /// Places: where all are taken, no job is handed out.
    pub places: Option<u64>,
}

impl Nats {
    /// How the queue is.
    ///
    /// # Errors
    /// Where the server does not tell.
    pub async fn queue(&self) -> Result<Queue, EngineError> {
        #[derive(Deserialize)]
        struct Info {
            num_pending: u64,
            num_ack_pending: u64,
            #[serde(default)]
            config: Config,
        }
        #[derive(Default, Deserialize)]
        struct Config {
            max_ack_pending: Option<i64>,
        }
        let stream = self.layout.stream(Stream::Job);
        let info: Info = self.wire.consumer(&stream, layout::CONSUMER).await?;
        Ok(Queue {
            waiting: info.num_pending,
            handed_out: info.num_ack_pending,
            places: info
                .config
                .max_ack_pending
                .and_then(|most| u64::try_from(most).ok()),
        })
    }

    /// Facts of children that were written after a position, in their order; all of them.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn children_after(
        &self,
        after: Position,
    ) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
        let (stream, subjects) = self.of(Stream::Fact, "fact.child.*");
        let entries = self.all_after(&stream, &subjects, after).await?;
        let values = entries.into_iter();
        Ok(values.map(|(at, _, value)| (at, value)).collect())
    }

    /// The cells of all shards that have one, or of all replicas: by `cell.shard` or `cell.replica`.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn cells(&self, of: &str) -> Result<BTreeMap<usize, Vec<u8>>, EngineError> {
        let (stream, subjects) = self.of(Stream::Cell, &format!("{of}.*"));
        let cells = self.all_after(&stream, &subjects, 0).await?;
        let numbered = cells.into_iter().filter_map(|(_, subject, value)| {
            let (_, number) = subject.rsplit_once('.')?;
            Some((number.parse().ok()?, value))
        });
        Ok(numbered.collect()) // of a cell that changed meanwhile the later value
    }

    fn of(&self, stream: Stream, subjects: &str) -> (String, String) {
        (self.layout.stream(stream), self.layout.subject(subjects))
    }

    pub(super) async fn all_after(
        &self,
        stream: &str,
        subjects: &str,
        mut after: Position,
    ) -> Result<Vec<(Position, String, Vec<u8>)>, EngineError> {
        let mut all = Vec::new();
        loop {
            // The server ends an answer that grows long: an empty one is the last.
            let read = self.wire.named_after(stream, subjects, after, AT_A_TIME);
            let some = read.await?;
            let Some((last, ..)) = some.last() else {
                return Ok(all);
            };
            after = *last;
            all.extend(some);
        }
    }
}
