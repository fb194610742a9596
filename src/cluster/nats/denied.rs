//! Rights that are missing. The server says so beside the answers, never in their place: a call that is not
//! permitted would wait for ever.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use async_nats::{ClientError, ConnectErrorKind, Event, ServerError};
use futures_util::future::{Either, select};
use tokio::sync::watch;

use crate::cluster::engine::EngineError;

/// What a connection has been denied, in words: the first of it, for all later calls.
#[derive(Clone)]
pub(super) struct Denied(Arc<watch::Sender<Option<String>>>);

impl Denied {
    pub(super) fn new() -> Denied {
        Denied(Arc::new(watch::channel(None).0))
    }

    /// Takes note of an event of the connection.
    pub(super) fn hear(&self, event: &Event) {
        let words = match event {
            Event::ServerError(ServerError::Other(said)) => violation(said),
            // Where a connection is made anew; the first one fails by itself.
            Event::ClientError(ClientError::Other(said))
                if said.starts_with(&ConnectErrorKind::AuthorizationViolation.to_string()) =>
            {
                Some("the server does not take these credentials any more; give others".to_owned())
            }
            _ => None,
        };
        if let Some(words) = words {
            self.0.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(words);
                is_first
            });
        }
    }

    /// The answer of a call, unless something is denied before it comes.
    ///
    /// # Errors
    /// [`EngineError::Refused`], which names what is denied.
    pub(super) async fn unless<T>(&self, call: impl Future<Output = T>) -> Result<T, EngineError> {
        let mut heard = self.0.subscribe();
        let denied = pin!(async move {
            let words = heard.wait_for(Option::is_some).await;
            words.ok().and_then(|words| words.clone())
        });
        match select(denied, pin!(call)).await {
            Either::Left((words, _)) => Err(EngineError::Refused(words.unwrap_or_default())),
            Either::Right((answer, _)) => Ok(answer),
        }
    }
}

/// What a server's words deny; nothing where they are no matter of rights.
fn violation(said: &str) -> Option<String> {
    let (_, of) = said.split_once("Permissions Violation for ")?;
    let subject = of.split('"').nth(1).unwrap_or(of);
    let verb = match of.starts_with("Subscription") {
        true => "subscribe to",
        false => "publish to",
    };
    Some(format!(
        "these credentials may not {verb} `{subject}`; give those of this command's role (admin.nk for all but apply, \
         replica and worker), or add it to the role's permissions, as `nas-engine cluster server-config` prints them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_name_the_subject() {
        let words = violation("Permissions Violation for Publish to \"nas.a.job.0\"").unwrap();
        assert!(
            words.contains("may not publish to `nas.a.job.0`;"),
            "{words}"
        );
        let words = violation("Permissions Violation for Subscription to \"_INBOX_w.ab.*\"");
        assert!(
            words
                .unwrap()
                .contains("may not subscribe to `_INBOX_w.ab.*`;")
        );
        assert_eq!(violation("Stale Connection"), None);
    }
}
