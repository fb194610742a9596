//! How a convolution is cut for `conv_tiled`: tiles, groups of planes, lists of sources, pairs of planes.
//! Functions of the shapes and of the device's shared memory alone.

use super::conv::{ConvSource, MAX_CHUNKS, MAX_SOURCES};
use super::declare::In;
use super::launches::MAX_GRID;
use crate::graph::Shape;
use crate::graph::step::BufferId;
use crate::shape::PLANE;

/// A convolution as `conv_tiled` sees it, forward or backward.
pub(super) struct Gathered<'a> {
    /// At most [`MAX_SOURCES`], of at most 2 [`MAX_CHUNKS`] planes together.
    pub sources: Vec<ConvSource>,
    pub out: BufferId,
    pub shape: &'a Shape,
    /// Rows and columns of a source from an output to the next.
    pub step: [usize; 2],
    /// Rows and columns of the output that are computed together are this far apart.
    pub phases: [usize; 2],
    pub add: bool,
}

/// How `conv_tiled` is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tiling {
    /// Planes of a block.
    pub planes: usize,
    /// Whether a warp has 4 tiles of 16 outputs, or 1.
    pub large: bool,
    /// Rows and columns of a tile, powers of two.
    pub tile: [usize; 2],
    pub shared_bytes: usize,
}

/// Numbers of planes for which there is a kernel.
const PLANES: [usize; 7] = [1, 2, 3, 4, 5, 6, 8];
/// Taps that a step of `conv.cu` takes together.
const STEP_TAPS: i32 = 6;
/// Of `SeenChunk` in `conv.cuh`.
const SEEN_CHUNK_BYTES: usize = 96;
const SMALL: usize = 128;
const LARGE: usize = 512;
/// Outputs of an image from which on a large tile is worth it.
const LARGE_FROM: usize = 384;

/// Rows and columns of a tile of `outputs` outputs for images of `w` columns.
fn tile_of(outputs: usize, w: usize) -> [usize; 2] {
    let widest = if outputs == LARGE { 16 } else { 8 };
    let tile_w = w.next_power_of_two().clamp(widest, 32);
    [outputs / tile_w, tile_w]
}

/// Tiles that cover an image.
pub(super) fn tiles(tile: [usize; 2], size: [usize; 2]) -> usize {
    size[0].div_ceil(tile[0]) * size[1].div_ceil(tile[1])
}

/// Parts of an image's statistics at most: for small tiles, and every stride of the paper.
pub fn most_parts(shape: &Shape) -> usize {
    let strides = || 1..=3usize;
    let of = |s: usize, t: usize| {
        let size = [shape.h.div_ceil(s), shape.w.div_ceil(t)];
        s * t * tiles(tile_of(SMALL, size[1]), size)
    };
    let all = strides().flat_map(|s| strides().map(move |t| of(s, t)));
    all.max().expect("there are strides")
}

impl Gathered<'_> {
    /// Rows and columns of the first phase, which has the most.
    pub fn size(&self) -> [usize; 2] {
        [
            self.shape.h.div_ceil(self.phases[0]),
            self.shape.w.div_ceil(self.phases[1]),
        ]
    }

    /// Rows and columns of a source that a tile reads at most.
    pub fn halo(&self, tile: [usize; 2]) -> [usize; 2] {
        // The taps that reach the outputs of a phase.
        let taps = |k: i32, phases: usize| (k as usize).div_ceil(phases);
        let most = |axis: usize| {
            let k = |s: &ConvSource| if axis == 0 { s.kh } else { s.kw };
            let counts = self.sources.iter().map(|s| taps(k(s), self.phases[axis]));
            counts.max().unwrap_or(1)
        };
        [0, 1].map(|axis| (tile[axis] - 1) * self.step[axis] + most(axis))
    }

    /// Bytes of what a block keeps of the chunks that it sees.
    pub fn table_bytes(&self) -> usize {
        SEEN_CHUNK_BYTES * pairs(&self.sources).len()
    }

    /// Taps of a step at most: some rows, but one where a row has more.
    pub fn ring_taps(&self) -> usize {
        let of = |s: &ConvSource| (s.kh * s.kw).min(s.kw.max(STEP_TAPS)) as usize;
        self.sources.iter().map(of).max().unwrap_or(1)
    }

    fn tiling(&self, large: bool, planes: usize) -> Tiling {
        let tile = tile_of(if large { LARGE } else { SMALL }, self.size()[1]);
        let [h, w] = self.halo(tile);
        let ring = 3 * self.ring_taps() * 2 * PLANE * planes;
        let pipeline = self.table_bytes() + 16 * (3 * 2 * h * w + ring);
        let sums = 4 * (8 + 1) * 2 * PLANE * planes;
        Tiling {
            planes,
            large,
            tile,
            shared_bytes: pipeline.max(sums),
        }
    }

    /// The first way of running that fits: all planes in a block if possible, in large tiles if
    /// the image has them. None: too large a filter or stride, or more groups of planes than a grid
    /// has room for.
    pub fn best(&self, shared_limit: usize) -> Option<Tiling> {
        let [h, w] = self.size();
        let n = self.shape.planes();
        let sizes = if h * w >= LARGE_FROM {
            &[true, false][..]
        } else {
            &[false]
        };
        let split = |groups: usize| {
            let planes = n.div_ceil(groups);
            PLANES.into_iter().find(|&p| p >= planes)
        };
        let mut groups: Vec<usize> = (1..=n).filter_map(split).collect();
        groups.dedup();
        groups.retain(|&planes| n.div_ceil(planes) <= MAX_GRID);
        let all = groups
            .into_iter()
            .flat_map(|planes| sizes.iter().map(move |&l| (l, planes)));
        all.map(|(large, planes)| self.tiling(large, planes))
            .find(|tiling| tiling.shared_bytes <= shared_limit)
    }
}

/// The planes of all sources in pairs of equal filters, as the kernels read them.
pub(super) fn pairs(sources: &[ConvSource]) -> Vec<u32> {
    const NONE: u32 = 255;
    let filter = |i: u32| (sources[i as usize].kh, sources[i as usize].kw);
    let mut chunks = vec![];
    let mut half: Option<(u32, u32)> = None;
    for (number, source) in (0..).zip(sources) {
        for plane in 0..source.planes as u32 {
            half = match half.take() {
                None => Some((number, plane)),
                Some((other, p)) if filter(other) == filter(number) => {
                    chunks.push(other | p << 8 | number << 16 | plane << 24);
                    None
                }
                Some((other, p)) => {
                    chunks.push(other | p << 8 | NONE << 16);
                    Some((number, plane))
                }
            };
        }
    }
    chunks.extend(half.map(|(number, plane)| number | plane << 8 | NONE << 16));
    chunks
}

/// Planes that a source has at most in a launch: their numbers are bytes.
const MAX_SOURCE_PLANES: i32 = 255;

/// Cuts sources into lists that fit one launch each; a list after the first adds to what is there.
pub(super) fn fitting(sources: Vec<ConvSource>) -> Vec<Vec<ConvSource>> {
    let mut lists: Vec<Vec<ConvSource>> = vec![vec![]];
    let mut n_planes = 0;
    for mut source in sources {
        let mut rest = source.planes;
        while rest > 0 {
            source.planes = rest.min(MAX_SOURCE_PLANES);
            // Every source may leave half a chunk empty.
            n_planes += source.planes + 1;
            let last = lists.last_mut().expect("there is a list");
            if last.len() == MAX_SOURCES || n_planes as usize > MAX_CHUNKS {
                n_planes = source.planes + 1;
                lists.push(vec![source]);
            } else {
                last.push(source);
            }
            rest -= source.planes;
            let product = |numbers: &[i32]| numbers.iter().map(|&n| n as u64).product::<u64>();
            let pixels = product(&[source.planes, source.h, source.w]);
            let weights = product(&[source.planes, source.kh, source.kw, source.columns]);
            source.x = In::at(source.x.0 + 16 * pixels);
            source.weight = In::at(source.weight.0 + 16 * weights);
        }
    }
    lists
}
