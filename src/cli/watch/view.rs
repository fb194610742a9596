//! What `watch` shows of a run, as values.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::disk::Real;
use crate::report::Summary;
use crate::report::notation;
use crate::run::checkpoints::{self, UnderWay};
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::skim::{RunBytes, SkimmedChild};
use crate::run::state::{Locks, Signs, State};
use crate::run::{journal, now};
use crate::space::Architecture;

/// Samples whose mean is a point of the curve.
const WINDOW: usize = 100;

/// Architectures that are shown.
const SHOWN: usize = 8;

/// A run as it was when it was looked at.
#[derive(Debug, Default)]
pub struct View {
    pub(super) path: PathBuf,
    /// Bytes of its journal then.
    pub(super) length: usize,
    /// Its directory, as given.
    pub name: String,
    /// `running`, `finished` and so on.
    pub state: &'static str,
    /// Samples on record, and those that there are to be.
    pub samples: u64,
    /// As `samples`.
    pub total: u64,
    /// Mean reward of the last hundred samples, after each sample that has a reward.
    pub mean: Vec<(f64, f64)>,
    /// The best reward so far, after the same samples.
    pub best: Vec<(f64, f64)>,
    /// The best architectures.
    pub found: Vec<Found>,
    /// What accuracy or perplexity is called.
    pub score: &'static str,
    /// How many ended in each way that is not well.
    pub failures: Vec<(&'static str, u64)>,
    /// Samples that repeat an earlier one.
    pub repeats: u64,
    /// Children whose checkpoints are there.
    pub under_way: Vec<UnderWay>,
    /// Epochs of a child.
    pub epochs: usize,
    /// Seconds that it ran, and those left at this pace.
    pub seconds: f64,
    /// As `seconds`.
    pub seconds_left: Option<f64>,
    /// Children an hour.
    pub pace: Option<f64>,
    /// Seconds since the last line of the journal.
    pub age: Option<f64>,
}

/// An architecture that was trained.
#[derive(Debug)]
pub struct Found {
    /// Its sample.
    pub sample: u64,
    /// Accuracy or perplexity, as shown.
    pub score: String,
    /// Its reward.
    pub reward: f64,
    /// Its parameters.
    pub parameters: Option<u64>,
    /// In a line.
    pub architecture: String,
}

impl View {
    /// Looks at a run.
    ///
    /// # Errors
    /// Where there is none, or its files cannot be read.
    pub fn read(path: &Path) -> Result<View, Failure> {
        let locks = Locks::look(&path.join(journal::FILE_NAME));
        let run = RunBytes::read(&Real, path)?;
        let history = run.history()?;
        let search = &run.config.search;
        let state = State::of(Signs {
            finished: history.is_finished(search.samples, search.strategy),
            ends_with_stop: history.stopped,
            lock: locks.lock,
            all_locks_seen: locks.all_seen,
        });
        let under_way = match state {
            State::Finished => vec![],
            _ => checkpoints::under_way(&Real, &path.join(checkpoints::FOLDER)),
        };
        let view = View {
            path: path.into(),
            length: run.n_bytes(),
            name: path.display().to_string(),
            state: state.word(),
            total: search.samples,
            epochs: run.config.train.epochs(),
            under_way,
            ..View::default()
        };
        Ok(view.with(&history))
    }

    /// Looks again; what the journal says is read anew only where it has grown.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn again(self) -> Result<View, Failure> {
        let journal = self.path.join(journal::FILE_NAME);
        let length = std::fs::metadata(&journal).map_or(0, |file| file.len());
        if length != self.length as u64 || self.state != State::Running.word() {
            return View::read(&self.path);
        }
        let under_way = checkpoints::under_way(&Real, &self.path.join(checkpoints::FOLDER));
        Ok(View { under_way, ..self })
    }

    fn with(mut self, history: &History<SkimmedChild>) -> View {
        let summary = Summary::new(history);
        let (mut window, mut sum, mut best) = (std::collections::VecDeque::new(), 0.0, 0.0_f64);
        for (&sample, child) in &history.children {
            let Some(reward) = child.reward() else {
                continue;
            };
            window.push_back(reward);
            sum += reward;
            if window.len() > WINDOW {
                sum -= window.pop_front().unwrap_or_default();
            }
            best = best.max(reward);
            self.mean.push((sample as f64, sum / window.len() as f64));
            self.best.push((sample as f64, best));
        }
        let pace = history.samples_per_second();
        self.samples = summary.samples;
        self.repeats = summary.repeats;
        self.failures = summary.failures.iter().map(|(how, n)| (*how, *n)).collect();
        self.seconds = summary.seconds;
        self.pace = pace.map(|pace| pace * 3600.0);
        let left = self.total.saturating_sub(self.samples) as f64;
        let runs = self.state == State::Running.word();
        self.seconds_left = pace.filter(|_| runs).map(|pace| left / pace);
        let began = !history.runs.is_empty();
        self.age = began.then(|| (now() - history.last_at).max(0.0));
        self.score = summary
            .best
            .first()
            .map_or("accuracy", |best| best.score.shown().0);
        let found = summary.best.iter().take(SHOWN).map(|best| {
            let json = best.architecture.get();
            Found {
                sample: best.sample,
                score: best.score.shown().1,
                reward: best.reward,
                parameters: best.parameters,
                architecture: Architecture::from_json(json)
                    .map_or(json.to_owned(), |parsed| notation::line(&parsed)),
            }
        });
        self.found = found.collect();
        self
    }
}
