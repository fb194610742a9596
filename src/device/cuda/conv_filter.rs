//! Launches of the gradient of a convolution to its filters.

use super::conv::{ConvSource, MAX_CHUNKS, MAX_SOURCES};
use super::conv_tiling::{fitting, pairs};
use super::declare::{In, Out, Pixel, structs};
use super::launches::Launches;
use super::layout::image_len;
use crate::graph::step::{Conv, ConvId};
use crate::shape::PLANE;

structs! {
    /// Of `conv_filter_tiled`.
    struct ConvFilterArgs {
        sources: [ConvSource; MAX_SOURCES],
        chunks: [u32; MAX_CHUNKS],
        dy: In<Pixel>,
        partials: Out<f32>,
        n_chunks: i32,
        groups_log2: i32,
        buffer_chunks: i32,
        n_images: i32,
        images: i32,
        planes: i32,
        h: i32,
        w: i32,
        stride_h: i32,
        stride_w: i32,
        tile_n_log2: i32,
        tile_h_log2: i32,
        tile_w_log2: i32,
        tiles_h: i32,
        tiles_w: i32,
        halo_h: i32,
        halo_w: i32,
        reserved: i32,
    }

    /// Of `conv_filter_sum`.
    struct ConvFilterSumArgs {
        partials: In<f32>,
        lanes: In<i32>,
        dw: Out<f32>,
        splits: i32,
        n_chunks: i32,
        taps: i32,
        columns: i32,
        n_filters: i32,
        n_channels: i32,
    }

    /// Of `conv_filter_direct`.
    struct ConvFilterDirectArgs {
        x: In<Pixel>,
        dy: In<Pixel>,
        channels: In<i32>,
        dw: Out<f32>,
        n_images: i32,
        x_planes: i32,
        x_h: i32,
        x_w: i32,
        planes: i32,
        h: i32,
        w: i32,
        kh: i32,
        kw: i32,
        stride_h: i32,
        stride_w: i32,
        n_filters: i32,
        n_channels: i32,
        reserved: i32,
    }
}

/// Of `FilterPlane` in `conv_filter.cu`.
const PLANE_BYTES: usize = 24;

/// One of the `conv_filter_tiled`.
struct Kernel {
    name: &'static str,
    /// Planes of dy of a block.
    planes: usize,
    /// Pairs of a chunk and a tap of a group of warps.
    slots: usize,
    /// Blocks that share a multiprocessor.
    blocks: usize,
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
struct Tiling {
    kernel: &'static Kernel,
    /// Groups of warps, each with slots of its own.
    groups: usize,
    /// Images, rows and columns of a tile of dy, powers of two.
    tile: [usize; 3],
    halo: [usize; 2],
    /// Pairs of planes of the input; of a block at most.
    chunks: usize,
    buffer_chunks: usize,
    /// Images of a split.
    images: usize,
    shared_bytes: usize,
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

impl Tiling {
    fn new(conv: &Conv, batch: usize, shared_limit: usize) -> Option<Tiling> {
        // With more groups a block reads less for each product, if it has enough slots to fill.
        let of = |groups| Tiling::of_groups(conv, batch, shared_limit, groups);
        let good = |tiling: &Tiling| {
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

    fn of_groups(conv: &Conv, batch: usize, shared_limit: usize, groups: usize) -> Option<Tiling> {
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
                let tables = 16 * places.div_ceil(4) + 2 * PLANE_BYTES * buffer_chunks;
                let input = 2 * buffer_chunks * places;
                let pipeline = tables + 32 * (input + kernel.planes * pixels);
                let sums = 2048 * kernel.slots * kernel.planes;
                (tile, halo, pipeline.max(sums))
            });
            tilings.into_iter().find(|&(.., bytes)| bytes <= room)
        };
        let alone = fitting(shared_limit);
        let (tile, halo, shared_bytes) = fitting(shared_limit / kernel.blocks).or(alone)?;
        let mut tiling = Tiling {
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
    fn grid(&self, conv: &Conv) -> [usize; 2] {
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

    fn splits(&self, batch: usize) -> usize {
        batch.div_ceil(self.images)
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

/// Bytes of the parts of the gradient to a convolution's filters.
pub fn partials_bytes(conv: &Conv, batch: usize, shared_limit: usize) -> usize {
    let Some(tiling) = Tiling::new(conv, batch, shared_limit) else {
        return 0;
    };
    let columns = PLANE * conv.output.planes();
    let taps = conv.filter[0] * conv.filter[1];
    4 * tiling.splits(batch) * tiling.chunks * taps * 16 * columns
}

impl Launches<'_> {
    pub(super) fn conv_bwd_filter(&mut self, id: ConvId) {
        let conv = self.plan.conv(id);
        let tiling = Tiling::new(conv, self.batch(), self.limits.shared_bytes);
        let mut lists = fitting(self.conv_sources(conv));
        match tiling {
            Some(tiling) if lists.len() == 1 => {
                self.conv_filter_tiled(conv, &lists.remove(0), &tiling);
            }
            _ => self.conv_filter_direct(conv),
        }
    }

    fn conv_filter_tiled(&mut self, conv: &Conv, sources: &[ConvSource], tiling: &Tiling) {
        let plan = self.plan;
        let taps = conv.filter[0] * conv.filter[1];
        let columns = PLANE * conv.output.planes();
        let [h, w] = [conv.output.h, conv.output.w];
        let mut args: ConvFilterArgs = bytemuck::Zeroable::zeroed();
        args.sources[..sources.len()].copy_from_slice(sources);
        let chunks = pairs(sources);
        args.chunks[..chunks.len()].copy_from_slice(&chunks);
        args.dy = self.input(conv.y);
        args.partials = self.output(plan.scratch);
        args.n_chunks = chunks.len() as i32;
        args.groups_log2 = tiling.groups.ilog2() as i32;
        args.buffer_chunks = tiling.buffer_chunks as i32;
        args.n_images = self.batch() as i32;
        args.images = tiling.images as i32;
        args.planes = conv.output.planes() as i32;
        [args.h, args.w] = [h as i32, w as i32];
        [args.stride_h, args.stride_w] = conv.stride.map(|stride| stride as i32);
        let [tile_n, tile_h, tile_w] = tiling.tile;
        args.tile_n_log2 = tile_n.ilog2() as i32;
        args.tile_h_log2 = tile_h.ilog2() as i32;
        args.tile_w_log2 = tile_w.ilog2() as i32;
        args.tiles_h = h.div_ceil(tile_h) as i32;
        args.tiles_w = w.div_ceil(tile_w) as i32;
        [args.halo_h, args.halo_w] = tiling.halo.map(|halo| halo as i32);
        let splits = tiling.splits(self.batch());
        let kernel = tiling.kernel;
        let [x, z] = tiling.grid(conv);
        let grid = [x, splits, z];
        self.push_shared(kernel.name, grid, 256, tiling.shared_bytes, &args);
        let weights = conv.output.c() * conv.input.c() * taps;
        let args = ConvFilterSumArgs {
            partials: self.input(plan.scratch),
            lanes: self.tables.lanes(&conv.input),
            dw: self.output_span(plan.gradients, conv.weight),
            splits: splits as i32,
            n_chunks: chunks.len() as i32,
            taps: taps as i32,
            columns: columns as i32,
            n_filters: conv.output.c() as i32,
            n_channels: conv.input.c() as i32,
        };
        self.push("conv_filter_sum", [weights.div_ceil(256), 1, 1], 256, &args);
    }

    fn conv_filter_direct(&mut self, conv: &Conv) {
        let mut first_lane = 0;
        for source in &conv.sources {
            let channels = self.tables.channels(&conv.input);
            let args = ConvFilterDirectArgs {
                x: self.input(source.buffer),
                dy: self.input(conv.y),
                channels: In::at(channels.0 + 4 * first_lane as u64),
                dw: self.output_span(self.plan.gradients, conv.weight),
                n_images: self.batch() as i32,
                x_planes: source.shape.planes() as i32,
                x_h: source.shape.h as i32,
                x_w: source.shape.w as i32,
                planes: conv.output.planes() as i32,
                h: conv.output.h as i32,
                w: conv.output.w as i32,
                kh: conv.filter[0] as i32,
                kw: conv.filter[1] as i32,
                stride_h: conv.stride[0] as i32,
                stride_w: conv.stride[1] as i32,
                n_filters: conv.output.c() as i32,
                n_channels: conv.input.c() as i32,
                reserved: 0,
            };
            let taps = conv.filter[0] * conv.filter[1];
            let grid = [source.shape.planes(), taps, conv.output.planes()];
            self.push("conv_filter_direct", grid, 32, &args);
            first_lane += PLANE * source.shape.planes();
        }
    }
}
