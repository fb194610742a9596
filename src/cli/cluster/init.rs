//! `nas-engine cluster init`: a run on a server, for others to take part in.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::connection;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::whole;
use crate::cli::output::Output;
use crate::cli::search::{self, RunFlags};
use crate::cli::stop;
use crate::cluster::key::Fact;
use crate::cluster::nats::{Nats, Room};
use crate::cluster::role;
use crate::cluster::scheme::{Scheme, Staleness};
use crate::cluster::settings::RunFact;
use crate::config::Config;
use crate::text;

/// Workers say four times in a lease that they are there.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

/// How long the server's monitor is waited for.
const MONITOR: Duration = Duration::from_secs(5);

/// Bytes that a message may have beside its value.
const HEADERS: usize = 8 << 10;

/// Flags of `cluster init`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Shards of the controller's parameters
    #[arg(long, allow_negative_numbers = true, value_parser = whole(1..=1_000_000), value_name = "S", default_value = "1")]
    shards: i64,
    /// Replicas of the controller, which draw at the same time
    #[arg(long, allow_negative_numbers = true, value_parser = whole(1..=100_000), value_name = "K", default_value = "1")]
    replicas: i64,
    /// Every replica waits for all others: the result is a function of the settings alone
    #[arg(long)]
    synchronous: bool,
    /// Gradients of an update: each replica then draws as many times fewer children at once
    #[arg(long, allow_negative_numbers = true, value_parser = whole(1..=1_000_000), value_name = "G", default_value = "1")]
    gradients: i64,
    /// What a late gradient counts: paper (in full), scale:T or bound:T
    #[arg(long, value_name = "POLICY", default_value = "paper")]
    staleness: Staleness,
    /// Workers at most
    #[arg(long, allow_negative_numbers = true, value_parser = whole(1..=100_000), value_name = "N", default_value = "1000")]
    workers: i64,
    /// Time after which the child of a worker that is silent is another's
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stop::parse)]
    lease: Duration,
    /// NATS servers that keep a copy of everything: 1 or 3
    #[arg(long, value_name = "R", default_value = "1", value_parser = ["1", "3"])]
    copies: String,
    /// Address of the server's monitor, to see that it brings everything to the disk
    #[arg(long, value_name = "URL")]
    monitor: Option<String>,
    /// The server's `sync_interval` is `always`: I have looked
    #[arg(long)]
    i_checked_sync: bool,
    #[command(flatten)]
    run: RunFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let config = flags.run.resolve()?;
    let course = search::open_course(&config, output)?;
    let scheme = scheme(flags, &config)?;
    let fact = RunFact::new(&config, course.data_sha256(), scheme, flags.lease.as_secs());
    let largest = fact.learner()?.largest_value(); // its shards are not too many
    check_sync(flags)?;
    if flags.lease < SHORTEST_LEASE {
        let message = "--lease is the time in which a worker must be heard of; give 2s or more";
        return Err(Failure::new(Kind::Usage, message));
    }
    let room = Room {
        replicas: flags.copies.parse().expect("1 or 3"),
        workers: number(flags.workers),
        lease: flags.lease,
    };
    super::runtime()?.block_on(async {
        let connection = &flags.connection;
        let name = connection.name().clone();
        let takes = Nats::max_payload(connection.server(), connection.options()?).await?;
        if largest + HEADERS > takes {
            return Err(too_large(largest, takes));
        }
        Nats::create(connection.server(), name.clone(), connection.options()?, room).await?;
        let options = connection.options()?;
        let engine = Nats::open(connection.server(), name.clone(), options, &[]).await?;
        let first = role::once(&engine, Fact::Run, fact.to_bytes()).await?;
        if first != fact.to_bytes() {
            let message = format!(
                "run {name} is there already, with other settings, data or shards; choose another name"
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let json = json!({
            "run": name.to_string(),
            "server": connection.server(),
            "samples": fact.scheme.samples,
            "shards": fact.scheme.shards,
            "replicas": fact.scheme.replicas,
            "synchronous": fact.scheme.is_synchronous(),
            "data_sha256": fact.data_sha256,
        });
        output.result(&json, &words(flags, &fact))
    })
}

/// A value of the run is more than the server takes.
fn too_large(largest: usize, takes: usize) -> Failure {
    let message = format!(
        "a shard or a replica of this run has {}, and the server takes {} (its `max_payload`): have \
         `max_payload: {}` in its configuration, or, where shards are the larger, give more --shards",
        text::bytes(largest as u64),
        text::bytes(takes as u64),
        largest + HEADERS,
    );
    Failure::new(Kind::Usage, message)
}

fn number(flag: i64) -> u32 {
    u32::try_from(flag).expect("the flag is within its range")
}

/// How the work is spread: an update is of as many samples as that of `search`.
fn scheme(flags: &Flags, config: &Config) -> Result<Scheme, Failure> {
    let (samples, gradients) = (config.search.children_per_update, flags.gradients as u64);
    if !samples.is_multiple_of(gradients) {
        let message = format!(
            "--gradients {gradients}: an update is of {samples} samples (search.children_per_update), which \
             cannot be shared so; give a number that divides them"
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(Scheme {
        shards: number(flags.shards),
        replicas: number(flags.replicas),
        children_per_round: samples / gradients,
        gradients_per_update: number(flags.gradients),
        staleness: flags.staleness,
        synchronous: flags.synchronous,
        samples: config.search.samples,
    })
}

fn words(flags: &Flags, fact: &RunFact) -> String {
    let name = flags.connection.name();
    let server = text::shell_path(Path::new(flags.connection.server()));
    format!(
        "run {name}: {} samples, {} shards, {} replicas\nits roles, on any machines, each as often as you like:\n  \
         nas-engine cluster apply {name} --server {server}\n  nas-engine cluster replica {name} --server {server}\n  \
         nas-engine cluster worker {name} --server {server} --data DIR\n",
        text::count(fact.scheme.samples),
        fact.scheme.shards,
        fact.scheme.replicas,
    )
}

/// That the server brings what it acknowledges to the disk, which a normal user's connection cannot see.
fn check_sync(flags: &Flags) -> Result<(), Failure> {
    const LINE: &str = "jetstream { sync_interval: always }";
    let refused = |message: String| Err(Failure::new(Kind::Usage, message));
    let Some(monitor) = &flags.monitor else {
        return match flags.i_checked_sync {
            true => Ok(()),
            false => refused(format!(
                "a server that does not sync loses what it has acknowledged in a power cut: have `{LINE}` in its \
                 configuration, then give --i-checked-sync, or --monitor http://HOST:8222 to have it looked at"
            )),
        };
    };
    let url = format!("{}/varz", monitor.trim_end_matches('/'));
    let asked = ureq::get(&url)
        .config()
        .timeout_global(Some(MONITOR))
        .build()
        .call()
        .map_err(|error| error.to_string())
        .and_then(|answer| {
            answer
                .into_body()
                .read_to_string()
                .map_err(|error| error.to_string())
        })
        .and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    match asked {
        Ok(state) if state["jetstream"]["config"]["sync_always"] == true => Ok(()),
        Ok(_) => refused(format!(
            "the server behind {monitor} does not bring what it acknowledges to the disk at once, and a power cut \
             would lose it: have `{LINE}` in its configuration, and restart it"
        )),
        Err(error) => refused(format!(
            "--monitor {monitor}: {error}; give the address of the server's monitor (`http: 8222` in its \
             configuration), or --i-checked-sync"
        )),
    }
}
