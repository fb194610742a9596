//! `nas-engine cluster worker`: trains children of a run, in processes beside it; on GPUs one on each at a time.

mod memory;
mod places;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;

use super::connection;
use super::end::EndFlags;
use super::folder::Folder;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::{DeviceFlags, Settings, within};
use crate::cli::output::Output;
use crate::cli::search;
use crate::cluster::control::End;
use crate::cluster::engine::Engine;
use crate::cluster::key::Fact;
use crate::cluster::nats::{Nats, Role};
use crate::cluster::process::Processes;
use crate::cluster::role;
use crate::cluster::settings::RunFact;
use crate::cluster::worker::{CRASH_NODES, Worker};
use crate::config::{Config, FILE_NAME};

/// How often is looked whether the run is done.
const LOOK: Duration = Duration::from_secs(5);

/// How long a child that was told to stop may take for the step under way and its checkpoint.
const GRACE: Duration = Duration::from_secs(60);

/// Bytes of a machine's name at most: as many as those of hosts may have.
const LONGEST_NODE: usize = 255;

/// Flags of `cluster worker`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Where the run's data lie on this machine; the bundled sample by default
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What this machine is called; its host name by default. A child that is lost on three is at fault
    #[arg(long, value_name = "NAME", value_parser = node)]
    node: Option<String>,
    /// Children at a time on a processor, whose threads they share
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=4096), value_name = "N", default_value = "1")]
    children: i64,
    /// Memory that a child may take, such as 4G (units K, M, G, T of 1,024): one that takes more is ended
    #[arg(long, value_name = "BYTES", value_parser = memory::parse)]
    child_memory: Option<u64>,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    end: EndFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let stop = flags.end.flag()?;
    let cannot = |error: std::io::Error| {
        Failure::new(
            Kind::Usage,
            format!("no temporary folder for children: {error}; set TMPDIR"),
        )
    };
    let folder = Folder::new(&std::env::temp_dir(), "nas-engine-worker-", "").map_err(cannot)?;
    super::runtime()?.block_on(async {
        let (engine, fact) = flags.connection.open_as(Role::Worker).await?;
        let config = settings(&fact, flags)?;
        let model = check(&fact, &config, output)?;
        let first = role::once(&engine, Fact::Device, model.clone().into_bytes()).await?;
        if first != model.as_bytes() {
            let message = format!(
                "this machine trains on {model}, and the run on {}: another model gives other bits; use the same \
                 device everywhere, such as --device cpu",
                String::from_utf8_lossy(&first)
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let children = u32::try_from(flags.children).expect("the flag is within its range");
        let places = places::of(&config, &model, children)?;
        let memory = Arc::new(memory::limit(flags.child_memory, !places[0].is_gpu, output));
        let learner = Arc::new(fact.learner()?);
        let name = flags.connection.name();
        output.note(&format!("worker on {}, waiting for children of {name}", places::describe(&places)));
        let mut working = JoinSet::new();
        for (number, place) in places.into_iter().enumerate() {
            let folder = folder.path().join(number.to_string());
            std::fs::create_dir(&folder)
                .and_then(|()| std::fs::write(folder.join(FILE_NAME), place.config.to_toml()))
                .map_err(cannot)?;
            let program = std::env::current_exe().map_err(cannot)?;
            let arguments = ["cluster", "child"].map(OsString::from).to_vec();
            let kind = config.space.kind();
            let trainer = Processes::new((program, arguments), folder, kind, Arc::clone(&memory));
            let worker = Worker {
                node: flags.node.clone().unwrap_or_else(host_name),
                device: place.device,
                keep: Duration::from_secs(fact.lease_seconds) / 4,
                crash_nodes: CRASH_NODES,
                child_time: fact.child_seconds.map(Duration::from_secs),
                grace: GRACE,
            };
            let (engine, learner) = (engine.handle().await, Arc::clone(&learner));
            let stop = Arc::clone(&stop);
            working.spawn(async move {
                worker.run((&engine, &learner), &trainer, &stop).await
            });
        }
        let end = tokio::select! {
            ended = places::all(working, &stop) => ended?,
            ended = done(&engine) => {
                ended?;
                return super::ended(name, End::Own, output);
            }
        };
        if end == End::Drained {
            return super::ended(name, end, output);
        }
        let message = format!("run {name} goes on without this worker; the same command joins it again");
        Err(flags.end.stopped(message))
    })
}

/// The run's settings, with what is of this machine.
fn settings(fact: &RunFact, flags: &Flags) -> Result<Config, Failure> {
    let mut config = fact.config()?;
    let mut here = Settings::default();
    here.data_path(flags.data.as_deref())?;
    here.device(&flags.device);
    let path = std::path::Path::new("the run's settings");
    config.device.threads = None;
    let config = Config::resolve_text(path, config.to_toml(), &here.0, "sample")?;
    Ok(config)
}

/// That this machine has the run's data; the model of what trains here.
fn check(fact: &RunFact, config: &Config, output: &Output) -> Result<String, Failure> {
    super::open_same_data(fact, config, output)?;
    let devices = search::open_devices(config, output)?;
    Ok(devices.models()?.join(", "))
}

/// Waits until nothing is left to train.
async fn done(engine: &Nats) -> Result<(), Failure> {
    let engine = engine.handle().await;
    while role::fact(&engine, Fact::End).await?.is_none() {
        engine.changed(LOOK).await;
    }
    Ok(())
}

/// The name of a machine, which is in all that a worker says.
fn node(name: &str) -> Result<String, String> {
    match name.trim().is_empty() || name.len() > LONGEST_NODE {
        true => Err(format!(
            "give a name of 1 to {LONGEST_NODE} bytes; without the flag it is the host's"
        )),
        false => Ok(name.to_owned()),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}
