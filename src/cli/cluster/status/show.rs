//! What is shown of a run on a server: as JSON, and in words made of that.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::found::{Best, Found};
use crate::cluster::beat::{Beat, Roll};
use crate::cluster::message::{ReplicaHead, ShardHead};
use crate::cluster::nats::Queue;
use crate::cluster::scheme::Scheme;
use crate::report::table::{Align, aligned};
use crate::text;
use crate::train::Counted;

/// Workers that are shown one by one in words, at most.
const MOST_SHOWN: usize = 40;

/// Shards that are shown one by one in words, at most.
const MOST_SHARDS: usize = 20;

/// Letters of a worker's name in words: enough to tell thousands apart.
const SHORT_NAME: usize = 8;

/// As JSON. `now` is the time by which workers were heard.
pub fn to_json(
    scheme: &Scheme,
    found: &Found,
    queue: Option<Queue>,
    (roll, now): (&Roll, Duration),
) -> Value {
    let rounds = scheme.rounds();
    let is_done = found
        .shards
        .iter()
        .all(|shard| shard.marks.values().sum::<u64>() >= rounds);
    let failures: BTreeMap<_, _> = found
        .ended
        .iter()
        .filter(|(how, _)| **how != "ok")
        .collect();
    let workers: Vec<Value> = roll.workers(now).map(worker).collect();
    let with_workers = roll.workers(now).filter(|(beat, _)| beat.sample.is_some());
    let with_workers = with_workers.count();
    json!({
        "state": match (is_done, found.drained) {
            (true, _) => "finished",
            (false, true) => "drained",
            (false, false) => "running",
        },
        "samples": found.samples(),
        "total": scheme.samples,
        "mean_reward": found.mean_reward(),
        "best": found.best.as_ref().map(best),
        "children_per_hour": found.children_per_hour(),
        "shards": found.shards.iter().enumerate().map(shard).collect::<Vec<_>>(),
        "replicas": found.replicas.iter().enumerate().map(replica).collect::<Vec<_>>(),
        "workers": workers,
        "heartbeats_unread": roll.unread.0,
        "idle": idle(roll, now),
        "queue": queue.map(|queue| queue.waiting),
        "handed_out": queue.map(|queue| queue.handed_out),
        "with_workers": with_workers,
        "places": queue.and_then(|queue| queue.places),
        "failures": failures,
    })
}

fn best(best: &Best) -> Value {
    let mut json = json!({"sample": best.sample, "reward": best.reward});
    match best.score {
        Some(Counted::Accuracy(accuracy)) => json["accuracy"] = accuracy.into(),
        Some(Counted::Perplexity(perplexity)) => json["perplexity"] = perplexity.into(),
        None => {}
    }
    json
}

fn shard((number, head): (usize, &ShardHead)) -> Value {
    let lateness = head.lateness;
    let n = lateness.gradients.max(1) as f64;
    json!({
        "shard": number,
        "version": head.version,
        "gradients": lateness.gradients,
        "set_aside": lateness.set_aside,
        "staleness": {"mean": lateness.sum as f64 / n, "largest": lateness.largest},
    })
}

fn replica((number, head): (usize, &ReplicaHead)) -> Value {
    json!({"replica": number, "rounds": head.n, "open": head.open})
}

fn worker((beat, age): (&Beat, Duration)) -> Value {
    json!({
        "worker": Beat::name(beat.worker),
        "node": beat.node,
        "device": beat.device,
        "state": beat.state.word(),
        "sample": beat.sample,
        "epoch": beat.epoch,
        "seconds_since_step": beat.seconds_since_step,
        "seconds_since_heartbeat": age.as_secs_f64(),
    })
}

/// Shares of the time of all workers that are there; nothing without any.
fn idle(roll: &Roll, now: Duration) -> Option<Value> {
    let (mut all, mut queue_empty, mut job_queued) = (0.0, 0.0, 0.0);
    for (beat, _) in roll.workers(now) {
        all += beat.seconds;
        queue_empty += beat.idle.queue_empty;
        job_queued += beat.idle.job_queued;
    }
    (all > 0.0).then(|| json!({"queue_empty": queue_empty / all, "job_queued": job_queued / all}))
}

/// In words.
pub fn words(json: &Value, roll: &Roll) -> String {
    let mut words = format!(
        "{}: {} of {} children",
        json["state"].as_str().unwrap_or_default(),
        count(&json["samples"]),
        count(&json["total"])
    );
    if let Some(pace) = json["children_per_hour"].as_f64() {
        words += &format!(", {pace:.0} an hour");
    }
    if let Some(mean) = json["mean_reward"].as_f64() {
        words += &format!(", mean reward {mean:.4}");
    }
    if let Some(best) = json["best"].as_object() {
        let number = |name: &str| best.get(name).and_then(Value::as_f64);
        let score = number("accuracy").map(Counted::Accuracy);
        let score = score.or(number("perplexity").map(Counted::Perplexity));
        let reward = number("reward").unwrap_or_default();
        let (what, shown) = score.map_or(("reward", format!("{reward:.4}")), |score| score.shown());
        words += &format!(", best {what} {shown} (sample {})", best["sample"]);
    }
    let failures = json["failures"].as_object().into_iter().flatten();
    let failures: Vec<_> = failures
        .map(|(how, n)| format!("{} {how}", count(n)))
        .collect();
    if !failures.is_empty() {
        words += &format!("\nfailures: {}", failures.join(", "));
    }
    words += &queue(json);
    if let Some(trouble) = json["server"].as_str() {
        words += &format!("\nnothing goes on: {}", text::one_line(trouble));
    }
    words += "\n";
    words += &shards(json);
    words += &workers(json);
    if roll.unread.0 > 0 {
        let (n, why) = (text::count(roll.unread.0), text::one_line(&roll.unread.1));
        words += &format!("{n} heartbeats cannot be read, the last one because {why}\n");
    }
    words
}

fn count(value: &Value) -> String {
    text::count(value.as_u64().unwrap_or(0))
}

fn queue(json: &Value) -> String {
    let number = |key: &str| json[key].as_u64();
    let (Some(waiting), Some(handed_out)) = (number("queue"), number("handed_out")) else {
        return String::new();
    };
    let with_workers = number("with_workers").unwrap_or_default();
    let mut words =
        format!("\njobs: {waiting} wait, {with_workers} with workers that are heard of");
    let others = handed_out.saturating_sub(with_workers);
    if others > 0 {
        words += &format!(", {others} given back or with workers that are not");
    }
    if let Some(places) = number("places").filter(|places| handed_out >= *places) {
        words += &format!(
            "; these are all {places} places of the queue: no job is handed out until one is free"
        );
    }
    words
}

fn shards(json: &Value) -> String {
    let all: Vec<&Value> = json["shards"].as_array().into_iter().flatten().collect();
    if all.len() > MOST_SHARDS {
        return many_shards(&all);
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
    for shard in all {
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
    aligned(&header, &rows)
}

/// Those of many shards together.
fn many_shards(shards: &[&Value]) -> String {
    let numbers = |key: &str| -> Vec<u64> {
        let numbers = shards.iter().map(|shard| shard[key].as_u64());
        numbers.map(Option::unwrap_or_default).collect()
    };
    let (versions, gradients) = (numbers("version"), numbers("gradients"));
    let range = |numbers: &[u64]| {
        let least = numbers.iter().min().copied().unwrap_or(0);
        let most = numbers.iter().max().copied().unwrap_or(0);
        match least == most {
            true => text::count(least),
            false => format!("{} to {}", text::count(least), text::count(most)),
        }
    };
    let staleness = |key: &str| -> Vec<f64> {
        let values = shards.iter().map(|shard| shard["staleness"][key].as_f64());
        values.map(Option::unwrap_or_default).collect()
    };
    let n = gradients.iter().sum::<u64>().max(1) as f64;
    let late = staleness("mean").into_iter().zip(&gradients);
    let late = late.map(|(mean, n)| mean * *n as f64).sum::<f64>() / n;
    format!(
        "shards: {}, each at version {} with {} gradients; late by {late:.2}, {} at most; {} set aside in all\n",
        text::count(shards.len() as u64),
        range(&versions),
        range(&gradients),
        text::count(staleness("largest").into_iter().fold(0.0, f64::max) as u64),
        text::count(numbers("set_aside").iter().sum()),
    )
}

/// How many there are and what they are at; then one by one those that have been at the same for longest.
fn workers(json: &Value) -> String {
    let mut workers: Vec<&Value> = json["workers"].as_array().into_iter().flatten().collect();
    if workers.is_empty() {
        return match json["state"].as_str() {
            Some("finished" | "drained") => String::new(),
            _ => "no worker is heard of\n".to_owned(),
        };
    }
    let seconds = |worker: &Value, key: &str| worker[key].as_f64().unwrap_or_default();
    let n_training = workers
        .iter()
        .filter(|worker| !worker["sample"].is_null())
        .count();
    let mut words = format!(
        "workers: {}, of which {} train",
        text::count(workers.len() as u64),
        text::count(n_training as u64)
    );
    let idle = &json["idle"];
    if let (Some(empty), Some(queued)) = (idle["queue_empty"].as_f64(), idle["job_queued"].as_f64())
    {
        words += &format!(
            "; idle {:.1} % of their time with an empty queue, {:.1} % with a job queued",
            100.0 * empty,
            100.0 * queued
        );
    }
    words += "\n";
    let since = |worker: &Value| seconds(worker, "seconds_since_step");
    workers.sort_by(|a, b| since(b).total_cmp(&since(a)));
    let left_out = workers.len().saturating_sub(MOST_SHOWN);
    let rows: Vec<Vec<String>> = workers
        .iter()
        .take(MOST_SHOWN)
        .map(|worker| {
            let word = |key: &str| worker[key].as_str().unwrap_or_default().to_owned();
            let number = |key: &str| worker[key].as_u64().map_or("-".to_owned(), text::count);
            let time = |key: &str| text::duration(seconds(worker, key));
            let mut name = word("worker");
            name.truncate(SHORT_NAME);
            vec![
                name,
                word("node"),
                word("device"),
                word("state"),
                number("sample"),
                number("epoch"),
                time("seconds_since_step"),
                time("seconds_since_heartbeat"),
            ]
        })
        .collect();
    let header = [
        ("worker", Align::Left),
        ("node", Align::Left),
        ("device", Align::Left),
        ("state", Align::Left),
        ("sample", Align::Right),
        ("epoch", Align::Right),
        ("for", Align::Right),
        ("heard", Align::Right),
    ];
    words += &aligned(&header, &rows);
    if left_out > 0 {
        words += &format!("and {} more\n", text::count(left_out as u64));
    }
    words
}
