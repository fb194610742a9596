//! Weights between their canonical order, `[filters][channels][kh][kw]`, and the order of a pass.

use std::ops::Range;

use super::outputs::Outputs;
use super::pass::Pass;
use super::points::{self, ByPoints};
use super::transform::{self, CookToom};
use crate::device::cpu::simd::{Isa, Simd};

/// Taps of a filter at most (15 x 15), and lanes of a vector.
pub(super) const MAX_TAPS: usize = 15 * 15;
pub(super) const MAX_LANES: usize = 16;

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
    let mut room = [0.0; MAX_TAPS * MAX_LANES];
    let taps = &mut room[..kh * kw * outputs.lanes];
    for place in entries(pass) {
        for (z, vector) in vectors.clone().enumerate() {
            let lanes = &outputs.channels[vector * outputs.lanes..][..outputs.lanes];
            let turned = order.turned && pass.transform.is_some();
            gather(weights, lanes, place.channel, order, turned, taps);
            let at = |part: usize| (place.entry + part * place.part) * width + z * outputs.lanes;
            let Some(schemes) = pass.transform else {
                for (i, part) in pass.classes[place.class].parts.iter().enumerate() {
                    let tap = (part[0] * kw + part[1]) * outputs.lanes;
                    let lanes = outputs.lanes;
                    packed[at(i)..][..lanes].copy_from_slice(&taps[tap..][..lanes]);
                }
                continue;
            };
            let filter = Filter {
                schemes,
                taps: taps.as_mut_ptr(),
                packed: packed[at(0)..].as_mut_ptr(),
                part: place.part * width,
                point: place.point * width,
            };
            // SAFETY: the block holds every point and part of the entry, `taps` every tap.
            unsafe { points::run(isa, filter.points(), ToPoints(filter)) }
        }
    }
}

/// The taps between input channel `input` and a vector of output channels: `[tap][lane]`.
fn gather(
    weights: &[f32],
    lanes: &[Option<usize>],
    input: usize,
    order: Order,
    turned: bool,
    taps: &mut [f32],
) {
    let n = order.filter[0] * order.filter[1];
    for (lane, channel) in lanes.iter().enumerate() {
        let column = taps[lane..].iter_mut().step_by(lanes.len());
        match channel {
            Some(channel) => {
                let filter = &weights[channel * order.out + input * order.input..][..n];
                match turned {
                    true => column
                        .zip(filter.iter().rev())
                        .for_each(|(tap, &w)| *tap = w),
                    false => column.zip(filter).for_each(|(tap, &w)| *tap = w),
                }
            }
            None => column.for_each(|tap| *tap = 0.0),
        }
    }
}

/// Turns the packed gradient of a transformed filter back to taps: `[vector][channel][tap][lane]`.
pub(super) fn unpack(isa: Isa, pass: &Pass, outputs: &Outputs, packed: &[f32], taps: &mut [f32]) {
    let schemes = pass.transform.expect("sums of transforms");
    let n_taps = schemes[0].taps * schemes[1].taps;
    let channels: usize = pass.planes.iter().map(|plane| plane.channels).sum();
    let filter = n_taps * outputs.lanes;
    for vectors in &outputs.vectors {
        let width = vectors.len() * outputs.lanes;
        let packed = &packed[outputs.packed_at(pass, vectors, 0)..][..pass.entries * width];
        for place in entries(pass) {
            for (z, vector) in vectors.clone().enumerate() {
                let taps = &mut taps[(vector * channels + place.channel) * filter..][..filter];
                let at = place.entry * width + z * outputs.lanes;
                let filter = Filter {
                    schemes,
                    taps: taps.as_mut_ptr(),
                    packed: packed[at..].as_ptr().cast_mut(),
                    part: place.part * width,
                    point: place.point * width,
                };
                // SAFETY: the block holds every point and part of the entry, and is read alone;
                // `taps` holds every tap.
                unsafe { points::run(isa, filter.points(), ToTaps(filter)) }
            }
        }
    }
}

/// An input channel of a class among the packed weights.
struct PackedChannel {
    class: usize,
    channel: usize,
    /// Its entry at the first point and part; entries to the next part, to the next point.
    entry: usize,
    part: usize,
    point: usize,
}

/// All input channels of all classes.
fn entries(pass: &Pass) -> impl Iterator<Item = PackedChannel> {
    let blocks = pass.blocks.iter().enumerate();
    blocks.flat_map(move |(number, block)| {
        let classes = pass.classes.iter().enumerate();
        classes.flat_map(move |(class_number, class)| {
            let parts = class.parts.len();
            let block_channels = pass.block_channels(number);
            let first = pass.planes[block.planes.start].channel;
            pass.planes[block.planes.clone()]
                .iter()
                .flat_map(move |plane| {
                    let before = plane.channel - first;
                    (0..plane.channels).map(move |c| PackedChannel {
                        class: class_number,
                        channel: plane.channel + c,
                        entry: class.entry_at[number] + before * parts + c,
                        part: plane.channels,
                        point: block_channels * parts,
                    })
                })
        })
    })
}

/// The filter of one input channel for a vector of outputs, as taps and as points of parts.
#[derive(Clone, Copy)]
struct Filter {
    schemes: [CookToom; 2],
    /// `[tap][lane]`
    taps: *mut f32,
    packed: *mut f32,
    /// Floats of `packed` to the next part, to the next point.
    part: usize,
    point: usize,
}

/// A part of a filter: its rows and columns of taps, and where its first point lies.
struct PackedPart {
    rows: Range<usize>,
    columns: Range<usize>,
    point: *mut f32,
}

impl Filter {
    fn points(&self) -> [usize; 2] {
        self.schemes.map(|scheme| scheme.points)
    }

    #[inline(always)]
    fn parts(self) -> impl Iterator<Item = PackedPart> {
        let [y, x] = self.schemes;
        let taps = |scheme: CookToom, part: usize| {
            part * scheme.part..((part + 1) * scheme.part).min(scheme.taps)
        };
        (0..y.parts * x.parts).map(move |part| PackedPart {
            rows: taps(y, part / x.parts),
            columns: taps(x, part % x.parts),
            point: self.packed.wrapping_add(part * self.part),
        })
    }

    /// Where a tap lies.
    #[inline(always)]
    fn tap<S: Simd>(&self, row: usize, column: usize) -> *mut f32 {
        let tap = row * self.schemes[1].taps + column;
        self.taps.wrapping_add(tap * S::LANES)
    }
}

/// Taps to points.
#[derive(Clone, Copy)]
struct ToPoints(Filter);

/// Gradients of points to gradients of taps: the transpose.
#[derive(Clone, Copy)]
struct ToTaps(Filter);

impl ByPoints for ToPoints {
    #[inline(always)]
    unsafe fn kernel<
        S: Simd,
        const AY: usize,
        const AX: usize,
        const RY: usize,
        const RX: usize,
        const MY: usize,
        const MX: usize,
    >(
        self,
    ) {
        for part in self.0.parts() {
            // SAFETY: the caller's promise.
            unsafe {
                let mut lines = [[S::splat(0.0); RX]; AY];
                for (x, column) in part.columns.enumerate() {
                    let mut line = [S::splat(0.0); RY];
                    for (tap, row) in line.iter_mut().zip(part.rows.clone()) {
                        *tap = S::load(self.0.tap::<S>(row, column));
                    }
                    let line: [S; AY] = transform::filter(line);
                    for (lines, u) in lines.iter_mut().zip(line) {
                        lines[x] = u;
                    }
                }
                let mut point = part.point;
                for line in &lines {
                    let line: [S; AX] = transform::filter(*line);
                    for u in line {
                        u.store(point);
                        point = point.wrapping_add(self.0.point);
                    }
                }
            }
        }
    }
}

impl ByPoints for ToTaps {
    #[inline(always)]
    unsafe fn kernel<
        S: Simd,
        const AY: usize,
        const AX: usize,
        const RY: usize,
        const RX: usize,
        const MY: usize,
        const MX: usize,
    >(
        self,
    ) {
        for part in self.0.parts() {
            // SAFETY: the caller's promise.
            unsafe {
                let mut lines = [[S::splat(0.0); RX]; AY];
                let mut point = part.point;
                for line in &mut lines {
                    let mut du = [S::splat(0.0); AX];
                    for du in &mut du {
                        *du = S::load(point);
                        point = point.wrapping_add(self.0.point);
                    }
                    *line = transform::filter_transposed(du);
                }
                for (x, column) in part.columns.enumerate() {
                    let mut line = [S::splat(0.0); AY];
                    for (du, lines) in line.iter_mut().zip(&lines) {
                        *du = lines[x];
                    }
                    let line: [S; RY] = transform::filter_transposed(line);
                    for (dw, row) in line.into_iter().zip(part.rows.clone()) {
                        dw.store(self.0.tap::<S>(row, column));
                    }
                }
            }
        }
    }
}
