//! Which run, on which server, by whose rights.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;
use clap::Args;

use crate::cli::failure::{Failure, Kind};
use crate::cluster::key::Fact;
use crate::cluster::nats::{Nats, Role, RunName};
use crate::cluster::role;
use crate::cluster::settings::RunFact;

/// Flags of every command.
#[derive(Args)]
pub struct ConnectionFlags {
    /// Name of the run: letters, digits, `-` and `_`
    name: RunName,
    /// Address of the NATS server, or of some of those that are one, with commas
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    server: String,
    #[command(flatten)]
    access: AccessFlags,
}

/// By whose rights, and whom to trust.
#[derive(Args, Clone)]
pub struct AccessFlags {
    /// File with the rights: a user's .creds file, or the seed of an NKey
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Certificate by whose owner the server's is signed; those that the system trusts by default
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to the server
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// That a file has what its flag asks for.
fn check_pem(flag: &str, path: &Path, what: &str) -> Result<PathBuf, Failure> {
    let wrong = |reason: String| {
        let message = format!("{flag} {}: {reason}; give a PEM file", path.display());
        Failure::new(Kind::Usage, message)
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let is_there = |line: &str| line.starts_with("-----BEGIN ") && line.contains(what);
    match text.lines().any(is_there) {
        true => Ok(path.to_owned()),
        false => Err(wrong(format!("there is no {} in it", what.to_lowercase()))),
    }
}

impl ConnectionFlags {
    /// As if they were typed.
    pub fn new(name: RunName, server: &str, access: AccessFlags) -> ConnectionFlags {
        ConnectionFlags {
            name,
            server: server.to_owned(),
            access,
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

    /// How to connect, as one who may do all.
    pub fn options(&self) -> Result<ConnectOptions, Failure> {
        self.options_as(Role::Admin)
    }

    /// How a role connects.
    fn options_as(&self, role: Role) -> Result<ConnectOptions, Failure> {
        self.access.options(role)
    }

    /// The engine as a role, and what the run is: the role's rights have been tried.
    pub async fn open_as(&self, role: Role) -> Result<(Nats, RunFact), Failure> {
        let options = self.options_as(role)?;
        let engine = Nats::open(&self.server, self.name.clone(), options, role.hints()).await?;
        engine.probe(role).await?;
        let fact = self.fact(&engine).await?;
        Ok((engine, fact))
    }

    /// The engine, and what the run is.
    pub async fn open(&self, hints: &[&str]) -> Result<(Nats, RunFact), Failure> {
        let engine = Nats::open(&self.server, self.name.clone(), self.options()?, hints).await?;
        let fact = self.fact(&engine).await?;
        Ok((engine, fact))
    }

    /// The engine, of a run that may have begun or not.
    pub async fn engine(&self) -> Result<Nats, Failure> {
        Ok(Nats::open(&self.server, self.name.clone(), self.options()?, &[]).await?)
    }

    async fn fact(&self, engine: &Nats) -> Result<RunFact, Failure> {
        let Some(bytes) = role::fact(engine, Fact::Run).await? else {
            let message = format!(
                "run {}: its beginning was not finished; give `cluster init` again",
                self.name
            );
            return Err(Failure::new(Kind::Usage, message));
        };
        Ok(RunFact::from_bytes(&bytes)?)
    }
}

impl AccessFlags {
    /// As they were typed, for another process of this program.
    pub fn arguments(&self) -> Vec<OsString> {
        let files = [
            ("--credentials", &self.credentials),
            ("--tls-ca", &self.tls_ca),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
        ];
        let given = files
            .into_iter()
            .filter_map(|(flag, path)| Some([flag.into(), path.clone()?.into()]));
        given.flatten().collect()
    }

    /// How a role connects.
    fn options(&self, role: Role) -> Result<ConnectOptions, Failure> {
        let options = self.tls(ConnectOptions::new().name("nas-engine"))?;
        let options = options.custom_inbox_prefix(role.inbox());
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
                // Its own words would show what the file holds.
                match nkeys::KeyPair::from_seed(seed) {
                    Ok(_) => Ok(options.nkey(seed.to_owned())),
                    Err(_) => Err(wrong("its seed is damaged".to_owned())),
                }
            }
            // What reads it wants a line's end after the last line too.
            _ => options
                .credentials(&(text + "\n"))
                .map_err(|error| wrong(error.to_string())),
        }
    }

    fn tls(&self, mut options: ConnectOptions) -> Result<ConnectOptions, Failure> {
        const CERTIFICATE: &str = "CERTIFICATE";
        if let Some(ca) = &self.tls_ca {
            options = options.add_root_certificates(check_pem("--tls-ca", ca, CERTIFICATE)?);
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let cert = check_pem("--tls-cert", cert, CERTIFICATE)?;
            let key = check_pem("--tls-key", key, "PRIVATE KEY")?;
            options = options.add_client_certificate(cert, key);
        }
        Ok(options)
    }
}
