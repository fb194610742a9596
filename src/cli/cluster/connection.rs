//! Which run, on which server, by whose rights.

use std::fs;
use std::path::PathBuf;

use async_nats::ConnectOptions;
use clap::Args;

use crate::cli::failure::{Failure, Kind};
use crate::cluster::key::Fact;
use crate::cluster::nats::{Nats, RunName};
use crate::cluster::role;
use crate::cluster::settings::RunFact;

/// Flags of every command.
#[derive(Args)]
pub struct ConnectionFlags {
    /// Name of the run: letters, digits, `-` and `_`
    name: RunName,
    /// Address of the NATS server
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    server: String,
    /// File with the rights: a user's .creds file, or the seed of an NKey
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl ConnectionFlags {
    /// As if they were typed.
    pub fn new(name: RunName, server: &str, credentials: Option<PathBuf>) -> ConnectionFlags {
        ConnectionFlags {
            name,
            server: server.to_owned(),
            credentials,
        }
    }

    /// The run's name.
    pub fn name(&self) -> &RunName {
        &self.name
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How to connect.
    pub fn options(&self) -> Result<ConnectOptions, Failure> {
        let options = ConnectOptions::new().name("nas-engine");
        let Some(path) = &self.credentials else {
            return Ok(options);
        };
        let wrong = |reason: String| {
            let message = format!(
                "--credentials {}: {reason}; give a user's .creds file, or a file with the seed of an NKey",
                path.display()
            );
            Failure::new(Kind::Usage, message)
        };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        // A seed is a word of its own.
        match text.trim() {
            seed if seed.starts_with('S') && !seed.contains(char::is_whitespace) => {
                Ok(options.nkey(seed.to_owned()))
            }
            creds => options
                .credentials(creds)
                .map_err(|error| wrong(error.to_string())),
        }
    }

    /// The engine, and what the run is.
    pub async fn open(&self, hints: &[&str]) -> Result<(Nats, RunFact), Failure> {
        let engine = Nats::open(&self.server, self.name.clone(), self.options()?, hints).await?;
        let Some(bytes) = role::fact(&engine, Fact::Run).await? else {
            let message = format!(
                "run {}: its beginning was not finished; give `cluster init` again",
                self.name
            );
            return Err(Failure::new(Kind::Usage, message));
        };
        Ok((engine, RunFact::from_bytes(&bytes)?))
    }
}
