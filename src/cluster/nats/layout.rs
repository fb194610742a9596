//! A run's streams and subjects, and what the server must be.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use async_nats::ServerInfo;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, object_store};

use super::OpenError;

/// The durable consumer of the job queue.
pub(super) const CONSUMER: &str = "w";

/// The oldest server that answers a request for many messages of a stream.
const OLDEST: (u64, u64) = (2, 11);

/// The name of a run: a part of subjects and of streams' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunName(String);

/// It is no name of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a run; give 1 to 32 letters, digits, `-` and `_`")]
pub struct RunNameError(String);

impl FromStr for RunName {
    type Err = RunNameError;

    fn from_str(name: &str) -> Result<RunName, RunNameError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match (1..=32).contains(&name.len()) && name.chars().all(is_allowed) {
            true => Ok(RunName(name.to_owned())),
            false => Err(RunNameError(name.to_owned())),
        }
    }
}

impl Display for RunName {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a run is made on a server.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Servers that keep each stream: 1 or 3.
    pub replicas: usize,
    /// Workers at most.
    pub workers: u32,
    /// How long a job is a worker's own unless it is kept.
    pub lease: Duration,
}

/// What a run keeps in a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// What is written once.
    Fact,
    /// What changes by compare-and-set.
    Cell,
    /// The logs of all shards.
    Gradient,
    /// The queue.
    Job,
}

/// The names of a run's streams and subjects.
#[derive(Clone, Debug)]
pub struct Layout {
    run: RunName,
}

impl Layout {
    /// Those of a run.
    pub fn new(run: RunName) -> Layout {
        Layout { run }
    }

    /// The run's name.
    pub fn run(&self) -> &RunName {
        &self.run
    }

    /// A stream's name.
    pub fn stream(&self, stream: Stream) -> String {
        let word = match stream {
            Stream::Fact => "FACT",
            Stream::Cell => "CELL",
            Stream::Gradient => "GRAD",
            Stream::Job => "JOBS",
        };
        format!("NAS_{}_{word}", self.run)
    }

    /// The object store of checkpoints.
    pub fn bucket(&self) -> String {
        format!("NAS_{}_BLOB", self.run)
    }

    /// The subject of something that is kept or sent.
    pub fn subject(&self, of: impl Display) -> String {
        format!("nas.{}.{of}", self.run)
    }

    /// Makes the streams, the queue's consumer and the object store; those that are there as they should
    /// be stay.
    pub(super) async fn create(&self, context: &Context, room: Room) -> Result<(), String> {
        for stream in [Stream::Fact, Stream::Cell, Stream::Gradient, Stream::Job] {
            let config = self.config(stream, room.replicas);
            let name = config.name.clone();
            let made = context.create_stream(config).await;
            made.map_err(|error| not_made(&name, room.replicas, &error.to_string()))?;
        }
        let consumer = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: room.lease,
            // Jobs that were given back with a delay keep their place; pulls that wait take one each.
            max_ack_pending: i64::from(room.workers) * 4,
            max_waiting: i64::from(room.workers) * 4,
            ..pull::Config::default()
        };
        let jobs = self.stream(Stream::Job);
        let made = context
            .create_consumer_on_stream(consumer, jobs.clone())
            .await;
        made.map_err(|error| match error.to_string() {
            // What may wait cannot be changed.
            words if words.contains("10012") => {
                "it is there already, with room for another number of --workers; give that, or choose another name"
                    .to_owned()
            }
            words => format!("the consumer of {jobs} cannot be made: {words}"),
        })?;
        let bucket = object_store::Config {
            bucket: self.bucket(),
            storage: StorageType::File,
            num_replicas: room.replicas,
            ..object_store::Config::default()
        };
        let made = context.create_object_store(bucket).await;
        made.map(drop)
            .map_err(|error| format!("the object store {} cannot be made: {error}", self.bucket()))
    }

    fn config(&self, stream: Stream, replicas: usize) -> stream::Config {
        let (subjects, rest) = match stream {
            // The stream itself lets a subject have one message, for ever.
            Stream::Fact => (
                "fact.>",
                stream::Config {
                    max_messages_per_subject: 1,
                    discard: DiscardPolicy::New,
                    discard_new_per_subject: true,
                    deny_delete: true,
                    deny_purge: true,
                    ..stream::Config::default()
                },
            ),
            Stream::Cell => (
                "cell.>",
                stream::Config {
                    max_messages_per_subject: 1,
                    ..stream::Config::default()
                },
            ),
            Stream::Gradient => (
                "grad.>",
                stream::Config {
                    discard: DiscardPolicy::New,
                    ..stream::Config::default()
                },
            ),
            Stream::Job => (
                "job.>",
                stream::Config {
                    retention: RetentionPolicy::WorkQueue,
                    max_messages_per_subject: 1,
                    discard: DiscardPolicy::New,
                    discard_new_per_subject: true,
                    ..stream::Config::default()
                },
            ),
        };
        stream::Config {
            name: self.stream(stream),
            subjects: vec![self.subject(subjects)],
            storage: StorageType::File,
            num_replicas: replicas,
            allow_direct: stream != Stream::Job,
            ..rest
        }
    }
}

/// Why a stream cannot be made, by a server's words.
fn not_made(name: &str, copies: usize, words: &str) -> String {
    if words.contains("10074") {
        return format!(
            "this server is alone, and keeps one copy: give --copies 1, or have {copies} servers be one (`cluster {{ … }}` \
             in their configurations)"
        );
    }
    if words.contains("10005") {
        return format!(
            "fewer than {copies} of the servers that are one can keep a copy ({words}): give --copies 1, or start those \
             that are missing"
        );
    }
    format!("the stream {name} cannot be made: {words}")
}

/// That a server is new enough and keeps streams.
pub(super) fn check_server(server: &str, info: &ServerInfo) -> Result<(), OpenError> {
    let problem = |reason: String| OpenError::Server {
        server: server.to_owned(),
        reason,
    };
    let mut numbers = info
        .version
        .split('.')
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        return Err(problem(format!(
            "the server is nats-server {}; {}.{} is the oldest that will do",
            info.version, OLDEST.0, OLDEST.1
        )));
    }
    match info.jetstream {
        true => Ok(()),
        false => Err(problem(
            "the server keeps no streams; start it with JetStream (`jetstream { store_dir: … }`)"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_other_subjects() {
        for name in ["a", "night-1", "A_b", &"x".repeat(32)] {
            assert!(name.parse::<RunName>().is_ok(), "{name}");
        }
        for name in ["", "*", ">", "a.b", "a b", "ä", "a>", &"x".repeat(33)] {
            assert!(name.parse::<RunName>().is_err(), "{name}");
        }
    }

    #[test]
    fn servers_are_new_enough_and_keep_streams() {
        let check = |version: &str, jetstream: bool| {
            let info = ServerInfo {
                version: version.to_owned(),
                jetstream,
                ..ServerInfo::default()
            };
            check_server("nats://host", &info).map_err(|error| error.to_string())
        };
        for version in ["2.11.0", "2.15.1", "3.0.0-beta"] {
            assert_eq!(check(version, true), Ok(()));
        }
        for version in ["2.10.29", "1.4", "", "dev"] {
            assert!(
                check(version, true).unwrap_err().contains("2.11"),
                "{version}"
            );
        }
        assert!(check("2.15.1", false).unwrap_err().contains("JetStream"));
    }
}
