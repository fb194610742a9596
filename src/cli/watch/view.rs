//! What `watch` shows of a run, as values.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::cli::runs;
use crate::disk::Real;
use crate::finish::progress;
use crate::report::{Summary, final_training, notation};
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::skim::{RunBytes, SkimmedChild};
use crate::run::state::{Locks, State};
use crate::run::under_way::{self, UnderWay};
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
    /// Whether anybody works on it.
    pub state: State,
    /// Whether nothing is left to do, by its journal.
    pub(super) finished: bool,
    /// Whether its journal ends with a stop.
    pub(super) ends_with_stop: bool,
    /// When the journal's last session began, and when its last line was written, where it has one.
    pub(super) times: Option<[f64; 2]>,
    /// Samples on record, and those that there are to be.
    pub samples: u64,
    /// As `samples`.
    pub total: u64,
    /// The reward of each sample that has one.
    pub rewards: Vec<(f64, f64)>,
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
    /// Children under way, or whose checkpoints are there.
    pub under_way: Vec<UnderWay>,
    /// Epochs of a child.
    pub epochs: usize,
    /// Seconds that it ran, and those left at this pace.
    pub seconds: f64,
    /// As `seconds`.
    pub seconds_left: Option<f64>,
    /// Children an hour.
    pub pace: Option<f64>,
    /// Seconds since its last session began.
    pub begun: Option<f64>,
    /// Seconds since the last line of its journal.
    pub age: Option<f64>,
    /// How far its final training is, once the search is over.
    pub final_training: Option<String>,
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
        runs::check_rewards(path, &history)?;
        let search = &run.config.search;
        let began = history.runs.last().map(|run| run.timing.at);
        let view = View {
            path: path.into(),
            length: run.n_bytes(),
            name: path.display().to_string(),
            finished: history.is_finished(search.samples, search.strategy),
            ends_with_stop: history.stopped,
            times: began.map(|began| [began, history.last_at]),
            total: search.samples,
            epochs: run.config.train.epochs(),
            ..View::default()
        };
        Ok(view.with(&history).at(locks))
    }

    /// Looks again; what the journal says is read anew only where it has grown.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn look(&mut self) -> Result<(), Failure> {
        let journal = self.path.join(journal::FILE_NAME);
        let locks = Locks::look(&journal);
        let length = std::fs::metadata(&journal).map_or(0, |file| file.len());
        *self = match length == self.length as u64 {
            true => std::mem::take(self).at(locks),
            false => View::read(&self.path)?,
        };
        Ok(())
    }

    /// With what changes while the journal does not grow: a search that is killed writes nothing.
    fn at(mut self, locks: Locks) -> View {
        self.state = locks.state(self.finished, self.ends_with_stop);
        self.under_way = match self.state {
            State::Finished => vec![],
            _ => under_way::look(&Real, &self.path, locks.process),
        };
        let finish = match self.state {
            State::Running => None,
            _ => progress::read(&Real, &self.path).ok().flatten(), // `status` tells what is wrong with it
        };
        self.final_training = finish.map(|finish| final_training::line(&finish));
        // A clock that was set back leaves times to come.
        let since = |time: f64| (now() - time).max(0.0);
        self.begun = self.times.map(|[began, _]| since(began));
        self.age = self.times.map(|[_, last]| since(last));
        self
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
            self.rewards.push((sample as f64, reward));
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
        self.seconds_left = pace.map(|pace| left / pace);
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
