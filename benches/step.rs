//! Whole training steps of fixed architectures: load, forward, backward, update.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use nas_engine::data::Dataset;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::{Convolution, Device, List};
use nas_engine::graph::Options;
use nas_engine::space::ConvArchitecture;

use super::{begin, drawn, input, plan};

/// Records of the data set: as many steps are run at once as they give batches.
const RECORDS: usize = 4096;

/// A device, and the images of a batch if it needs more than a CPU to be busy.
struct Measured {
    device: Box<dyn Device>,
    batch: Option<usize>,
}

fn devices() -> Vec<Measured> {
    let cpu = |threads| Measured {
        device: Box::new(Cpu::new(Some(threads), Convolution::Auto).expect("threads start")),
        batch: None,
    };
    let gpu = super::cuda::open("training steps").map(|cuda| Measured {
        device: Box::new(cuda),
        batch: Some(128),
    });
    [1, 2].map(cpu).into_iter().chain(gpu).collect()
}

pub fn steps(criterion: &mut Criterion) {
    let devices = devices();
    let dataset = Dataset::synthetic(RECORDS, 10, 10, 1);
    let small = include_str!("../examples/small.json");
    let small = ConvArchitecture::from_json(small).expect("a sound example");
    let children = [
        ("sample, 4 layers", drawn("sample", 4), 32),
        ("small.json", small, 64),
        ("v1, 15 layers", drawn("v1", 15), 64),
        ("v2, 15 layers", drawn("v2", 15), 64),
    ];
    let mut group = criterion.benchmark_group("step");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500));
    for (name, architecture, batch) in &children {
        for device in &devices {
            let batch = device.batch.unwrap_or(*batch);
            let device = &*device.device;
            group.throughput(Throughput::Elements(batch as u64)); // images
            let (plan, params) = plan(architecture, device, Options::new(batch));
            let mut session = device.load(&plan, Some(input(&dataset))).expect("it fits");
            let name = format!("{name}, batch {batch}, {}", device.describe());
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|steps| {
                    let (mut left, mut spent) = (steps as usize, Duration::ZERO);
                    while left > 0 {
                        let n = left.min(RECORDS / batch);
                        begin(&mut *session, &plan, &params, n, RECORDS);
                        session.run(List::Prepare, 1);
                        session.results().expect("it runs");
                        let start = Instant::now();
                        session.run(List::Train, n);
                        let results = session.results().expect("it runs"); // waits
                        spent += start.elapsed();
                        assert!(results.finite, "training stays finite");
                        left -= n;
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

/// From an architecture to a plan, and on to a session.
pub fn plans(criterion: &mut Criterion) {
    let cpu = Cpu::new(Some(1), Convolution::Auto).expect("threads start");
    let mut group = criterion.benchmark_group("plan");
    for (name, architecture) in [
        ("sample, 4", drawn("sample", 4)),
        ("v1, 40", drawn("v1", 40)),
    ] {
        let name = format!("{name} layers, batch 128, {}", cpu.describe());
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(&architecture, &cpu, Options::new(128)));
        });
    }
    group.finish();
}
