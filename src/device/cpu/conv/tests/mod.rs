//! Every instruction set, scheme and pass against plain f64 loops.

mod oracle;

use std::ops::Range;

use super::{Conv, DataGradient};
use crate::device::cpu::simd::Isa;
use oracle::{Case, Oracle, Tensor, case};

/// Floats before and behind every tensor that is written, which must survive.
const GUARD: usize = 64;
const CANARY: f32 = -77.25;

/// Odd sizes, sources of unequal size, channels that do not fill planes, groups, strides.
#[rustfmt::skip] // a line a case
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
    case(2, &[(&[36], 20, 20), (&[9], 20, 20)], 5, [1, 1], [1, 1]),
    case(3, &[(&[36], 8, 8), (&[24], 8, 8)], 36, [1, 1], [2, 3]),
    case(3, &[(&[36], 8, 5), (&[24], 6, 7)], 36, [1, 1], [1, 1]),
    case(7, &[(&[12], 2, 2)], 20, [1, 1], [1, 1]),
    // Several sources, of unequal sizes, with groups.
    case(2, &[(&[8], 11, 11), (&[12], 11, 11)], 48, [1, 7], [1, 1]),
    case(3, &[(&[24], 13, 13), (&[36], 7, 5), (&[5, 11], 3, 13)], 48, [5, 5], [1, 1]),
    case(3, &[(&[24], 13, 13), (&[36], 7, 5), (&[5, 11], 3, 13)], 36, [3, 3], [2, 2]),
    case(3, &[(&[6], 4, 20), (&[6], 20, 4)], 8, [3, 3], [1, 1]),
    case(2, &[(&[36, 36, 36], 16, 16), (&[7], 1, 1)], 36, [3, 3], [1, 1]),
    case(2, &[(&[36, 36, 36], 12, 12), (&[40], 12, 12)], 24, [7, 5], [1, 1]),
    case(1, &[(&[48], 12, 12), (&[48, 36], 12, 12), (&[36], 12, 12)], 100, [3, 3], [1, 1]),
    case(1, &[(&[300], 6, 6)], 72, [3, 3], [1, 1]),
    case(1, &[(&[300], 6, 6)], 72, [1, 1], [1, 1]),
    // Enough images for several chunks of the gradient of the filter.
    case(41, &[(&[12], 6, 6)], 16, [3, 3], [1, 1]),
    case(41, &[(&[3], 6, 6)], 16, [3, 3], [2, 2]),
];

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

/// Transforms round: within 1e-4 of the largest value is promised, and a fifth of it kept.
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

/// The same bits on 1, 2 and 3 threads, and for any pieces of the batch.
#[test]
fn threads_and_pieces_change_nothing() {
    for case in CASES.iter().filter(|case| case.n >= 5) {
        let oracle = Oracle::new(case, false);
        for transform in [false, true] {
            let isa = Isa::detect();
            let one = run(&oracle, isa, transform, 1, case.n);
            for (threads, piece) in [(2, 1), (3, 4)] {
                let many = run(&oracle, isa, transform, threads, piece);
                assert_eq!(
                    bits(&one),
                    bits(&many),
                    "{threads} threads, {piece} images, {case:?}"
                );
            }
        }
    }
}

fn bits(results: &Results) -> Vec<u32> {
    let all = results
        .y
        .iter()
        .chain(&results.dw)
        .chain(results.dx.iter().flatten());
    all.map(|x| x.to_bits()).collect()
}

/// Evaluation runs fewer images than the plan is for, with forward weights alone.
#[test]
fn fewer_images_than_planned() {
    for case in CASES.iter().filter(|case| case.n >= 5) {
        let oracle = Oracle::new(case, false);
        let isa = Isa::detect();
        let whole = run(&oracle, isa, true, 1, case.n).y;
        let conv = Conv::new(case.shape(), isa, true);
        let sources: Vec<Vec<f32>> = oracle.sources.iter().map(Tensor::planes).collect();
        let sources: Vec<&[f32]> = sources.iter().map(|source| &source[..]).collect();
        let weights: Vec<f32> = oracle.weights.iter().map(|&w| w as f32).collect();
        let mut packed = vec![f32::NAN; conv.packed_len(false)];
        let mut scratch = vec![f32::NAN; conv.forward_scratch_len()];
        conv.pack(&weights, &mut packed);
        for images in [1, case.n - 1] {
            let mut y = vec![CANARY; whole.len()];
            conv.forward(images, &sources, &packed, &mut scratch, &mut y);
            let (valid, rest) = y.split_at(images * oracle.dy.image_len());
            assert_eq!(valid, &whole[..valid.len()], "{images} images, {case:?}");
            assert!(
                rest.iter().all(|&x| x == CANARY),
                "{images} images, {case:?}"
            );
        }
    }
}

/// What the formula makes infinite or NaN is not finite here either.
#[test]
fn bad_values_are_not_hidden() {
    let case = case(2, &[(&[12], 13, 11), (&[8], 9, 5)], 20, [5, 7], [1, 1]);
    for bad in [f64::NAN, f64::INFINITY] {
        for which in 0..3 {
            let mut oracle = Oracle::new(&case, false);
            match which {
                0 => oracle.sources[1].plain[70] = bad,
                1 => oracle.weights[301] = bad,
                _ => oracle.dy.plain[500] = bad,
            }
            oracle.compute();
            for transform in [false, true] {
                let got = run(&oracle, Isa::detect(), transform, 1, 1);
                let what = format!("{bad} in tensor {which}, transform {transform}");
                show_bad(&what, oracle.dy.places(), &oracle.y, &got.y);
                show_bad(&what, 0..oracle.dw.len(), &oracle.dw, &got.dw);
                for ((source, want), got) in oracle.sources.iter().zip(&oracle.dx).zip(&got.dx) {
                    show_bad(&what, source.places(), want, got);
                }
            }
        }
    }
}

fn show_bad(what: &str, places: impl Iterator<Item = usize>, want: &[f64], got: &[f32]) {
    for (place, want) in places.zip(want) {
        assert!(
            want.is_finite() || !got[place].is_finite(),
            "{what}: {} at {place}",
            got[place]
        );
    }
}
