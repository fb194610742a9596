//! `nas-engine cluster server-config`: a nats-server's configuration with a key for each role.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use nkeys::KeyPair;
use serde_json::json;

use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::within;
use crate::cli::output::Output;
use crate::cluster::nats::server_config::ServerConfig;
use crate::cluster::nats::{Role, RunName};

/// Flags of `cluster server-config`.
#[derive(Args)]
pub struct Flags {
    /// Names of the runs that the server is for
    #[arg(required = true)]
    names: Vec<RunName>,
    /// Folder for the roles' keys, ROLE.nk; those that are there are used
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Where the server listens
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:4222")]
    listen: String,
    /// Where its monitor listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8222")]
    monitor: String,
    /// Folder on the server's disk for all that it keeps
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nats")]
    store: String,
    /// The server's certificate, as the server will find it
    #[arg(long, value_name = "FILE", requires = "server_key")]
    server_cert: Option<String>,
    /// The key of the server's certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    server_key: Option<String>,
    /// Roles need certificates too, signed by this one's owner
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    client_ca: Option<String>,
    /// Print users and their rights alone, for a configuration that includes them
    #[arg(long)]
    accounts: bool,
    /// Workers at most
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=100_000), value_name = "N", default_value = "1000")]
    workers: i64,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let folder = &flags.keys;
    let cannot = |error: std::io::Error| {
        let message = format!(
            "--keys {}: {error}; give a folder to write to",
            folder.display()
        );
        Failure::new(Kind::Usage, message)
    };
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(cannot)?;
    let [admin, worker, replica, applier] = Role::ALL;
    let key = |name: &str| public_key(&folder.join(format!("{name}.nk")));
    let keys = [
        key(admin.word())?,
        key(worker.word())?,
        key(replica.word())?,
        key(applier.word())?,
    ];
    let config = ServerConfig {
        runs: flags.names.clone(),
        keys,
        system_key: key("system")?,
        listen: flags.listen.clone(),
        monitor: flags.monitor.clone(),
        store: flags.store.clone(),
        tls: flags.server_cert.clone().zip(flags.server_key.clone()),
        tls_ca: flags.client_ca.clone(),
        workers: u32::try_from(flags.workers).expect("the flag is within its range"),
    };
    let text = match flags.accounts {
        true => config.accounts(),
        false => config.text(),
    };
    let folder = folder.display();
    output.note(&format!(
        "keys are in {folder}: roles take theirs by --credentials {folder}/worker.nk, and so on; they are not shown"
    ));
    output.result(&json!({"config": text, "keys": folder.to_string()}), &text)
}

/// The public key that belongs to a seed in a file, which is made where there is none. Nobody else may read
/// it.
fn public_key(path: &Path) -> Result<String, Failure> {
    let wrong = |reason: String| {
        let message = format!(
            "{}: {reason}; give --keys another folder, or remove the file to have another key made",
            path.display()
        );
        Failure::new(Kind::Usage, message)
    };
    let seed = match fs::read_to_string(path) {
        Ok(seed) => seed,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let seed = KeyPair::new_user().seed();
            let seed = seed.map_err(|error| wrong(error.to_string()))? + "\n";
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let written = file.and_then(|mut file| {
                file.write_all(seed.as_bytes())?;
                file.sync_all()
            });
            written.map_err(|error| wrong(error.to_string()))?;
            seed
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    // Its words would show what the file holds.
    let pair = KeyPair::from_seed(seed.trim()).map_err(|_| wrong("no seed of an NKey".into()))?;
    Ok(pair.public_key())
}
