//! The children of a search on several GPUs, some of which fail or are lost; by the host runner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nas_engine::data::Dataset;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::Memory;
use nas_engine::device::{Device, Devices};
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::run::Status;
use nas_engine::search::evaluator::{Evaluator, Job, News, Outcome};
use nas_engine::search::local::{Local, Settings, share};
use nas_engine::space::Architecture;

use super::faults::{Fault, gpu, with_memory};
use crate::search::local::{BATCH, outcomes, settings};

/// A child whose images are small, with a layer that no other child here has where `lcn`.
fn job(sample: u64, lcn: bool) -> Job {
    let filters = 8 + 8 * sample;
    let mut layers =
        format!(r#"{{"filter":[1,1],"filters":{filters},"stride":[8,8],"inputs":[0]}}"#);
    if lcn {
        layers += r#",{"type":"lcn","inputs":[1]}"#;
    }
    let json = format!(r#"{{"space":"conv","layers":[{layers}]}}"#);
    Job::new(sample, Architecture::from_json(&json).unwrap())
}

fn jobs() -> Vec<Job> {
    (0..3).map(|sample| job(sample, false)).collect()
}

fn on(gpus: Vec<Cuda>, memory: u64) -> Settings {
    let gpus = gpus.into_iter().map(|gpu| Arc::new(gpu) as Arc<dyn Device>);
    Settings {
        devices: Devices::Gpus(gpus.collect()),
        ..settings(Dataset::synthetic(40, 10, 10, 3), 1, memory)
    }
}

fn run(gpus: Vec<Cuda>, jobs: Vec<Job>) -> Vec<Outcome> {
    outcomes(on(gpus, u64::MAX), jobs)
}

fn accuracies(outcomes: &[Outcome]) -> Vec<&[f64]> {
    let ok = |outcome: &Outcome| outcome.status == Status::Ok;
    assert!(outcomes.iter().all(ok), "{outcomes:?}");
    outcomes
        .iter()
        .map(|outcome| outcome.scores.values())
        .collect()
}

#[test]
fn results_do_not_depend_on_how_many_gpus_there_are() {
    let alone = run(vec![gpu(0, Fault::Nothing).0], jobs());
    let (gpus, seen): (Vec<_>, Vec<_>) = (0..2).map(|n| gpu(n, Fault::Nothing)).unzip();
    let two = run(gpus, jobs());
    assert_eq!(accuracies(&alone), accuracies(&two));
    for seen in seen {
        assert_eq!(
            seen.most_streams.load(Ordering::Relaxed),
            1,
            "one child each"
        );
    }
    let device = alone[0].timing.device.as_deref();
    assert_eq!(device, Some("cuda:0 (host runner)"));
}

#[test]
fn a_kernel_that_fails_takes_only_its_child() {
    let ended = run(vec![gpu(0, Fault::Refuse("softmax_xent")).0], jobs());
    let [first, others @ ..] = &ended[..] else {
        panic!("no outcomes");
    };
    assert_eq!(first.status, Status::Crash, "{first:?}");
    let words = first.message.as_deref().unwrap();
    assert!(words.contains("kernel softmax_xent"), "{words}");
    accuracies(others);
}

/// Its child is begun again on another GPU, and ends as if nothing had been.
#[test]
fn a_lost_gpu_takes_nothing_from_a_search_that_has_another() {
    let alone = run(vec![gpu(0, Fault::Nothing).0], jobs());
    for at in [1, 40] {
        let (lost, seen) = gpu(0, Fault::LoseAt(at));
        let ended = run(vec![lost, gpu(1, Fault::Nothing).0], jobs());
        assert_eq!(
            accuracies(&alone),
            accuracies(&ended),
            "lost at launch {at}"
        );
        assert_eq!(seen.most_streams.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn when_the_last_gpu_is_lost_the_evaluator_says_so_and_waits_for_nothing() {
    let gpu = gpu(0, Fault::LoseAt(60)).0;
    let mut local = Local::new(on(vec![gpu], u64::MAX)).unwrap();
    local.submit((0..8).map(|sample| job(sample % 4, false)).collect());
    for _ in 0..1000 {
        match local.next(Duration::from_secs(1)) {
            Some(News::NoDevice(words)) => {
                assert!(
                    words.contains("cuda:0") && words.contains("lost"),
                    "{words}"
                );
                assert_eq!(local.n_running(), 0);
                return;
            }
            Some(News::Ended(outcome)) => assert_eq!(outcome.status, Status::Ok, "{outcome:?}"),
            _ => {}
        }
    }
    panic!("nobody says that the last GPU is lost");
}

/// It loses two, and no third is given to it.
#[test]
fn a_child_that_loses_gpus_one_after_the_other_is_at_fault() {
    let (gpus, seen): (Vec<_>, Vec<_>) = (0..3).map(|n| gpu(n, Fault::LoseOn("lcn_fwd"))).unzip();
    let mut jobs = jobs();
    jobs.insert(0, job(3, true));
    let ended = run(gpus, jobs);
    let (poison, others) = ended.split_last().unwrap();
    assert_eq!((poison.sample, poison.status), (3, Status::Poison));
    let words = poison.message.as_deref().unwrap();
    for part in ["2 GPUs", "kernel lcn_fwd", "fell off the bus"] {
        assert!(words.contains(part), "no '{part}' in {words}");
    }
    accuracies(others);
    let used = seen
        .iter()
        .filter(|seen| seen.n_streams.load(Ordering::Relaxed) > 0);
    assert_eq!(used.count(), 3);
}

/// What training a child takes.
fn plan_bytes(job: &Job, cuda: &Cuda) -> u64 {
    let network = job.architecture.clone().into_conv().unwrap();
    let graph = Graph::new(&network, 10).unwrap();
    Plan::new(&graph, &Params::new(&graph), cuda, Options::new(BATCH)).arena_bytes as u64
}

/// By the smallest GPU and by the setting, each of which limits; never by what is free now.
#[test]
fn what_a_gpu_cannot_hold_is_too_large_whatever_is_free() {
    let large = job(3, false);
    let needed = plan_bytes(&large, &gpu(0, Fault::Nothing).0);
    let status = |total: u64, free: u64, limit: u64| {
        let roomy = gpu(1, Fault::Nothing).0;
        let small = with_memory(0, Fault::Nothing, Memory { free, total }).0;
        let ended = outcomes(on(vec![small, roomy], limit), vec![large.clone()]);
        ended[0].clone()
    };
    let enough = needed.div_ceil(3) * 4 + 4;
    assert!(share(enough) >= needed && share(needed) < needed);
    let most = u64::MAX;
    assert_eq!(status(enough, most, most).status, Status::Ok);
    assert_eq!(status(enough, most, needed).status, Status::Ok);
    for outcome in [
        status(needed, most, most),
        status(needed, 0, most),
        status(enough, 0, needed - 1),
    ] {
        assert_eq!(outcome.status, Status::TooLarge, "{outcome:?}");
        let words = outcome.message.unwrap();
        assert!(words.contains(&needed.to_string()), "{words}");
    }
    // It would fit, but others use the GPU: that is no verdict on the architecture.
    let outcome = status(enough, 100, most);
    assert_eq!(outcome.status, Status::OutOfMemory, "{outcome:?}");
    let words = outcome.message.unwrap();
    assert!(words.contains("100 are free"), "{words}");
}
