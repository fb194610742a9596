//! What people and programs are shown of a search: read from its facts, never from the search; and
//! of what a child's training must cost.

pub mod cell;
pub mod chart;
pub mod charts;
pub mod choices;
pub mod compare;
pub mod drawing;
pub mod final_training;
pub mod notation;
pub mod overview;
pub mod page;
pub mod record;
pub mod roofline;
pub mod series;
pub mod sheet;
pub mod spent;
pub mod table;
pub mod tensorboard;
pub mod written;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::Status;
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::state::State;
use crate::space::{Architecture, SpaceKind};
use crate::text;
use crate::train::Counted;
use table::{Align, aligned};

/// Architectures in the table of the best.
const ROWS: usize = 5;

/// What a search has achieved.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// Samples that ended.
    pub samples: u64,
    /// Samples that were trained, well or not; the others are repeats or could not be.
    pub trained: u64,
    /// Samples answered from the record.
    pub repeats: u64,
    /// Every architecture that was trained to the end, once, by reward, then the lower sample.
    pub best: Vec<Best<'a>>,
    /// Mean reward of all samples that have one.
    pub mean_reward: Option<f64>,
    /// Mean reward of the first quarter of the samples, rounded down, at least one.
    pub mean_reward_first_quarter: Option<f64>,
    /// Mean reward of the last quarter.
    pub mean_reward_last_quarter: Option<f64>,
    /// Failures by how the child ended.
    pub failures: BTreeMap<&'static str, u64>,
    /// Seconds that the search ran, without the time between sessions.
    pub seconds: f64,
}

/// An architecture that was trained to the end.
#[derive(Clone, Debug, Serialize)]
pub struct Best<'a> {
    /// The sample that was trained.
    pub sample: u64,
    /// What was trained: the canonical text.
    pub architecture: Cow<'a, RawValue>,
    /// What its reward is made of.
    #[serde(flatten)]
    pub score: Counted,
    /// What the controller was paid.
    pub reward: f64,
    /// Trainable parameters.
    pub parameters: Option<u64>,
}

impl<'a> Summary<'a> {
    /// What the facts of a search add up to.
    pub fn new<C: ChildFacts>(history: &'a History<C>) -> Summary<'a> {
        let children: Vec<&C> = history.children.values().collect();
        let rewards: Vec<Option<f64>> = children.iter().map(|child| child.reward()).collect();
        let quarter = (children.len() / 4).max(1).min(children.len());
        let (mut trained, mut repeats, mut failures) = (0, 0, BTreeMap::new());
        for child in &children {
            match child.duplicate_of() {
                Some(_) => repeats += 1,
                None => trained += u64::from(child.counted().is_some()),
            }
            if child.status() != Status::Ok {
                *failures.entry(child.status().word()).or_default() += 1;
            }
        }
        Summary {
            samples: children.len() as u64,
            trained,
            repeats,
            best: best(&children),
            mean_reward: mean(&rewards),
            mean_reward_first_quarter: mean(&rewards[..quarter]),
            mean_reward_last_quarter: mean(&rewards[children.len() - quarter..]),
            failures,
            seconds: history.seconds(),
        }
    }

    /// The best architectures in a line each.
    pub fn best_table(&self) -> String {
        let (score, what) = match self.best.first() {
            Some(best) if best.score.shown().0 == "perplexity" => {
                ("perplexity", "architecture: nodes, leaves first")
            }
            Some(best) if best.architecture.get().contains(SpaceKind::Bench.name()) => (
                "accuracy",
                "architecture: what each node reads, from which node",
            ),
            _ => (
                "accuracy",
                "architecture: height x width x filters /stride (inputs)",
            ),
        };
        let header = [
            ("sample", Align::Right),
            (score, Align::Right),
            ("reward", Align::Right),
            ("parameters", Align::Right),
            (what, Align::Left),
        ];
        let rows = self.best.iter().take(ROWS).map(|best| {
            let json = best.architecture.get();
            vec![
                best.sample.to_string(),
                best.score.shown().1,
                format!("{:.4}", best.reward),
                best.parameters.map_or("-".to_owned(), text::count),
                Architecture::from_json(json)
                    .map_or(json.to_owned(), |parsed| notation::line(&parsed)),
            ]
        });
        aligned(&header, &rows.collect::<Vec<_>>())
    }
}

/// How many children failed and how, where any did.
pub fn failed(failures: &BTreeMap<&'static str, u64>) -> Option<String> {
    let kinds: Vec<String> = failures
        .iter()
        .map(|(how, n)| format!("{n} {how}"))
        .collect();
    let n_failed: u64 = failures.values().sum();
    (n_failed > 0).then(|| format!("{} failed ({})", text::count(n_failed), kinds.join(", ")))
}

/// What is to be said of a search of which no child has ended, with so many that are under way or have
/// checkpoints.
pub fn none_ended(state: State, under_way: usize) -> String {
    let (words, of_children) = match state {
        State::Running => ("no child has ended yet", "under way"),
        State::Stopped => ("it stopped before any child ended", "have checkpoints"),
        State::Unknown | State::Finished => ("no child has ended yet", "have checkpoints"),
    };
    match under_way {
        0 => words.to_owned(),
        n => format!("{words}; {} {of_children}", text::count(n as u64)),
    }
}

/// Mean of the rewards that there are.
pub fn mean(rewards: &[Option<f64>]) -> Option<f64> {
    let there = rewards.iter().flatten();
    let (n, sum) = there.fold((0, 0.0), |(n, sum), reward| (n + 1, sum + reward));
    (n > 0).then(|| sum / f64::from(n))
}

// paper P9.1
fn best<'a, C: ChildFacts + Sync>(children: &[&'a C]) -> Vec<Best<'a>> {
    let of = |child: &&'a C| {
        (child.status() == Status::Ok).then_some(())?;
        Some(Best {
            sample: child.sample(),
            architecture: child.architecture(),
            score: child.counted()?,
            reward: child.reward().unwrap_or(0.0),
            parameters: child.parameters(),
        })
    };
    let mut best: Vec<Best> = children.iter().filter_map(of).collect();
    // The texts are many megabytes, and are hashed side by side.
    let hashes: Vec<u64> = best
        .par_iter()
        .map(|best| FixedState::default().hash_one(best.architecture.get()))
        .collect();
    let mut seen = HashSet::with_capacity_and_hasher(best.len(), FixedState::default());
    let texts = best.iter().map(|best| best.architecture.get());
    let is_first = hashes
        .into_iter()
        .zip(texts)
        .map(|(hash, text)| seen.insert(Hashed { hash, text }));
    let mut is_first = is_first.collect::<Vec<bool>>().into_iter();
    best.retain(|_| is_first.next() == Some(true));
    // No two are equal, so nothing depends on the order before.
    best.par_sort_unstable_by(|a, b| b.reward.total_cmp(&a.reward).then(a.sample.cmp(&b.sample)));
    best
}

/// A text whose hash is known.
#[derive(PartialEq, Eq)]
struct Hashed<'a> {
    hash: u64,
    text: &'a str,
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}
