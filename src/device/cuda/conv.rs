//! Launches of convolutions: forward, gradient to data in gather form, and packing.

use super::conv_tiling::{Gathered, fitting, most_parts, pairs, tiles};
use super::declare::{Bf16, In, Out, Pixel, structs};
use super::launches::{Launches, Parts};
use crate::graph::Shape;
use crate::graph::step::{BufferId, Conv, ConvId, Norm, Source};
use crate::shape::PLANE;

/// Sources of a launch at most.
pub const MAX_SOURCES: usize = 48;
/// Pairs of planes of a launch at most.
pub const MAX_CHUNKS: usize = 384;

structs! {
    /// A tensor that a convolution reads.
    struct ConvSource {
        x: In<Pixel>,
        weight: In<Pixel>,
        planes: i32,
        image_planes: i32,
        h: i32,
        w: i32,
        kh: i32,
        kw: i32,
        columns: i32,
        reserved: i32,
    }

    /// Of `conv_tiled` and `conv_direct`.
    struct ConvArgs {
        sources: [ConvSource; MAX_SOURCES],
        chunks: [u32; MAX_CHUNKS],
        out: Out<u32>,
        norm_x: In<u32>,
        coefficients: In<f32>,
        parts: Out<f32>,
        n_sources: i32,
        n_chunks: i32,
        planes: i32,
        h: i32,
        w: i32,
        step_h: i32,
        step_w: i32,
        phases_h: i32,
        phases_w: i32,
        tile_h_log2: i32,
        tile_w_log2: i32,
        tiles_w: i32,
        halo_h: i32,
        halo_w: i32,
        ring_taps: i32,
        table_bytes: i32,
        add: i32,
        kind: i32,
    }

    /// Of `conv_pack`.
    struct ConvPackArgs {
        weights: In<f32>,
        channels: In<i32>,
        forward: Out<Bf16>,
        backward: Out<Bf16>,
        n_filters: i32,
        n_channels: i32,
        taps: i32,
        input_lanes: i32,
        output_lanes: i32,
        reserved: i32,
    }
}

/// What the epilogue of a convolution does besides writing its result.
#[derive(Clone, Copy)]
pub(super) enum Epilogue<'a> {
    Nothing,
    /// Moments of the result, to this buffer.
    Moments(BufferId),
    /// The gradient is that to a normalisation's result: mask and sums.
    Norm(&'a Norm),
}

impl Launches<'_> {
    /// Lanes of a convolution's input and output.
    fn lanes(conv: &Conv) -> [usize; 2] {
        [PLANE * conv.input.planes(), PLANE * conv.output.planes()]
    }

    /// Where the weights packed for the gradient begin, in bytes after those packed for forward.
    fn packed_bytes(conv: &Conv) -> u64 {
        let [input, output] = Self::lanes(conv);
        (2 * input * output * conv.filter[0] * conv.filter[1]) as u64
    }

    pub(super) fn conv_pack(&mut self, id: ConvId) {
        let conv = self.plan.conv(id);
        let [input_lanes, output_lanes] = Self::lanes(conv);
        let taps = conv.filter[0] * conv.filter[1];
        let packed: Out<Bf16> = self.output(conv.packed);
        let args = ConvPackArgs {
            weights: self.input_span(self.plan.weights, conv.weight),
            channels: self.tables.channels(&conv.input),
            forward: packed,
            backward: Out::at(packed.0 + Self::packed_bytes(conv)),
            n_filters: conv.output.c() as i32,
            n_channels: conv.input.c() as i32,
            taps: taps as i32,
            input_lanes: input_lanes as i32,
            output_lanes: output_lanes as i32,
            reserved: 0,
        };
        let of_plane = PLANE * output_lanes * taps;
        let grid = [conv.input.planes(), of_plane.div_ceil(256), 1];
        self.push("conv_pack", grid, 256, &args);
    }

    /// The sources of a convolution with the weights packed for forward.
    pub(super) fn conv_sources(&self, conv: &Conv) -> Vec<ConvSource> {
        let [kh, kw] = conv.filter;
        let columns = PLANE * conv.output.planes();
        let packed: In<Pixel> = self.input(conv.packed);
        let mut before = 0;
        let source = |source: &Source| {
            let n_planes = source.shape.planes();
            let weight = In::at(packed.0 + 16 * (before * kh * kw * columns) as u64);
            before += n_planes;
            ConvSource {
                x: self.input(source.buffer),
                weight,
                planes: n_planes as i32,
                image_planes: n_planes as i32,
                h: source.shape.h as i32,
                w: source.shape.w as i32,
                kh: kh as i32,
                kw: kw as i32,
                columns: columns as i32,
                reserved: 0,
            }
        };
        conv.sources.iter().map(source).collect()
    }

    pub(super) fn conv_fwd(&mut self, id: ConvId) {
        let conv = self.plan.conv(id);
        let sources = self.conv_sources(conv);
        let mut gathered = Gathered {
            sources: vec![],
            out: conv.y,
            shape: &conv.output,
            step: conv.stride,
            phases: [1, 1],
            add: false,
        };
        self.convolve_all(&mut gathered, sources, Epilogue::Moments(conv.moments));
    }

    /// What a convolution adds to the gradient of its source number `source`.
    pub(super) fn conv_gradient(&self, id: ConvId, source: usize) -> ConvSource {
        let conv = self.plan.conv(id);
        let columns = PLANE * conv.input.planes();
        let before = conv.sources[..source].iter().map(|s| s.shape.planes());
        let first_column = PLANE * before.sum::<usize>();
        let packed: In<Pixel> = self.input(conv.packed);
        let backward = packed.0 + Self::packed_bytes(conv);
        ConvSource {
            x: self.input(conv.y),
            weight: In::at(backward + 16 * first_column as u64),
            planes: conv.output.planes() as i32,
            image_planes: conv.output.planes() as i32,
            h: conv.output.h as i32,
            w: conv.output.w as i32,
            kh: conv.filter[0] as i32,
            kw: conv.filter[1] as i32,
            columns: columns as i32,
            reserved: 0,
        }
    }

    /// Convolves any number of sources, the epilogue after the last.
    pub(super) fn convolve_all(
        &mut self,
        gathered: &mut Gathered,
        sources: Vec<ConvSource>,
        epilogue: Epilogue,
    ) {
        let lists = fitting(sources);
        let last = lists.len() - 1;
        for (i, list) in lists.into_iter().enumerate() {
            gathered.sources = list;
            let epilogue = if i == last {
                epilogue
            } else {
                Epilogue::Nothing
            };
            self.convolve(gathered, epilogue);
            gathered.add = true;
        }
    }

    fn convolve(&mut self, gathered: &Gathered, epilogue: Epilogue) {
        let tiling = gathered.best(self.limits.shared_bytes);
        let Some(tiling) = tiling else {
            return self.convolve_direct(gathered, epilogue);
        };
        let [tile_h, tile_w] = tiling.tile;
        let [rows, columns] = gathered.size();
        let n_phases = gathered.phases[0] * gathered.phases[1];
        let n_tiles = tiles(tiling.tile, gathered.size());
        let parts = Parts {
            per_image: n_tiles * n_phases,
            tile: tiling.tile,
        };
        let shape = gathered.shape;
        let fits = parts.per_image <= most_parts(shape);
        let mut args = self.conv_args(gathered);
        match epilogue {
            _ if !fits => {}
            Epilogue::Nothing => {}
            Epilogue::Moments(moments) => {
                args.kind = 1;
                args.parts = self.output(moments);
                self.parts.insert(moments, parts);
            }
            Epilogue::Norm(norm) => {
                args.kind = if norm.relu { 3 } else { 2 };
                args.norm_x = self.input(norm.x);
                args.coefficients = self.input(norm.coefficients);
                args.parts = self.output(norm.dz_sums);
                self.parts.insert(norm.dz_sums, parts);
            }
        }
        let chunks = pairs(&gathered.sources);
        args.chunks[..chunks.len()].copy_from_slice(&chunks);
        args.n_chunks = chunks.len() as i32;
        args.tile_h_log2 = tile_h.ilog2() as i32;
        args.tile_w_log2 = tile_w.ilog2() as i32;
        args.tiles_w = columns.div_ceil(tile_w) as i32;
        let halo = gathered.halo(tiling.tile);
        args.halo_h = halo[0] as i32;
        args.halo_w = halo[1] as i32;
        args.ring_taps = gathered.ring_taps() as i32;
        args.table_bytes = gathered.table_bytes() as i32;
        debug_assert_eq!(n_tiles, rows.div_ceil(tile_h) * columns.div_ceil(tile_w));
        let groups = shape.planes().div_ceil(tiling.planes);
        let grid = [n_tiles * n_phases, self.batch(), groups];
        let kernel = kernel(tiling.planes, tiling.large);
        self.push_shared(kernel, grid, 256, tiling.shared_bytes, &args);
        if !fits {
            self.finish(gathered, epilogue);
        }
    }

    fn convolve_direct(&mut self, gathered: &Gathered, epilogue: Epilogue) {
        let shape = gathered.shape;
        let args = self.conv_args(gathered);
        let pixels = shape.h * shape.w;
        let grid = [shape.planes(), pixels.div_ceil(128), self.batch()];
        self.push("conv_direct", grid, 128, &args);
        self.finish(gathered, epilogue);
    }

    /// An epilogue as a kernel of its own.
    fn finish(&mut self, gathered: &Gathered, epilogue: Epilogue) {
        match epilogue {
            Epilogue::Nothing => {}
            Epilogue::Moments(moments) => {
                self.batchnorm_moments(gathered.out, gathered.shape, moments);
            }
            Epilogue::Norm(norm) => self.batchnorm_mask(norm),
        }
    }

    /// All arguments but those of tiles and epilogue.
    fn conv_args(&self, gathered: &Gathered) -> ConvArgs {
        let mut args: ConvArgs = bytemuck::Zeroable::zeroed();
        args.sources[..gathered.sources.len()].copy_from_slice(&gathered.sources);
        args.out = self.output(gathered.out);
        args.n_sources = gathered.sources.len() as i32;
        args.planes = gathered.shape.planes() as i32;
        args.h = gathered.shape.h as i32;
        args.w = gathered.shape.w as i32;
        [args.step_h, args.step_w] = gathered.step.map(|step| step as i32);
        [args.phases_h, args.phases_w] = gathered.phases.map(|phases| phases as i32);
        args.add = i32::from(gathered.add);
        args
    }
}

fn kernel(planes: usize, large: bool) -> &'static str {
    match (planes, large) {
        (1, false) => "conv_tiled_1_small",
        (2, false) => "conv_tiled_2_small",
        (3, false) => "conv_tiled_3_small",
        (4, false) => "conv_tiled_4_small",
        (5, false) => "conv_tiled_5_small",
        (6, false) => "conv_tiled_6_small",
        (8, false) => "conv_tiled_8_small",
        (1, true) => "conv_tiled_1_large",
        (2, true) => "conv_tiled_2_large",
        (3, true) => "conv_tiled_3_large",
        (4, true) => "conv_tiled_4_large",
        (5, true) => "conv_tiled_5_large",
        (6, true) => "conv_tiled_6_large",
        (8, true) => "conv_tiled_8_large",
        _ => unreachable!("no kernel for {planes} planes"),
    }
}

/// Bytes of the two packed copies of a convolution's weights.
pub fn packed_bytes(conv: &Conv) -> usize {
    2 * Launches::packed_bytes(conv) as usize
}

/// Bytes of the statistics of a batch of images of `shape`.
pub fn statistics_bytes(shape: &Shape, batch: usize) -> usize {
    4 * batch * most_parts(shape) * shape.statistics_len()
}
