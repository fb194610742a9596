//! `nas-engine cluster init`: a run on a server, for others to take part in.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::connection;
use super::pace::{self, Pace};
use super::place::PlaceFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::cli::search::{self, RunFlags};
use crate::cluster::key::Fact;
use crate::cluster::role;
use crate::cluster::settings::RunFact;
use crate::text;

/// Flags of `cluster init`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    run: RunFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let config = flags.run.resolve()?;
    let course = search::open_course(&config, output)?;
    let fact = flags.place.fact(&config, course.data_sha256());
    let learner = fact.learner()?; // its shards are not too many
    super::runtime()?.block_on(async {
        let connection = &flags.connection;
        flags.place.check(connection).await?;
        let name = connection.name();
        let engine = flags.place.make(connection, &learner).await?;
        let pace = Pace::measure(&engine, &fact.scheme).await;
        let pace = pace.map_err(|error| tracing::warn!("how fast the server writes is not known: {error}"));
        let pace = pace.ok();
        let existed = role::fact(&engine, Fact::Run).await?.is_some();
        let first = role::once(&engine, Fact::Run, fact.to_bytes()).await?;
        if first != fact.to_bytes() {
            let message = format!(
                "run {name} is there already, with other settings, data or shards; choose another name"
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let ended = match existed {
            true => role::insist(&engine, || engine.n_ended()).await?,
            false => 0,
        };
        let json = json!({
            "run": name.to_string(),
            "existed": existed,
            "ended": ended,
            "server": connection.server(),
            "samples": fact.scheme.samples,
            "shards": fact.scheme.shards,
            "replicas": fact.scheme.replicas,
            "synchronous": fact.scheme.is_synchronous(),
            "data_sha256": fact.data_sha256,
            "writes_per_second": pace.as_ref().map(|pace| pace.writes_per_second),
            "children_per_hour": pace.as_ref().map(|pace| pace.children_per_hour),
            "children_at_once": pace::at_once(&fact.scheme),
        });
        let there = match existed {
            true => format!(
                "run {name} is there already, with these settings: {} of {} samples have ended\n",
                text::count(ended),
                text::count(fact.scheme.samples)
            ),
            false => String::new(),
        };
        let words = there + &words(flags, &fact, config.data.path.is_some());
        let pace = pace.map_or(String::new(), |pace| pace.words());
        output.result(&json, &(words + &pace + &pace::scheme(&fact.scheme)))
    })
}

fn words(flags: &Flags, fact: &RunFact, has_data: bool) -> String {
    // Workers have the bundled sample.
    let data = if has_data { " --data DIR" } else { "" };
    let name = flags.connection.name();
    let server = text::shell_path(Path::new(flags.connection.server()));
    format!(
        "run {name}: {} samples, {} shards, {} replicas\nits roles, on any machines, each as often as you like:\n  \
         nas-engine cluster apply {name} --server {server}\n  nas-engine cluster replica {name} --server {server}\n  \
         nas-engine cluster worker {name} --server {server}{data}\n",
        text::count(fact.scheme.samples),
        fact.scheme.shards,
        fact.scheme.replicas,
    )
}
