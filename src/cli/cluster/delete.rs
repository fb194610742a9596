//! `nas-engine cluster delete`: removes a run from its server, or what killed uploads left in one.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::connection::ConnectionFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::cluster::beat::Roll;
use crate::cluster::control::{self, Control};
use crate::cluster::engine::Engine;
use crate::cluster::key::Fact;
use crate::cluster::nats::{Extent, Nats};
use crate::cluster::role;
use crate::cluster::settings::RunFact;
use crate::text;

/// How long workers that are asked how they are have for their answer.
const ANSWERS: Duration = Duration::from_secs(2);

/// Replicas and appliers, who tell nobody how they are, look for the end of their run more often than that.
const ROLES: Duration = Duration::from_secs(6);

/// A worker that sends pieces sends one more often than that, or begins the whole again under another name.
const PIECES: Duration = Duration::from_secs(12);

/// Flags of `cluster delete`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Yes, remove it for ever
    #[arg(long)]
    yes: bool,
    /// Also while workers are at work on it
    #[arg(long)]
    force: bool,
    /// Leave the run: remove pieces of checkpoints alone that belong to none, as killed workers leave them
    #[arg(long, conflicts_with_all = ["yes", "force"])]
    leftovers: bool,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    super::runtime()?.block_on(async {
        // Whatever version began it: nothing of it is read that must be understood.
        let engine = flags.connection.engine().await?;
        match flags.leftovers {
            true => leftovers(&engine, flags, output).await,
            false => delete(&engine, flags, output).await,
        }
    })
}

async fn delete(engine: &Nats, flags: &Flags, output: &Output) -> Result<(), Failure> {
    let name = flags.connection.name();
    let usage = |message: String| Failure::new(Kind::Usage, message);
    let extent = role::insist(engine, || engine.extent()).await?;
    let run = role::fact(engine, Fact::Run).await?;
    let run = run.and_then(|bytes| RunFact::from_bytes(&bytes).ok());
    let samples = role::insist(engine, || engine.n_ended()).await?;
    let total = run.as_ref().map(|run| run.scheme.samples);
    let mut json = json!({
        "run": name.to_string(),
        "deleted": false,
        "samples": samples,
        "total": total,
        "streams": extent.streams,
        "messages": extent.messages,
        "bytes": extent.bytes,
    });
    let n_workers = n_workers(engine).await?;
    if n_workers > 0 && !flags.force {
        return Err(usage(format!(
            "run {name} is worked on by {}: give `nas-engine cluster drain {name}`, which has them keep what they have, \
             or --force with --yes; nothing is removed",
            many(n_workers, "worker")
        )));
    }
    let words = words(flags, (samples, total), extent);
    if !flags.yes {
        let failure = usage(format!(
            "nothing is removed: give --yes to remove run {name} for ever; `nas-engine cluster export {name} --out DIR` \
             keeps it as a directory"
        ));
        return Err(output.partial(&json, &words, failure)?);
    }
    end_roles(engine, extent, run.is_some()).await?;
    role::insist(engine, || engine.delete()).await?;
    json["deleted"] = true.into();
    output.result(&json, &format!("{words}it is removed\n"))
}

/// Has roles end by themselves: to one of a run that is gone the server seems to be away, and it would wait.
async fn end_roles(engine: &Nats, extent: Extent, is_begun: bool) -> Result<(), Failure> {
    // Without its cells nobody can be told; where its beginning was not finished nobody has begun.
    if !extent.is_whole() || !is_begun || role::fact(engine, Fact::End).await?.is_some() {
        return Ok(());
    }
    if !control::control(engine).await?.drained {
        control::say(engine, Control { drained: true }).await?;
        engine.sleep(ROLES).await;
    }
    Ok(())
}

fn words(flags: &Flags, (samples, total): (u64, Option<u64>), extent: Extent) -> String {
    let of = total.map_or(String::new(), |total| format!(" of {}", text::count(total)));
    format!(
        "run {} on {}: {}{of} samples, {}, {}\n",
        flags.connection.name(),
        text::shell_path(Path::new(flags.connection.server())),
        text::count(samples),
        many(extent.messages, "message"),
        text::bytes(extent.bytes),
    )
}

fn many(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", text::count(n))
}

/// Workers that say that they are there.
async fn n_workers(engine: &Nats) -> Result<u64, Failure> {
    let mut beats = engine.beats().await?;
    beats.ask().await;
    let mut roll = Roll::default();
    let until = engine.now() + ANSWERS;
    loop {
        let left = until.saturating_sub(engine.now());
        let Some((name, bytes)) = beats.next(left).await else {
            return Ok(roll.workers(engine.now()).count() as u64);
        };
        roll.hear(&name, &bytes, engine.now());
        if left.is_zero() {
            return Ok(roll.workers(engine.now()).count() as u64);
        }
    }
}

async fn leftovers(engine: &Nats, flags: &Flags, output: &Output) -> Result<(), Failure> {
    let mut loose = role::insist(engine, || engine.loose_pieces()).await?;
    if !loose.is_empty() {
        output.note(&format!(
            "pieces of {} that may be on their way: looking again in {} s",
            many(loose.len() as u64, "checkpoint"),
            PIECES.as_secs()
        ));
        engine.sleep(PIECES).await;
        let later = role::insist(engine, || engine.loose_pieces()).await?;
        // Those that nobody has added to.
        loose.retain(|subject, n| later.get(subject) == Some(n));
    }
    for subject in loose.keys() {
        role::insist(engine, || engine.drop_pieces(subject)).await?;
    }
    let (name, pieces) = (flags.connection.name(), loose.values().sum::<u64>());
    let json: Value = json!({"run": name.to_string(), "deleted": false, "pieces": pieces});
    let words = format!(
        "run {name}: {} that belonged to no checkpoint removed\n",
        many(pieces, "piece")
    );
    output.result(&json, &words)
}
