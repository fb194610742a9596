//! From a search to a result: the best architectures of a run are trained by every recipe of a small
//! grid on the training split; what validates best is trained on all training records, and the test
//! records are read once. All of it is kept in a folder of the run, itself a run's directory: stopped
//! anywhere, it goes on.
// paper P9.1, P9.2, P9.3, P9.4

mod error;
pub mod grid;
mod last;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::{Config, Staleness, StrategyKind};
use crate::device::Devices;
use crate::disk::{Disk, Found, whole};
use crate::run::entry::{Child, Entry, Lost, RunTiming, Started, Stop, Timing};
use crate::run::{Run, RunError, Status, journal, now};
use crate::search::child::{Kept, Trainer};
use crate::search::evaluator::{Evaluator, Job, News};
use crate::search::local::{Local, Settings};
use crate::search::proposal::{Proposal, ended};
use crate::space::Architecture;
use crate::space::CellArchitecture;
use crate::train::{Course, EpochReport, TrainConfig};
pub use error::FinishError;
use grid::{Grid, Point};
pub use last::Last;

/// Name of the folder within a run's directory.
pub const FOLDER: &str = "finish";

/// Name of the file that says what is tried.
const GRID_FILE: &str = "grid.json";

/// How long the loop waits for news before it looks at the stop flag again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The work on a run that was searched.
pub struct Finish<'a> {
    /// The settings of the run.
    pub config: &'a Config,
    /// Its data.
    pub course: Course,
    /// What trains.
    pub devices: Devices,
    /// Threads of all trainings together, on a processor.
    pub threads: usize,
    /// What is tried.
    pub grid: Grid,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
}

/// Something that happened, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A training of the grid began, or finished an epoch: its point, and the epochs done.
    Trying(&'a Point, usize),
    /// A training of the grid ended; how many have, with it.
    Tried(&'a Point, &'a Child, usize),
    /// An epoch of a last training ended: of the choice, or of the control.
    Epoch(&'a EpochReport, bool),
}

/// What came of it.
#[derive(Debug)]
pub struct Finished {
    /// The trainings of the grid, by their number.
    pub tried: BTreeMap<u64, Child>,
    /// The one that was chosen.
    pub chosen: Point,
    /// Its last training.
    pub last: Last,
    /// That of an LSTM by the same recipe, where cells were searched.
    pub control: Option<Last>,
    /// Where the last weights are.
    pub weights: PathBuf,
    /// Where the architecture is.
    pub architecture: PathBuf,
}

impl Finish<'_> {
    /// Does what is left to do in `folder`; `watch` hears of what happens now.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub fn run(
        &self,
        disk: &Arc<dyn Disk>,
        folder: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Finished, FinishError> {
        let config = self.own_config();
        let mut run = match self.has_begun(&**disk, folder)? {
            true => Run::open(Arc::clone(disk), folder.into(), &[])?.1,
            false => self.begin(disk, folder, &config)?,
        };
        let points = self.grid.points();
        check_record(&run, &points)?;
        self.try_all(&mut run, &config, &points, watch)?;
        let Some(best) = run.history.best() else {
            return Err(nothing(&points, &run));
        };
        let chosen = points[best.sample as usize].clone();
        let candidate = &self.grid.candidates[chosen.candidate];
        let place = last::Place {
            finish: self,
            run: &run,
            config: &config,
        };
        let architecture = folder.join(last::ARCHITECTURE_FILE);
        let text = format!("{}\n", candidate.architecture);
        write(&**disk, &architecture, text.as_bytes())?;
        let own = Architecture::from_json(&candidate.architecture.to_string());
        let own = own.map_err(|error| FinishError::Damaged {
            path: folder.join(GRID_FILE),
            why: error.to_string(),
        })?;
        let last = place.train("final", &chosen, &own, &mut |epoch| {
            watch(Event::Epoch(epoch, false));
        })?;
        let control = match own {
            Architecture::Cell(_) => {
                let lstm = CellArchitecture::Lstm.into();
                let trained = place.train("control", &chosen, &lstm, &mut |epoch| {
                    watch(Event::Epoch(epoch, true));
                });
                Some(trained?)
            }
            _ => None,
        };
        let weights = place.weights("final");
        Ok(Finished {
            tried: run.history.children,
            chosen,
            last,
            control,
            weights,
            architecture,
        })
    }

    /// The settings of the trainings: the search's, for more epochs.
    fn own_config(&self) -> Config {
        let mut config = self.config.clone();
        config.search.samples = self.grid.len() as u64;
        config.search.strategy = StrategyKind::Random;
        (config.search.population, config.search.tournament) = (None, None);
        (config.search.shards, config.search.replicas) = (1, 1);
        config.search.gradients = 1;
        config.search.synchronous = false;
        config.search.staleness = Staleness::default();
        match &mut config.train {
            TrainConfig::Network(train) => {
                train.epochs = self.grid.epochs;
                train.decay_epoch = None;
            }
            TrainConfig::Language(train) => train.epochs = self.grid.epochs,
            TrainConfig::Table(_) => {}
        }
        config
    }

    /// Whether the folder holds this grid's work; an error where it holds another's.
    fn has_begun(&self, disk: &dyn Disk, folder: &Path) -> Result<bool, FinishError> {
        let path = folder.join(GRID_FILE);
        let reading = |source| RunError::Read {
            path: path.clone(),
            source,
        };
        match disk.found(&path) {
            Ok(Some(Found::File(_))) => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
            Err(error) => return Err(reading(error).into()),
        }
        let bytes = disk.read(&path).map_err(reading)?;
        let before: Grid =
            serde_json::from_slice(&bytes).map_err(|error| FinishError::Damaged {
                path: path.clone(),
                why: error.to_string(),
            })?;
        match before == self.grid {
            true => Ok(true),
            false => Err(FinishError::OtherGrid {
                path: folder.into(),
                differs: differs(&before, &self.grid),
            }),
        }
    }

    fn begin(
        &self,
        disk: &Arc<dyn Disk>,
        folder: &Path,
        config: &Config,
    ) -> Result<Run, FinishError> {
        // One that was stopped before its grid was written has done nothing.
        let run = match Run::create(Arc::clone(disk), folder.into(), config) {
            Err(RunError::Begun { .. }) => Run::open(Arc::clone(disk), folder.into(), &[])?.1,
            other => other?,
        };
        let text = serde_json::to_vec_pretty(&self.grid).expect("numbers and names are JSON");
        write(&**disk, &folder.join(GRID_FILE), &text)?;
        Ok(run)
    }

    /// Has every training of the grid done that is not on record.
    fn try_all(
        &self,
        run: &mut Run,
        config: &Config,
        points: &[Point],
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), FinishError> {
        let again = run.history.to_try_again(StrategyKind::Random);
        let is_left =
            |index: &u64| !run.history.children.contains_key(index) || again.contains(index);
        let left: Vec<&Point> = points
            .iter()
            .filter(|point| is_left(&point.index))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let (checkpoints, _) = run.folders()?;
        let mut evaluator = Local::new(Settings {
            trainer: Trainer {
                course: self.course.clone(),
                seed: config.search.seed,
                kept: Some(Kept {
                    config_sha256: config.sha256(),
                    best_weights: None,
                    checkpoints,
                    every: Duration::from_secs(config.train.checkpoint_seconds()),
                }),
            },
            devices: self.devices.clone(),
            threads: self.threads,
            memory: config.device.memory_bytes.unwrap_or(u64::MAX),
        })?;
        let started = Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_sha256: config.sha256(),
            data_sha256: self.course.data_sha256(),
            samples: config.search.samples,
            timing: RunTiming {
                at: now(),
                device: evaluator.describe(),
                threads: self.threads,
            },
        };
        run.check_same(config, &self.course)?;
        run.journal.append(&Entry::Run(started.clone()))?;
        run.history.add_run(started);
        let mut waiting: BTreeMap<u64, (Proposal, &Point)> = BTreeMap::new();
        let mut jobs = Vec::new();
        for point in left {
            let proposal = self.proposal(point)?;
            let lost = run.history.lost.get(&point.index).cloned();
            jobs.push(Job {
                own: Some(point.recipe.course(&self.course, self.grid.epochs, true)),
                lost: lost.unwrap_or_default(),
                journal_bytes: run.journal.length(),
                ..Job::new(point.index, proposal.architecture.clone())
            });
            waiting.insert(point.index, (proposal, point));
        }
        evaluator.submit(jobs);
        let end = self.wait(run, &mut evaluator, &mut waiting, watch);
        let news = match end {
            Ok(()) => return Ok(()),
            Err(_) => evaluator.stop(),
        };
        // Where a file cannot be written, nothing more is: the first error is told.
        if let Err(FinishError::Stopped { .. } | FinishError::NoDevice(_)) = end {
            for news in news {
                if let News::Ended(outcome) = news
                    && let Some((proposal, _)) = waiting.remove(&outcome.sample)
                {
                    record(run, &mut evaluator, ended(&proposal, outcome))?;
                }
            }
            let samples = run.history.children.len() as u64;
            let timing = Timing {
                at: now(),
                ..Timing::default()
            };
            run.journal.append(&Entry::Stop(Stop { samples, timing }))?;
        }
        end
    }

    fn wait(
        &self,
        run: &mut Run,
        evaluator: &mut Local,
        waiting: &mut BTreeMap<u64, (Proposal, &Point)>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), FinishError> {
        while !waiting.is_empty() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(FinishError::Stopped {
                    done: self.grid.len() - waiting.len(),
                    all: self.grid.len(),
                });
            }
            match evaluator.next(PATIENCE) {
                None => {}
                Some(News::Epoch { sample, epoch }) => {
                    if let Some((_, point)) = waiting.get(&sample) {
                        watch(Event::Trying(point, epoch));
                    }
                }
                Some(News::Lost { sample, words }) => {
                    let timing = Timing {
                        at: now(),
                        ..Timing::default()
                    };
                    let lost = Lost {
                        sample,
                        message: words,
                        timing,
                    };
                    run.journal.append(&Entry::Lost(lost))?;
                }
                Some(News::NoDevice(words)) => return Err(FinishError::NoDevice(words)),
                Some(News::NotKept(error)) => return Err(error.into()),
                Some(News::Ended(outcome)) => {
                    let Some((proposal, point)) = waiting.remove(&outcome.sample) else {
                        continue; // a second report of it
                    };
                    record(run, evaluator, ended(&proposal, outcome))?;
                    let child = &run.history.children[&point.index];
                    watch(Event::Tried(point, child, self.grid.len() - waiting.len()));
                }
            }
        }
        Ok(())
    }

    fn proposal(&self, point: &Point) -> Result<Proposal, FinishError> {
        let canonical = self.grid.candidates[point.candidate]
            .architecture
            .to_string();
        let architecture = Architecture::from_json(&canonical);
        Ok(Proposal {
            sample: point.index,
            batch: point.candidate as u64,
            tokens: point.places.clone(),
            architecture: architecture.map_err(|error| FinishError::Damaged {
                path: PathBuf::from(GRID_FILE),
                why: error.to_string(),
            })?,
            canonical,
        })
    }
}

/// Brings a training of the grid on record.
fn record(run: &mut Run, evaluator: &mut Local, child: Child) -> Result<(), FinishError> {
    let sample = child.sample;
    run.journal.append(&Entry::Child(child.clone()))?;
    run.history
        .add(Entry::Child(child))
        .expect("each training ends once");
    Ok(evaluator.recorded(sample)?)
}

/// That a journal's trainings are those of the grid.
fn check_record(run: &Run, points: &[Point]) -> Result<(), FinishError> {
    let is_of_grid = |child: &&Child| {
        let point = points.get(usize::try_from(child.sample).unwrap_or(usize::MAX));
        point.is_some_and(|point| point.places == child.tokens)
    };
    match run
        .history
        .children
        .values()
        .find(|child| !is_of_grid(child))
    {
        None => Ok(()),
        Some(child) => Err(FinishError::Damaged {
            path: run.path.join(journal::FILE_NAME),
            why: format!("training {} is none of the grid", child.sample),
        }),
    }
}

fn nothing(points: &[Point], run: &Run) -> FinishError {
    let first = run.history.children.values().next();
    FinishError::Nothing {
        recipe: points[0].recipe.words(),
        how: first.map_or(String::new(), |child| match &child.message {
            Some(message) => format!("{}, {message}", child.status.word()),
            None => Status::word(child.status).to_owned(),
        }),
        path: run.path.clone(),
    }
}

/// What differs between two grids, in words.
fn differs(before: &Grid, now: &Grid) -> String {
    let (before, now) = (serde_json::to_value(before), serde_json::to_value(now));
    let (Ok(before), Ok(now)) = (before, now) else {
        return String::new();
    };
    let keys = now.as_object().into_iter().flatten().map(|(key, _)| key);
    let keys = keys.filter(|key| before.get(key) != now.get(key));
    keys.map(|key| key.replace('_', " "))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Writes a file of the folder, whole or not at all.
fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), FinishError> {
    let written = whole::write(disk, path, |file| file.write_all(bytes));
    Ok(written.map_err(|error| RunError::keep(path, error))?)
}
