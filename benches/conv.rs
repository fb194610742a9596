//! Convolution on the CPU: the three passes, on one thread, of layers of several kinds.
//!
//! Throughput counts the plain sums' operations (two for each multiply-add), whatever scheme does
//! the work, so a figure above the peak of the processor means fewer products, not a fault.

use criterion::{Criterion, Throughput};
use nas_engine::device::cpu::conv::{ConvShape, DataGradient, PlannedConv};
use nas_engine::device::cpu::layout::image_len;
use nas_engine::device::cpu::simd::Isa;
use nas_engine::graph::Shape;
use nas_engine::rng::{Purpose, Rng};

/// Channels of the sources, filters, filter, stride, images, height and width.
type Case = (&'static [usize], usize, [usize; 2], usize, usize, usize);

/// Five inputs of a layer deep in a network.
const WIDE: &[usize] = &[48, 48, 48, 36, 36];

const CASES: &[Case] = &[
    (&[3], 48, [3, 3], 1, 32, 32),
    (&[48], 48, [3, 3], 1, 16, 32),
    (&[48], 48, [1, 1], 1, 32, 32),
    (WIDE, 48, [3, 3], 1, 8, 32),
    (WIDE, 48, [5, 5], 1, 8, 32),
    (WIDE, 48, [7, 7], 1, 8, 32),
    (WIDE, 48, [1, 7], 1, 8, 32),
    (WIDE, 48, [7, 1], 1, 8, 32),
    (WIDE, 48, [5, 5], 1, 16, 16),
    (&[36], 36, [3, 3], 1, 16, 32),
    (&[24], 24, [3, 3], 1, 32, 32),
    (&[48], 48, [5, 5], 2, 16, 32),
    (&[8], 16, [3, 3], 1, 32, 16),
    (&[16], 24, [3, 3], 1, 32, 8),
];

/// All buffers of a layer.
struct Layer {
    conv: PlannedConv,
    sources: Vec<Vec<f32>>,
    weights: Vec<f32>,
    dy: Vec<f32>,
    packed: Vec<f32>,
    scratch: Vec<f32>,
    partials: Vec<f32>,
}

impl Layer {
    fn new(&(sources, filters, filter, stride, n, size): &Case) -> Layer {
        let sources = sources.iter().map(|&c| Shape::new(c, size, size));
        let shape = ConvShape {
            n,
            sources: sources.collect(),
            filters,
            filter,
            stride: [stride, stride],
        };
        let mut rng = Rng::new(1, Purpose::Test, 0);
        let mut random = |n| (0..n).map(|_| rng.uniform_in(-1.0, 1.0) as f32).collect();
        let conv = PlannedConv::new(shape.clone(), Isa::detect(), true);
        let mut layer = Layer {
            sources: shape
                .sources
                .iter()
                .map(|source| random(n * image_len(source)))
                .collect(),
            weights: random(shape.weights_len()),
            dy: random(n * shape.output_len()),
            packed: vec![0.0; conv.packed_len(true)],
            scratch: vec![0.0; conv.scratch_len()], // that of one thread
            partials: vec![0.0; conv.partials_len()],
            conv,
        };
        layer.conv.pack(&layer.weights, &mut layer.packed);
        layer
    }

    fn operations(&self) -> u64 {
        let (shape, output) = (self.conv.shape(), self.conv.shape().output());
        2 * (shape.weights_len() * shape.n * output.h * output.w) as u64
    }
}

/// The group `conv`.
pub fn conv(criterion: &mut Criterion) {
    CASES.iter().for_each(|case| passes(criterion, case));
}

fn passes(criterion: &mut Criterion, case: &Case) {
    let mut layer = Layer::new(case);
    let (channels, filters, [kh, kw], stride, n, size) = *case;
    let channels: usize = channels.iter().sum();
    let isa = Isa::detect().name();
    let name = format!(
        "conv/{channels}-{filters} {kh}x{kw} stride {stride} of {n}x{size}x{size}, cpu ({isa})"
    );
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(layer.operations()))
        .sample_size(10);
    let Layer {
        conv,
        sources,
        weights,
        dy,
        packed,
        scratch,
        partials,
    } = &mut layer;
    let sources: Vec<&[f32]> = sources.iter().map(|source| &source[..]).collect();
    let mut y = dy.clone();
    group.bench_function("fwd", |bench| {
        bench.iter(|| conv.fwd(n, &sources, packed, scratch, &mut y));
    });
    let mut dxs: Vec<Vec<f32>> = sources.iter().map(|source| source.to_vec()).collect();
    if channels > 3 {
        group.bench_function("bwd_data", |bench| {
            bench.iter(|| {
                for (source, dx) in dxs.iter_mut().enumerate() {
                    let gradient = DataGradient {
                        source,
                        dx,
                        first: true,
                    };
                    conv.bwd_data(0..n, dy, packed, scratch, gradient);
                }
            });
        });
    }
    let mut dw = weights.clone();
    group.bench_function("bwd_filter", |bench| {
        bench.iter(|| conv.bwd_filter(&sources, dy, scratch, partials, &mut dw));
    });
    group.bench_function("pack", |bench| bench.iter(|| conv.pack(weights, packed)));
}
