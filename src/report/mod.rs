//! What people and programs are shown of a search: read from its facts, never from the search; and
//! of what a child's training must cost.

pub mod cell;
pub mod notation;
pub mod roofline;
pub mod table;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::Status;
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::space::Architecture;
use crate::text;
use crate::train::Scores;
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
    pub score: Score,
    /// What the controller was paid.
    pub reward: f64,
    /// Trainable parameters.
    pub parameters: Option<u64>,
}

/// What the reward of an architecture is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Best validation accuracy of the last five epochs.
    Accuracy(f64),
    /// Validation perplexity of the last epoch.
    Perplexity(f64),
}

impl Score {
    /// Of a child; 0 without epochs.
    pub fn of(scores: &Scores) -> Score {
        let counted = scores.counted().unwrap_or(0.0);
        match scores {
            Scores::Accuracies(_) => Score::Accuracy(counted),
            Scores::Perplexities(_) => Score::Perplexity(counted),
        }
    }

    /// Its name, and the value in as many digits as mean something.
    pub fn shown(self) -> (&'static str, String) {
        match self {
            Score::Accuracy(accuracy) => ("accuracy", format!("{accuracy:.4}")),
            Score::Perplexity(perplexity) => ("perplexity", format!("{perplexity:.2}")),
        }
    }
}

impl<'a> Summary<'a> {
    /// What the facts of a search add up to.
    pub fn new<C: ChildFacts>(history: &'a History<C>) -> Summary<'a> {
        let children: Vec<&C> = history.children.values().collect();
        let quarter = (children.len() / 4).max(1).min(children.len());
        let count = |holds: fn(&&&C) -> bool| children.iter().filter(holds).count() as u64;
        let mut failures = BTreeMap::new();
        for child in children.iter().filter(|child| child.status() != Status::Ok) {
            *failures.entry(child.status().word()).or_default() += 1;
        }
        Summary {
            samples: children.len() as u64,
            trained: count(|child| {
                !child.scores().values().is_empty() && child.duplicate_of().is_none()
            }),
            repeats: count(|child| child.duplicate_of().is_some()),
            best: best(&children),
            mean_reward: mean_reward(children.iter().copied()),
            mean_reward_first_quarter: mean_reward(children[..quarter].iter().copied()),
            mean_reward_last_quarter: mean_reward(
                children[children.len() - quarter..].iter().copied(),
            ),
            failures,
            seconds: history.seconds(),
        }
    }

    /// The best architectures in a line each.
    pub fn best_table(&self) -> String {
        let (score, what) = match self.best.first().map(|best| best.score.shown().0) {
            Some("perplexity") => ("perplexity", "architecture: nodes, leaves first"),
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

/// Mean reward of the children that have one.
pub fn mean_reward<'a, C: ChildFacts + 'a>(
    children: impl IntoIterator<Item = &'a C>,
) -> Option<f64> {
    let rewards = children.into_iter().filter_map(|child| child.reward());
    let (n, sum) = rewards.fold((0, 0.0), |(n, sum), reward| (n + 1, sum + reward));
    (n > 0).then(|| sum / f64::from(n))
}

// paper P9.1
fn best<'a, C: ChildFacts>(children: &[&'a C]) -> Vec<Best<'a>> {
    let ended_well = children.iter().filter(|child| child.status() == Status::Ok);
    let mut best: Vec<Best> = ended_well
        .map(|child| Best {
            sample: child.sample(),
            architecture: child.architecture(),
            score: Score::of(child.scores()),
            reward: child.reward().unwrap_or(0.0),
            parameters: child.parameters(),
        })
        .collect();
    let mut seen = HashSet::with_capacity(best.len());
    let is_first = best.iter().map(|best| seen.insert(best.architecture.get()));
    let mut is_first = is_first.collect::<Vec<bool>>().into_iter();
    best.retain(|_| is_first.next() == Some(true));
    // No two are equal, so nothing depends on the order before.
    best.sort_unstable_by(|a, b| b.reward.total_cmp(&a.reward).then(a.sample.cmp(&b.sample)));
    best
}
