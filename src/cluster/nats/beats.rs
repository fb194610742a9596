//! Beats of workers on the server: sent to whoever listens, and kept by nobody.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Layout, Nats};
use crate::cluster::beat::Beat;
use crate::cluster::engine::EngineError;

/// The subject by which workers are asked how they are.
pub(super) const ASK: &str = "ask";

/// Sends a beat, if there is a server: none is sent late.
pub(super) async fn send(client: &Client, layout: &Layout, worker: u64, beat: Vec<u8>) {
    if client.connection_state() != State::Connected {
        return;
    }
    let subject = layout.subject(format_args!("hb.{}", Beat::name(worker)));
    if let Err(error) = client.publish(subject, beat.into()).await {
        tracing::debug!("{error}");
    }
}

/// Beats as they come.
pub struct Beats {
    subscriber: Subscriber,
    client: Client,
    ask: String,
}

impl Nats {
    /// Listens to the workers' beats from now on.
    ///
    /// # Errors
    /// Where the server is gone.
    pub async fn beats(&self) -> Result<Beats, EngineError> {
        let retry = |error: String| EngineError::Retry(format!("heartbeats: {error}"));
        let subject = self.layout.subject("hb.*");
        let subscribed = self.client.subscribe(subject).await;
        Ok(Beats {
            subscriber: subscribed.map_err(|error| retry(error.to_string()))?,
            client: self.client.clone(),
            ask: self.layout.subject(ASK),
        })
    }
}

impl Nats {
    /// Tries whether a worker may beat and be asked to, which tells nobody anything.
    pub(super) async fn probe_beats(&self) {
        send(&self.client, &self.layout, 0, vec![]).await;
        let ask = self.layout.subject(ASK);
        if let Err(error) = self.client.subscribe(ask).await {
            tracing::debug!("{error}");
        }
    }
}

impl Beats {
    /// Asks all workers how they are, which they tell at once. That nobody is asked costs a few seconds.
    pub async fn ask(&self) {
        let asked = self.client.publish(self.ask.clone(), "".into()).await;
        if let Err(error) = asked {
            tracing::debug!("{error}");
        }
    }

    /// The next beat, for which it waits at most so long: the worker's name, and what it says.
    pub async fn next(&mut self, at_most: Duration) -> Option<(String, Vec<u8>)> {
        let next = async {
            loop {
                match self.subscriber.next().await {
                    // One that only tries whether it may.
                    Some(message) if message.payload.is_empty() => {}
                    other => return other,
                }
            }
        };
        let message = timeout(at_most, next).await.ok()??;
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        Some((name.to_owned(), message.payload.to_vec()))
    }
}
