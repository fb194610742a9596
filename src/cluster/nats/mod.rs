//! The engine on NATS JetStream. A run's subjects begin with `nas.<run>.`; `layout` has its streams, `wire`
//! the requests, by which every answer's code is known.

mod beats;
mod layout;
mod lease;
mod survey;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, object_store::ObjectStore};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, watch};

use super::engine::{Engine, EngineError, Position, Revision, Swap, unique};
use super::key::{Cell, Fact};
pub use beats::Beats;
pub use layout::{Layout, Room, RunName, RunNameError, Stream};
pub use lease::NatsLease;
pub use survey::Queue;
use wire::{Published, Wire};

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(5);

/// How often the server is asked whether it is there: one that is frozen counts as connected until the third
/// answer is missing.
const PING: Duration = Duration::from_secs(10);

/// A run on a server, or on several that are one.
#[derive(Clone)]
pub struct Nats {
    wire: Wire,
    layout: Arc<Layout>,
    blobs: ObjectStore,
    /// Counts what may have changed something; a handle's own, so that it misses none.
    hints: Arc<Mutex<watch::Receiver<u64>>>,
    /// Counts how often somebody asked how the workers are; a handle's own, from its first use on.
    asks: Arc<Mutex<Option<watch::Receiver<u64>>>>,
    client: Client,
    began: Instant,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No server answers, or not to these credentials.
    #[error("{server}: {reason}; is a nats-server running there, and are the credentials right?")]
    Connect {
        /// The address.
        server: String,
        /// What went wrong.
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
        let client = connect(server, options).await?;
        let layout = Arc::new(Layout::new(run));
        let context = jetstream::new(client.clone());
        let blobs = context.get_object_store(layout.bucket()).await;
        let blobs = blobs.map_err(|error| OpenError::Run {
            run: layout.run().to_string(),
            reason: format!(
                "it is not on the server ({error}); begin it by `cluster init`, or check its name"
            ),
        })?;
        Ok(Nats {
            hints: Arc::new(Mutex::new(listen(&client, &layout, hints).await)),
            asks: Arc::default(),
            wire: Wire::new(client.clone()),
            client,
            layout,
            blobs,
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
        let client = connect(server, options).await?;
        layout::check_server(server, &client.server_info())?;
        let context = jetstream::new(client);
        let layout = Layout::new(run);
        layout
            .create(&context, room)
            .await
            .map_err(|reason| OpenError::Run {
                run: layout.run().to_string(),
                reason,
            })
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

async fn connect(server: &str, options: ConnectOptions) -> Result<Client, OpenError> {
    let options = options.connection_timeout(CONNECT).ping_interval(PING);
    let client = options.connect(server).await;
    client.map_err(|error| OpenError::Connect {
        server: server.to_owned(),
        reason: error.to_string(),
    })
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
            Published::Stored => Ok(value),
            Published::Refused | Published::Full => {
                // A follower may not have it yet.
                let first = self.fact(fact).await?;
                first
                    .ok_or_else(|| EngineError::Retry(format!("{fact} is there, and not yet seen")))
            }
        }
    }

    async fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, EngineError> {
        let subject = self.layout.subject(fact);
        let found = self
            .wire
            .last(&self.layout.stream(Stream::Fact), &subject)
            .await?;
        Ok(found.map(|(_, value)| value))
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
        let put = self.blobs.put(blob, &mut &bytes[..]).await;
        put.map(drop)
            .map_err(|error| EngineError::Retry(format!("{blob}: {error}")))
    }

    async fn get(&self, blob: &str) -> Result<Option<Vec<u8>>, EngineError> {
        use jetstream::object_store::GetErrorKind;
        let retry = |error: String| EngineError::Retry(format!("{blob}: {error}"));
        let mut object = match self.blobs.get(blob).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(retry(error.to_string())),
        };
        let mut bytes = Vec::new();
        match object.read_to_end(&mut bytes).await {
            Ok(_) => Ok(Some(bytes)),
            Err(error) => Err(retry(error.to_string())),
        }
    }

    async fn drop_blob(&self, blob: &str) {
        if let Err(error) = self.blobs.delete(blob).await {
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
