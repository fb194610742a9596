//! Benchmarks of devices: `cargo bench`, or `cargo bench -- step` for a group. Those of a GPU run
//! where there is one, and say so where there is none.
//!
//! With `RUST_LOG=nas_engine::device=debug` each measured session tells its time by step.

use criterion::{Criterion, criterion_group};
use nas_engine::data::{Augment, Dataset};
use nas_engine::device::{Control, Input, Session};
use nas_engine::graph::{Graph, Options, Params, Plan, Storage};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::{ConvArchitecture, ConvSpace, ConvSpaceConfig};
use tracing_subscriber::EnvFilter;

mod conv;
mod cuda;
mod ops;
mod step;

criterion_group!(
    benches,
    conv::conv,
    step::plans,
    step::steps,
    ops::ops,
    cuda::kernels
);

fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_target(false)
        .without_time()
        .init();
    benches();
    Criterion::default().configure_from_args().final_summary();
}

/// An architecture of `depth` layers drawn from a preset.
fn drawn(preset: &str, depth: usize) -> ConvArchitecture {
    let config = ConvSpaceConfig::preset(preset).expect("a preset");
    let space = ConvSpace::new(&config).expect("presets are sound");
    let tokens = space
        .decisions()
        .draw(depth, &mut Rng::new(1, Purpose::Test, depth as u64));
    space.decode(&tokens).expect("tokens of this space")
}

/// The plan of an architecture on a device, and its parameters.
fn plan(
    architecture: &ConvArchitecture,
    storage: &dyn Storage,
    options: Options,
) -> (Plan, Params) {
    let graph = Graph::new(architecture, 10).expect("a network");
    let params = Params::new(&graph);
    (Plan::new(&graph, &params, storage, options), params)
}

/// What a session loads.
fn input(dataset: &Dataset) -> Input<'_> {
    Input::of_images(dataset, Augment::UpsampleCrop, 1)
}

/// Initial weights, and an epoch of `steps` batches at a learning rate that keeps them sane.
fn begin(session: &mut dyn Session, plan: &Plan, params: &Params, steps: usize, n: usize) {
    let weights = params.initial(1);
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    session.write(plan.weights, &wide(weights.trained));
    session.write(plan.running, &wide(weights.running));
    let order: Vec<u32> = (0..steps * plan.batch).map(|i| (i % n) as u32).collect();
    let control = Control {
        learning_rate: 0.01,
        momentum: 0.9,
        weight_decay: 1e-4,
        max_norm: f32::INFINITY,
        epoch: Some(0),
    };
    session.begin(&order, control);
}
