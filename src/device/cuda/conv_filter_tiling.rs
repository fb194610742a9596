//! How the gradient of a convolution to its filters is cut for `conv_filter_tiled`: splits of the batch,
//! tiles, groups of warps. A function of the shapes and of the device's shared memory alone.

use super::conv_args::{MAX_CHUNKS, MAX_SOURCES};
use super::declare::{In, Pixel, structs};
use super::layout::image_len;
use crate::graph::step::Conv;
use crate::shape::PLANE;

structs! {
    /// What a block of `conv_filter_tiled` keeps of a plane.
    struct FilterPlane {
        x: In<Pixel>,
        h: i32,
        w: i32,
        image_stride: i32,
        reserved: i32,
    }
}

/// One of the `conv_filter_tiled`.
pub struct Kernel {
    pub name: &'static str,
    /// Planes of dy of a block.
    pub planes: usize,
    /// Pairs of a chunk and a tap of a group of warps.
    pub slots: usize,
    /// Blocks that share a multiprocessor.
    pub blocks: usize,
}

#[rustfmt::skip]
const KERNELS: [Kernel; 7] = [
    Kernel { name: "conv_filter_tiled_1", planes: 1, slots: 7, blocks: 2 },
    Kernel { name: "conv_filter_tiled_2", planes: 2, slots: 7, blocks: 2 },
    Kernel { name: "conv_filter_tiled_3", planes: 3, slots: 6, blocks: 2 },
    Kernel { name: "conv_filter_tiled_4", planes: 4, slots: 7, blocks: 1 },
    Kernel { name: "conv_filter_tiled_5", planes: 5, slots: 5, blocks: 1 },
    Kernel { name: "conv_filter_tiled_6", planes: 6, slots: 5, blocks: 1 },
    Kernel { name: "conv_filter_tiled_8", planes: 8, slots: 5, blocks: 1 },
];

/// How `conv_filter_tiled` is run; a function of the shapes and of the device's shared memory.
pub struct FilterTiling {
    pub kernel: &'static Kernel,
    /// Groups of warps, each with slots of its own.
    pub groups: usize,
    /// Images, rows and columns of a tile of dy, powers of two.
    pub tile: [usize; 3],
    pub halo: [usize; 2],
    /// Pairs of planes of the input; of a block at most.
    pub chunks: usize,
    pub buffer_chunks: usize,
    /// Images of a split.
    pub images: usize,
    pub shared_bytes: usize,
}

/// Pixels of the largest tile: four times 16 for each of 8 warps.
const MAX_PIXELS: usize = 512;
/// Pixels of a tile from which on groups of warps are worth it.
const GROUPS_FROM: usize = 256;
/// Multiprocessors of the largest GPUs.
const PROCESSORS: usize = 132;
/// What a block takes besides its images, as a number of them.
const START: usize = 1;
/// What a split reads is at least this many times the size of its part: the parts, written and read
/// again, add at most half to what the pass moves. One split there is always.
const PARTIALS: usize = 4;

impl FilterTiling {
    pub fn new(conv: &Conv, batch: usize, shared_limit: usize) -> Option<FilterTiling> {
        // With more groups a block reads less for each product, if it has enough slots to fill.
        let of = |groups| FilterTiling::of_groups(conv, batch, shared_limit, groups);
        let good = |tiling: &FilterTiling| {
            let slots = tiling.groups * tiling.kernel.slots;
            let pairs = tiling.chunks * conv.filter[0] * conv.filter[1];
            let filled = pairs.next_multiple_of(slots) * 4 <= pairs * 5;
            let pixels: usize = tiling.tile.iter().product();
            let blocks = tiling.blocks(conv) * tiling.splits(batch);
            filled && pixels >= GROUPS_FROM && blocks >= PROCESSORS * 3 / 4
        };
        [4, 2]
            .into_iter()
            .filter_map(of)
            .find(good)
            .or_else(|| of(1))
    }

    fn of_groups(
        conv: &Conv,
        batch: usize,
        shared_limit: usize,
        groups: usize,
    ) -> Option<FilterTiling> {
        let n_planes: usize = conv.sources.iter().map(|s| s.shape.planes()).sum();
        if conv.sources.len() > MAX_SOURCES || n_planes > 2 * MAX_CHUNKS {
            return None;
        }
        let all_planes = conv.output.planes();
        let planes = all_planes.div_ceil(all_planes.div_ceil(8));
        let kernel = KERNELS.iter().find(|kernel| kernel.planes >= planes)?;
        let taps = conv.filter[0] * conv.filter[1];
        let chunks = n_planes.div_ceil(2);
        let slots = groups * kernel.slots;
        let of_block = |block| chunks_of_block(block, slots, taps, chunks);
        let buffer_chunks = (0..(chunks * taps).div_ceil(slots)).map(of_block).max()?;
        let fitting = |room: usize| {
            let sizes = (4..=MAX_PIXELS.ilog2()).rev().map(|log2| 1 << log2);
            let tilings = sizes.map(|pixels| {
                let tile = tile_of(pixels, conv);
                let halo = [0, 1].map(|i| (tile[i + 1] - 1) * conv.stride[i] + conv.filter[i]);
                let places = tile[0] * halo[0] * halo[1];
                let tables = 16 * places.div_ceil(4) + 2 * size_of::<FilterPlane>() * buffer_chunks;
                let input = 2 * buffer_chunks * places;
                let pipeline = tables + 32 * (input + kernel.planes * pixels);
                let sums = 2048 * kernel.slots * kernel.planes;
                (tile, halo, pipeline.max(sums))
            });
            tilings.into_iter().find(|&(.., bytes)| bytes <= room)
        };
        let alone = fitting(shared_limit);
        let (tile, halo, shared_bytes) = fitting(shared_limit / kernel.blocks).or(alone)?;
        let mut tiling = FilterTiling {
            kernel,
            groups,
            tile,
            halo,
            chunks,
            buffer_chunks,
            images: batch,
            shared_bytes,
        };
        let tensors = conv.sources.iter().map(|s| &s.shape).chain([&conv.output]);
        let read: usize = tensors.map(|shape| 2 * batch * image_len(shape)).sum();
        let partials = 4 * chunks * 16 * PLANE * all_planes * taps;
        let affordable = read / (PARTIALS * partials);
        let fewest = batch.div_ceil(affordable.clamp(1, batch));
        let sizes = (fewest..=batch).map(|images| images.next_multiple_of(tile[0]));
        // Blocks run in rounds, as many at a time as the multiprocessors hold.
        let rounds = |images: usize| {
            let blocks = tiling.blocks(conv) * batch.div_ceil(images);
            blocks.div_ceil(PROCESSORS * kernel.blocks) * (images + START * tile[0])
        };
        // Of equal ones the largest: fewer parts to sum.
        tiling.images = sizes.rev().min_by_key(|&images| rounds(images))?;
        Some(tiling)
    }

    /// Blocks of a split along x and z.
    pub fn grid(&self, conv: &Conv) -> [usize; 2] {
        let pairs = self.chunks * conv.filter[0] * conv.filter[1];
        let slots = self.groups * self.kernel.slots;
        [
            pairs.div_ceil(slots),
            conv.output.planes().div_ceil(self.kernel.planes),
        ]
    }

    fn blocks(&self, conv: &Conv) -> usize {
        self.grid(conv).iter().product()
    }

    /// Splits of a batch.
    pub fn splits(&self, batch: usize) -> usize {
        batch.div_ceil(self.images)
    }

    /// Bytes of the parts of the gradient.
    pub fn partials_bytes(&self, conv: &Conv, batch: usize) -> usize {
        let columns = PLANE * conv.output.planes();
        let taps = conv.filter[0] * conv.filter[1];
        4 * self.splits(batch) * self.chunks * taps * 16 * columns
    }
}

/// Images, rows and columns of a tile.
fn tile_of(pixels: usize, conv: &Conv) -> [usize; 3] {
    let tile_w = conv.output.w.next_power_of_two().clamp(8, 32).min(pixels);
    let tile_h = conv.output.h.next_power_of_two().min(pixels / tile_w);
    [pixels / (tile_h * tile_w), tile_h, tile_w]
}

/// Chunks of which a block of so many slots has taps.
fn chunks_of_block(block: usize, slots: usize, taps: usize, chunks: usize) -> usize {
    ((block + 1) * slots).div_ceil(taps).min(chunks) - block * slots / taps
}
