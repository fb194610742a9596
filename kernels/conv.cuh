// What the kernels of a convolution share: their arguments, and which taps reach which pixels.
#pragma once
#include "device.cuh"

#define MAX_SOURCES 48
#define MAX_CHUNKS 384
#define STEP_TAPS 6  // of a step of conv_tiled, some rows at most, unless a row has more
#define RING 3       // buffers of input, and of weights, that it has
#define N_WARPS 8    // of a block of conv_tiled and of conv_filter_tiled

// What the epilogue does besides writing the result: nothing; moments; sums of a normalisation's
// gradient; the ReLU's mask, then the sums.
#define EPILOGUE_NONE 0
#define EPILOGUE_MOMENTS 1
#define EPILOGUE_SUMS 2
#define EPILOGUE_RELU_SUMS 3

// A tensor that is read as a part of a concatenation padded with zeros at the bottom and right; in
// the gradient to data, dy of one consumer.
struct ConvSource {
    In<Pixel> x;       // [n][image_planes][h][w], from the first plane that is read
    In<Pixel> weight;  // [planes][kh kw][columns]: what 8 channels of x add to each output channel
    int planes;        // that are read
    int image_planes;  // of the tensor
    int h;
    int w;
    int kh;
    int kw;
    int columns;  // of `weight`; a block reads those of its output channels
    int reserved;
};

struct ConvArgs {
    ConvSource sources[MAX_SOURCES];
    // Pairs of planes that are multiplied together, as bytes from the lowest: source, plane,
    // source, plane; the second source is 255 where there is none.
    uint32_t chunks[MAX_CHUNKS];
    Out<uint32_t> out;  // pairs of channels, [n][planes][h][w][4]
    In<uint32_t> norm_x;      // of the normalisation whose result's gradient this is
    In<float> coefficients;   // and its rows [7][8 planes]
    Out<float> parts;         // [n][tiles][2][8 planes]
    int n_sources;
    int n_chunks;
    int planes;  // of the output
    int h;       // of the output
    int w;
    int step_h;   // from an output row to the next, in rows of the source: the stride, or 1
    int step_w;
    int phases_h;  // outputs of one block are this many rows apart: 1, or the consumers' stride
    int phases_w;
    int tile_h_log2;  // a tile is 2^tile_h_log2 rows of 2^tile_w_log2 outputs
    int tile_w_log2;
    int tiles_w;
    int halo_h;  // of the source's part that a tile reads, at most
    int halo_w;
    int ring_taps;    // of a step, at most
    int table_bytes;  // of the chunks that a tile sees, a multiple of 16
    int add;   // 1: add to what `out` holds
    int kind;  // what the epilogue does
};

// The taps of one axis that reach the outputs of a phase. Output i of the phase reads the rows
// i step - pad + r for r below n; row r is multiplied by tap first + r step_taps.
struct Taps {
    int n;
    int pad;
    int first;
    int step;
};

// Forward there is one phase, and n = k. In the gradient to data output y = i stride + phase takes
// dy at (y + k/2 - u) / stride for the taps u that leave no rest; taps are stored last first.
DEVICE Taps taps_of(int k, int phases, int phase) {
    if (phases == 1) return {k, k / 2, 0, 1};
    int u = (phase + k / 2) % phases;
    int n = u < k ? (k - 1 - u) / phases + 1 : 0;
    return {n, n - 1 - (phase + k / 2 - u) / phases, k - 1 - u - phases * (n - 1), phases};
}

// Source and plane of half 0 or 1 of a chunk; 255: there is none.
DEVICE int source_of(uint32_t chunk, int half) { return (int)(chunk >> 16 * half & 255); }
DEVICE int plane_of(uint32_t chunk, int half) { return (int)(chunk >> 16 * half >> 8 & 255); }

// What a block keeps of a chunk that its tile sees.
struct SeenChunk {
    In<Pixel> x[2];       // the two planes of the block's image
    In<Pixel> weight[2];  // from the block's first column and the phase's first tap
    int h[2];             // of the sources; 0 where there is no second
    int w[2];
    int row_step[2];  // from a tap to the one below, in columns of `weight`
    int tap_step[2];  // to the one beside
    int taps_h;       // of the phase
    int taps_w;
    int step_rows;    // rows of taps of a step, at most
    int top;  // where the tile's part of the source begins
    int left;
    int pixels;   // of that part
    int columns;  // of that part
    uint32_t magic;  // i / columns = the upper half of i magic, for i and columns below 2^16
};
