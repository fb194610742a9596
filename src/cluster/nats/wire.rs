//! Requests to JetStream, in its own words: so that the code of every refusal is known, which the client's
//! own calls fold together, and no right is needed but those of the requests themselves.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap, Message, Request, StatusCode};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::denied::Denied;
use crate::cluster::engine::{EngineError, Position, Revision};

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// How long several servers may take to agree which of them answers for a stream.
const ELECTION: Duration = Duration::from_secs(10);

/// The subject's last message is another than was expected; the second where several servers vote.
const WRONG_LAST: [u64; 2] = [10071, 10164];

/// The subject has a message, and may have one.
const SUBJECT_FULL: u64 = 10077;

/// The store has no room.
const NO_ROOM: u64 = 10023;

/// There is no stream of that name.
const NO_STREAM: u64 = 10059;

/// Requests by a client.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    denied: Denied,
}

/// What became of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// It is stored.
    Stored,
    /// Its subject has changed.
    Refused,
    /// Its subject has a message, and may have one.
    Full,
}

/// The answer of a stream.
#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn retry(what: &str, why: impl std::fmt::Display) -> EngineError {
    EngineError::Retry(format!("{what}: {why}"))
}

impl Wire {
    pub(super) fn new(client: Client, denied: Denied) -> Wire {
        Wire { client, denied }
    }

    async fn ask(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Message, EngineError> {
        let request = Request::new()
            .payload(body.into())
            .headers(headers)
            .timeout(Some(ANSWER));
        let answer = self.client.send_request(subject.to_owned(), request);
        self.denied
            .unless(answer)
            .await?
            .map_err(|error| match error.kind() {
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    EngineError::Refused(format!("{subject}: {error}"))
                }
                RequestErrorKind::TimedOut if !subject.starts_with("$JS.") => retry(
                    subject,
                    "no answer to a write; see the server's log: where its disk had no space, make some and \
                     restart it, for it writes nothing before; of several servers, most must run",
                ),
                _ => retry(subject, error),
            })
    }

    /// Publishes to a stream; with `expected`, only if the subject's last message has that sequence.
    pub(super) async fn publish(
        &self,
        subject: &str,
        body: Vec<u8>,
        expected: Option<Revision>,
    ) -> Result<Published, EngineError> {
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        self.publish_with(subject, headers, body).await
    }

    /// Publishes to a stream with headers.
    pub(super) async fn publish_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Published, EngineError> {
        let answer = self.ask(subject, headers, body).await?;
        let answer: Answer = serde_json::from_slice(&answer.payload)
            .map_err(|error| retry(subject, format_args!("an answer that is none ({error})")))?;
        match answer.error {
            None => Ok(Published::Stored),
            Some(refusal) if WRONG_LAST.contains(&refusal.err_code) => Ok(Published::Refused),
            Some(refusal) if refusal.err_code == SUBJECT_FULL => Ok(Published::Full),
            Some(refusal) if refusal.err_code == NO_ROOM => {
                let next = "the server has no room; make some, then restart it";
                Err(retry(
                    subject,
                    format_args!("{next} ({})", refusal.description),
                ))
            }
            Some(Refusal {
                err_code,
                description,
            }) => Err(retry(
                subject,
                format_args!("{description} (code {err_code})"),
            )),
        }
    }

    /// The last message of a subject and its sequence.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(Revision, Vec<u8>)>, EngineError> {
        let request = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let message = self.ask(&request, HeaderMap::new(), vec![]).await?;
        match status(&message) {
            None => Ok(Some(
                entry(&message).ok_or_else(|| retry(subject, "no sequence"))?,
            )),
            Some(404) => Ok(None),
            Some(code) => Err(retry(subject, format_args!("the server answers {code}"))),
        }
    }

    /// Whether anybody answers for a stream.
    pub(super) async fn is_there(&self, stream: &str, subject: &str) -> Result<bool, EngineError> {
        let patience = match self.client.server_info().cluster {
            Some(_) => ELECTION,
            None => Duration::ZERO,
        };
        let began = Instant::now();
        loop {
            let request = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
            let asks = Request::new().timeout(Some(ANSWER));
            let answer = self.client.send_request(request, asks);
            match self.denied.unless(answer).await? {
                // Where an account has no streams, somebody else answers.
                Ok(answer) => return Ok(status(&answer).is_some() || entry(&answer).is_some()),
                Err(error) if error.kind() != RequestErrorKind::NoResponders => {
                    return Err(retry(stream, error));
                }
                Err(_) if began.elapsed() >= patience => return Ok(false),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Messages of some subjects after a sequence, in order, at most so many.
    pub(super) async fn after(
        &self,
        stream: &str,
        subjects: &str,
        after: Position,
        most: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, EngineError> {
        let messages = self.messages_after(stream, subjects, after, most).await?;
        let entries: Option<Vec<_>> = messages.iter().map(entry).collect();
        entries.ok_or_else(|| retry(subjects, "no sequence"))
    }

    /// As [`Wire::after`], each with its subject.
    pub(super) async fn named_after(
        &self,
        stream: &str,
        subjects: &str,
        after: Position,
        most: usize,
    ) -> Result<Vec<(Position, String, Vec<u8>)>, EngineError> {
        let messages = self.messages_after(stream, subjects, after, most).await?;
        let entries = messages.iter().map(|message| {
            let (sequence, value) = entry(message)?;
            let subject = message.headers.as_ref()?.get("Nats-Subject")?;
            Some((sequence, subject.to_string(), value))
        });
        let entries: Option<Vec<_>> = entries.collect();
        entries.ok_or_else(|| retry(subjects, "no sequence or no subject"))
    }

    async fn messages_after(
        &self,
        stream: &str,
        subjects: &str,
        after: Position,
        most: usize,
    ) -> Result<Vec<Message>, EngineError> {
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| retry(subjects, error))?;
        let body = serde_json::json!({"seq": after + 1, "next_by_subj": subjects, "batch": most});
        let request = format!("$JS.API.DIRECT.GET.{stream}");
        let body = body.to_string().into_bytes();
        let sent = self
            .client
            .publish_with_reply(request, inbox, body.into())
            .await;
        sent.map_err(|error| retry(subjects, error))?;
        let mut messages = Vec::new();
        loop {
            let message = match timeout(ANSWER, self.denied.unless(answers.next())).await {
                Ok(Ok(Some(message))) => message,
                Ok(Err(denied)) => return Err(denied),
                Ok(Ok(None)) | Err(_) => {
                    return Err(retry(subjects, "the log does not come to its end"));
                }
            };
            match status(&message) {
                None => messages.push(message),
                Some(204 | 404) => return Ok(messages),
                Some(code) => {
                    return Err(retry(subjects, format_args!("the server answers {code}")));
                }
            }
        }
    }

    /// Lets go of the messages of some subjects up to a sequence. That it is not done costs room alone.
    pub(super) async fn purge(&self, stream: &str, subjects: &str, up_to: Position) {
        let body = serde_json::json!({"filter": subjects, "seq": up_to + 1});
        let request = format!("$JS.API.STREAM.PURGE.{stream}");
        let purged = self
            .ask(&request, HeaderMap::new(), body.to_string().into_bytes())
            .await;
        if let Err(error) = purged {
            tracing::debug!("{error}");
        }
    }

    /// A message of a work queue, for which it waits at most so long.
    pub(super) async fn pull(
        &self,
        stream: &str,
        consumer: &str,
        wait: Duration,
    ) -> Result<Option<Message>, EngineError> {
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| retry(stream, error))?;
        let expires = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let body = serde_json::json!({"batch": 1, "expires": expires});
        let request = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let body = body.to_string().into_bytes();
        let sent = self
            .client
            .publish_with_reply(request, inbox, body.into())
            .await;
        sent.map_err(|error| retry(stream, error))?;
        let message = match timeout(wait + ANSWER, self.denied.unless(answers.next())).await {
            Ok(Ok(Some(message))) => message,
            Ok(Err(denied)) => return Err(denied),
            Ok(Ok(None)) | Err(_) => return Err(retry(stream, "no answer to a request for a job")),
        };
        match status(&message) {
            None => Ok(Some(message)),
            // None came in time.
            Some(404 | 408) => Ok(None),
            Some(code) => {
                let why = message.description.unwrap_or_default();
                Err(retry(stream, format_args!("no job: {why} ({code})")))
            }
        }
    }

    /// What a consumer says of itself.
    pub(super) async fn consumer<T: DeserializeOwned>(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<T, EngineError> {
        let request = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
        let answer = self.ask(&request, HeaderMap::new(), vec![]).await?;
        serde_json::from_slice(&answer.payload)
            .map_err(|error| retry(&request, format_args!("an answer that is none ({error})")))
    }

    /// What the server says to a request about a stream; nothing where there is no such stream.
    pub(super) async fn about<T: DeserializeOwned>(
        &self,
        what: &str,
        stream: &str,
        body: serde_json::Value,
    ) -> Result<Option<T>, EngineError> {
        let request = format!("$JS.API.STREAM.{what}.{stream}");
        let body = body.to_string().into_bytes();
        let answer = self.ask(&request, HeaderMap::new(), body).await?;
        let none = |error| retry(&request, format_args!("an answer that is none ({error})"));
        let said: Answer = serde_json::from_slice(&answer.payload).map_err(none)?;
        match said.error {
            None => serde_json::from_slice(&answer.payload)
                .map(Some)
                .map_err(none),
            Some(refusal) if refusal.err_code == NO_STREAM => Ok(None),
            Some(Refusal {
                err_code,
                description,
            }) => Err(retry(
                &request,
                format_args!("{description} (code {err_code})"),
            )),
        }
    }

    /// Tells the queue what is to become of a job; waits for its answer where `is_sure`.
    pub(super) async fn acknowledge(&self, subject: &str, word: &str, is_sure: bool) {
        let body = word.as_bytes().to_vec();
        let told = match is_sure {
            true => self.ask(subject, HeaderMap::new(), body).await.map(drop),
            false => {
                let sent = self.client.publish(subject.to_owned(), body.into()).await;
                sent.map_err(|error| retry(subject, error))
            }
        };
        // The lease ends by itself.
        if let Err(error) = told {
            tracing::debug!("{error}");
        }
    }
}

/// The status of an answer that is no message of a stream.
fn status(message: &Message) -> Option<u16> {
    message
        .status
        .filter(|&status| status != StatusCode::OK)
        .map(|status| status.as_u16())
}

/// A stored message and its sequence.
fn entry(message: &Message) -> Option<(u64, Vec<u8>)> {
    let sequence = message
        .headers
        .as_ref()?
        .get("Nats-Sequence")?
        .as_str()
        .parse()
        .ok()?;
    Some((sequence, message.payload.to_vec()))
}
