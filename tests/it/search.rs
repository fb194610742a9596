//! The whole loop with the stub evaluator: counts, order, rewards, repeats, failures.

pub mod local;
mod lost;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nas_engine::controller::{Controller, ControllerConfig};
use nas_engine::disk::Real;
use nas_engine::run::Status;
use nas_engine::run::entry::{Child, Entry};
use nas_engine::run::history::History;
use nas_engine::run::journal::{self, FILE_NAME, Journal};
use nas_engine::search::evaluator::{Evaluator, Job, Stub};
use nas_engine::search::{End, Search, SearchError, Strategy};
use nas_engine::space::{ConvSpaceConfig, Space};

/// A search of a small space that the tests vary.
pub struct Case {
    pub samples: u64,
    pub children_per_update: u64,
    pub learns: bool,
    pub seed: u64,
}

impl Case {
    pub const DEFAULT: Case = Case {
        samples: 20,
        children_per_update: 8,
        learns: true,
        seed: 1,
    };

    /// Runs or resumes the search in `folder`.
    pub fn run(&self, folder: &Path, evaluator: &mut dyn Evaluator) -> Result<End, SearchError> {
        self.run_until(folder, evaluator, &AtomicBool::new(false))
    }

    /// As `run`, until `stop` is set.
    pub fn run_until(
        &self,
        folder: &Path,
        evaluator: &mut dyn Evaluator,
        stop: &AtomicBool,
    ) -> Result<End, SearchError> {
        let space = Space::new(&small_space().into()).unwrap();
        let path = folder.join(FILE_NAME);
        let (mut journal, mut history) = if path.exists() {
            let (journal, contents) = Journal::resume(&Real, &path)?;
            (journal, History::new(&path, contents)?)
        } else {
            (Journal::create(&Real, &path)?, History::default())
        };
        let strategy = match self.learns {
            true => Strategy::Policy(Box::new(Controller::new(
                space.clone(),
                &controller(),
                self.seed,
            ))),
            false => Strategy::Random { seed: self.seed },
        };
        Search {
            space: &space,
            strategy,
            samples: self.samples,
            children_per_update: self.children_per_update,
            evaluator,
            journal: &mut journal,
            history: &mut history,
            checkpoints: None,
            stop,
        }
        .run(&mut |_| {})
    }
}

/// Few architectures, so that repeats are common.
fn small_space() -> ConvSpaceConfig {
    ConvSpaceConfig {
        filter_heights: vec![1, 3],
        filter_widths: vec![3],
        filters: vec![8, 16],
        strides: vec![1],
        depth: 2,
        max_depth: 2,
        ..ConvSpaceConfig::preset("sample").unwrap()
    }
}

fn controller() -> ControllerConfig {
    ControllerConfig {
        learning_rate: 0.02,
        ..ControllerConfig::default()
    }
}

/// An accuracy that is a function of the architecture alone, worse in later epochs.
pub fn by_architecture(job: &Job) -> (Status, Vec<f64>) {
    let hash = crc32fast::hash(job.architecture.to_json().as_bytes());
    let best = f64::from(hash % 1000) / 1000.0;
    (
        Status::Ok,
        (0..7)
            .map(|epoch| best * (1.0 - 0.1 * f64::from(epoch)))
            .collect(),
    )
}

/// As `by_architecture`, with each kind of failure among them.
pub fn with_failures(job: &Job) -> (Status, Vec<f64>) {
    use Status::*;
    let hash = crc32fast::hash(job.architecture.to_json().as_bytes());
    let endings = [
        Ok,
        Ok,
        Diverged,
        TooLarge,
        Invalid,
        OutOfMemory,
        Crash,
        Timeout,
        Poison,
    ];
    match endings[(hash >> 8) as usize % endings.len()] {
        Ok => by_architecture(job),
        failure => (failure, Vec::new()),
    }
}

fn entries(folder: &Path) -> Vec<Entry> {
    let contents = journal::read(&Real, &folder.join(FILE_NAME)).unwrap();
    contents.lines.into_iter().map(|line| line.entry).collect()
}

fn children(folder: &Path) -> Vec<Child> {
    let child = |entry| match entry {
        Entry::Child(child) => Some(child),
        _ => None,
    };
    let mut children: Vec<_> = entries(folder).into_iter().filter_map(child).collect();
    children.sort_by_key(|child| child.sample);
    children
}

// paper P7.1
#[test]
fn every_sample_is_recorded_once_and_each_batch_is_learned_from_after_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case {
        samples: 20,
        children_per_update: 8,
        ..Case::DEFAULT
    };
    assert_eq!(
        case.run(folder.path(), &mut Stub::new(0, by_architecture))
            .unwrap(),
        End::Finished
    );
    let samples: Vec<u64> = children(folder.path())
        .iter()
        .map(|child| child.sample)
        .collect();
    assert_eq!(samples, (0..20).collect::<Vec<_>>());
    let mut ended = Vec::new();
    let mut batch = 0;
    for entry in entries(folder.path()) {
        match entry {
            Entry::Child(child) => {
                assert_eq!((child.batch, child.batch), (child.sample / 8, batch));
                ended.push(child.sample);
            }
            Entry::Update(update) => {
                ended.sort();
                assert_eq!(
                    (update.batch, &update.samples, &update.counted),
                    (batch, &ended, &ended)
                );
                ended.clear();
                batch += 1;
            }
            _ => {}
        }
    }
    assert_eq!(
        (batch, ended),
        (3, vec![]),
        "the last batch is smaller, and learned from too"
    );
}

#[test]
fn the_order_in_which_children_end_changes_nothing() {
    let facts = |order| {
        let folder = tempfile::tempdir().unwrap();
        Case::DEFAULT
            .run(folder.path(), &mut Stub::new(order, with_failures))
            .unwrap();
        journal::facts(&Real, &folder.path().join(FILE_NAME)).unwrap()
    };
    let first = facts(0);
    for order in 1..6 {
        assert_eq!(first, facts(order), "order {order}");
    }
}

// paper P6.8
#[test]
fn rewards_follow_the_best_of_the_last_five_epochs() {
    let folder = tempfile::tempdir().unwrap();
    Case::DEFAULT
        .run(folder.path(), &mut Stub::new(0, with_failures))
        .unwrap();
    for child in children(folder.path()) {
        let expected = match child.status {
            Status::Ok => {
                let accuracies = child.scores.values();
                let best = accuracies[accuracies.len() - 5];
                Some(best * best * best)
            }
            Status::Diverged | Status::TooLarge | Status::Invalid => Some(0.0),
            Status::Crash | Status::Timeout | Status::OutOfMemory | Status::Poison => None,
        };
        let difference = child
            .reward
            .zip(expected)
            .map_or(0.0, |(a, b)| (a - b).abs());
        assert!(
            child.reward.is_some() == expected.is_some() && difference < 1e-12,
            "{child:?}"
        );
    }
}

// paper P5.2
#[test]
fn the_baseline_is_the_moving_average_of_the_rewards_that_counted() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case {
        samples: 60,
        children_per_update: 5,
        ..Case::DEFAULT
    };
    case.run(folder.path(), &mut Stub::new(0, with_failures))
        .unwrap();
    let children = children(folder.path());
    let mut baseline = None;
    for entry in entries(folder.path()) {
        let Entry::Update(update) = entry else {
            continue;
        };
        let rewards: Vec<f64> = update
            .samples
            .iter()
            .filter_map(|&s| children[s as usize].reward)
            .collect();
        let counted = update
            .samples
            .iter()
            .filter(|&&s| children[s as usize].reward.is_some());
        assert_eq!(update.counted, counted.copied().collect::<Vec<_>>());
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        let used = baseline.unwrap_or(mean);
        assert!(
            (update.baseline.unwrap() - used).abs() < 1e-12,
            "{update:?}, expected {used}"
        );
        baseline = Some(match baseline {
            None => mean,
            Some(b) => rewards.iter().fold(b, |b, reward| 0.95 * b + 0.05 * reward),
        });
    }
}

#[test]
fn a_repeat_is_answered_from_the_record_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut trained = HashMap::<String, u64>::new();
    let mut stub = Stub::new(3, |job: &Job| {
        let answer = with_failures(job);
        let first = trained.insert(job.architecture.to_json(), job.sample);
        assert!(
            first.is_none() || !answer.0.is_verdict(),
            "trained twice: {job:?}"
        );
        answer
    });
    let case = Case {
        samples: 120,
        ..Case::DEFAULT
    };
    case.run(folder.path(), &mut stub).unwrap();
    let children = children(folder.path());
    let mut first = HashMap::new();
    let mut n_repeats = 0;
    for child in &children {
        let key = child.architecture.to_string();
        let original = first
            .get(&key)
            .map(|&sample: &u64| &children[sample as usize]);
        assert_eq!(
            child.duplicate_of,
            original.map(|child| child.sample),
            "{child:?}"
        );
        if let Some(original) = original {
            n_repeats += 1;
            assert_eq!(
                (child.status, &child.scores, child.reward),
                (original.status, &original.scores, original.reward)
            );
        } else if child.status.is_verdict() {
            first.insert(key, child.sample);
        }
    }
    assert!(
        n_repeats > 5,
        "{n_repeats} repeats in {} samples test nothing",
        children.len()
    );
}

#[test]
fn a_batch_of_machine_faults_makes_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut stub = Stub::new(0, |job: &Job| match job.sample / 8 {
        1 => (Status::Crash, vec![]),
        _ => by_architecture(job),
    });
    let case = Case {
        samples: 24,
        ..Case::DEFAULT
    };
    case.run(folder.path(), &mut stub).unwrap();
    let crashed: Vec<u64> = children(folder.path())
        .iter()
        .filter(|child| child.status == Status::Crash)
        .map(|child| child.sample)
        .collect();
    assert!(
        !crashed.is_empty() && crashed.iter().all(|s| s / 8 == 1),
        "{crashed:?}"
    );
    for entry in entries(folder.path()) {
        let Entry::Update(update) = entry else {
            continue;
        };
        assert!(
            update
                .counted
                .iter()
                .all(|sample| !crashed.contains(sample)),
            "{update:?}"
        );
        assert!(!update.counted.is_empty(), "{update:?}");
    }
}

// paper P9.5
#[test]
fn random_search_records_no_updates() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case {
        learns: false,
        ..Case::DEFAULT
    };
    case.run(folder.path(), &mut Stub::new(0, by_architecture))
        .unwrap();
    assert!(
        entries(folder.path())
            .iter()
            .all(|entry| !matches!(entry, Entry::Update(_)))
    );
    assert_eq!(children(folder.path()).len(), 20);
}

#[test]
fn a_stopped_search_goes_on_as_if_never_stopped() {
    let whole = tempfile::tempdir().unwrap();
    Case::DEFAULT
        .run(whole.path(), &mut Stub::new(0, with_failures))
        .unwrap();
    let stopped = tempfile::tempdir().unwrap();
    let mut n_sessions = 0;
    loop {
        n_sessions += 1;
        assert!(n_sessions < 20, "a session that gets nowhere");
        let (stop, mut left) = (AtomicBool::new(false), 3);
        let mut stub = Stub::new(n_sessions, |job: &Job| {
            left -= 1;
            stop.store(left == 0, Ordering::Relaxed);
            with_failures(job)
        });
        match Case::DEFAULT
            .run_until(stopped.path(), &mut stub, &stop)
            .unwrap()
        {
            End::Stopped => continue,
            End::Finished => break,
            End::NoDevice(words) => panic!("the stub has no device to lose: {words}"),
        }
    }
    assert!(n_sessions > 3, "stopped {n_sessions} times only");
    let facts = |folder: &Path| journal::facts(&Real, &folder.join(FILE_NAME)).unwrap();
    assert_eq!(facts(whole.path()), facts(stopped.path()));
}

#[test]
fn more_samples_extend_a_finished_search() {
    let folder = tempfile::tempdir().unwrap();
    for samples in [10, 20] {
        let case = Case {
            samples,
            ..Case::DEFAULT
        };
        case.run(folder.path(), &mut Stub::new(0, by_architecture))
            .unwrap();
    }
    // 8, 2, then whole batches again: an update on record is never taken back.
    let batches: Vec<u64> = children(folder.path())
        .iter()
        .map(|child| child.batch)
        .collect();
    let expected = [[0; 8].as_slice(), &[1; 2], &[2; 8], &[3; 2]].concat();
    assert_eq!(batches, expected);
}

#[test]
fn another_search_does_not_go_on_with_this_journal() {
    let folder = tempfile::tempdir().unwrap();
    Case::DEFAULT
        .run(folder.path(), &mut Stub::new(0, by_architecture))
        .unwrap();
    let other = Case {
        seed: 2,
        samples: 30,
        ..Case::DEFAULT
    };
    let error = other
        .run(folder.path(), &mut Stub::new(0, by_architecture))
        .unwrap_err();
    assert!(matches!(error, SearchError::OtherSearch { .. }), "{error}");
}
