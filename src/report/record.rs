//! A run as a report sees it: its children in the order of their samples, each with what its line says,
//! what it would cost, and its architecture in a line.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Summary, notation};
use crate::config::Config;
use crate::finish::progress::Progress;
use crate::graph::{Costs, Graph};
use crate::run::Status;
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::skim::{Details, SkimmedChild};
use crate::run::state::State;
use crate::space::{Architecture, ConvArchitecture, Space, SpaceError, Token};
use crate::train::Counted;

/// Classes where nothing on record says how many there are, as `inspect` has it.
const CLASSES: u64 = 10;

/// A run, read.
#[derive(Debug)]
pub struct Record<'a> {
    /// What it is called: the last part of its path, or all of it where two are called so.
    pub name: String,
    /// Its settings.
    pub config: &'a Config,
    /// Its space.
    pub space: Space,
    /// Whether anybody works on it.
    pub state: State,
    /// What its journal says.
    pub history: &'a History<SkimmedChild<'a>>,
    /// What that comes to.
    pub summary: Summary<'a>,
    /// The children that have ended, by sample.
    pub rows: Vec<Row<'a>>,
    /// Its final training, where it has one.
    pub finish: Option<Progress>,
    /// Seconds that the search ran before each of its sessions, and when they began.
    sessions: Vec<[f64; 2]>,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its line.
    pub child: &'a SkimmedChild<'a>,
    /// Seconds that the search had run when it ended.
    pub clock: f64,
    /// Seconds that it took.
    pub seconds: f64,
    /// The decisions that it stands for; empty where they cannot be read.
    pub tokens: Vec<Token>,
    /// What it achieved after each epoch.
    pub scores: Vec<f64>,
    /// Why it failed.
    pub message: Option<String>,
    /// Its architecture in a line; empty of a repeat, whose earlier one has it.
    pub notation: String,
    /// Multiply-adds of an image, where it is a network that can be built.
    pub multiply_adds: Option<u64>,
}

impl Row<'_> {
    /// Its sample.
    pub fn sample(&self) -> u64 {
        self.child.sample()
    }

    /// What its reward is made of, as a number.
    pub fn score(&self) -> Option<f64> {
        self.child.counted().map(|counted| match counted {
            Counted::Accuracy(accuracy) => accuracy,
            Counted::Perplexity(perplexity) => perplexity,
        })
    }

    /// Whether it was trained, well or not, and is no repeat.
    pub fn is_trained(&self) -> bool {
        self.child.duplicate_of().is_none() && !self.scores.is_empty()
    }
}

impl<'a> Record<'a> {
    /// Reads what is left to read of a run.
    ///
    /// # Errors
    /// Where its settings make no space.
    pub fn new(
        name: String,
        config: &'a Config,
        state: State,
        history: &'a History<SkimmedChild<'a>>,
    ) -> Result<Record<'a>, SpaceError> {
        let space = Space::new(&config.space)?;
        let children: Vec<&SkimmedChild> = history.children.values().collect();
        let sessions = sessions(history);
        let classes = classes(&children);
        let row = |child: &&'a SkimmedChild<'a>| {
            let details = child.details();
            let tokens = details.as_ref().and_then(Details::tokens);
            let tokens = tokens.unwrap_or_default();
            let is_repeat = child.duplicate_of().is_some();
            let architecture = match is_repeat {
                true => None,
                false => architecture(&space, child, &tokens),
            };
            Row {
                clock: clock(&sessions, child.at()),
                seconds: details.as_ref().map_or(0.0, |details| details.seconds),
                scores: details
                    .as_ref()
                    .and_then(Details::scores)
                    .unwrap_or_default(),
                message: match child.status() {
                    Status::Ok => None,
                    _ => details.as_ref().and_then(Details::message),
                },
                notation: architecture.as_ref().map_or(String::new(), notation::line),
                multiply_adds: match architecture {
                    Some(Architecture::Conv(network)) => multiply_adds(&network, classes),
                    _ => None,
                },
                child,
                tokens,
            }
        };
        let mut rows: Vec<Row> = children.par_iter().map(row).collect();
        repeat_costs(&mut rows);
        Ok(Record {
            name,
            config,
            space,
            state,
            history,
            summary: Summary::new(history),
            rows,
            finish: None,
            sessions,
        })
    }

    /// The row of a sample.
    pub fn row(&self, sample: u64) -> Option<&Row<'a>> {
        let at = self.rows.binary_search_by_key(&sample, Row::sample).ok()?;
        self.rows.get(at)
    }

    /// A row's architecture in a line.
    pub fn notation<'b>(&'b self, row: &'b Row<'a>) -> &'b str {
        let of = row.child.duplicate_of().and_then(|of| self.row(of));
        &of.unwrap_or(row).notation
    }

    /// Seconds that the search has run, by the ends of its children: without the time between sessions.
    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.clock).fold(0.0, f64::max)
    }

    /// Sessions that have begun.
    pub fn n_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What the score of a child is called.
    pub fn score_name(&self) -> &'static str {
        let counted = self.rows.iter().find_map(|row| row.child.counted());
        counted.map_or("accuracy", |counted| counted.shown().0)
    }

    /// Whether any child was trained to the end.
    pub fn has_result(&self) -> bool {
        !self.summary.best.is_empty()
    }
}

/// The architecture of a child, by its tokens, which are read faster, where they stand for its text.
fn architecture(space: &Space, child: &SkimmedChild, tokens: &[Token]) -> Option<Architecture> {
    let text = child.architecture();
    let is_it = |decoded: &Architecture| decoded.to_json() == text.get();
    let by_tokens = match tokens.is_empty() {
        true => None,
        false => space.decode(tokens).ok().filter(is_it),
    };
    by_tokens.or_else(|| Architecture::from_json(text.get()).ok())
}

/// Costs of repeats are those of what they repeat.
fn repeat_costs(rows: &mut [Row]) {
    let costs = rows
        .iter()
        .filter_map(|row| Some((row.sample(), row.multiply_adds?)));
    let costs: HashMap<u64, u64> = costs.collect();
    for row in rows {
        if let Some(of) = row.child.duplicate_of() {
            row.multiply_adds = costs.get(&of).copied();
        }
    }
}

fn multiply_adds(network: &ConvArchitecture, classes: u64) -> Option<u64> {
    let graph = Graph::new(network, classes as usize).ok()?;
    Some(Costs::new(&graph).multiply_adds())
}

/// The number of classes that a network on record has, by its parameters.
fn classes(children: &[&SkimmedChild]) -> u64 {
    let of = |child: &&SkimmedChild| {
        let parameters = child.parameters()?;
        let Architecture::Conv(network) =
            Architecture::from_json(child.architecture().get()).ok()?
        else {
            return None;
        };
        let graph = Graph::new(&network, 1).ok()?;
        let a_class = graph.features() as u64 + 1;
        let others = parameters.checked_sub(Costs::new(&graph).parameters() - a_class)?;
        let classes = others / a_class;
        (others % a_class == 0 && (1..=256).contains(&classes)).then_some(classes)
    };
    children.iter().take(100).find_map(of).unwrap_or(CLASSES)
}

/// When each session began, and how long the search had run before. A clock that was set back within a
/// session makes none of it.
fn sessions(history: &History<SkimmedChild>) -> Vec<[f64; 2]> {
    let mut sessions = Vec::with_capacity(history.runs.len());
    let mut before = 0.0;
    for (i, run) in history.runs.iter().enumerate() {
        let began = run.timing.at;
        sessions.push([began, before]);
        let next = history
            .runs
            .get(i + 1)
            .map_or(f64::INFINITY, |run| run.timing.at);
        let ends = history.children.values().map(ChildFacts::at);
        let last = ends
            .filter(|at| (began..next).contains(at))
            .fold(began, f64::max);
        before += last - began;
    }
    sessions
}

/// How long the search had run at a time.
fn clock(sessions: &[[f64; 2]], at: f64) -> f64 {
    let of = sessions.iter().rev().find(|[began, _]| at >= *began);
    of.or(sessions.first())
        .map_or(0.0, |[began, before]| before + (at - began).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_between_sessions() {
        let sessions = [[100.0, 0.0], [500.0, 30.0]];
        let cases = [
            (99.0, 0.0),
            (100.0, 0.0),
            (130.0, 30.0),
            (500.0, 30.0),
            (510.0, 40.0),
        ];
        for (at, expected) in cases {
            assert_eq!(clock(&sessions, at), expected, "{at}");
        }
        assert_eq!(clock(&[], 5.0), 0.0);
    }
}
