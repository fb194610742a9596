//! Launches of the gradient of a convolution to its filters.

use super::conv_args::{ConvSource, MAX_CHUNKS, MAX_SOURCES};
use super::conv_choose::{FilterGradient, filter_gradient};
use super::conv_filter_tiling::FilterTiling;
use super::conv_tiling::{fitting, pairs};
use super::declare::{In, Out, Pixel, structs};
use super::launches::Launches;
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

impl Launches<'_> {
    pub(super) fn conv_bwd_filter(&mut self, id: ConvId) {
        let conv = self.plan.conv(id);
        match filter_gradient(conv, self.batch(), &self.limits) {
            FilterGradient::Tiled(tiling) => {
                let sources = fitting(self.conv_sources(conv)).concat();
                self.conv_filter_tiled(conv, &sources, &tiling);
            }
            FilterGradient::Direct => self.conv_filter_direct(conv),
        }
    }

    fn conv_filter_tiled(&mut self, conv: &Conv, sources: &[ConvSource], tiling: &FilterTiling) {
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
