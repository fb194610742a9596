//! Connecting to a server, and what may be wrong with it.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, rustls};

use super::OpenError;
use super::denied::Denied;

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(5);

/// How often the server is asked whether it is there: one that is frozen counts as connected until the third
/// answer is missing.
const PING: Duration = Duration::from_secs(10);

pub(super) async fn connect(
    server: &str,
    options: ConnectOptions,
) -> Result<(Client, Denied), OpenError> {
    let denied = Denied::new();
    let hears = denied.clone();
    let away = Away::new(server);
    let options = options
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .event_callback(move |event| {
            hears.hear(&event);
            away.hear(&event);
            async {}
        });
    let addresses: Vec<&str> = server.split(',').map(str::trim).collect();
    let client = options.connect(addresses).await;
    let client = client.map_err(|error| explain(server.to_owned(), &error))?;
    Ok((client, denied))
}

/// Says once that a server is away, and once that it is back.
struct Away {
    server: String,
    is_away: AtomicBool,
}

impl Away {
    fn new(server: &str) -> Away {
        Away {
            server: server.to_owned(),
            is_away: AtomicBool::new(false),
        }
    }

    fn hear(&self, event: &Event) {
        let server = &self.server;
        match event {
            Event::Disconnected if !self.is_away.swap(true, Ordering::Relaxed) => {
                tracing::warn!("{server} does not answer; trying again until it does");
            }
            Event::Connected if self.is_away.swap(false, Ordering::Relaxed) => {
                tracing::warn!("{server} answers again");
            }
            _ => {}
        }
    }
}

fn explain(server: String, error: &ConnectError) -> OpenError {
    let reason = error.to_string();
    match error.kind() {
        ConnectErrorKind::ServerParse => OpenError::Address { server, reason },
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            OpenError::Credentials { server, reason }
        }
        _ if reason.to_lowercase().contains("authentication expired") => {
            OpenError::Credentials { server, reason }
        }
        ConnectErrorKind::Tls => OpenError::Tls { server, reason },
        _ if is_tls(error) => OpenError::Tls { server, reason },
        _ => OpenError::Connect { server, reason },
    }
}

/// Whether the handshake failed: it comes as an error of reading or writing.
fn is_tls(error: &ConnectError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
