//! Every operation of a drawn child where it has most to do, in flop/s or bytes/s.

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use nas_engine::data::Dataset;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::{Convolution, Device, List};
use nas_engine::graph::plan::touched;
use nas_engine::graph::step::{Contribution, ConvId, Step};
use nas_engine::graph::{Options, Plan, Shape};
use nas_engine::space::ConvArchitecture;

use super::{begin, input, plan};

/// Records of the data set; enough for a batch.
const RECORDS: usize = 64;

pub fn ops(criterion: &mut Criterion) {
    let dataset = Dataset::synthetic(RECORDS, 10, 10, 1);
    let layers = include_str!("../examples/layer-types.json");
    let layers = ConvArchitecture::from_json(layers).expect("a sound example");
    let children = [("v1", super::drawn("v1", 15)), ("layer-types.json", layers)];
    let mut group = criterion.benchmark_group("ops");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(500));
    for (child, architecture) in &children {
        let cpu = Cpu::new(None, Convolution::Auto).expect("threads start");
        let options = Options {
            reuse: false,
            ..Options::new(RECORDS)
        };
        let (mut plan, params) = plan(architecture, &cpu, options);
        // Evaluation runs a whole training step, which leaves every buffer filled.
        plan.evaluate = plan.train.clone();
        for (name, (step, work)) in largest(&plan) {
            plan.train = vec![step];
            let mut filled = None;
            group.throughput(work);
            let name = format!("{name}, {child}, batch {RECORDS}, {}", cpu.describe());
            group.bench_function(name, |bencher| {
                // Only for what the command line asks for: it takes a while.
                let session = filled.get_or_insert_with(|| {
                    let mut session = cpu.load(&plan, Some(input(&dataset))).expect("it fits");
                    begin(&mut *session, &plan, &params, 1, RECORDS);
                    session.run(List::Prepare, 1);
                    session.run(List::Evaluate, 1);
                    begin(&mut *session, &plan, &params, 1, RECORDS);
                    session
                });
                bencher.iter(|| session.run(List::Train, 1));
            });
        }
    }
    group.finish();
}

/// Of the steps of each name the one with most to do: products and additions of convolutions, else
/// bytes of the buffers.
fn largest(plan: &Plan) -> BTreeMap<&'static str, (Step, Throughput)> {
    let amount = |work: &Throughput| match work {
        Throughput::Elements(n) | Throughput::Bytes(n) => *n,
        _ => unreachable!("work() knows two units"),
    };
    let mut steps: BTreeMap<&'static str, (Step, Throughput)> = BTreeMap::new();
    for step in &plan.train {
        let work = work(plan, step);
        let best = steps.get(step.name()).map_or(0, |(_, work)| amount(work));
        if amount(&work) > best {
            steps.insert(step.name(), (step.clone(), work));
        }
    }
    steps
}

/// What a step does and the shape of it.
pub fn label(plan: &Plan, step: &Step) -> String {
    let name = step.name();
    let conv = |id: ConvId| {
        let conv = plan.conv(id);
        let [kh, kw] = conv.filter;
        let [sh, sw] = conv.stride;
        let (input, filters) = (&conv.input, conv.output.c());
        let of = format!("{}x{}x{}", plan.batch, input.h, input.w);
        format!("{}-{filters} {kh}x{kw} stride {sh}x{sw} of {of}", input.c())
    };
    let images = |shape: &Shape| format!("{}x{}x{}x{}", plan.batch, shape.c(), shape.h, shape.w);
    let what = match step {
        Step::Conv(id) | Step::ConvFilterGrad(id) | Step::Pack(id) => conv(*id),
        Step::Moments(id) | Step::Norm(id) | Step::NormRunning(id) | Step::NormGrad(id) => {
            images(&plan.norm(*id).shape)
        }
        Step::Gather {
            shape,
            contributions,
            ..
        } => {
            let from = contributions.iter().map(|contribution| match contribution {
                Contribution::Conv { conv: id, .. } => conv(*id),
                Contribution::Copy { .. } => "a copy".to_string(),
                Contribution::GlobalAveragePool { .. } => "the average".to_string(),
                Contribution::Pool { .. } => "a pool".to_string(),
                Contribution::Lcn { .. } => "contrast".to_string(),
            });
            let from: Vec<String> = from.collect();
            format!("{} from {}", images(shape), from.join(", "))
        }
        Step::Pool(pool) => images(&pool.output),
        Step::Lcn { shape, .. } | Step::Concat { shape, .. } => images(shape),
        _ => String::new(),
    };
    format!("{name} {what}").trim_end().to_string()
}

/// Products and additions of a step that is made of them, else bytes of the buffers it touches.
pub fn work(plan: &Plan, step: &Step) -> Throughput {
    let flop = |id: ConvId, channels: usize| {
        let conv = plan.conv(id);
        2 * plan.batch * conv.output.len() * channels * conv.filter[0] * conv.filter[1]
    };
    let flops = match step {
        Step::Conv(id) | Step::ConvFilterGrad(id) => flop(*id, plan.conv(*id).input.c()),
        Step::Gather { contributions, .. } => {
            let data = contributions.iter().map(|contribution| match contribution {
                Contribution::Conv { conv, source } => {
                    flop(*conv, plan.conv(*conv).sources[*source].shape.c())
                }
                _ => 0,
            });
            data.sum()
        }
        _ => 0,
    };
    if flops > 0 {
        return Throughput::Elements(flops as u64);
    }
    let mut buffers = touched(plan, step);
    // Steps work in place, and most touch a small part of the flat vectors and the scratch memory.
    buffers.sort_unstable();
    buffers.dedup();
    let flat = [plan.weights, plan.gradients, plan.running, plan.scratch];
    if !matches!(step, Step::Update) {
        buffers.retain(|id| !flat.contains(id));
    }
    let bytes: usize = buffers.iter().map(|&id| plan.buffer(id).bytes).sum();
    Throughput::Bytes(bytes as u64)
}
