//! Weights between their canonical order, `[filters][channels][kh][kw]`, and the order of a pass.

use super::plan::{Outputs, Pass};
use super::transform::CookToom;
use crate::device::cpu::simd::{Isa, Kernel, Simd};

/// Taps of a filter that has a transform, and of a part of it, at most.
const MAX_TAPS: usize = 7 * 7;
const MAX_PART: usize = 5;
/// Points of an axis at most.
const MAX_POINTS: usize = 8;
/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// How a pass reads the canonical weights.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Floats from an output channel of the pass to the next, from an input channel to the next.
    pub out: usize,
    pub input: usize,
    /// Height and width of the filter.
    pub filter: [usize; 2],
    /// Whether transformed taps are taken from the last to the first: the gradient to data is a
    /// convolution with the filter turned around.
    pub turned: bool,
}

/// Packs the weights for one block of vectors of outputs.
pub(super) fn pack(
    isa: Isa,
    pass: &Pass,
    outputs: &Outputs,
    vectors: usize,
    order: Order,
    weights: &[f32],
    packed: &mut [f32],
) {
    let vectors = outputs.vectors[vectors].clone();
    let width = vectors.len() * outputs.lanes;
    let [kh, kw] = order.filter;
    for place in entries(pass) {
        for (z, vector) in vectors.clone().enumerate() {
            let lanes = &outputs.channels[vector * outputs.lanes..][..outputs.lanes];
            // All lanes of a tap.
            let gather = |tap: usize, row: &mut [f32]| {
                for (value, channel) in row.iter_mut().zip(lanes) {
                    let at = |channel| channel * order.out + place.channel * order.input + tap;
                    *value = channel.map_or(0.0, |channel| weights[at(channel)]);
                }
            };
            let at = |part: usize| (place.entry + part * place.part) * width + z * outputs.lanes;
            let Some(schemes) = pass.transform else {
                for (part, &[ky, kx]) in pass.classes[place.class]
                    .parts
                    .iter()
                    .map(|part| &part.tap)
                    .enumerate()
                {
                    gather(ky * kw + kx, &mut packed[at(part)..][..outputs.lanes]);
                }
                continue;
            };
            let mut taps = [0.0; MAX_TAPS * MAX_LANES];
            for (tap, row) in taps
                .chunks_exact_mut(outputs.lanes)
                .enumerate()
                .take(kh * kw)
            {
                gather(if order.turned { kh * kw - 1 - tap } else { tap }, row);
            }
            let filter = Filter {
                schemes,
                taps: &taps,
                packed: packed[at(0)..].as_mut_ptr(),
                part: place.part * width,
                point: place.point * width,
            };
            // SAFETY: the block holds every point and part of the entry.
            unsafe { isa.run(filter) }
        }
    }
}

/// Turns a packed gradient of the filter back to taps: `[vector][channel][tap][lane]`.
pub(super) fn unpack(isa: Isa, pass: &Pass, outputs: &Outputs, packed: &[f32], taps: &mut [f32]) {
    let n_taps: usize = match pass.transform {
        Some([y, x]) => y.taps * x.taps,
        None => pass.classes[0].parts.len(),
    };
    let channels: usize = pass.planes.iter().map(|plane| plane.channels).sum();
    let filter = n_taps * outputs.lanes;
    for vectors in &outputs.vectors {
        let width = vectors.len() * outputs.lanes;
        let packed = &packed[outputs.packed_at(pass, vectors, 0)..][..pass.entries * width];
        for place in entries(pass) {
            for (z, vector) in vectors.clone().enumerate() {
                let taps = &mut taps[(vector * channels + place.channel) * filter..][..filter];
                let at = |part| (place.entry + part * place.part) * width + z * outputs.lanes;
                let Some(schemes) = pass.transform else {
                    for (part, tap) in taps.chunks_exact_mut(outputs.lanes).enumerate() {
                        tap.copy_from_slice(&packed[at(part)..][..outputs.lanes]);
                    }
                    continue;
                };
                let gradient = FilterGradient {
                    schemes,
                    packed: packed[at(0)..].as_ptr(),
                    part: place.part * width,
                    point: place.point * width,
                    taps: taps.as_mut_ptr(),
                };
                // SAFETY: the block holds every point and part of the entry, `taps` every tap.
                unsafe { isa.run(gradient) }
            }
        }
    }
}

/// An input channel of a class among the packed weights.
struct Place {
    class: usize,
    channel: usize,
    /// Its entry at the first point and part; entries to the next part, to the next point.
    entry: usize,
    part: usize,
    point: usize,
}

/// All input channels of all classes.
fn entries(pass: &Pass) -> impl Iterator<Item = Place> {
    let blocks = pass.blocks.iter().enumerate();
    blocks.flat_map(move |(block, range)| {
        let classes = pass.classes.iter().enumerate();
        classes.flat_map(move |(number, class)| {
            let parts = class.parts.len();
            let block_channels = pass.block_channels(block);
            let first = pass.planes[range.start].channel;
            pass.planes[range.clone()].iter().flat_map(move |plane| {
                let before = plane.channel - first;
                (0..plane.channels).map(move |c| Place {
                    class: number,
                    channel: plane.channel + c,
                    entry: class.entry_at[block] + before * parts + c,
                    part: plane.channels,
                    point: block_channels * parts,
                })
            })
        })
    })
}

/// Coefficients of the filter's transform: `[point][tap of a part]`.
fn coefficients(scheme: CookToom) -> [[f32; MAX_PART]; MAX_POINTS] {
    std::array::from_fn(|point| {
        std::array::from_fn(|tap| match point < scheme.points && tap < scheme.part {
            true => scheme.filter(0, point, tap) as f32,
            false => 0.0,
        })
    })
}

/// Taps of both axes that part `part` holds.
fn part_taps(scheme: CookToom, part: usize) -> std::ops::Range<usize> {
    part * scheme.part..((part + 1) * scheme.part).min(scheme.taps)
}

/// Taps of one input channel for a vector of outputs, to the points of every part.
struct Filter<'a> {
    schemes: [CookToom; 2],
    /// `[tap][lane]`
    taps: &'a [f32; MAX_TAPS * MAX_LANES],
    packed: *mut f32,
    /// Floats to the next part, to the next point.
    part: usize,
    point: usize,
}

impl Kernel for Filter<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [sy, sx] = self.schemes;
        let (gy, gx) = (coefficients(sy), coefficients(sx));
        for part in 0..sy.parts * sx.parts {
            let rows = part_taps(sy, part / sx.parts);
            let columns = part_taps(sx, part % sx.parts);
            for (y, gy) in gy.iter().enumerate().take(sy.points) {
                // SAFETY: `taps` holds all taps of a vector; the caller promises `packed`.
                unsafe {
                    let mut line = [S::splat(0.0); MAX_PART];
                    for (sum, kx) in line.iter_mut().zip(columns.clone()) {
                        for (&g, ky) in gy.iter().zip(rows.clone()) {
                            let tap = self.taps.as_ptr().add((ky * sx.taps + kx) * S::LANES);
                            *sum = S::load(tap).mul_add(S::splat(g), *sum);
                        }
                    }
                    for (x, gx) in gx.iter().enumerate().take(sx.points) {
                        let mut sum = S::splat(0.0);
                        for (&g, &value) in gx.iter().zip(&line).take(columns.len()) {
                            sum = value.mul_add(S::splat(g), sum);
                        }
                        let point = y * sx.points + x;
                        sum.store(self.packed.add(part * self.part + point * self.point));
                    }
                }
            }
        }
    }
}

/// The transpose of [`Filter`]: gradients at the points of every part to gradients of the taps.
struct FilterGradient {
    schemes: [CookToom; 2],
    packed: *const f32,
    /// Floats to the next part, to the next point.
    part: usize,
    point: usize,
    /// `[tap][lane]`
    taps: *mut f32,
}

impl Kernel for FilterGradient {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [sy, sx] = self.schemes;
        let (gy, gx) = (coefficients(sy), coefficients(sx));
        for part in 0..sy.parts * sx.parts {
            let rows = part_taps(sy, part / sx.parts);
            let columns = part_taps(sx, part % sx.parts);
            for (tap, ky) in rows.enumerate() {
                // SAFETY: the caller promises `packed` and `taps`.
                unsafe {
                    let mut line = [S::splat(0.0); MAX_POINTS];
                    for (x, sum) in line.iter_mut().enumerate().take(sx.points) {
                        for (y, gy) in gy.iter().enumerate().take(sy.points) {
                            let at = part * self.part + (y * sx.points + x) * self.point;
                            *sum = S::load(self.packed.add(at)).mul_add(S::splat(gy[tap]), *sum);
                        }
                    }
                    for (tap, kx) in columns.clone().enumerate() {
                        let mut sum = S::splat(0.0);
                        for (gx, &value) in gx.iter().zip(&line).take(sx.points) {
                            sum = value.mul_add(S::splat(gx[tap]), sum);
                        }
                        sum.store(self.taps.add((ky * sx.taps + kx) * S::LANES));
                    }
                }
            }
        }
    }
}
