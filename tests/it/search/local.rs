//! The evaluator of this process: a child that fails ends alone.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nas_engine::config::Config;
use nas_engine::data::{Dataset, RECORD_BYTES};
use nas_engine::device::Convolution;
use nas_engine::search::evaluator::{Evaluator, Job, News, Outcome, Status};
use nas_engine::search::local::{Local, Settings};
use nas_engine::space::Architecture;
use nas_engine::train::TrainConfig;

fn settings(dataset: Dataset, threads: usize, memory: u64) -> Settings {
    let train = TrainConfig {
        epochs: 2,
        batch: 16,
        ..Config::preset("sample").unwrap().train
    };
    Settings {
        dataset: Arc::new(dataset),
        train,
        seed: 0,
        device: "cpu".to_owned(),
        convolution: Convolution::Auto,
        threads,
        memory,
        best_weights: None,
    }
}

fn job(sample: u64, filters: usize) -> Job {
    let json = format!(
        "{{\"space\":\"conv\",\"layers\":[{{\"filter\":[1,1],\"filters\":{filters},\"inputs\":[0]}}]}}"
    );
    Job {
        sample,
        architecture: Architecture::from_json(&json).unwrap(),
    }
}

/// The outcomes of jobs that are submitted together, by sample.
fn outcomes(settings: Settings, jobs: Vec<Job>) -> Vec<Outcome> {
    let mut local = Local::new(settings).unwrap();
    let n_jobs = jobs.len();
    local.submit(jobs);
    let began = Instant::now();
    let mut outcomes = Vec::new();
    while outcomes.len() < n_jobs {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "a child never ended"
        );
        if let Some(News::Ended(outcome)) = local.next(Duration::from_secs(1)) {
            outcomes.push(outcome);
        }
    }
    outcomes.sort_by_key(|outcome| outcome.sample);
    outcomes
}

#[test]
fn a_panic_is_a_crash_of_one_child() {
    let folder = tempfile::tempdir().unwrap();
    let record = |i: usize| [vec![(i % 10) as u8], vec![(37 * i) as u8; RECORD_BYTES - 1]].concat();
    let records: Vec<u8> = (0..40).flat_map(record).collect();
    let train = folder.path().join("data_batch_1.bin");
    fs::write(&train, &records).unwrap();
    fs::write(folder.path().join("test_batch.bin"), record(0)).unwrap();
    let dataset = Dataset::open(folder.path(), None).unwrap();
    // The file is mapped: a label that changes under the run breaks a promise of the data set.
    let mut file = fs::OpenOptions::new().write(true).open(&train).unwrap();
    let wrong: Vec<u8> = records
        .iter()
        .enumerate()
        .map(|(i, &byte)| if i % RECORD_BYTES == 0 { 99 } else { byte })
        .collect();
    std::io::Write::write_all(&mut file, &wrong).unwrap();
    let ended = outcomes(settings(dataset, 2, u64::MAX), vec![job(0, 8), job(1, 12)]);
    for outcome in ended {
        assert_eq!(outcome.status, Status::Crash, "{outcome:?}");
        assert!(
            outcome.message.as_ref().unwrap().contains("panicked"),
            "{outcome:?}"
        );
    }
}

#[test]
fn children_wait_for_threads_and_memory_and_end_the_same() {
    let dataset = || Dataset::synthetic(60, 10, 10, 3);
    let jobs = || {
        (0..5)
            .map(|i| job(i, 8 + 4 * i as usize))
            .collect::<Vec<_>>()
    };
    let accuracies = |threads, memory| -> Vec<Vec<f64>> {
        let ended = outcomes(settings(dataset(), threads, memory), jobs());
        assert!(
            ended.iter().all(|outcome| outcome.status == Status::Ok),
            "{ended:?}"
        );
        ended
            .into_iter()
            .map(|outcome| outcome.accuracies)
            .collect()
    };
    let alone = accuracies(1, u64::MAX);
    assert_eq!(alone, accuracies(4, u64::MAX));
    // Memory for the largest child and no other.
    let probe = |memory: u64| {
        let ended = outcomes(settings(dataset(), 1, memory), vec![job(0, 24)]);
        ended[0].status == Status::Ok
    };
    let enough = (10..40)
        .map(|bits| 1u64 << bits)
        .find(|&memory| probe(memory))
        .unwrap();
    assert_eq!(alone, accuracies(4, enough));
    assert!(!probe(enough / 4));
}
