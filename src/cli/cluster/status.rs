//! `nas-engine cluster status`: how far a run on a server is.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::connection;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cluster::RoleError;
use crate::cluster::key::{Cell, Fact};
use crate::cluster::message::{Ended, Replica, Round, Shard};
use crate::cluster::nats::Nats;
use crate::cluster::role;
use crate::cluster::scheme::Scheme;
use crate::report::table::{Align, aligned};
use crate::text;

/// Flags of `cluster status`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
}

/// What is on the server.
struct Found {
    shards: Vec<Option<Shard>>,
    replicas: Vec<Option<Replica>>,
    /// Children that have ended, by how.
    ended: BTreeMap<&'static str, u64>,
    /// The best reward and its sample.
    best: Option<(f64, u64)>,
    sum: f64,
    n_rewards: u64,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    super::runtime()?.block_on(async {
        let (engine, fact) = flags.connection.open(&[]).await?;
        let found = look(&engine, &fact.scheme).await?;
        let queue = engine.queue().await.ok();
        let mut json = to_json(&fact.scheme, &found, queue);
        if json["state"] == "running"
            && let Err(error) = engine.keeps().await
        {
            json["server"] = error.to_string().into();
        }
        output.result(&json, &words(&json))
    })
}

async fn look(engine: &Nats, scheme: &Scheme) -> Result<Found, RoleError> {
    let mut found = Found {
        shards: vec![],
        replicas: vec![],
        ended: BTreeMap::new(),
        best: None,
        sum: 0.0,
        n_rewards: 0,
    };
    for s in 0..scheme.shards {
        let (_, bytes) = role::cell(engine, Cell::Shard(s)).await?;
        found
            .shards
            .push(bytes.map(|bytes| Shard::from_bytes(&bytes)).transpose()?);
    }
    for r in 0..scheme.replicas {
        let (_, bytes) = role::cell(engine, Cell::Replica(r)).await?;
        found
            .replicas
            .push(bytes.map(|bytes| Replica::from_bytes(&bytes)).transpose()?);
    }
    for t in 0..scheme.rounds() {
        // Rounds are claimed in their order, but for those that replicas claim at the same time.
        let Some(bytes) = role::fact(engine, Fact::Round(t)).await? else {
            if t >= claimed(&found) + u64::from(scheme.replicas) {
                break;
            }
            continue;
        };
        Round::from_bytes(&bytes)?;
        for sample in scheme.samples_of(t) {
            if let Some(bytes) = role::fact(engine, Fact::Child(sample)).await? {
                found.count(&Ended::from_bytes(&bytes)?);
            }
        }
    }
    Ok(found)
}

/// Rounds that replicas have begun.
fn claimed(found: &Found) -> u64 {
    found
        .replicas
        .iter()
        .flatten()
        .map(|replica| replica.head.n)
        .sum()
}

impl Found {
    fn count(&mut self, ended: &Ended) {
        let child = &ended.child;
        *self.ended.entry(child.status.word()).or_default() += 1;
        let Some(reward) = child.reward else {
            return;
        };
        self.sum += reward;
        self.n_rewards += 1;
        if self.best.is_none_or(|(best, _)| reward > best) {
            self.best = Some((reward, child.sample));
        }
    }
}

fn to_json(scheme: &Scheme, found: &Found, queue: Option<(u64, u64)>) -> Value {
    let samples: u64 = found.ended.values().sum();
    let rounds = scheme.rounds();
    let shard = |(number, shard): (usize, &Option<Shard>)| {
        let head = shard
            .as_ref()
            .map(|shard| shard.head.clone())
            .unwrap_or_default();
        let lateness = head.lateness;
        let n = lateness.gradients.max(1) as f64;
        json!({
            "shard": number,
            "version": head.version,
            "gradients": lateness.gradients,
            "set_aside": lateness.set_aside,
            "staleness": {"mean": lateness.sum as f64 / n, "largest": lateness.largest},
        })
    };
    let replica = |(number, replica): (usize, &Option<Replica>)| {
        let head = replica
            .as_ref()
            .map(|replica| replica.head.clone())
            .unwrap_or_default();
        json!({"replica": number, "rounds": head.n, "open": head.open})
    };
    let is_done = found
        .shards
        .iter()
        .all(|shard| shard.as_ref().is_some_and(|shard| shard.rounds() >= rounds));
    let failures: BTreeMap<_, _> = found
        .ended
        .iter()
        .filter(|(how, _)| **how != "ok")
        .collect();
    json!({
        "state": if is_done { "finished" } else { "running" },
        "samples": samples,
        "total": scheme.samples,
        "mean_reward": (found.n_rewards > 0).then(|| found.sum / found.n_rewards as f64),
        "best": found.best.map(|(reward, sample)| json!({"sample": sample, "reward": reward})),
        "shards": found.shards.iter().enumerate().map(shard).collect::<Vec<_>>(),
        "replicas": found.replicas.iter().enumerate().map(replica).collect::<Vec<_>>(),
        "queue": queue.map(|(waiting, _)| waiting),
        "handed_out": queue.map(|(_, handed_out)| handed_out),
        "failures": failures,
    })
}

fn words(json: &Value) -> String {
    let count = |value: &Value| text::count(value.as_u64().unwrap_or(0));
    let mut words = format!(
        "{}: {} of {} children",
        json["state"].as_str().unwrap_or_default(),
        count(&json["samples"]),
        count(&json["total"])
    );
    if let Some(mean) = json["mean_reward"].as_f64() {
        words += &format!(", mean reward {mean:.4}");
    }
    if let Some(best) = json["best"].as_object() {
        let reward = best["reward"].as_f64().unwrap_or_default();
        words += &format!(", best {reward:.4} (sample {})", best["sample"]);
    }
    if let (Some(waiting), Some(handed_out)) = (json["queue"].as_u64(), json["handed_out"].as_u64())
    {
        words += &format!("\n{waiting} jobs wait, {handed_out} are handed out");
    }
    if let Some(trouble) = json["server"].as_str() {
        words += &format!("\nnothing goes on: {trouble}");
    }
    let titles = [
        "shard",
        "version",
        "gradients",
        "late by",
        "at most",
        "set aside",
    ];
    let header = titles.map(|title| (title, Align::Right));
    let mut rows = Vec::new();
    for shard in json["shards"].as_array().into_iter().flatten() {
        let staleness = &shard["staleness"];
        rows.push(vec![
            shard["shard"].to_string(),
            count(&shard["version"]),
            count(&shard["gradients"]),
            format!("{:.2}", staleness["mean"].as_f64().unwrap_or_default()),
            count(&staleness["largest"]),
            count(&shard["set_aside"]),
        ]);
    }
    words + "\n" + &aligned(&header, &rows)
}
