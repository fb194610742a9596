//! The engine on NATS JetStream. A run's subjects begin with `nas.<run>.`; `layout` has its streams, `wire`
//! the requests, by which every answer's code is known.

mod beats;
mod blobs;
mod connect;
mod delete;
mod denied;
mod layout;
mod lease;
mod probe;
mod rights;
pub mod server_config;
mod survey;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use tokio::sync::{Mutex, watch};

use super::engine::{Engine, EngineError, Position, Revision, Swap, unique};
use super::key::{Cell, Fact};
pub use beats::Beats;
use blobs::Blobs;
use connect::connect;
pub use delete::Extent;
pub use layout::{Layout, Room, RunName, RunNameError, Stream};
pub use lease::NatsLease;
pub use rights::{Rights, Role};
pub use survey::Queue;
use wire::{Published, Wire};

/// A run on a server, or on several that are one.
#[derive(Clone)]
pub struct Nats {
    wire: Wire,
    layout: Arc<Layout>,
    /// Counts what may have changed something; a handle's own, so that it misses none.
    hints: Arc<Mutex<watch::Receiver<u64>>>,
    /// Counts how often somebody asked how the workers are; a handle's own, from its first use on.
    asks: Arc<Mutex<Option<watch::Receiver<u64>>>>,
    client: Client,
    /// Facts that were seen, which never change: replicas of one process read each once.
    known: Arc<std::sync::Mutex<HashMap<Fact, Vec<u8>>>>,
    began: Instant,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No server answers.
    #[error("{server}: {reason}; is a nats-server running there?")]
    Connect {
        /// The address.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// That is no address.
    #[error(
        "--server {server}: {reason}; give an address such as nats://host:4222, or tls://host:4222"
    )]
    Address {
        /// What was given.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not let one in.
    #[error(
        "{server}: {reason}; give --credentials FILE with the rights of a user whom the server knows"
    )]
    Credentials {
        /// The address.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// Server and program do not trust one another.
    #[error(
        "{server}: {reason}; give --tls-ca FILE, the certificate of whoever signed the server's, by the host \
         name that the certificate has, and --tls-cert and --tls-key where the server asks for them"
    )]
    Tls {
        /// The address.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// A right is missing.
    #[error("{server}: {reason}")]
    Denied {
        /// The address.
        server: String,
        /// Which.
        reason: String,
    },
    /// The server is not as it must be.
    #[error("{server}: {reason}")]
    Server {
        /// The address.
        server: String,
        /// What is to be changed.
        reason: String,
    },
    /// What a run is made of is not there, or cannot be made.
    #[error("run {run}: {reason}")]
    Run {
        /// Its name.
        run: String,
        /// What went wrong.
        reason: String,
    },
}

impl Nats {
    /// Opens a run that there is. `options` has the credentials; `hints` are the subjects whose messages
    /// may mean news, of those that the credentials may subscribe to.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        server: &str,
        run: RunName,
        options: ConnectOptions,
        hints: &[&str],
    ) -> Result<Nats, OpenError> {
        let (client, denied) = connect(server, options).await?;
        layout::check_server(server, &client.server_info())?;
        let layout = Arc::new(Layout::new(run));
        let wire = Wire::new(client.clone(), denied);
        let hints = listen(&client, &layout, hints).await;
        let (facts, first) = (layout.stream(Stream::Fact), layout.subject(Fact::Run));
        let is_there = wire.is_there(&facts, &first).await;
        if !is_there.map_err(|error| not_answered(server, error))? {
            return Err(OpenError::Run {
                run: layout.run().to_string(),
                reason: "it is not on the server; begin it by `cluster init`, or check its name"
                    .to_owned(),
            });
        }
        Ok(Nats {
            hints: Arc::new(Mutex::new(hints)),
            asks: Arc::default(),
            wire,
            client,
            known: Arc::default(),
            layout,
            began: Instant::now(),
        })
    }

    /// Makes the streams of a run, or finds them as they should be.
    ///
    /// # Errors
    /// A server that does not sync, is too old, or refuses; a stream of that name that is different.
    pub async fn create(
        server: &str,
        run: RunName,
        options: ConnectOptions,
        room: Room,
    ) -> Result<(), OpenError> {
        let (client, denied) = connect(server, options).await?;
        layout::check_server(server, &client.server_info())?;
        let context = jetstream::new(client);
        let layout = Layout::new(run);
        let made = denied.unless(layout.create(&context, room)).await;
        let made = made.map_err(|error| not_answered(server, error))?;
        made.map_err(|reason| OpenError::Run {
            run: layout.run().to_string(),
            reason,
        })
    }

    /// The largest value that a server takes, in bytes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn max_payload(server: &str, options: ConnectOptions) -> Result<usize, OpenError> {
        let (client, _) = connect(server, options).await?;
        Ok(client.server_info().max_payload)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Fact, Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object store of checkpoints.
    fn blobs(&self) -> Blobs<'_> {
        Blobs {
            wire: &self.wire,
            bucket: self.layout.bucket(),
        }
    }

    /// Whether the server keeps what it is sent, by writing a cell that nobody reads: one that expects what
    /// never is would be refused before the server looks for room.
    ///
    /// # Errors
    /// In words, why not.
    pub async fn keeps(&self) -> Result<(), EngineError> {
        let subject = self.layout.subject("cell.probe");
        self.wire
            .publish(&subject, b"{}".to_vec(), None)
            .await
            .map(drop)
    }

    /// Another handle with hints of its own.
    pub async fn handle(&self) -> Nats {
        let hints = self.hints.lock().await.clone();
        Nats {
            hints: Arc::new(Mutex::new(hints)),
            asks: Arc::default(),
            ..self.clone()
        }
    }
}

fn not_answered(server: &str, error: EngineError) -> OpenError {
    let server = server.to_owned();
    match error {
        EngineError::Refused(reason) => OpenError::Denied { server, reason },
        EngineError::Retry(reason) | EngineError::Lost(reason) => {
            OpenError::Connect { server, reason }
        }
    }
}

/// Counts messages by which something may have changed. What they say is not looked at: a message that a
/// stream has refused is heard as well.
async fn listen(client: &Client, layout: &Layout, subjects: &[&str]) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    let sender = Arc::new(sender);
    for subject in subjects {
        // Without it one looks every few seconds.
        let Ok(mut messages) = client.subscribe(layout.subject(subject)).await else {
            tracing::debug!("no hints of {subject}");
            continue;
        };
        let sender = Arc::clone(&sender);
        tokio::spawn(async move {
            while messages.next().await.is_some() && !sender.is_closed() {
                sender.send_modify(|count| *count += 1);
            }
        });
    }
    receiver
}

impl Engine for Nats {
    type Lease = NatsLease;

    async fn once(&self, fact: Fact, value: Vec<u8>) -> Result<Vec<u8>, EngineError> {
        let subject = self.layout.subject(fact);
        match self.wire.publish(&subject, value.clone(), Some(0)).await? {
            Published::Stored => {
                self.known().insert(fact, value.clone());
                Ok(value)
            }
            Published::Refused | Published::Full => {
                // A follower may not have it yet.
                let first = self.fact(fact).await?;
                first
                    .ok_or_else(|| EngineError::Retry(format!("{fact} is there, and not yet seen")))
            }
        }
    }

    async fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, EngineError> {
        if let Some(known) = self.known().get(&fact) {
            return Ok(Some(known.clone()));
        }
        let subject = self.layout.subject(fact);
        let found = self
            .wire
            .last(&self.layout.stream(Stream::Fact), &subject)
            .await?;
        let found = found.map(|(_, value)| value);
        if let Some(value) = &found {
            self.known().insert(fact, value.clone());
        }
        Ok(found)
    }

    async fn cell(&self, cell: Cell) -> Result<(Revision, Option<Vec<u8>>), EngineError> {
        let subject = self.layout.subject(cell);
        let found = self
            .wire
            .last(&self.layout.stream(Stream::Cell), &subject)
            .await?;
        Ok(match found {
            Some((revision, value)) => (revision, Some(value)),
            None => (0, None),
        })
    }

    async fn swap(&self, cell: Cell, seen: Revision, value: Vec<u8>) -> Result<Swap, EngineError> {
        let subject = self.layout.subject(cell);
        match self.wire.publish(&subject, value, Some(seen)).await {
            Ok(Published::Stored) => Ok(Swap::Done),
            Ok(Published::Refused | Published::Full) => Ok(Swap::Refused),
            Err(EngineError::Retry(_)) => Ok(Swap::Unknown),
            Err(error) => Err(error),
        }
    }

    async fn push(&self, shard: u32, replica: u32, gradient: Vec<u8>) -> Result<(), EngineError> {
        let subject = self.layout.subject(format_args!("grad.{shard}.{replica}"));
        match self.wire.publish(&subject, gradient, None).await? {
            Published::Stored => Ok(()),
            // Not by the stream's settings; what is not stored is sent again.
            Published::Refused | Published::Full => {
                Err(EngineError::Retry(format!("{subject} is not taken")))
            }
        }
    }

    async fn log(
        &self,
        shard: u32,
        after: Position,
        most: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
        let subject = self.layout.subject(format_args!("grad.{shard}.*"));
        let stream = self.layout.stream(Stream::Gradient);
        self.wire.after(&stream, &subject, after, most).await
    }

    async fn trim(&self, shard: u32, up_to: Position) {
        let subject = self.layout.subject(format_args!("grad.{shard}.*"));
        let stream = self.layout.stream(Stream::Gradient);
        self.wire.purge(&stream, &subject, up_to).await;
    }

    async fn put(&self, blob: &str, bytes: Vec<u8>) -> Result<(), EngineError> {
        self.blobs().put(blob, &bytes).await
    }

    async fn get(&self, blob: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.blobs().get(blob).await
    }

    async fn drop_blob(&self, blob: &str) {
        if let Err(error) = self.blobs().drop(blob).await {
            tracing::debug!("{blob} is not removed: {error}");
        }
    }

    async fn offer(&self, job: u64, body: Vec<u8>) -> Result<(), EngineError> {
        let subject = self.layout.subject(format_args!("job.{job}"));
        // Full: it is queued, or somebody has it.
        self.wire.publish(&subject, body, None).await.map(drop)
    }

    async fn lease(&self, wait: Duration) -> Result<Option<NatsLease>, EngineError> {
        let stream = self.layout.stream(Stream::Job);
        let message = self.wire.pull(&stream, layout::CONSUMER, wait).await?;
        Ok(message.and_then(|message| NatsLease::new(&self.wire, message)))
    }

    async fn beat(&self, worker: u64, beat: Vec<u8>) {
        beats::send(&self.client, &self.layout, worker, beat).await;
    }

    async fn asked(&self) {
        let mut asks = self.asks.lock().await;
        if asks.is_none() {
            *asks = Some(listen(&self.client, &self.layout, &[beats::ASK]).await);
        }
        let is_told = match &mut *asks {
            Some(asks) => asks.changed().await.is_ok(),
            None => false,
        };
        if !is_told {
            std::future::pending::<()>().await; // it beats by the clock alone
        }
    }

    async fn changed(&self, at_most: Duration) {
        let mut hints = self.hints.lock().await;
        if let Ok(Err(_)) = tokio::time::timeout(at_most, hints.changed()).await {
            // Nobody gives hints any more.
            tokio::time::sleep(at_most).await;
        }
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn unique(&self) -> u64 {
        unique()
    }
}
