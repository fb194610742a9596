//! What a child's step launches and moves, as the host runner counts it, beside the roofline's
//! least.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::cuda::Cuda;
use nas_engine::device::{Control, Device, Input, List};
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::report::roofline::Roofline;
use nas_engine::space::ConvArchitecture;

use super::host::{Counters, Host, MODES, PROFILES, kernels};

/// Launches of a kernel, and what they moved in sectors of 32 bytes.
type Kernels = BTreeMap<&'static str, (u64, Counters)>;

const SECTOR: u64 = 32;

/// One training step of a child.
fn step(architecture: &ConvArchitecture, batch: usize) -> Kernels {
    let graph = Graph::new(architecture, 10).expect("a child");
    let counted = Arc::new(Mutex::new(Kernels::new()));
    let to = Arc::clone(&counted);
    let host = Host::new(kernels(), MODES[0], PROFILES[2]).observed(move |launch, counters| {
        let mut kernels = to.lock().expect("no thread panics with it");
        let (launches, sum) = kernels.entry(launch.kernel).or_default();
        *launches += 1;
        sum.add(counters);
    });
    let cuda = Cuda::new(Box::new(host));
    let params = Params::new(&graph);
    let plan = Plan::new(&graph, &params, &cuda, Options::new(batch));
    let dataset = Dataset::synthetic(batch, 10, 10, 1);
    let input = Input::of_images(&dataset, Augment::UpsampleCrop, 1);
    let mut session = cuda.load(&plan, Some(input)).expect("it fits");
    let weights: Vec<f64> = params
        .initial(1)
        .trained
        .into_iter()
        .map(f64::from)
        .collect();
    session.write(plan.weights, &weights);
    session.run(List::Prepare, 1);
    session.results().expect("weights are packed");
    counted.lock().expect("no thread panics with it").clear();
    let order: Vec<u32> = (0..batch as u32).collect();
    let control = Control {
        learning_rate: 0.1,
        momentum: 0.9,
        weight_decay: 1e-4,
        max_norm: f32::INFINITY,
        epoch: Some(0),
    };
    session.begin(&order, control);
    session.run(List::Train, 1);
    assert!(session.results().expect("a step").finite);
    let kernels = counted.lock().expect("no thread panics with it");
    kernels.clone()
}

fn table(name: &str, batch: usize, kernels: &Kernels, least: f64) -> f64 {
    let mb = |n: u64| n as f64 / 1e6;
    println!("{name}, batch {batch}: kernel, launches, MB read and written, MB asked for");
    let (mut launches, mut all) = (0, Counters::default());
    for (kernel, (n, c)) in kernels {
        println!(
            "  {kernel:<26} {n:>3} {:>8.3} {:>8.3} {:>9.3}",
            mb(SECTOR * c.sectors_read),
            mb(SECTOR * c.sectors_written),
            mb(c.bytes_read + c.bytes_written),
        );
        launches += n;
        all.add(c);
    }
    let moved = (SECTOR * (all.sectors_read + all.sectors_written)) as f64;
    println!(
        "  {launches} launches, one graph of {launches} nodes; {:.3} MB read, {:.3} MB written; \
         least {:.3} MB, {:.3} times",
        mb(SECTOR * all.sectors_read),
        mb(SECTOR * all.sectors_written),
        least / 1e6,
        moved / least
    );
    moved / least
}

/// Skips of unequal sizes and strides of 2.
const STRIDED: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":24,"stride":[2,2],"inputs":[0]},
    {"filter":[3,1],"filters":36,"inputs":[1]},
    {"filter":[5,3],"filters":24,"stride":[2,2],"inputs":[1,2]},
    {"filter":[3,3],"filters":48,"inputs":[2,3]}]}"#;

/// Layers of the paper's space at the size of an image.
const V1: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":36,"inputs":[0]},
    {"filter":[3,3],"filters":48,"inputs":[1]},
    {"filter":[1,7],"filters":24,"inputs":[1,2]},
    {"filter":[5,5],"filters":36,"inputs":[1,2,3]}]}"#;

#[test]
fn a_step_moves_little_more_than_it_must() {
    for (name, text, batch) in [("strided", STRIDED, 8), ("v1", V1, 4)] {
        let architecture = ConvArchitecture::from_json(text).expect("an architecture");
        let graph = Graph::new(&architecture, 10).expect("a child");
        let least = Roofline::new(&graph, batch).bytes();
        let ratio = table(name, batch, &step(&architecture, batch), least);
        assert!(ratio <= 1.3, "{name}: {ratio} times the least");
    }
}
