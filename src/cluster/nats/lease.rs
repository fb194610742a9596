//! A job that the queue has handed out.

use std::time::Duration;

use async_nats::Message;

use super::wire::Wire;
use crate::cluster::engine::Lease;

/// A job that the queue has handed out; its own until `ack_wait` has passed since it was last kept.
pub struct NatsLease {
    wire: Wire,
    job: u64,
    message: Message,
    /// Where the queue is told what becomes of it.
    reply: String,
}

impl NatsLease {
    /// A message of the queue; nothing where it is no job.
    pub(super) fn new(wire: &Wire, message: Message) -> Option<NatsLease> {
        let (_, number) = message.subject.rsplit_once('.')?;
        Some(NatsLease {
            job: number.parse().ok()?,
            reply: message.reply.as_ref()?.to_string(),
            wire: wire.clone(),
            message,
        })
    }
}

impl Lease for NatsLease {
    fn job(&self) -> u64 {
        self.job
    }

    fn body(&self) -> &[u8] {
        &self.message.payload
    }

    async fn keep(&mut self) {
        self.wire.acknowledge(&self.reply, "+WPI", false).await;
    }

    async fn done(self) {
        self.wire.acknowledge(&self.reply, "+ACK", true).await;
    }

    async fn give_back(self, delay: Duration) {
        let word = match delay {
            Duration::ZERO => "-NAK".to_owned(),
            delay => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()),
        };
        self.wire.acknowledge(&self.reply, &word, false).await;
    }
}
