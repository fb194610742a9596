//! Searches on a test disk, what they promise while they run, and what must be there at their end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nas_engine::checkpoint::Slots;
use nas_engine::config::{self, Config};
use nas_engine::controller::Controller;
use nas_engine::data::Dataset;
use nas_engine::device::{Convolution, Devices};
use nas_engine::disk::Disk;
use nas_engine::run::checkpoints::{self, Checkpoints};
use nas_engine::run::entry::{Entry, RunTiming, Started};
use nas_engine::run::journal::{self, FILE_NAME};
use nas_engine::run::{BEST_FILE_NAME, Run, WEIGHTS_FOLDER};
use nas_engine::search::evaluator::Stub;
use nas_engine::search::session::{Session, SessionError};
use nas_engine::search::{ControllerCheckpoints, End, Event, Search, Strategy};
use nas_engine::space::{ConvSpaceConfig, Space};
use nas_engine::train::{Course, NetworkConfig, TrainConfig};

use super::disk::TestDisk;
use crate::search::with_failures;

/// A search, and who trains its children.
pub struct Case {
    pub config: Config,
    /// What real children are trained on; with none, a stub answers.
    dataset: Option<Arc<Dataset>>,
    threads: usize,
}

/// Where it is kept.
pub fn path() -> &'static Path {
    Path::new("/runs/one")
}

pub fn file(name: &str) -> PathBuf {
    path().join(name)
}

/// Settings of a search with few architectures, so that repeats are common, and with checkpoints at
/// every occasion.
fn settings(
    samples: u64,
    children_per_update: u64,
    sides: [usize; 2],
    filters: [usize; 2],
) -> Config {
    let mut config = Config::preset("sample").unwrap();
    config.search.samples = samples;
    config.search.children_per_update = children_per_update;
    config.controller.hidden = 4;
    config.controller.learning_rate = 0.02;
    config.space = ConvSpaceConfig {
        filter_heights: sides.into(),
        filter_widths: vec![1],
        filters: filters.into(),
        strides: vec![1],
        depth: 2,
        max_depth: 2,
        ..ConvSpaceConfig::preset("sample").unwrap()
    }
    .into();
    let TrainConfig::Network(train) = config.train else {
        panic!("the preset is one of networks");
    };
    config.train = TrainConfig::Network(NetworkConfig {
        epochs: 4,
        batch: 16,
        checkpoint_seconds: Some(0),
        ..train
    });
    config
}

impl Case {
    /// Forty children that a stub answers for, repeats and every failure among them.
    pub fn stub() -> Case {
        Case {
            config: settings(40, 8, [1, 3], [8, 16]),
            dataset: None,
            threads: 1,
        }
    }

    /// A few small networks that are trained, two at a time.
    pub fn real(samples: u64) -> Case {
        Case {
            config: settings(samples, 3, [1, 3], [2, 3]),
            dataset: Some(Arc::new(Dataset::synthetic(40, 8, 10, 3))),
            threads: 2,
        }
    }

    /// Begins the run or goes on with it, as a user would who types the one command or the other.
    ///
    /// # Errors
    /// The program's words.
    pub fn session(&self, disk: &TestDisk, heard: &mut Heard) -> Result<End, String> {
        self.try_session(disk, heard)
            .map_err(|error| error.to_string())
    }

    fn try_session(&self, disk: &TestDisk, heard: &mut Heard) -> Result<End, SessionError> {
        heard.begun.clear();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let settings = disk.found(&file(config::FILE_NAME));
        let (config, mut run) = match settings.is_ok_and(|found| found.is_some()) {
            true => Run::open(shared, path().into(), &[])?,
            false => {
                let run = Run::create(shared, path().into(), &self.config)?;
                (self.config.clone(), run)
            }
        };
        heard.has_begun = true;
        if run
            .history
            .is_finished(config.search.samples, config.search.strategy)
        {
            run.tidy()?;
            return Ok(End::Finished);
        }
        let stop = AtomicBool::new(false);
        let mut watch = |event: Event| heard.hear(&event);
        let Some(dataset) = &self.dataset else {
            return self.go_on_with_stub(&mut run, &mut watch);
        };
        let TrainConfig::Network(train) = config.train.clone() else {
            panic!("the run is one of networks");
        };
        let course = Course::Images(Arc::clone(dataset), train);
        run.check_same(&config, &course)?;
        run.write_config(&config)?;
        Session {
            config: &config,
            course,
            devices: Devices::Cpu(Convolution::Auto),
            threads: self.threads,
        }
        .go_on(&mut run, &stop, &mut watch)
    }

    /// As a session with real children does.
    fn go_on_with_stub(
        &self,
        run: &mut Run,
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SessionError> {
        let folder = run.path.join(checkpoints::FOLDER);
        let checkpoints = Checkpoints::open(Arc::clone(&run.disk), folder, &run.history)?;
        let started = Started {
            version: "0".into(),
            config_sha256: self.config.sha256(),
            data_sha256: "none".into(),
            samples: self.config.search.samples,
            timing: RunTiming {
                at: nas_engine::run::now(),
                device: "stub".into(),
                threads: 1,
            },
        };
        run.journal.append(&Entry::Run(started.clone()))?;
        run.history.add_run(started);
        let space = Space::new(&self.config.space)?;
        let seed = self.config.search.seed;
        let controller = Controller::new(space.clone(), &self.config.controller, seed);
        let end = Search {
            space: &space,
            strategy: Strategy::Policy(Box::new(controller)),
            samples: self.config.search.samples,
            children_per_update: self.config.search.children_per_update,
            evaluator: &mut Stub::new(run.journal.length(), with_failures),
            journal: &mut run.journal,
            history: &mut run.history,
            checkpoints: Some(ControllerCheckpoints::new(
                checkpoints.controller(),
                self.config.sha256(),
                Duration::ZERO,
            )),
            stop: &AtomicBool::new(false),
        }
        .run(watch);
        let written = run.write_best();
        let end = end?;
        written?;
        Ok(end)
    }

    /// The search on a sound disk.
    pub fn whole(&self) -> Whole {
        let (disk, mut heard) = (TestDisk::new(), Heard::default());
        let end = self.session(&disk, &mut heard);
        assert_eq!(end, Ok(End::Finished));
        let whole = Whole {
            facts: journal::facts(&disk, &file(FILE_NAME)).unwrap(),
            weights: disk.files(&file(WEIGHTS_FOLDER)),
            best: disk.read(&file(BEST_FILE_NAME)).unwrap(),
            config: disk.read(&file(config::FILE_NAME)).unwrap(),
            n_epochs: heard.n_epochs,
            disk,
        };
        whole.check_end(&whole.disk).unwrap();
        whole
    }
}

/// A search that nothing came in the way of.
pub struct Whole {
    pub disk: TestDisk,
    pub facts: Vec<String>,
    pub weights: BTreeMap<PathBuf, Vec<u8>>,
    best: Vec<u8>,
    config: Vec<u8>,
    /// Epochs trained.
    pub n_epochs: usize,
}

impl Whole {
    /// That a search ended with all that this one has, and left nothing lying about.
    pub fn check_end(&self, disk: &TestDisk) -> Result<(), String> {
        self.check_found(disk)?;
        if disk.files(&file(WEIGHTS_FOLDER)) != self.weights {
            return Err("weights that are not of the best".into());
        }
        let of_controller = [
            file("checkpoints/controller"),
            file("checkpoints/controller.2"),
        ];
        let files = disk.files(Path::new("/"));
        let left = files.into_keys().find(|path| {
            let is_unfinished = path.to_string_lossy().ends_with(".unfinished");
            let is_checkpoint = path.starts_with(file("checkpoints"));
            is_unfinished || (is_checkpoint && !of_controller.contains(path))
        });
        left.map_or(Ok(()), |path| Err(format!("{} is left", path.display())))
    }

    /// That all is there, whatever else is.
    fn check_found(&self, disk: &TestDisk) -> Result<(), String> {
        let facts = journal::facts(disk, &file(FILE_NAME)).map_err(|error| error.to_string())?;
        if facts != self.facts {
            let differs = facts.iter().zip(&self.facts).find(|(a, b)| a != b);
            return Err(format!("other facts: {differs:?} of {}", facts.len()));
        }
        if disk.read(&file(BEST_FILE_NAME)).ok().as_ref() != Some(&self.best) {
            return Err("best.json is not of the best".into());
        }
        self.check_weights(disk, |_| true)
    }

    /// That the weights of those of the best that are on record are there.
    fn check_weights(
        &self,
        disk: &TestDisk,
        is_on_record: impl Fn(u64) -> bool,
    ) -> Result<(), String> {
        for (path, weights) in &self.weights {
            let sample = path.file_stem().unwrap().to_str().unwrap().parse();
            if is_on_record(sample.unwrap()) && disk.read(path).ok().as_ref() != Some(weights) {
                return Err(format!("the weights {} are lost", path.display()));
            }
        }
        Ok(())
    }

    /// That what was heard of a search is on a disk.
    pub fn check_promises(&self, disk: &TestDisk, heard: &Heard) -> Result<(), String> {
        if let Some(words) = &heard.repeated {
            return Err(words.clone());
        }
        let config = disk.read(&file(config::FILE_NAME)).ok();
        if heard.has_begun && config.as_ref() != Some(&self.config) {
            return Err("the settings of a run that had begun are lost".into());
        }
        let lines = match journal::read(disk, &file(FILE_NAME)) {
            Ok(contents) => contents.lines,
            Err(_) if heard.children.is_empty() => vec![],
            Err(error) => return Err(error.to_string()),
        };
        let mut children = BTreeSet::new();
        let mut updates = BTreeSet::new();
        for line in lines {
            match line.entry {
                Entry::Child(child) => drop(children.insert(child.sample)),
                Entry::Update(update) => drop(updates.insert(update.batch)),
                _ => {}
            }
        }
        if !heard.children.is_subset(&children) || !heard.updates.is_subset(&updates) {
            return Err("facts that were on record are lost".into());
        }
        self.check_weights(disk, |sample| children.contains(&sample))?;
        let slots = file("checkpoints/controller");
        let saved = Slots::new(Arc::new(disk.clone()), slots)
            .read::<serde_json::Value>()
            .0;
        let next = saved.map_or(0, |saved| saved.header["batch"].as_u64().unwrap());
        let promised = heard.updates.last().map_or(0, |last| last + 1);
        if next < promised {
            return Err(format!(
                "the controller's checkpoint is of {next}, not {promised}"
            ));
        }
        match heard.is_finished {
            true => self.check_found(disk),
            false => Ok(()),
        }
    }
}

/// What a search has told: it must be there whatever happens.
#[derive(Default)]
pub struct Heard {
    children: BTreeSet<u64>,
    /// Batches that the controller learned from.
    updates: BTreeSet<u64>,
    /// Epochs done, by sample.
    epochs: BTreeMap<u64, usize>,
    /// Samples that were begun in this session.
    begun: BTreeSet<u64>,
    /// Whether there was a run to go on with.
    has_begun: bool,
    pub is_finished: bool,
    /// Epochs trained, those that were repeated again.
    pub n_epochs: usize,
    /// More than one epoch was done again.
    repeated: Option<String>,
}

impl Heard {
    fn hear(&mut self, event: &Event) {
        match *event {
            Event::Epoch { sample, epoch } => {
                let before = self.epochs.get(&sample).copied().unwrap_or(0);
                // When an epoch ends, the checkpoint of the one before is on disk.
                if !self.begun.insert(sample) {
                    self.n_epochs += 1;
                } else if epoch + 1 < before {
                    let words =
                        format!("sample {sample} goes on after epoch {epoch}, not {before}");
                    self.repeated = Some(words);
                }
                self.epochs.insert(sample, epoch.max(before));
            }
            Event::Ended(child) => drop(self.children.insert(child.sample)),
            Event::Batch { batch, history } => {
                if history.updates.contains_key(&batch) {
                    self.updates.insert(batch);
                }
            }
        }
    }
}
