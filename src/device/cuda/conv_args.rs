//! What the kernels of a convolution take, and the numbers that they share with the host.

use super::declare::{Bf16, In, Out, Pixel, structs};
use crate::graph::step::{BufferId, Conv, Source};
use crate::shape::PLANE;

/// Sources of a launch at most.
pub const MAX_SOURCES: usize = 48;
/// Pairs of planes of a launch at most.
pub const MAX_CHUNKS: usize = 384;
/// Taps that a step of `conv_tiled` takes together.
pub const STEP_TAPS: usize = 6;
/// Buffers of input, and of weights, that it has.
pub const RING: usize = 3;

/// What the epilogue of a convolution does: nothing else.
const EPILOGUE_NONE: usize = 0;
/// Moments of the result.
pub const EPILOGUE_MOMENTS: usize = 1;
/// Sums of a normalisation's gradient.
pub const EPILOGUE_SUMS: usize = 2;
/// The ReLU's mask, then the sums.
pub const EPILOGUE_RELU_SUMS: usize = 3;

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [
        ("MAX_SOURCES", MAX_SOURCES),
        ("MAX_CHUNKS", MAX_CHUNKS),
        ("STEP_TAPS", STEP_TAPS),
        ("RING", RING),
        ("EPILOGUE_NONE", EPILOGUE_NONE),
        ("EPILOGUE_MOMENTS", EPILOGUE_MOMENTS),
        ("EPILOGUE_SUMS", EPILOGUE_SUMS),
        ("EPILOGUE_RELU_SUMS", EPILOGUE_RELU_SUMS),
    ]
    .map(|(name, number)| (name, number.to_string()))
    .to_vec()
}

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

    /// What a block of `conv_tiled` keeps of a pair of planes.
    struct SeenChunk {
        x: [In<Pixel>; 2],
        weight: [In<Pixel>; 2],
        h: [i32; 2],
        w: [i32; 2],
        row_step: [i32; 2],
        tap_step: [i32; 2],
        taps_h: i32,
        taps_w: i32,
        step_rows: i32,
        top: i32,
        left: i32,
        pixels: i32,
        columns: i32,
        magic: u32,
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

/// Lanes of a convolution's input and output.
pub fn lanes(conv: &Conv) -> [usize; 2] {
    [PLANE * conv.input.planes(), PLANE * conv.output.planes()]
}

/// Bytes of a packed copy of a convolution's weights: where that for the gradient begins behind that
/// for forward.
pub fn one_packed_bytes(conv: &Conv) -> u64 {
    let [input, output] = lanes(conv);
    (2 * input * output * conv.filter[0] * conv.filter[1]) as u64
}

/// Bytes of the two packed copies of a convolution's weights.
pub fn packed_bytes(conv: &Conv) -> usize {
    2 * one_packed_bytes(conv) as usize
}

/// The sources of a convolution, where buffers lie as told, with the weights packed for forward.
pub fn sources(conv: &Conv, packed: u64, address: &dyn Fn(BufferId) -> u64) -> Vec<ConvSource> {
    let [kh, kw] = conv.filter;
    let columns = PLANE * conv.output.planes();
    let mut before = 0;
    let source = |source: &Source| {
        let n_planes = source.shape.planes();
        let weight = In::at(packed + 16 * (before * kh * kw * columns) as u64);
        before += n_planes;
        ConvSource {
            x: In::at(address(source.buffer)),
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
