//! The evaluator of this process: a child that fails ends alone.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nas_engine::config::Config;
use nas_engine::data::{Dataset, RECORD_BYTES};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::{Convolution, Devices};
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::run::Status;
use nas_engine::search::child::Trainer;
use nas_engine::search::evaluator::{Evaluator, Job, News, Outcome};
use nas_engine::search::local::{Local, Settings};
use nas_engine::space::Architecture;
use nas_engine::train::{Course, NetworkConfig, TrainConfig};

/// Images of a batch.
pub const BATCH: usize = 16;

pub fn settings(dataset: Dataset, threads: usize, memory: u64) -> Settings {
    let TrainConfig::Network(sample) = Config::preset("sample").unwrap().train else {
        panic!("the preset is one of networks");
    };
    let train = NetworkConfig {
        epochs: 2,
        batch: BATCH,
        ..sample
    };
    Settings {
        trainer: Trainer {
            course: Course::Images(Arc::new(dataset), train),
            seed: 0,
            kept: None,
        },
        devices: Devices::Cpu(Convolution::Auto),
        threads,
        memory,
    }
}

pub fn job(sample: u64, filters: usize) -> Job {
    let layer = format!(r#"{{"filter":[1,1],"filters":{filters},"inputs":[0]}}"#);
    let json = format!(r#"{{"space":"conv","layers":[{layer}]}}"#);
    Job::new(sample, Architecture::from_json(&json).unwrap())
}

/// The outcomes of jobs that are submitted together, by sample.
pub fn outcomes(settings: Settings, jobs: Vec<Job>) -> Vec<Outcome> {
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
            .map(|outcome| outcome.scores.values().to_vec())
            .collect()
    };
    let alone = accuracies(1, u64::MAX);
    assert_eq!(alone, accuracies(4, u64::MAX));
    assert_eq!(alone, accuracies(4, plan_bytes(24)));
}

/// What training a child takes with one thread.
fn plan_bytes(filters: usize) -> u64 {
    let cpu = Cpu::new(Some(1), Convolution::Auto).unwrap();
    let graph = Graph::new(&job(0, filters).architecture.into_conv().unwrap(), 10).unwrap();
    Plan::new(&graph, &Params::new(&graph), &cpu, Options::new(BATCH)).arena_bytes as u64
}

// paper P7.2
#[test]
fn as_many_children_run_at_once_as_threads_and_memory_allow() {
    let most_at_once = |threads, memory| {
        let dataset = Dataset::synthetic(60, 10, 10, 3);
        let mut local = Local::new(settings(dataset, threads, memory)).unwrap();
        local.submit((0..5).map(|i| job(i, 8)).collect());
        let mut most = 0;
        let mut n_ended = 0;
        let began = Instant::now();
        while n_ended < 5 {
            most = most.max(local.n_running());
            let news = local.next(Duration::from_secs(1));
            n_ended += usize::from(matches!(news, Some(News::Ended(_))));
            assert!(began.elapsed() < Duration::from_secs(120), "none ends");
        }
        assert_eq!(local.n_running(), 0);
        most
    };
    let child = plan_bytes(8);
    assert_eq!(most_at_once(4, u64::MAX), 4);
    assert_eq!(most_at_once(1, u64::MAX), 1);
    assert_eq!(most_at_once(4, 3 * child - 1), 2);
    assert_eq!(most_at_once(4, child), 1);
}

#[test]
fn whether_a_child_is_too_large_does_not_depend_on_threads() {
    let child = plan_bytes(24);
    for threads in [1, 4] {
        let status = |memory| {
            let dataset = Dataset::synthetic(60, 10, 10, 3);
            outcomes(settings(dataset, threads, memory), vec![job(0, 24)])[0].status
        };
        assert_eq!(status(child), Status::Ok, "{threads} threads");
        assert_eq!(status(child - 1), Status::TooLarge, "{threads} threads");
    }
}

/// It lost its GPUs in earlier sessions.
#[test]
fn a_child_that_lost_two_gpus_is_begun_no_more() {
    let settings = settings(Dataset::synthetic(40, 10, 10, 3), 1, u64::MAX);
    let lost = Job {
        lost: (2, "off the bus".into()),
        ..job(0, 8)
    };
    let once = Job {
        lost: (1, "off the bus".into()),
        ..job(1, 8)
    };
    let ended = outcomes(settings, vec![lost, once]);
    let status = |n: usize| (ended[n].sample, ended[n].status);
    assert_eq!(status(0), (0, Status::Poison), "{ended:?}");
    assert_eq!(status(1), (1, Status::Ok), "{ended:?}");
}
