//! Trying at the start what a role is going to need, so that a right that is missing is told at once and not
//! after the first child. Nothing is changed: whatever is written expects what never is.

use super::layout::{CONSUMER, Stream};
use super::rights::Role;
use super::{EngineError, Nats};
use crate::cluster::role::insist;

/// A sequence that no stream reaches.
const NEVER: u64 = 1 << 53;

impl Nats {
    /// Tries every right of a role, but that to take a job, which is its first act anyhow. Waits where the
    /// server cannot answer yet.
    ///
    /// # Errors
    /// [`EngineError::Refused`], which names a subject that is not permitted.
    pub async fn probe(&self, role: Role) -> Result<(), EngineError> {
        let (writes, reads): (&[&str], &[(Stream, &str)]) = match role {
            Role::Admin => return Ok(()),
            Role::Worker => (
                &["fact.device", "fact.child.0", "cell.try.0", "cell.ckpt.0"],
                &[
                    (Stream::Cell, "cell.try.0"),
                    (Stream::Cell, "cell.ckpt.0"),
                    (Stream::Cell, "cell.control"),
                ],
            ),
            Role::Replica => (
                &["fact.round.0", "cell.replica.0", "grad.0.0", "job.0"],
                &[
                    (Stream::Cell, "cell.shard.0"),
                    (Stream::Cell, "cell.replica.0"),
                    (Stream::Cell, "cell.control"),
                ],
            ),
            Role::Applier => (
                &["fact.end", "cell.shard.0"],
                &[
                    (Stream::Cell, "cell.shard.0"),
                    (Stream::Cell, "cell.control"),
                ],
            ),
        };
        for subject in writes {
            let subject = self.layout.subject(subject);
            self.write_nothing(&subject).await?;
        }
        for (stream, subject) in reads {
            let (stream, subject) = (self.layout.stream(*stream), self.layout.subject(subject));
            insist(self, || self.wire.last(&stream, &subject)).await?;
        }
        match role {
            Role::Worker => {
                self.probe_beats().await;
                self.probe_queue_and_blobs().await?;
            }
            Role::Applier => {
                let subject = self.layout.subject("grad.0.*");
                let stream = self.layout.stream(Stream::Gradient);
                insist(self, || self.wire.after(&stream, &subject, NEVER, 1)).await?;
                self.wire.purge(&stream, &subject, 0).await;
            }
            _ => {}
        }
        // What is denied is heard before the answer to a later question.
        let (stream, subject) = (
            self.layout.stream(Stream::Fact),
            self.layout.subject("fact.run"),
        );
        insist(self, || self.wire.last(&stream, &subject))
            .await
            .map(drop)
    }

    async fn probe_queue_and_blobs(&self) -> Result<(), EngineError> {
        let jobs = self.layout.stream(Stream::Job);
        for to in [format!("$JS.ACK.{jobs}"), format!("$JS.ACK._._.{jobs}")] {
            // Of message 0, which no queue has handed out.
            let subject = format!("{to}.{CONSUMER}.1.0.0.0.0");
            self.wire.acknowledge(&subject, "+WPI", false).await;
        }
        let blobs = self.blobs();
        let (stream, pieces, entry) = (blobs.stream(), blobs.pieces("probe"), blobs.entry("probe"));
        self.write_nothing(&pieces).await?;
        self.write_nothing(&entry).await?;
        insist(self, || self.wire.last(&stream, &entry)).await?;
        insist(self, || self.wire.after(&stream, &pieces, NEVER, 1))
            .await
            .map(drop)
    }

    async fn write_nothing(&self, subject: &str) -> Result<(), EngineError> {
        insist(self, || self.wire.publish(subject, vec![], Some(NEVER)))
            .await
            .map(drop)
    }
}
