// Convolution by tensor cores: forward, and gradient to data in gather form.
//
// A block finds which chunks its tile sees (conv_tile.cuh), copies and multiplies these step by step
// (here), and writes what they come to (conv_epilogue.cuh).
#include "conv_epilogue.cuh"

// ---- copies to shared memory --------------------------------------------------------------------

// Where in shared memory the RING buffers of a chunk's input lie, and the RING of a step's weights.
struct ConvBuffers {
    int plane_bytes;   // of one of the two planes of an input
    int input_bytes;   // of both
    int inputs_at;     // the first buffer of input
    int weight_bytes;  // of a step
    int weights_at;    // the first buffer of weights

    METHOD int input(int chunk) const { return inputs_at + chunk % RING * input_bytes; }
    METHOD int weights(int step) const { return weights_at + step % RING * weight_bytes; }
};

template <int PLANES>
DEVICE ConvBuffers buffers_of(const ConvArgs& args) {
    ConvBuffers buffers;
    buffers.plane_bytes = args.halo_h * args.halo_w * 16;
    buffers.input_bytes = 2 * buffers.plane_bytes;
    buffers.inputs_at = args.table_bytes;
    buffers.weights_at = buffers.inputs_at + RING * buffers.input_bytes;
    buffers.weight_bytes = args.ring_taps * 2 * 8 * PLANES * 16;
    return buffers;
}

// Begins to copy the input of a chunk, of both its planes, to the buffer at `to`.
DEVICE void load_input(const ConvArgs& args, const SeenChunk& chunk, int to, int plane_bytes) {
    const In<Pixel> x0 = chunk.x[0], x1 = chunk.x[1];
    const uint32_t h0 = chunk.h[0], w0 = chunk.w[0], h1 = chunk.h[1], w1 = chunk.w[1];
    const uint32_t top = chunk.top, left = chunk.left, columns = chunk.columns;
    const uint32_t magic = chunk.magic;
    const int pixels = chunk.pixels, halo_w = args.halo_w;
    // Copies that are unrolled would take registers from the sums.
    ROLLED for (int i = thread_idx(); i < pixels; i += 32 * N_WARPS) {
        // What lies before the image is far behind its end as a number without a sign.
        uint32_t r = (uint32_t)((uint64_t)(uint32_t)i * magic >> 32), q = i - r * columns;
        uint32_t y = top + r, x = left + q;
        int at = to + (int)(r * halo_w + q) * 16;
        copy_async(at, x0, (int)(y * w0 + x), y < h0 && x < w0);
        copy_async(at + plane_bytes, x1, (int)(y * w1 + x), y < h1 && x < w1);
    }
}

// Begins to copy the weights of the step from tap row `row` of a chunk on, to the buffer at `to`:
// zeros from `n_columns` on, where the planes end.
template <int COLUMNS>
DEVICE void load_weights(const SeenChunk& chunk, int row, int to, int n_columns) {
    const uint32_t taps_w = chunk.taps_w, magic_w = 65536 / taps_w + 1;  // for tap / taps_w
    const uint32_t n = min(chunk.step_rows, chunk.taps_h - row) * taps_w * COLUMNS;
    for (int half = 0; half < 2; half++) {
        const In<Pixel> weight = chunk.weight[half];
        const int row_step = chunk.row_step[half], tap_step = chunk.tap_step[half];
        const int row_at = row * row_step, end = chunk.h[half] > 0 ? n_columns : 0;
        ROLLED for (uint32_t i = thread_idx(); i < n; i += 32 * N_WARPS) {
            uint32_t tap = i / COLUMNS, column = i % COLUMNS, r = tap * magic_w >> 16;
            uint32_t q = tap - r * taps_w;
            copy_async(to + (int)((2 * tap + half) * COLUMNS + column) * 16, weight,
                       row_at + (int)(r * row_step + q * tap_step + column), (int)column < end);
        }
    }
}

// ---- products -----------------------------------------------------------------------------------

// Where in a buffer of input this lane's row of each of its warp's tiles of 16 outputs begins.
template <int TILES>
DEVICE void input_rows(const ConvArgs& args, const ConvTile& tile, int plane_bytes,
                       int (&input_row)[TILES]) {
    const int lane = lane_idx(), warp = warp_idx();
    UNROLL for (int m = 0; m < TILES; m++) {
        int p = (warp * TILES + m) * 16 + lane % 16;
        int r = (p >> args.tile_w_log2) * args.step_h, q = (p & (tile.w - 1)) * args.step_w;
        input_row[m] = (r * args.halo_w + q) * 16 + lane / 16 * plane_bytes;
    }
}

// And where in a buffer of weights its row does: of matrices 0 and 1 the planes of one vector of
// columns, of 2 and 3 those of the next.
template <int COLUMNS>
DEVICE int weight_row_of_lane() {
    const int lane = lane_idx();
    return (lane % 8 + lane / 8 % 2 * COLUMNS + lane / 16 * 8) * 16;
}

// Adds the products of a step of `n_taps` taps, `taps_w` a row, to `sum`. The step's part of the
// chunk's input begins at `input`, this lane's row of its weights at `weights`.
template <int PLANES, int TILES>
DEVICE void multiply_step(float (&sum)[TILES][PLANES][4], int input, const int (&input_row)[TILES],
                          int weights, int n_taps, int taps_w, int halo_w) {
    const int to_next_row = (halo_w - taps_w + 1) * 16;
    int q = 0;  // of the row
    // Two at a time, so that the second's operands are on their way beside the first's products.
    UNROLL_TWICE for (int tap = 0; tap < n_taps; tap++) {
        uint32_t a[TILES][4];
        UNROLL for (int m = 0; m < TILES; m++) load_matrices(a[m], input + input_row[m]);
        const bool last_of_row = ++q == taps_w;
        input += last_of_row ? to_next_row : 16;
        q = last_of_row ? 0 : q;
        UNROLL for (int n = 0; n < PLANES; n += 2) {
            // The last of an odd number is loaded twice.
            int last = n + 1 < PLANES ? 0 : lane_idx() / 16 * -128;
            uint32_t b[4];
            load_matrices(b, weights + tap * 2 * 8 * PLANES * 16 + n * 128 + last);
            UNROLL for (int m = 0; m < TILES; m++) {
                multiply_add(sum[m][n], a[m], b[0], b[1]);
                if (n + 1 < PLANES) multiply_add(sum[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// ---- the kernel ---------------------------------------------------------------------------------

// out[n,f,i,j] = sum over the sources' channels and taps of weight x, as formulas of formats.md;
// with `add`, plus what `out` held. Then, by `kind`, for each tile and channel: the mean and the
// sum of squared differences from it, or, as the gradient of a normalisation's result, the ReLU's
// mask and the sums of dz and of dz (x - mean) / sqrt(var + eps).
//
// grid:  phases_h phases_w tiles_w ceil(ceil(h / phases_h) / 2^tile_h_log2), n,
//        ceil(planes / PLANES); tiles of the outputs of each phase, images, groups of planes
// block: 256; each of 8 warps TILES tiles of 16 outputs by 8 PLANES channels
// shared: max(table_bytes + 16 (3 * 2 halo_h halo_w + 3 ring_taps 2 * 8 PLANES),
//        4 (8 + 1) 2 * 8 PLANES); what is kept of the chunks that are seen, then three buffers of
//        a chunk's input, [3][2 planes][halo_h][halo_w] pixels, and three of a step's weights,
//        [3][ring_taps][2 planes][columns] pixels; the epilogue's sums reuse all of it
// needs: tiles of 128 TILES outputs; the sources of a chunk have equal kh and kw
// bytes: sources once a group and tile with their halo, weights once a block, out once
// flops: at most 2 (128 TILES) 16 (8 PLANES) chunk_taps blocks / (phases_h phases_w); chunk_taps
//        are those of all chunks; chunks of which a tile sees nothing are passed over
template <int PLANES, int TILES>
DEVICE void conv_tiled(const ConvArgs& args) {
    constexpr int COLUMNS = 8 * PLANES;
    const ConvTile tile = tile_of_block<PLANES>(args);
    auto seen = shared<SeenChunk>(0, args.n_chunks);
    const int n_seen = describe_chunks(args, tile, seen, args.table_bytes);
    const ConvBuffers buffers = buffers_of<PLANES>(args);

    float sum[TILES][PLANES][4] = {};
    int input_row[TILES];
    input_rows(args, tile, buffers.plane_bytes, input_row);
    const int weight_row = weight_row_of_lane<COLUMNS>();

    // Steps are some tap rows of a chunk that is seen. The weights of two steps and two chunks are on
    // their way at any time, so that what a step reads is never in the latest group of copies.
    int chunk = 0, row = 0;
    int ahead_chunk = 0, ahead_row = 0;  // of the next step to load
    auto load_ahead = [&](int step) {
        if (ahead_chunk >= n_seen) return;
        load_weights<COLUMNS>(seen[ahead_chunk], ahead_row, buffers.weights(step),
                              (args.planes - tile.first_plane) * 8);
        ahead_row += seen[ahead_chunk].step_rows;
        if (ahead_row >= seen[ahead_chunk].taps_h) {
            ahead_row = 0;
            ahead_chunk++;
        }
    };
    auto load_chunk = [&](int number) {
        load_input(args, seen[number], buffers.input(number), buffers.plane_bytes);
    };
    for (int i = 0; i < RING - 1; i++) {
        if (i < n_seen) load_chunk(i);
        load_ahead(i);
        commit_copies();
    }
    for (int step = 0; chunk < n_seen; step++) {
        const int taps_h = seen[chunk].taps_h, taps_w = seen[chunk].taps_w;
        const int step_rows = min(seen[chunk].step_rows, taps_h - row);
        wait_copies<1>();
        sync_block();
        load_ahead(step + 2);
        if (row == 0 && chunk + 2 < n_seen) load_chunk(chunk + 2);
        commit_copies();

        const int input = buffers.input(chunk) + row * args.halo_w * 16;
        const int weights = buffers.weights(step) + weight_row;
        const int n_taps = step_rows * taps_w;
        multiply_step(sum, input, input_row, weights, n_taps, taps_w, args.halo_w);
        row += step_rows;
        if (row == taps_h) {
            row = 0;
            chunk++;
        }
    }
    wait_copies<0>();
    sync_block();

    const ColumnSums<COLUMNS> sums = {shared<float>(0, (N_WARPS + 1) * 2 * COLUMNS)};
    write_outputs(args, tile, sum, sums);
    if (args.kind == EPILOGUE_NONE) return;
    sync_block();
    write_parts(args, tile, sum, sums);
}

// Two blocks share a multiprocessor where their registers allow it.
#define CONV(name, PLANES, TILES, BLOCKS) \
    KERNEL(name, ConvArgs, 256, BLOCKS) { conv_tiled<PLANES, TILES>(args); }
CONV(conv_tiled_1_small, 1, 1, 2)
CONV(conv_tiled_2_small, 2, 1, 2)
CONV(conv_tiled_3_small, 3, 1, 2)
CONV(conv_tiled_4_small, 4, 1, 2)
CONV(conv_tiled_5_small, 5, 1, 2)
CONV(conv_tiled_6_small, 6, 1, 2)
CONV(conv_tiled_8_small, 8, 1, 2)
CONV(conv_tiled_1_large, 1, 4, 2)
CONV(conv_tiled_2_large, 2, 4, 2)
CONV(conv_tiled_3_large, 3, 4, 2)
CONV(conv_tiled_4_large, 4, 4, 2)
CONV(conv_tiled_5_large, 5, 4, 1)
CONV(conv_tiled_6_large, 6, 4, 1)
CONV(conv_tiled_8_large, 8, 4, 1)
