//! Every instruction set, scheme and pass against plain f64 loops.

use std::ops::Range;

use super::{Conv, ConvShape, DataGradient, SourceShape};
use crate::device::cpu::simd::Isa;
use crate::rng::{Purpose, Rng};
use crate::shape::{PLANE, planes};

/// Floats before and behind every tensor that is written, which must survive.
const GUARD: usize = 64;
const CANARY: f32 = -77.25;

/// A layer in words, for a table and for messages.
#[derive(Clone, Debug)]
struct Case {
    n: usize,
    /// Groups of channels, height and width of each source.
    sources: &'static [(&'static [usize], usize, usize)],
    filters: usize,
    filter: [usize; 2],
    stride: [usize; 2],
}

const fn case(
    n: usize,
    sources: &'static [(&'static [usize], usize, usize)],
    filters: usize,
    filter: [usize; 2],
    stride: [usize; 2],
) -> Case {
    Case {
        n,
        sources,
        filters,
        filter,
        stride,
    }
}

/// Odd sizes, sources of unequal size, channels that do not fill planes, groups, strides.
const CASES: &[Case] = &[
    // The image, and small images: several of them in a strip.
    case(3, &[(&[3], 9, 9)], 24, [3, 3], [1, 1]),
    case(2, &[(&[3], 32, 32)], 16, [5, 7], [1, 1]),
    case(7, &[(&[8], 8, 8)], 8, [3, 3], [1, 1]),
    case(19, &[(&[9], 4, 4)], 12, [3, 3], [1, 1]),
    case(5, &[(&[24], 1, 1)], 10, [3, 3], [1, 1]),
    case(5, &[(&[24], 1, 1)], 10, [7, 5], [1, 1]),
    case(33, &[(&[16], 3, 2)], 7, [5, 5], [1, 1]),
    case(9, &[(&[24], 5, 5)], 40, [7, 7], [1, 1]),
    // Filters of every height and width with a transform.
    case(2, &[(&[12], 13, 11)], 20, [3, 1], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [1, 3], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [5, 1], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [1, 5], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [7, 1], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [1, 7], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [3, 5], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [5, 3], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [3, 7], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [7, 3], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [5, 7], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [7, 5], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [5, 5], [1, 1]),
    case(2, &[(&[12], 13, 11)], 20, [7, 7], [1, 1]),
    // Filters without one.
    case(2, &[(&[10], 12, 17)], 9, [9, 3], [1, 1]),
    case(1, &[(&[10], 12, 17)], 9, [15, 15], [1, 1]),
    case(1, &[(&[4], 6, 5)], 9, [13, 11], [2, 3]),
    // Strides, equal and not, larger than the filter, larger than the image.
    case(3, &[(&[36], 9, 9)], 64, [7, 1], [2, 2]),
    case(3, &[(&[16], 11, 11)], 40, [5, 3], [3, 3]),
    case(3, &[(&[10], 11, 13)], 8, [7, 7], [3, 2]),
    case(2, &[(&[10], 11, 13)], 8, [3, 3], [1, 2]),
    case(2, &[(&[10], 11, 13)], 8, [3, 5], [2, 1]),
    case(2, &[(&[10], 17, 13)], 8, [1, 3], [5, 8]),
    case(2, &[(&[10], 3, 3)], 8, [3, 3], [4, 4]),
    // 1x1: in place, with strides, and padded.
    case(2, &[(&[48], 7, 7)], 48, [1, 1], [1, 1]),
    case(3, &[(&[36], 8, 8), (&[24], 8, 8)], 36, [1, 1], [1, 1]),
    case(3, &[(&[36], 32, 32), (&[9], 32, 32)], 5, [1, 1], [1, 1]),
    case(3, &[(&[36], 8, 8), (&[24], 8, 8)], 36, [1, 1], [2, 3]),
    case(3, &[(&[36], 8, 5), (&[24], 6, 7)], 36, [1, 1], [1, 1]),
    case(7, &[(&[12], 2, 2)], 20, [1, 1], [1, 1]),
    // Several sources, of unequal sizes, with groups.
    case(2, &[(&[8], 11, 11), (&[12], 11, 11)], 48, [1, 7], [1, 1]),
    case(
        3,
        &[(&[24], 13, 13), (&[36], 7, 5), (&[5, 11], 3, 13)],
        48,
        [5, 5],
        [1, 1],
    ),
    case(
        3,
        &[(&[24], 13, 13), (&[36], 7, 5), (&[5, 11], 3, 13)],
        36,
        [3, 3],
        [2, 2],
    ),
    case(3, &[(&[6], 4, 20), (&[6], 20, 4)], 8, [3, 3], [1, 1]),
    case(
        2,
        &[(&[36, 36, 36], 16, 16), (&[7], 1, 1)],
        36,
        [3, 3],
        [1, 1],
    ),
    case(
        2,
        &[(&[36, 36, 36], 16, 16), (&[40], 16, 16)],
        24,
        [7, 5],
        [1, 1],
    ),
    case(
        1,
        &[(&[48], 32, 32), (&[48, 36], 32, 32), (&[36], 32, 32)],
        100,
        [3, 3],
        [1, 1],
    ),
    case(1, &[(&[300], 6, 6)], 72, [3, 3], [1, 1]),
    case(1, &[(&[300], 6, 6)], 72, [1, 1], [1, 1]),
    // Enough images for several chunks of the gradient of the filter.
    case(41, &[(&[12], 6, 6)], 16, [3, 3], [1, 1]),
    case(41, &[(&[3], 6, 6)], 16, [3, 3], [2, 2]),
];

impl Case {
    fn shape(&self) -> ConvShape {
        let sources = self.sources.iter().map(|&(groups, h, w)| SourceShape {
            groups: groups.to_vec(),
            h,
            w,
        });
        ConvShape {
            n: self.n,
            h: self
                .sources
                .iter()
                .map(|source| source.1)
                .max()
                .expect("a source"),
            w: self
                .sources
                .iter()
                .map(|source| source.2)
                .max()
                .expect("a source"),
            sources: sources.collect(),
            filters: self.filters,
            filter: self.filter,
            stride: self.stride,
        }
    }
}

/// Images as planes of 8 channels, and as plain `[n][c][h][w]`.
struct Tensor {
    groups: Vec<usize>,
    n: usize,
    h: usize,
    w: usize,
    plain: Vec<f64>,
}

impl Tensor {
    fn new(n: usize, groups: &[usize], h: usize, w: usize, mut value: impl FnMut() -> f64) -> Self {
        let len = n * groups.iter().sum::<usize>() * h * w;
        let plain = (0..len).map(|_| value()).collect();
        Tensor {
            groups: groups.to_vec(),
            n,
            h,
            w,
            plain,
        }
    }

    fn channels(&self) -> usize {
        self.groups.iter().sum()
    }

    fn plain_at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        ((n * self.channels() + c) * self.h + y) * self.w + x
    }

    fn image_len(&self) -> usize {
        self.groups.iter().map(|&g| planes(g)).sum::<usize>() * self.h * self.w * PLANE
    }

    /// Of every value its place in the planes.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let mut channels = Vec::new();
        let mut plane = 0;
        for &group in &self.groups {
            channels.extend((0..group).map(|c| (plane + c / PLANE, c % PLANE)));
            plane += planes(group);
        }
        (0..self.plain.len()).map(move |i| {
            let (pixel, image) = (
                i % (self.h * self.w),
                i / (self.h * self.w * self.channels()),
            );
            let (plane, lane) = channels[i / (self.h * self.w) % self.channels()];
            image * self.image_len() + (plane * self.h * self.w + pixel) * PLANE + lane
        })
    }

    fn planes(&self) -> Vec<f32> {
        let mut data = vec![0.0; self.n * self.image_len()];
        for (place, &value) in self.places().zip(&self.plain) {
            data[place] = value as f32;
        }
        data
    }
}

/// What the layer computes, by plain loops.
struct Oracle {
    case: Case,
    sources: Vec<Tensor>,
    weights: Vec<f64>,
    dy: Tensor,
    y: Vec<f64>,
    dw: Vec<f64>,
    dx: Vec<Vec<f64>>,
}

impl Oracle {
    /// Values are multiples of 1/8 below 2 if `whole`: all sums are exact in f32.
    fn new(case: &Case, whole: bool) -> Oracle {
        let mut rng = Rng::new(5, Purpose::Test, case.filters as u64);
        let mut value = || match whole {
            true => f64::from(rng.below(9)) - 4.0,
            false => f64::from(rng.normal() as f32),
        };
        let shape = case.shape();
        let [oh, ow] = shape.output();
        let sources: Vec<Tensor> = case
            .sources
            .iter()
            .map(|&(groups, h, w)| Tensor::new(case.n, groups, h, w, &mut value))
            .collect();
        let weights: Vec<f64> = (0..shape.weights_len()).map(|_| value()).collect();
        let dy = Tensor::new(case.n, &[case.filters], oh, ow, &mut value);
        let dx = sources
            .iter()
            .map(|source| vec![0.0; source.plain.len()])
            .collect();
        let mut oracle = Oracle {
            case: case.clone(),
            y: vec![0.0; dy.plain.len()],
            dw: vec![0.0; weights.len()],
            dx,
            sources,
            weights,
            dy,
        };
        oracle.compute(shape.channels());
        oracle
    }

    fn compute(&mut self, channels: usize) {
        let Case {
            filter: [kh, kw],
            stride: [sy, sx],
            n,
            filters,
            ..
        } = self.case;
        for (image, k, oy, ox) in positions(n, filters, self.dy.h, self.dy.w) {
            let out = self.dy.plain_at(image, k, oy, ox);
            let mut first = 0;
            for (source, dx) in self.sources.iter().zip(&mut self.dx) {
                for (c, ky, kx) in positions(1, source.channels(), kh, kw).map(|p| (p.1, p.2, p.3))
                {
                    let (y, x) = (
                        (oy * sy + ky).wrapping_sub(kh / 2),
                        (ox * sx + kx).wrapping_sub(kw / 2),
                    );
                    if y >= source.h || x >= source.w {
                        continue;
                    }
                    let weight = ((k * channels + first + c) * kh + ky) * kw + kx;
                    let input = source.plain_at(image, c, y, x);
                    self.y[out] += source.plain[input] * self.weights[weight];
                    self.dw[weight] += source.plain[input] * self.dy.plain[out];
                    dx[input] += self.weights[weight] * self.dy.plain[out];
                }
                first += source.channels();
            }
        }
    }
}

fn positions(
    n: usize,
    c: usize,
    h: usize,
    w: usize,
) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..n * c * h * w).map(move |i| (i / (c * h * w), i / (h * w) % c, i / w % h, i % w))
}

/// A buffer between guards, filled with NaN.
struct Guarded(Vec<f32>);

impl Guarded {
    fn new(len: usize, fill: f32) -> Guarded {
        let mut data = vec![fill; len + 2 * GUARD];
        data[..GUARD].fill(CANARY);
        data[len + GUARD..].fill(CANARY);
        Guarded(data)
    }

    fn inside(&mut self) -> &mut [f32] {
        let range = GUARD..self.0.len() - GUARD;
        &mut self.0[range]
    }

    fn check(&self, what: &str) {
        let guards = self.0[..GUARD]
            .iter()
            .chain(&self.0[self.0.len() - GUARD..]);
        assert!(
            guards.copied().all(|x| x == CANARY),
            "{what} wrote outside of its tensor"
        );
    }
}

/// Results of the three passes.
struct Results {
    y: Vec<f32>,
    dw: Vec<f32>,
    /// Set, then added to once more: twice the gradient.
    dx: Vec<Vec<f32>>,
}

/// Runs everything on `threads` threads, data gradients in pieces of `piece` images.
fn run(oracle: &Oracle, isa: Isa, transform: bool, threads: usize, piece: usize) -> Results {
    let conv = Conv::new(oracle.case.shape(), isa, transform);
    let n = oracle.case.n;
    let sources: Vec<Vec<f32>> = oracle.sources.iter().map(Tensor::planes).collect();
    let sources: Vec<&[f32]> = sources.iter().map(|source| &source[..]).collect();
    let weights: Vec<f32> = oracle.weights.iter().map(|&w| w as f32).collect();
    let dy = oracle.dy.planes();
    let mut packed = Guarded::new(conv.packed_len(true), f32::NAN);
    let mut scratch = Guarded::new(conv.scratch_len() * threads, f32::NAN);
    let mut partials = Guarded::new(conv.partials_len(), f32::NAN);
    let mut y = Guarded::new(dy.len(), f32::NAN);
    let mut dw = Guarded::new(weights.len(), f32::NAN);
    let mut dx: Vec<Guarded> = sources
        .iter()
        .map(|source| Guarded::new(source.len(), f32::NAN))
        .collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool");
    pool.install(|| {
        conv.pack(&weights, packed.inside());
        conv.forward(n, &sources, packed.inside(), scratch.inside(), y.inside());
        conv.filter_gradient(
            &sources,
            &dy,
            scratch.inside(),
            partials.inside(),
            dw.inside(),
        );
    });
    for from in (0..n).step_by(piece) {
        let images = from..n.min(from + piece);
        for first in [true, false] {
            let mut gradients: Vec<DataGradient> = dx
                .iter_mut()
                .enumerate()
                .map(|(source, dx)| {
                    let image = oracle.sources[source].image_len();
                    let Range { start, end } = images;
                    DataGradient {
                        source,
                        dx: &mut dx.inside()[start * image..end * image],
                        first,
                    }
                })
                .collect();
            let scratch = &mut scratch.inside()[..conv.scratch_len()];
            conv.data_gradient(
                images.clone(),
                &dy,
                packed.inside(),
                scratch,
                &mut gradients,
            );
        }
    }
    packed.check("pack");
    scratch.check("scratch");
    partials.check("partial sums");
    y.check("forward");
    dw.check("filter gradient");
    dx.iter().for_each(|dx| dx.check("data gradient"));
    Results {
        y: y.inside().to_vec(),
        dw: dw.inside().to_vec(),
        dx: dx.iter_mut().map(|dx| dx.inside().to_vec()).collect(),
    }
}

/// Compares planes with plain values times `scale`; lanes without a channel must be zero.
fn compare(what: &str, tensor: &Tensor, want: &[f64], scale: f64, got: &[f32], tolerance: f64) {
    let mut rest = got.to_vec();
    let values: Vec<f32> = tensor
        .places()
        .map(|at| std::mem::take(&mut rest[at]))
        .collect();
    assert!(
        rest.iter().all(|&x| x == 0.0),
        "{what}: unused channels are not zero"
    );
    compare_plain(what, want, scale, &values, tolerance);
}

fn compare_plain(what: &str, want: &[f64], scale: f64, got: &[f32], tolerance: f64) {
    let largest = want.iter().fold(0.0f64, |max, x| max.max(x.abs())) * scale;
    for (i, (&want, &got)) in want.iter().zip(got).enumerate() {
        let error = (want * scale - f64::from(got)).abs();
        let fine = error <= tolerance * largest; // false for NaN
        assert!(
            fine,
            "{what}: value {i} is {got}, not {}: off by {error:e}",
            want * scale
        );
    }
}

/// Plain sums of values that are exact in f32 are exact, in any order.
#[test]
fn plain_sums_are_exact() {
    for case in CASES {
        let oracle = Oracle::new(case, true);
        for isa in Isa::available() {
            check(&oracle, isa, false, 0.0);
        }
    }
}

/// Transforms round: within 1e-4 of the largest value, in fact five times less.
#[test]
fn transforms_are_close() {
    for case in CASES {
        let oracle = Oracle::new(case, false);
        for isa in Isa::available() {
            check(&oracle, isa, true, 2e-5);
        }
    }
}

fn check(oracle: &Oracle, isa: Isa, transform: bool, tolerance: f64) {
    let got = run(oracle, isa, transform, 1, 3);
    let what = |pass: &str| format!("{pass}, {}, {:?}", isa.name(), oracle.case);
    compare(
        &what("forward"),
        &oracle.dy,
        &oracle.y,
        1.0,
        &got.y,
        tolerance,
    );
    compare_plain(
        &what("filter gradient"),
        &oracle.dw,
        1.0,
        &got.dw,
        tolerance,
    );
    for ((source, want), got) in oracle.sources.iter().zip(&oracle.dx).zip(&got.dx) {
        compare(&what("data gradient"), source, want, 2.0, got, tolerance);
    }
}
