//! `nas-engine cluster`: a search on many machines, by roles that share a NATS server.

mod child;
mod connection;
mod delete;
mod drain;
mod end;
mod export;
mod folder;
mod init;
mod pace;
mod place;
mod roles;
mod server_config;
mod status;
mod worker;

pub(super) use connection::{AccessFlags, ConnectionFlags};
pub(super) use end::WITH_INPUT;
pub(super) use folder::Folder;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::failure::{Failure, Kind};
use super::output::Output;
use super::search;
use crate::cluster::RoleError;
use crate::cluster::control::End;
use crate::cluster::engine::EngineError;
use crate::cluster::nats::{OpenError, RunName};
use crate::cluster::settings::{RunFact, SettingsError};
use crate::config::Config;

/// The commands.
#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Command {
    /// Begin a run on a server, for others to take part in
    Init(init::Flags),
    /// Print a NATS server's configuration, with a key and the rights of each role
    ServerConfig(server_config::Flags),
    /// Train children of a run, until it is done
    Worker(worker::Flags),
    /// Be replicas of a run's controller: draw architectures, learn from their rewards
    Replica(roles::ReplicaFlags),
    /// Keep the parameters of a run's controller
    Apply(roles::ApplyFlags),
    /// Have all roles of a run end, or let it go on
    Drain(drain::Flags),
    /// Remove a run from its server, for ever
    Delete(delete::Flags),
    /// Show how far a run is
    Status(status::Flags),
    /// Write a run, under way or done, as a directory that `status`, `audit` and `search` read
    Export(export::ExportFlags),
    /// Begin a run on a server where a directory's run ends
    Import(export::ImportFlags),
    /// Train one child, for the worker that begins this
    #[command(hide = true)]
    Child(child::Flags),
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Init(flags) => init::run(flags, output),
        Command::ServerConfig(flags) => server_config::run(flags, output),
        Command::Worker(flags) => worker::run(flags, output),
        Command::Replica(flags) => roles::replica(flags, output),
        Command::Apply(flags) => roles::apply(flags, output),
        Command::Drain(flags) => drain::run(flags, output),
        Command::Delete(flags) => delete::run(flags, output),
        Command::Status(flags) => status::run(flags, output),
        Command::Export(flags) => export::export(flags, output),
        Command::Import(flags) => export::import(flags, output),
        Command::Child(flags) => child::run(flags, output),
    }
}

/// What roles run on.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let built = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    built.map_err(|error| Failure::new(Kind::Run, format!("cannot start threads: {error}")))
}

/// Says that a role has come to its end because the run is done, or drained.
fn ended(name: &RunName, end: End, output: &Output) -> Result<(), Failure> {
    let json = json!({
        "run": name.to_string(),
        "done": end == End::Own,
        "drained": end == End::Drained,
    });
    let words = match end {
        End::Own => format!("run {name}: done\n"),
        End::Drained => {
            format!("run {name} is drained; `cluster drain {name} --undo` lets it go on\n")
        }
    };
    output.result(&json, &words)
}

/// Opens the data of these settings: they are the run's.
fn open_same_data(fact: &RunFact, config: &Config, output: &Output) -> Result<(), Failure> {
    let course = search::open_course(config, output)?;
    if course.data_sha256() == fact.data_sha256 {
        return Ok(());
    }
    let message = format!(
        "{} has the sha256 {}, and the run's data {}; give --data the same data",
        course.describe_data(),
        course.data_sha256(),
        fact.data_sha256
    );
    Err(Failure::new(Kind::Data, message))
}

/// Waits until a flag is set.
async fn set(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let kind = match error {
            OpenError::Connect { .. } => Kind::Run,
            _ => Kind::Usage,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<RoleError> for Failure {
    fn from(error: RoleError) -> Failure {
        let kind = match &error {
            RoleError::Engine(EngineError::Refused(_)) => Kind::Usage,
            RoleError::Engine(_) => Kind::Run,
            RoleError::Device(_) => Kind::Device,
            RoleError::NoResult { .. } => Kind::Stopped,
            _ => Kind::Usage,
        };
        // On a server a result is for ever: the same command would stop again.
        if let RoleError::NoResult { .. } = error {
            let message = format!("{error}; begin another run, or one without --synchronous");
            return Failure::new(kind, message);
        }
        Failure::from_error(kind, &error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        RoleError::Engine(error).into()
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        Failure::from_error(Kind::Usage, &error)
    }
}
