//! Small honest runs with every kind of line and of ending, made by the search's own loop.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nas_engine::config::{Config, StrategyKind};
use nas_engine::data::Dataset;
use nas_engine::device::{self, Convolution};
use nas_engine::disk::Real;
use nas_engine::graph::Graph;
use nas_engine::graph::cost::Costs;
use nas_engine::run::entry::{Entry, RunTiming, Started};
use nas_engine::run::history::History;
use nas_engine::run::journal::{self, Journal};
use nas_engine::run::{self, Status, record};
use nas_engine::search::audit::{Audit, audit};
use nas_engine::search::evaluator::{Evaluator, Job, News, Stub};
use nas_engine::search::{End, Search, Strategy};
use nas_engine::space::{Architecture, CellSpaceConfig, ConvSpaceConfig, LayerType, Space};
use nas_engine::train::{Course, Scores};
use tempfile::TempDir;

/// Images that validate, of the 100 of the synthetic set.
const N_VALIDATION: f64 = 10.0;

/// Samples of a run.
const SAMPLES: u64 = 36;

/// A run's directory.
pub struct Made {
    folder: TempDir,
    pub config: Config,
}

/// What the CPU's bits depend on.
pub fn processor() -> String {
    let cpu = device::open("cpu", Some(1), Convolution::Auto).unwrap();
    cpu.model()
}

/// Networks of a controller, pools that may not fit among them.
pub fn networks() -> Made {
    Made::new(networks_config())
}

/// The same, drawn uniformly.
pub fn random() -> Made {
    let mut config = networks_config();
    config.search.strategy = StrategyKind::Random;
    Made::new(config)
}

/// The same, bred from a small population.
pub fn evolution() -> Made {
    let mut config = networks_config();
    config.search.strategy = StrategyKind::Evolution;
    (config.search.population, config.search.tournament) = (Some(6), Some(3));
    Made::new(config)
}

fn networks_config() -> Config {
    let mut config = Config::preset("sample").unwrap();
    config.space = ConvSpaceConfig {
        filter_heights: vec![3],
        filter_widths: vec![3],
        filters: vec![8, 16],
        strides: vec![1],
        first_stride: Some(1),
        predict_layer_type: true,
        layer_types: vec![LayerType::Conv, LayerType::MaxPool],
        pool_windows: vec![8],
        pool_strides: vec![8, 7],
        depth: 1,
        depth_step: 1,
        depth_every: 4,
        max_depth: 2,
        ..ConvSpaceConfig::preset("sample").unwrap()
    }
    .into();
    config
}

/// Cells of a controller.
pub fn cells() -> Made {
    let mut config = Config::preset("cell-sample").unwrap();
    let preset = CellSpaceConfig::preset("ptb").unwrap();
    config.space = CellSpaceConfig {
        base: 2,
        combinations: preset.combinations[..1].to_vec(),
        activations: preset.activations[..2].to_vec(),
    }
    .into();
    Made::new(config)
}

impl Made {
    /// A run of four sessions, the first two of which stop early.
    fn new(mut config: Config) -> Made {
        config.search.samples = SAMPLES;
        config.search.children_per_update = 5;
        config.search.seed = 3;
        config.controller.hidden = 3;
        config.controller.learning_rate = 0.01;
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let made = Made { folder, config };
        made.write_config();
        let mut attempts = HashMap::new();
        for (session, stop_after) in [6, 7, 9, usize::MAX].into_iter().enumerate() {
            // The third is asked for fewer samples, so that a batch ends early.
            let samples = if session == 2 { 26 } else { SAMPLES };
            made.session(session as u64, samples, stop_after, &mut attempts);
        }
        made
    }

    fn session(
        &self,
        session: u64,
        samples: u64,
        stop_after: usize,
        attempts: &mut HashMap<u64, usize>,
    ) {
        let path = self.journal();
        let (mut journal, mut history) = match path.exists() {
            true => {
                let (journal, contents) = Journal::resume(&Real, &path).unwrap();
                (journal, History::new(&path, contents).unwrap())
            }
            false => (Journal::create(&Real, &path).unwrap(), History::default()),
        };
        let started = Started {
            version: env!("CARGO_PKG_VERSION").into(),
            config_sha256: self.config.sha256(),
            data_sha256: Arc::new(Dataset::synthetic(100, 10, 10, 1)).sha256(),
            samples,
            timing: RunTiming {
                at: run::now(),
                device: processor(),
                threads: 2,
            },
        };
        journal.append(&Entry::Run(started.clone())).unwrap();
        history.add_run(started);
        let stop = AtomicBool::new(false);
        let epochs = self.config.train.epochs();
        let mut n_answers = 0;
        let answer = |job: &Job| {
            n_answers += 1;
            stop.store(n_answers >= stop_after, Ordering::Relaxed);
            let attempt = attempts.entry(job.sample).or_default();
            *attempt += 1;
            answer(job, *attempt, epochs)
        };
        let space = Space::new(&self.config.space).unwrap();
        let mut evaluator = Honest {
            stub: Stub::new(session, answer),
            lost: None,
            n_news: 0,
        };
        let mut search = Search {
            space: &space,
            strategy: Strategy::new(&self.config, &space),
            samples,
            children_per_update: self.config.search.children_per_update,
            evaluator: &mut evaluator,
            journal: &mut journal,
            history: &mut history,
            checkpoints: None,
            stop: &stop,
        };
        let end = search.run(&mut |_| {}).unwrap();
        assert!(stop_after < usize::MAX || end == End::Finished, "{end:?}");
    }

    pub fn write_config(&self) {
        let path = self.folder.path().join("config.toml");
        fs::write(path, self.config.to_toml()).unwrap();
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join(journal::FILE_NAME)
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.journal()).unwrap()
    }

    pub fn entries(&self) -> Vec<Entry> {
        let contents = journal::read(&Real, &self.journal()).unwrap();
        contents.lines.into_iter().map(|line| line.entry).collect()
    }

    pub fn audit(&self, data: Option<&Course>) -> Audit {
        let record = record(&Real, self.folder.path(), &[]).unwrap();
        audit(record, data, &processor()).unwrap()
    }

    /// The audit of another journal in the place of its own.
    pub fn audit_of(&self, journal: &str, data: Option<&Course>) -> Audit {
        let honest = self.text();
        fs::write(self.journal(), journal).unwrap();
        let audit = self.audit(data);
        fs::write(self.journal(), honest).unwrap();
        audit
    }
}

/// How a child ends: a function of its architecture, but that machines fail it now and then.
fn answer(job: &Job, attempt: usize, epochs: usize) -> (Status, Vec<f64>) {
    use Status::*;
    let hash = crc32fast::hash(job.architecture.to_json().as_bytes()) >> 4;
    if let Architecture::Conv(network) = &job.architecture
        && Graph::new(network, 10).is_err()
    {
        return (Invalid, vec![]);
    }
    let fault = match (attempt, job.sample % 8) {
        (1, 1) => Some(OutOfMemory),
        (1 | 2, 4) => Some(Crash),
        (_, 6) if job.sample > 12 => Some(Timeout),
        (_, 3) if job.sample > 8 => Some(Poison),
        _ => None,
    };
    let score = |epoch: usize| match &job.architecture {
        Architecture::Conv(_) => f64::from((hash + epoch as u32) % 10) / N_VALIDATION,
        _ => 20.0 + f64::from(hash % 100) - epoch as f64,
    };
    match (fault, hash % 7) {
        (Some(fault), _) => (fault, vec![]),
        (None, 0 | 3) => (Diverged, vec![score(0)]),
        (None, 1) => (TooLarge, vec![]),
        (None, _) => (Ok, (0..epochs).map(score).collect()),
    }
}

/// The stub, which also says what a trainer says: parameters, perplexities of cells, lost GPUs.
struct Honest<F> {
    stub: Stub<F>,
    /// What comes after the GPU was lost.
    lost: Option<News>,
    n_news: usize,
}

impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Evaluator for Honest<F> {
    fn submit(&mut self, jobs: Vec<Job>) {
        for job in &jobs {
            let key = (job.sample, job.architecture.clone());
            ARCHITECTURES.with_borrow_mut(|known| known.insert(key.0, key.1));
        }
        self.stub.submit(jobs);
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        if let Some(news) = self.lost.take() {
            return Some(news);
        }
        let News::Ended(mut outcome) = self.stub.next(patience)? else {
            return None;
        };
        let sample = outcome.sample;
        let architecture = ARCHITECTURES.with_borrow(|known| known[&sample].clone());
        let was_built = outcome.status.is_verdict() && outcome.status != Status::Invalid;
        outcome.parameters = was_built.then(|| match &architecture {
            Architecture::Conv(network) => {
                Costs::new(&Graph::new(network, 10).unwrap()).parameters()
            }
            _ => 12_345,
        });
        if matches!(architecture, Architecture::Cell(_)) {
            outcome.scores = Scores::Perplexities(outcome.scores.values().to_vec());
        }
        self.n_news += 1;
        let news = News::Ended(outcome);
        if self.n_news % 9 != 5 {
            return Some(news);
        }
        self.lost = Some(news);
        Some(News::Lost {
            sample,
            words: "the GPU has fallen off the bus".into(),
        })
    }

    fn stop(&mut self) -> Vec<News> {
        self.lost.take().into_iter().collect()
    }
}

thread_local! {
    /// Architectures of the jobs of this thread's search.
    static ARCHITECTURES: std::cell::RefCell<HashMap<u64, Architecture>> = HashMap::new().into();
}
