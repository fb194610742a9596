//! From a search to a result: the best architectures of a run are trained by every recipe of a small
//! grid on the training split; what validates best is trained on all training records, and the test
//! records are read once. All of it is kept in a folder of the run, itself a run's directory: stopped
//! anywhere, it goes on.
// paper P9.1, P9.2, P9.3, P9.4

mod error;
pub mod grid;
mod last;
pub mod progress;
mod trials;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use crate::config::{Config, Staleness, StrategyKind};
use crate::device::Devices;
use crate::disk::{Disk, Found, whole};
use crate::run::entry::Child;
use crate::run::history::History;
use crate::run::state::State;
use crate::run::{Run, RunError, Status, journal};
use crate::space::{Architecture, CellArchitecture};
use crate::train::{Course, EpochReport, TrainConfig, TrainError};
pub use error::FinishError;
use grid::{Grid, Point};
pub use last::Last;
use progress::Progress;

/// Name of the folder within a run's directory.
pub const FOLDER: &str = "finish";

/// Name of the file that says what is tried.
const GRID_FILE: &str = "grid.json";

/// Bytes of that file at most: a thousand candidates of any size have fewer.
const MOST_BYTES: u64 = 1 << 28;

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
    ) -> Result<Progress, FinishError> {
        let config = self.own_config();
        let mut run = match self.has_begun(&**disk, folder)? {
            true => Run::open(Arc::clone(disk), folder.into(), &[])?.1,
            false => self.begin(disk, folder, &config)?,
        };
        let points = self.grid.points();
        check_record(folder, &run.history, &self.grid)?;
        run.check_same(&config, &self.course)?;
        trials::all(self, &mut run, &config, &points, watch)?;
        let Some(best) = run.history.best() else {
            return Err(nothing(&points, &run));
        };
        let chosen = points[best.sample as usize].clone();
        let own = &self.grid.candidates[chosen.candidate].architecture;
        let text = format!("{}\n", own.to_json());
        write(
            &**disk,
            &folder.join(last::ARCHITECTURE_FILE),
            text.as_bytes(),
        )?;
        let own = own.clone();
        let last = self.last(&mut run, &config, last::CHOICE, (&chosen, &own), watch)?;
        let control = match own {
            Architecture::Cell(_) => {
                let lstm = CellArchitecture::Lstm.into();
                Some(self.last(&mut run, &config, last::CONTROL, (&chosen, &lstm), watch)?)
            }
            _ => None,
        };
        Ok(Progress {
            folder: folder.into(),
            state: State::Finished,
            grid: self.grid.clone(),
            tried: run.history.children,
            chosen: Some(chosen),
            last: Some(last),
            control,
        })
    }

    /// Trains what was chosen, or the control, by its recipe on all records; what came of that before, where it has
    /// ended.
    fn last(
        &self,
        run: &mut Run,
        config: &Config,
        name: &str,
        (point, architecture): (&Point, &Architecture),
        watch: &mut dyn FnMut(Event),
    ) -> Result<Last, FinishError> {
        if let Some(last) = self.place(run, config).before(name, point)? {
            return Ok(last);
        }
        if run.history.stopped {
            trials::begin_session(self, run, config)?;
        }
        let is_control = name == last::CONTROL;
        let mut on_epoch = |epoch: &EpochReport| watch(Event::Epoch(epoch, is_control));
        let place = self.place(run, config);
        let trained = place.train(name, point, architecture, &mut on_epoch);
        if let Err(FinishError::Train(TrainError::Stopped)) = trained {
            trials::end_session(run)?;
        }
        trained
    }

    fn place<'a>(&'a self, run: &'a Run, config: &'a Config) -> last::Place<'a> {
        last::Place {
            finish: self,
            run,
            config,
        }
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
        let Some(before) = read_grid(disk, folder)? else {
            return Ok(false);
        };
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
        if !run.history.runs.is_empty() {
            return Err(FinishError::Unfit {
                path: folder.into(),
                why: format!("{GRID_FILE}, which says what was tried, is missing"),
            });
        }
        let text = serde_json::to_vec_pretty(&self.grid).expect("numbers and names are JSON");
        write(&**disk, &folder.join(GRID_FILE), &text)?;
        Ok(run)
    }
}

/// What a folder's work tries; nothing where none has begun there.
fn read_grid(disk: &dyn Disk, folder: &Path) -> Result<Option<Grid>, FinishError> {
    let path = folder.join(GRID_FILE);
    let unfit = |why: String| {
        let path = folder.into();
        FinishError::Unfit { path, why }
    };
    let reading = |source| RunError::Read {
        path: path.clone(),
        source,
    };
    match disk.found(&path) {
        Ok(Some(Found::File(_))) => {}
        Ok(None) => return Ok(None),
        Ok(Some(_)) => return Err(unfit(format!("{GRID_FILE} is no file"))),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(unfit("it is no folder".to_owned()));
        }
        Err(error) => return Err(reading(error).into()),
    }
    let bytes = disk.read_start(&path, MOST_BYTES).map_err(reading)?;
    let grid = serde_json::from_slice::<Grid>(&bytes).map_err(|error| error.to_string());
    let grid = grid.and_then(|grid| match grid.check() {
        Ok(()) => Ok(grid),
        Err(error) => Err(error.to_string()),
    });
    let damaged = |why| unfit(format!("{GRID_FILE} is damaged: {why}"));
    Ok(Some(grid.map_err(damaged)?))
}

/// That a journal's trainings are those of the grid.
fn check_record(folder: &Path, history: &History, grid: &Grid) -> Result<(), FinishError> {
    let points = grid.points();
    let is_of_grid = |child: &&Child| {
        let point = points.get(usize::try_from(child.sample).unwrap_or(usize::MAX));
        point.is_some_and(|point| {
            let architecture = &grid.candidates[point.candidate].architecture;
            let is_trained = serde_json::to_value(architecture);
            point.places == child.tokens && is_trained.is_ok_and(|json| json == child.architecture)
        })
    };
    match history.children.values().find(|child| !is_of_grid(child)) {
        None => Ok(()),
        Some(child) => Err(FinishError::Unfit {
            path: folder.into(),
            why: format!(
                "training {} in its {} is none of the grid",
                child.sample,
                journal::FILE_NAME
            ),
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

/// What differs between two grids, by the flags that say it.
fn differs(before: &Grid, now: &Grid) -> String {
    let samples = |grid: &Grid| {
        let samples = grid.candidates.iter().map(|candidate| candidate.sample);
        format!("{:?}", samples.collect::<Vec<_>>())
    };
    let mut differences = match (samples(before), samples(now)) {
        (before, now) if before == now => vec![],
        (before, now) => vec![format!(
            "the best samples of the search {before}, now {now}"
        )],
    };
    let (before, now) = (serde_json::to_value(before), serde_json::to_value(now));
    let (Ok(before), Ok(now)) = (before, now) else {
        return differences.join("; ");
    };
    for (key, value) in now.as_object().into_iter().flatten() {
        // What is trained of the same samples depends on the flags.
        if key != "candidates" && before.get(key) != Some(value) {
            let flag = key.replace('_', "-");
            let words = |value: Option<&Value>| {
                let words = value.map_or(String::new(), ToString::to_string);
                words.trim_matches(['[', ']']).to_owned()
            };
            let (before, now) = (words(before.get(key)), words(Some(value)));
            differences.push(format!("--{flag} {before}, now {now}"));
        }
    }
    match differences.is_empty() {
        true => "what the best samples of the search are".to_owned(),
        false => differences.join("; "),
    }
}

/// Writes a file of the folder, whole or not at all.
fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), FinishError> {
    let written = whole::write(disk, path, |file| file.write_all(bytes));
    Ok(written.map_err(|error| RunError::keep(path, error))?)
}
