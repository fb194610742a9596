//! What the table of `tests/it/cases` cannot say: every instruction set of a machine, parts of a batch,
//! bad values.

use cases::compare;

use super::{ConvShape, DataGradient, PlannedConv};
use crate::device::Convolution;
use crate::device::cpu::Cpu;
use crate::device::cpu::layout::{image_len, to_planes};
use crate::device::cpu::simd::Isa;
use crate::device::reference::Reference;
use crate::graph::Shape;
use crate::rng::{Purpose, Rng};

/// The same file as in the integration tests, which do not see vectors of 16 lanes.
#[path = "../../../../tests/it/cases/mod.rs"]
#[allow(dead_code, unused_imports)] // one operation of the table is used here
mod cases;

/// Of 8 lanes and of 16, whichever this machine is fastest by.
#[test]
fn every_instruction_set_gives_what_the_reference_gives() {
    let cases = cases::all();
    let cases: Vec<_> = cases.iter().filter(|case| case.op == "conv").collect();
    let isas = Isa::available();
    let cpus: Vec<_> = [Convolution::Direct, Convolution::Auto]
        .iter()
        .flat_map(|&convolution| isas.iter().map(move |&isa| (convolution, isa)))
        .map(|(convolution, isa)| {
            let cpu = Cpu::new(Some(1), convolution).expect("a thread");
            (convolution, isa, cpu.with_isa(isa))
        })
        .collect();
    for case in cases {
        let expected = case.run(&Reference, 1).expect("the reference runs");
        for (convolution, isa, cpu) in &cpus {
            let got = case.run(cpu, 1).expect("it runs");
            let result = compare(&expected, &got, &case.tolerance, *convolution);
            result.unwrap_or_else(|e| panic!("{convolution}, {}: {e}", isa.name()));
        }
    }
}

/// A layer with all that it reads.
struct Layer {
    conv: PlannedConv,
    sources: Vec<Vec<f32>>,
    weights: Vec<f32>,
    dy: Vec<f32>,
}

impl Layer {
    fn new(shape: ConvShape, allow_transform: bool) -> Layer {
        let mut rng = Rng::new(5, Purpose::Test, shape.filters as u64);
        let mut images = |of: &Shape| {
            let values: Vec<f64> = (0..shape.n * of.len()).map(|_| rng.normal()).collect();
            let mut planes = vec![f32::NAN; shape.n * image_len(of)];
            to_planes(of, &values, &mut planes);
            planes
        };
        let sources = shape.sources.iter().map(&mut images).collect();
        let dy = images(&shape.output());
        let weights = (0..shape.weights_len()).map(|_| rng.normal() as f32);
        Layer {
            sources,
            dy,
            weights: weights.collect(),
            conv: PlannedConv::new(shape, Isa::detect(), allow_transform),
        }
    }

    fn sources(&self) -> Vec<&[f32]> {
        self.sources.iter().map(|source| &source[..]).collect()
    }

    fn packed(&self, gradients: bool) -> Vec<f32> {
        let mut packed = vec![f32::NAN; self.conv.packed_len(gradients)];
        self.conv.pack(&self.weights, &mut packed);
        packed
    }

    fn fwd(&self) -> Vec<f32> {
        let n = self.conv.shape().n;
        let mut y = vec![f32::NAN; self.dy.len()];
        let mut scratch = vec![f32::NAN; self.conv.scratch_len()];
        let packed = self.packed(true);
        (self.conv).fwd(n, &self.sources(), &packed, &mut scratch, &mut y);
        y
    }

    fn bwd_filter(&self) -> Vec<f32> {
        let mut dw = vec![f32::NAN; self.weights.len()];
        let mut scratch = vec![f32::NAN; self.conv.scratch_len()];
        let mut partials = vec![f32::NAN; self.conv.partials_len()];
        let sources = self.sources();
        (self.conv).bwd_filter(&sources, &self.dy, &mut scratch, &mut partials, &mut dw);
        dw
    }

    /// The gradient to a source, in pieces of so many images.
    fn bwd_data(&self, source: usize, piece: usize) -> Vec<f32> {
        let shape = self.conv.shape();
        let image = image_len(&shape.sources[source]);
        let mut dx = vec![f32::NAN; shape.n * image];
        let mut scratch = vec![f32::NAN; self.conv.scratch_len()];
        let packed = self.packed(true);
        for (i, dx) in dx.chunks_mut(piece * image).enumerate() {
            let images = i * piece..i * piece + dx.len() / image;
            let gradient = DataGradient {
                source,
                dx,
                first: true,
            };
            (self.conv).bwd_data(images, &self.dy, &packed, &mut scratch, gradient);
        }
        dx
    }

    /// Results of all three passes.
    fn all(&self) -> Vec<Vec<f32>> {
        let n = self.conv.shape().n;
        let dxs = (0..self.sources.len()).map(|source| self.bwd_data(source, n));
        [self.fwd(), self.bwd_filter()]
            .into_iter()
            .chain(dxs)
            .collect()
    }
}

/// Two sources of unequal size, images that share strips, and with and without a stride.
fn shapes() -> Vec<ConvShape> {
    let shape = |n, filter, stride| ConvShape {
        n,
        sources: vec![Shape::new(12, 6, 7), Shape::new(9, 4, 5)],
        filters: 20,
        filter,
        stride,
    };
    vec![
        shape(11, [3, 3], [1, 1]),
        shape(6, [5, 7], [1, 1]),
        shape(11, [3, 5], [2, 1]),
        shape(7, [1, 1], [1, 1]),
    ]
}

fn layers() -> impl Iterator<Item = Layer> {
    let shapes = shapes().into_iter();
    shapes.flat_map(|shape| [false, true].map(|transform| Layer::new(shape.clone(), transform)))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The gradient to data is taken a few images at a time; which ones changes nothing.
#[test]
fn pieces_of_a_batch_change_no_bit() {
    for layer in layers() {
        let shape = layer.conv.shape();
        for source in 0..shape.sources.len() {
            let whole = bits(&layer.bwd_data(source, shape.n));
            for piece in [1, 4] {
                let pieces = bits(&layer.bwd_data(source, piece));
                assert!(
                    whole == pieces,
                    "pieces of {piece}, source {source}, {shape:?}"
                );
            }
        }
    }
}

/// Evaluation runs fewer images than the plan is for, with forward weights alone.
#[test]
fn fewer_images_than_planned() {
    const UNTOUCHED: f32 = -77.25;
    for layer in layers() {
        let shape = layer.conv.shape();
        let (whole, packed) = (layer.fwd(), layer.packed(false));
        let mut scratch = vec![f32::NAN; layer.conv.fwd_scratch_len()];
        for images in [1, shape.n - 1] {
            let mut y = vec![UNTOUCHED; whole.len()];
            let sources = layer.sources();
            (layer.conv).fwd(images, &sources, &packed, &mut scratch, &mut y);
            let (valid, rest) = y.split_at(images * shape.output_len());
            assert!(
                bits(valid) == bits(&whole[..valid.len()]),
                "{images} images, {shape:?}"
            );
            assert!(
                rest.iter().all(|&x| x == UNTOUCHED),
                "{images} images, {shape:?}"
            );
        }
    }
}

/// Places of planes without a channel hold zeros, as whoever reads whole planes expects.
#[test]
fn what_pads_a_plane_stays_zero() {
    for layer in layers() {
        let shape = layer.conv.shape();
        let check = |of: &Shape, values: &[f32]| {
            let ones = vec![1.0; shape.n * of.len()];
            let mut used = vec![f32::NAN; values.len()];
            to_planes(of, &ones, &mut used);
            let mut pairs = values.iter().zip(used);
            assert!(
                pairs.all(|(&x, used)| used == 1.0 || x == 0.0),
                "{of:?} of {shape:?}"
            );
        };
        check(&shape.output(), &layer.fwd());
        for (i, source) in shape.sources.iter().enumerate() {
            check(source, &layer.bwd_data(i, shape.n));
        }
    }
}

/// Every value that another number in a place would change is not finite where the place is not.
#[test]
fn bad_values_are_not_hidden() {
    for mut layer in layers() {
        let (before, shape) = (layer.all(), layer.conv.shape().clone());
        // A used lane of a source, a weight, and one of dY.
        for (tensor, place) in [(0, 8 * 9 + 3), (1, 301), (2, 8 * 20 + 5)] {
            let mut with = |value: f32| {
                let values = match tensor {
                    0 => &mut layer.sources[1],
                    1 => &mut layer.weights,
                    _ => &mut layer.dy,
                };
                let old = std::mem::replace(&mut values[place], value);
                let results = layer.all();
                match tensor {
                    0 => layer.sources[1][place] = old,
                    1 => layer.weights[place] = old,
                    _ => layer.dy[place] = old,
                }
                results
            };
            let changed = with(1e3);
            for bad in [f32::NAN, f32::INFINITY] {
                let got = with(bad);
                let values = before.iter().flatten().zip(changed.iter().flatten());
                let mut n_changed = 0;
                for ((before, changed), got) in values.zip(got.iter().flatten()) {
                    n_changed += usize::from(before != changed);
                    assert!(
                        before == changed || !got.is_finite(),
                        "{bad} in tensor {tensor} gives {got}, {shape:?}"
                    );
                }
                assert!(n_changed > 0, "tensor {tensor} is read");
            }
        }
    }
}
