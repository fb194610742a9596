//! Where a new run is kept: how much room it has on its server, and that this is a safe place.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::connection::ConnectionFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::within;
use crate::cli::stop;
use crate::cluster::learner::Learner;
use crate::cluster::nats::{Nats, Room};
use crate::cluster::settings::RunFact;
use crate::config::Config;
use crate::text;

/// Workers say four times in a lease that they are there.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

/// How long the server's monitor is waited for.
const MONITOR: Duration = Duration::from_secs(5);

/// Bytes that a message may have beside its value.
const HEADERS: usize = 8 << 10;

/// Flags of the commands that begin a run.
#[derive(Args)]
pub struct PlaceFlags {
    /// Workers at most
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=100_000), value_name = "N", default_value = "1000")]
    workers: i64,
    /// Time after which the child of a worker that is silent is another's
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stop::parse)]
    lease: Duration,
    /// Time that a child may be trained for, all attempts together: one that takes longer is ended
    #[arg(long, value_name = "TIME", value_parser = stop::parse)]
    child_time_limit: Option<Duration>,
    /// NATS servers that keep a copy of everything: 1 or 3
    #[arg(long, value_name = "R", default_value = "1", value_parser = ["1", "3"])]
    copies: String,
    /// Address of the server's monitor, to see that it brings everything to the disk
    #[arg(long, value_name = "URL")]
    monitor: Option<String>,
    /// The server's `sync_interval` is `always`: I have looked
    #[arg(long)]
    i_checked_sync: bool,
}

impl PlaceFlags {
    /// What a run is that begins here.
    pub fn fact(&self, config: &Config, data_sha256: String) -> RunFact {
        RunFact {
            child_seconds: self.child_time_limit.map(|limit| limit.as_secs()),
            ..RunFact::new(config, data_sha256, self.lease.as_secs())
        }
    }

    /// That the place is safe, before anything is made there.
    pub async fn check(&self, connection: &ConnectionFlags) -> Result<(), Failure> {
        if let Err(failure) = check_sync(self) {
            // A monitor that is away with its server is no fault of what was typed.
            if self.monitor.is_some() {
                Nats::max_payload(connection.server(), connection.options()?).await?;
            }
            return Err(failure);
        }
        if self.lease < SHORTEST_LEASE {
            let seconds = self.lease.as_secs_f64();
            let message =
                format!("--lease {seconds}s: a worker must be heard of within it; give 2s or more");
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(())
    }

    /// Makes the room for a run, where it is not there yet.
    pub async fn make(
        &self,
        connection: &ConnectionFlags,
        learner: &Learner,
    ) -> Result<Nats, Failure> {
        let largest = learner.largest_value();
        let takes = Nats::max_payload(connection.server(), connection.options()?).await?;
        if largest + HEADERS > takes {
            return Err(too_large(largest, takes));
        }
        let room = Room {
            replicas: self.copies.parse().expect("1 or 3"),
            workers: u32::try_from(self.workers).expect("the flag is within its range"),
            lease: self.lease,
        };
        let (server, name) = (connection.server(), connection.name());
        Nats::create(server, name.clone(), connection.options()?, room).await?;
        Ok(Nats::open(server, name.clone(), connection.options()?, &[]).await?)
    }
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

/// That the server brings what it acknowledges to the disk, which a normal user's connection cannot see.
fn check_sync(flags: &PlaceFlags) -> Result<(), Failure> {
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
