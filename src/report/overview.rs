//! What a run comes to in a few words and numbers: which run it is, what it has found and sampled, how its
//! children failed.

use std::collections::BTreeMap;

use super::compare;
use super::record::Record;
use super::series;
use super::spent::{self, Epoch};
use crate::run::Status;
use crate::run::entry::ChildFacts;
use crate::run::state::State;
use crate::space::SpaceKind;
use crate::text;

/// Different architectures in the mean of the best (the paper's figure 6 has 5 and 15).
pub const TOP: usize = 15;

/// What a run has found and sampled.
#[derive(Clone, Debug)]
pub struct Overview {
    run: String,
    strategy: &'static str,
    seed: u64,
    samples: u64,
    /// The highest reward.
    pub best: Option<f64>,
    /// The mean of the [`TOP`] best different architectures.
    pub top: Option<f64>,
    means: [Option<f64>; 3],
}

/// Heads of the columns of [`Overview::row`].
pub const HEADS: [&str; 9] = [
    "run",
    "strategy",
    "seed",
    "samples",
    "best reward",
    "mean of top 15",
    "mean",
    "first quarter",
    "last quarter",
];

impl Overview {
    /// Of a run.
    pub fn new(record: &Record) -> Overview {
        let (search, summary) = (&record.config.search, &record.summary);
        let rewards = || summary.best.iter().map(|best| best.reward);
        Overview {
            run: record.name.clone(),
            strategy: search.strategy.name(),
            seed: search.seed,
            samples: summary.samples,
            best: rewards().next(),
            top: series::mean_of_best(rewards(), TOP),
            means: [
                summary.mean_reward,
                summary.mean_reward_first_quarter,
                summary.mean_reward_last_quarter,
            ],
        }
    }

    /// In words, a column each.
    pub fn row(&self) -> Vec<String> {
        let words = [
            self.run.clone(),
            self.strategy.to_owned(),
            self.seed.to_string(),
            text::count(self.samples),
        ];
        let numbers = [self.best, self.top].into_iter().chain(self.means);
        words.into_iter().chain(numbers.map(text::share)).collect()
    }
}

/// Which run it is.
pub fn facts(record: &Record, epoch: Option<Epoch>) -> Vec<(&'static str, String)> {
    let (config, summary, history) = (record.config, &record.summary, record.history);
    let search = &config.search;
    let distinct = |of: Vec<&str>| {
        let mut words: Vec<&str> = Vec::new();
        of.into_iter().for_each(|one| {
            if !words.contains(&one) {
                words.push(one)
            }
        });
        words.join(", ")
    };
    let done = match config.space.kind() {
        SpaceKind::Bench => "looked up",
        _ => "trained",
    };
    let trained = format!(
        "{} {done}, {} repeats{}",
        text::count(summary.trained),
        text::count(summary.repeats),
        super::failed(&summary.failures).map_or(String::new(), |failed| format!(", {failed}"))
    );
    let sessions = match record.n_sessions() {
        0 | 1 => String::new(),
        n => format!(", in {n} sessions"),
    };
    let mut facts = vec![
        (
            "state",
            format!(
                "{}, {} of {} samples",
                state(record.state),
                text::count(summary.samples),
                text::count(search.samples)
            ),
        ),
        (
            "strategy",
            format!("{}, seed {}", search.strategy.name(), search.seed),
        ),
        (
            "space",
            format!("{}, preset {}", config.space.kind().name(), search.preset),
        ),
        ("children", trained),
        (
            "time",
            format!("{}{sessions}", text::duration(history.seconds())),
        ),
    ];
    if config.space.kind() != SpaceKind::Bench {
        facts.push((
            "in training",
            text::duration(spent::training_seconds(&record.rows)),
        ));
    }
    let flops = epoch.map(|epoch| {
        record
            .rows
            .iter()
            .filter_map(|row| spent::flops(row, epoch))
            .sum::<f64>()
    });
    if let Some(flops) = flops.filter(|flops| *flops > 0.0) {
        facts.push(("operations", format!("about {flops:.2e} FLOP in training")));
    }
    if !search.is_alone() {
        let words = format!("{} shards, {} replicas", search.shards, search.replicas);
        facts.push(("controller", words));
    }
    facts.push((
        "device",
        distinct(history.runs.iter().map(|run| &*run.timing.device).collect()),
    ));
    facts.push((
        "version",
        distinct(history.runs.iter().map(|run| &*run.version).collect()),
    ));
    facts
}

/// A state with what it means for a report.
fn state(state: State) -> &'static str {
    match state {
        State::Finished => "finished",
        State::Running => "under way",
        State::Stopped => "stopped before its end",
        State::Unknown => "not finished (whether anybody works on it cannot be seen)",
    }
}

/// What whoever reads must know first.
pub fn notice(record: &Record) -> Option<String> {
    if record.has_result() {
        return None;
    }
    let most = failures(record)
        .into_iter()
        .max_by_key(|failure| failure.count);
    let why = most.map_or(String::new(), |failure| {
        let message = failure
            .message
            .map_or(String::new(), |message| format!(" ({message})"));
        format!("; most frequent: {}{message}", failure.status.word())
    });
    Some(format!(
        "No child of this run was trained to the end{why}. There is nothing to compare yet: see what failed below, \
         mend it, and go on with the search or begin another one."
    ))
}

/// Which of the other runs cannot be measured by the first, and why.
pub fn not_comparable(records: &[Record]) -> Vec<String> {
    let Some((first, others)) = records.split_first() else {
        return vec![];
    };
    let why = |other: &Record| {
        let why = compare::why_not(first, other)?;
        Some(format!(
            "{why}; do not read their rewards beside one another"
        ))
    };
    others.iter().filter_map(why).collect()
}

/// Children that ended in one way.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The way.
    pub status: Status,
    /// How many.
    pub count: u64,
    /// What most of them say.
    pub message: Option<String>,
}

/// How children failed, the most frequent way first.
pub fn failures(record: &Record) -> Vec<Failures> {
    let mut failed: BTreeMap<Status, (u64, BTreeMap<&str, u64>)> = BTreeMap::new();
    for row in record
        .rows
        .iter()
        .filter(|row| row.child.status() != Status::Ok)
    {
        let (count, messages) = failed.entry(row.child.status()).or_default();
        *count += 1;
        if let Some(message) = &row.message {
            *messages.entry(message).or_default() += 1;
        }
    }
    let of = failed
        .into_iter()
        .map(|(status, (count, messages))| Failures {
            status,
            count,
            message: messages
                .into_iter()
                .max_by_key(|(_, n)| *n)
                .map(|(words, _)| words.to_owned()),
        });
    let mut failures: Vec<Failures> = of.collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}
