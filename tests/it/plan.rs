//! Plans of hundreds of random architectures: shapes as counted here, no buffer written over while
//! it is needed, and the same bits with shared memory as without.

mod random;
mod replay;

use std::time::Instant;

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Convolution, Device, Input, List, Session};
use nas_engine::graph::memory::ALIGNMENT;
use nas_engine::graph::plan::Storage;
use nas_engine::graph::recurrent::{Decoder, Stack};
use nas_engine::graph::step::{Content, Conv};
use nas_engine::graph::{Costs, Graph, Options, Params, Plan, Shape};
use nas_engine::space::{ConvArchitecture, LayerOp};

use random::{Bounds, Drawn, draw, joined};

const SEED: u64 = 17;
const CLASSES: usize = 10;
const SMALL: Bounds = Bounds {
    layers: 12,
    filters: 20,
    channels: 150,
};

/// A device that needs memory of every kind, in odd sizes.
struct Odd;

impl Storage for Odd {
    fn bytes(&self, content: &Content, batch: usize) -> usize {
        match content {
            Content::Images(shape) => shape.planes() * 8 * shape.h * shape.w * batch * 4,
            Content::Values(n) => 4 * n,
            Content::Statistics(shape) => 4 * batch * shape.statistics_len() + 8,
            Content::Bytes(n) => *n,
        }
    }

    fn packed_bytes(&self, conv: &Conv, _: usize) -> usize {
        4 * conv.weight.len + 1
    }

    fn scratch_bytes(&self, conv: &Conv, batch: usize) -> usize {
        batch * conv.input.len() + 3
    }

    fn lcn_scratch_bytes(&self, shape: &Shape, batch: usize) -> usize {
        batch * shape.len() + 5
    }

    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize {
        20 * decoder.vocabulary
    }

    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize {
        12 * stack.hidden
    }
}

/// The first so many architectures, with a name for messages.
fn drawn(n: u64, bounds: Bounds) -> impl Iterator<Item = (String, Drawn)> {
    (0..n).map(move |index| {
        let drawn = draw(SEED, index, bounds);
        let json = drawn.architecture.to_json();
        (format!("seed {SEED}, index {index}: {json}"), drawn)
    })
}

fn graph(architecture: &ConvArchitecture) -> Graph {
    Graph::new(architecture, CLASSES).expect("the windows drawn fit")
}

fn chw(shape: &Shape) -> [usize; 3] {
    [shape.c(), shape.h, shape.w]
}

// paper P2.4, P2.6
#[test]
fn shapes_agree_with_counting() {
    for (name, drawn) in drawn(500, SMALL) {
        let graph = graph(&drawn.architecture);
        let outputs: Vec<_> = graph.layers.iter().map(|l| chw(&l.output)).collect();
        assert_eq!(outputs, drawn.outputs, "outputs, {name}");
        let inputs: Vec<_> = graph.layers[1..].iter().map(|l| chw(&l.input)).collect();
        assert_eq!(inputs, drawn.inputs[1..], "inputs, {name}");
        let layers = &drawn.architecture.layers;
        let read = |j: &usize| layers.iter().any(|layer| layer.inputs.contains(j));
        let unread: Vec<usize> = (1..=layers.len()).filter(|j| !read(j)).collect();
        let features = joined(&unread, &drawn.outputs);
        assert_eq!(graph.classifier_inputs, unread, "{name}");
        assert_eq!(chw(&graph.classifier_input), features, "{name}");
    }
}

#[test]
fn parameters_and_costs_agree_with_counting() {
    for (name, drawn) in drawn(500, SMALL) {
        let graph = graph(&drawn.architecture);
        let (costs, params) = (Costs::new(&graph), Params::new(&graph));
        let expected = crate::examples::cost(&drawn.architecture);
        assert_eq!(costs.parameters(), expected.parameters as u64, "{name}");
        assert_eq!(
            costs.multiply_adds(),
            expected.multiply_adds as u64,
            "{name}"
        );
        assert_eq!(params.n_trained(), expected.parameters, "{name}");
        // The tensors of a weights file: every layer's, in order, without a gap.
        let mut names = vec![];
        for (i, layer) in drawn.architecture.layers.iter().enumerate() {
            let number = i + 1;
            if let LayerOp::Conv { .. } = layer.op {
                names.push(format!("layers.{number}.conv.weight"));
            }
            if let LayerOp::Conv { .. } | LayerOp::BatchNorm = layer.op {
                names.push(format!("layers.{number}.bn.weight"));
                names.push(format!("layers.{number}.bn.bias"));
            }
        }
        names.extend(["classifier.weight".into(), "classifier.bias".into()]);
        let got: Vec<_> = params.trained.iter().map(|p| p.name.clone()).collect();
        assert_eq!(got, names, "{name}");
        let mut end = 0;
        for param in &params.trained {
            assert_eq!(param.offset, end, "{} of {name}", param.name);
            end = param.range().end;
        }
    }
}

/// A guard band is what no buffer holds behind one, up to the next, in whole words: found byte by byte.
#[test]
fn guard_bands_are_what_no_buffer_holds() {
    for (name, drawn) in drawn(12, SMALL) {
        let graph = graph(&drawn.architecture);
        let params = Params::new(&graph);
        for guard in [0, 64] {
            let options = Options {
                guard,
                ..Options::new(3)
            };
            let plan = Plan::new(&graph, &params, &Odd, options);
            let mut is_held = vec![false; plan.arena_bytes];
            let mut begins = vec![false; plan.arena_bytes + 1];
            for buffer in &plan.buffers {
                is_held[buffer.offset..buffer.offset + buffer.bytes].fill(true);
                begins[buffer.offset] = true;
            }
            let mut expected = vec![];
            for (i, buffer) in plan.buffers.iter().enumerate() {
                let start = buffer.offset + buffer.bytes;
                let free = (start..plan.arena_bytes).take_while(|&at| !is_held[at] && !begins[at]);
                let until = start + free.count();
                if until > start {
                    expected.push((i, start.next_multiple_of(4)..until / 4 * 4));
                }
            }
            assert_eq!(plan.guard_bands(), expected, "guard {guard}, {name}");
            assert!(guard == 0 || expected.len() > 1, "{name}");
        }
    }
}

#[test]
fn nothing_is_written_over_while_it_is_needed() {
    let mut shared = 0;
    for (name, drawn) in drawn(400, SMALL) {
        let graph = graph(&drawn.architecture);
        let params = Params::new(&graph);
        for guard in [0, 64] {
            let options = Options {
                guard,
                ..Options::new(3)
            };
            let plan = Plan::new(&graph, &params, &Odd, options);
            replay::replay(&plan).unwrap_or_else(|e| panic!("{e}; guard {guard}, {name}"));
            for buffer in &plan.buffers {
                let (offset, end) = (buffer.offset, buffer.offset + buffer.bytes);
                assert!(
                    offset.is_multiple_of(ALIGNMENT),
                    "'{}', {name}",
                    buffer.name
                );
                assert!(
                    end <= plan.arena_bytes,
                    "'{}' ends outside, {name}",
                    buffer.name
                );
            }
            let sum: usize = plan.buffers.iter().map(|buffer| buffer.bytes).sum();
            shared += usize::from(plan.arena_bytes < sum);
        }
    }
    assert!(
        shared > 400,
        "memory is shared, or this test shows nothing: {shared} of 800"
    );
}

/// The replay itself: two buffers in one place are found, whichever they are.
#[test]
fn the_replay_can_fail() {
    let architecture = draw(SEED, 3, SMALL).architecture;
    let graph = graph(&architecture);
    let plan = Plan::new(&graph, &Params::new(&graph), &Odd, Options::new(2));
    replay::replay(&plan).expect("a sound plan");
    let used = |id: &usize| plan.buffers[*id].bytes > 64;
    let needed = |id: &usize| plan.buffers[*id].name.ends_with("output");
    let weights = plan.weights.0;
    for id in (0..plan.buffers.len()).filter(used).filter(needed) {
        let mut broken = plan.clone();
        broken.buffers[id].offset = plan.buffers[weights].offset;
        let name = &plan.buffers[id].name;
        replay::replay(&broken).expect_err(&format!("'{name}' over the weights"));
    }
}

/// Without shared memory and with guards every buffer lies by itself.
#[test]
fn without_reuse_no_two_buffers_meet() {
    for (name, drawn) in drawn(50, SMALL) {
        let graph = graph(&drawn.architecture);
        let options = Options {
            guard: 64,
            reuse: false,
            ..Options::new(2)
        };
        let plan = Plan::new(&graph, &Params::new(&graph), &Odd, options);
        let mut places: Vec<_> = plan.buffers.iter().map(|b| (b.offset, b.bytes)).collect();
        places.sort_unstable();
        for pair in places.windows(2) {
            let end = pair[0].0 + pair[0].1 + 64;
            assert!(end <= pair[1].0, "{pair:?} in {name}");
        }
    }
}

/// Gradients, losses and weights after three steps and an evaluation, with and without sharing.
#[test]
fn sharing_memory_changes_no_bit() {
    let bounds = Bounds {
        layers: 8,
        filters: 10,
        channels: 60,
    };
    let dataset = Dataset::synthetic(20, 2, CLASSES, 1);
    let cpu = Cpu::new(Some(1), Convolution::Auto).expect("a thread");
    for (name, drawn) in drawn(40, bounds) {
        let graph = graph(&drawn.architecture);
        let params = Params::new(&graph);
        let run = |reuse| {
            let options = Options {
                guard: 64,
                reuse,
                ..Options::new(4)
            };
            let plan = Plan::new(&graph, &params, &cpu, options);
            run_steps(&cpu, &plan, &params, &dataset)
        };
        let (shared, apart) = (run(true), run(false));
        assert!(shared == apart, "{name}");
    }
}

/// A session with initial weights.
fn load<'a>(
    device: &'a dyn Device,
    plan: &'a Plan,
    params: &Params,
    dataset: &'a Dataset,
) -> Box<dyn Session + 'a> {
    let input = Input::of_images(dataset, Augment::UpsampleCrop, 2);
    let mut session = device.load(plan, Some(input)).expect("fits");
    let initial = params.initial(9);
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
    session.write(plan.weights, &wide(&initial.trained));
    session.write(plan.running, &wide(&initial.running));
    session.run(List::Prepare, 1);
    session
}

/// Bits of everything that three training steps and an evaluation leave.
fn run_steps(device: &dyn Device, plan: &Plan, params: &Params, dataset: &Dataset) -> Vec<u64> {
    let mut session = load(device, plan, params, dataset);
    let control = Control {
        learning_rate: 0.01,
        momentum: 0.9,
        weight_decay: 1e-4,
        max_norm: f32::INFINITY,
        epoch: Some(0),
    };
    let order: Vec<u32> = (0..12).collect();
    session.begin(&order, control);
    session.run(List::Train, 3);
    let mut values = session.results().expect("runs").loss_sums;
    session.begin(&order[..10], Control::EVALUATE);
    session.run(List::Evaluate, 3);
    values.extend(session.results().expect("runs").loss_sums);
    for id in [plan.weights, plan.gradients, plan.momentum, plan.running] {
        values.extend(session.read(id).expect("reads"));
    }
    assert_eq!(session.broken_guard(), None);
    values.iter().map(|x| x.to_bits()).collect()
}

/// The losses of an evaluation, with and without what training needs.
#[test]
fn evaluation_alone_needs_less_and_changes_no_bit() {
    let bounds = Bounds {
        layers: 8,
        filters: 10,
        channels: 60,
    };
    let dataset = Dataset::synthetic(20, 2, CLASSES, 1);
    let cpu = Cpu::new(Some(2), Convolution::Auto).expect("threads");
    for (name, drawn) in drawn(40, bounds) {
        let graph = graph(&drawn.architecture);
        let params = Params::new(&graph);
        let run = |evaluate_only| {
            let options = Options {
                guard: 64,
                evaluate_only,
                ..Options::new(4)
            };
            let plan = Plan::new(&graph, &params, &cpu, options);
            (evaluate(&cpu, &plan, &params, &dataset), plan)
        };
        let ((whole_losses, whole), (losses, plan)) = (run(false), run(true));
        assert_eq!(losses, whole_losses, "{name}");
        assert!(plan.arena_bytes < whole.arena_bytes, "{name}");
        replay::replay(&plan).unwrap_or_else(|e| panic!("{e}; {name}"));
    }
}

fn evaluate(device: &dyn Device, plan: &Plan, params: &Params, dataset: &Dataset) -> Vec<f64> {
    let mut session = load(device, plan, params, dataset);
    session.begin(&(0..10).collect::<Vec<u32>>(), Control::EVALUATE);
    session.run(List::Evaluate, 3);
    assert_eq!(session.broken_guard(), None);
    session.results().expect("runs").loss_sums
}

/// 40 layers with all of their skip connections. Under 5 ms when optimised; the bound leaves room
/// for tests on a busy machine.
#[test]
fn a_plan_of_40_layers_is_quick() {
    let bounds = Bounds {
        layers: 1,
        filters: 36,
        channels: 4096,
    };
    let mut architecture = draw(SEED, 0, bounds).architecture;
    architecture.layers.clear();
    for number in 0..40 {
        architecture.layers.push(nas_engine::space::Layer {
            op: LayerOp::Conv {
                filter: [3, 5],
                filters: 36,
                stride: [1, 1],
            },
            inputs: (0..=number).collect(),
        });
    }
    let cpu = Cpu::new(Some(1), Convolution::Auto).expect("a thread");
    for (what, storage) in [("reference", &Reference as &dyn Storage), ("cpu", &cpu)] {
        let time = || {
            let start = Instant::now();
            let graph = graph(&architecture);
            let plan = Plan::new(&graph, &Params::new(&graph), storage, Options::new(128));
            assert_eq!(plan.convs.len(), 40);
            start.elapsed()
        };
        let best = (0..5).map(|_| time()).min().expect("five times");
        println!("a plan of 40 layers for {what}: {best:?}");
        assert!(
            best.as_millis() < 50,
            "a plan of 40 layers for {what} took {best:?}"
        );
    }
}
