// Convolution by tensor cores: forward, and gradient to data in gather form.
#include "conv.cuh"

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
    constexpr int N_WARPS = 8, COLUMNS = 8 * PLANES;
    const int thread = thread_idx(), lane = lane_idx(), warp = warp_idx();
    const int g = lane / 4, t = lane % 4;
    const int tile_h = 1 << args.tile_h_log2, tile_w = 1 << args.tile_w_log2;
    const int n_phases = args.phases_h * args.phases_w;
    const int phase = (int)blockIdx.x % n_phases, tile = (int)blockIdx.x / n_phases;
    const int phase_h = phase / args.phases_w, phase_w = phase % args.phases_w;
    const int row0 = tile / args.tiles_w * tile_h, column0 = tile % args.tiles_w * tile_w;
    const int image = (int)blockIdx.y, first_plane = (int)blockIdx.z * PLANES;
    // Outputs of the phase.
    const int rows = ceil_div(args.h - phase_h, args.phases_h);
    const int columns = ceil_div(args.w - phase_w, args.phases_w);
    const int plane_bytes = args.halo_h * args.halo_w * 16, input_bytes = 2 * plane_bytes;
    const int inputs_at = args.table_bytes, weights_at = inputs_at + RING * input_bytes;

    // What a copy needs is computed once a chunk: the loop below has few warps to hide the latency of
    // arithmetic with.
    auto seen = shared<SeenChunk>(0, args.n_chunks);
    auto is_seen = shared<uint32_t>(inputs_at, args.n_chunks);
    auto taps = [&](int chunk, Taps& along_h, Taps& along_w) {
        const ConvSource& source = args.sources[source_of(args.chunks[chunk], 0)];
        along_h = taps_of(source.kh, args.phases_h, phase_h);
        along_w = taps_of(source.kw, args.phases_w, phase_w);
    };
    for (int i = thread; i < args.n_chunks; i += 32 * N_WARPS) {
        Taps along_h, along_w;
        taps(i, along_h, along_w);
        int top = row0 * args.step_h - along_h.pad, left = column0 * args.step_w - along_w.pad;
        bool any = false;
        for (int half = 0; half < 2; half++) {
            const int number = source_of(args.chunks[i], half);
            if (number == 255) continue;
            const ConvSource& source = args.sources[number];
            any = any || (top < source.h && left < source.w);
        }
        is_seen[i] = any && along_h.n > 0 && along_w.n > 0;
    }
    sync_block();
    int n_seen = 0;
    for (int i = 0; i < args.n_chunks; i++) {
        if (is_seen[i] == 0) continue;
        if (i % (32 * N_WARPS) == thread) {
            const uint32_t c = args.chunks[i];
            Taps along_h, along_w;
            taps(i, along_h, along_w);
            SeenChunk& chunk = seen[n_seen];
            chunk.taps_h = along_h.n, chunk.taps_w = along_w.n;
            // Rows of about the same number in each of as few steps as there can be.
            const int n_steps = ceil_div(along_h.n, max(STEP_TAPS / along_w.n, 1));
            chunk.step_rows = ceil_div(along_h.n, n_steps);
            chunk.top = row0 * args.step_h - along_h.pad;
            chunk.left = column0 * args.step_w - along_w.pad;
            chunk.columns = (tile_w - 1) * args.step_w + along_w.n;
            chunk.pixels = ((tile_h - 1) * args.step_h + along_h.n) * chunk.columns;
            chunk.magic = 0xffffffffu / (uint32_t)chunk.columns + 1;
            for (int half = 0; half < 2; half++) {
                const bool there = source_of(c, half) != 255;
                const ConvSource& source = args.sources[there ? source_of(c, half) : source_of(c, 0)];
                const int64_t plane = (int64_t)image * source.image_planes + plane_of(c, half);
                const int64_t row = (int64_t)plane_of(c, half) * source.kh + along_h.first;
                chunk.h[half] = there ? source.h : 0, chunk.w[half] = source.w;
                chunk.x[half] = {source.x.data + plane * source.h * source.w};
                chunk.weight[half] = {source.weight.data +
                                      (row * source.kw + along_w.first) * source.columns +
                                      first_plane * 8};
                chunk.row_step[half] = along_h.step * source.kw * source.columns;
                chunk.tap_step[half] = along_w.step * source.columns;
            }
        }
        n_seen++;
    }
    const int ring_bytes = args.ring_taps * 2 * COLUMNS * 16;
    sync_block();

    auto load_input = [&](int number) {
        const SeenChunk& chunk = seen[number];
        const In<Pixel> x0 = chunk.x[0], x1 = chunk.x[1];
        const uint32_t h0 = chunk.h[0], w0 = chunk.w[0], h1 = chunk.h[1], w1 = chunk.w[1];
        const uint32_t top = chunk.top, left = chunk.left, columns = chunk.columns;
        const uint32_t magic = chunk.magic;
        const int pixels = chunk.pixels, halo_w = args.halo_w;
        const int to = inputs_at + number % RING * input_bytes;
        // Copies that are unrolled would take registers from the sums.
        ROLLED for (int i = thread; i < pixels; i += 32 * N_WARPS) {
            // What lies before the image is far behind its end as a number without a sign.
            uint32_t r = (uint32_t)((uint64_t)(uint32_t)i * magic >> 32), q = i - r * columns;
            uint32_t y = top + r, x = left + q;
            int at = to + (int)(r * halo_w + q) * 16;
            copy_async(at, x0, (int)(y * w0 + x), y < h0 && x < w0);
            copy_async(at + plane_bytes, x1, (int)(y * w1 + x), y < h1 && x < w1);
        }
    };
    auto load_weights = [&](int number, int row, int slot) {
        const SeenChunk& chunk = seen[number];
        const int to = weights_at + slot * ring_bytes, n_columns = (args.planes - first_plane) * 8;
        const uint32_t taps_w = chunk.taps_w, magic_w = 65536 / taps_w + 1;  // for tap / taps_w
        const uint32_t n = min(chunk.step_rows, chunk.taps_h - row) * taps_w * COLUMNS;
        for (int half = 0; half < 2; half++) {
            const In<Pixel> weight = chunk.weight[half];
            const int row_step = chunk.row_step[half], tap_step = chunk.tap_step[half];
            const int row_at = row * row_step, end = chunk.h[half] > 0 ? n_columns : 0;
            ROLLED for (uint32_t i = thread; i < n; i += 32 * N_WARPS) {
                uint32_t tap = i / COLUMNS, column = i % COLUMNS, r = tap * magic_w >> 16;
                uint32_t q = tap - r * taps_w;
                copy_async(to + (int)((2 * tap + half) * COLUMNS + column) * 16, weight,
                           row_at + (int)(r * row_step + q * tap_step + column), (int)column < end);
            }
        }
    };

    float sum[TILES][PLANES][4];
    UNROLL for (int m = 0; m < TILES; m++)
        UNROLL for (int n = 0; n < PLANES; n++)
            UNROLL for (int i = 0; i < 4; i++) sum[m][n][i] = 0.f;
    // Where the lane's row of each tile of 16 outputs begins in a buffer of input.
    int input_row[TILES];
    UNROLL for (int m = 0; m < TILES; m++) {
        int p = (warp * TILES + m) * 16 + lane % 16;
        int r = (p >> args.tile_w_log2) * args.step_h, q = (p & (tile_w - 1)) * args.step_w;
        input_row[m] = (r * args.halo_w + q) * 16 + lane / 16 * plane_bytes;
    }
    // And where its row of the weights does: of matrices 0 and 1 the planes of one vector of
    // columns, of 2 and 3 those of the next.
    const int weight_row = (lane % 8 + lane / 8 % 2 * COLUMNS + lane / 16 * 8) * 16;

    // Steps are some tap rows of a chunk that is seen. The weights of two steps and two chunks are on
    // their way at any time, so that what a step reads is never in the latest group of copies.
    int chunk = 0, row = 0;
    int ahead_chunk = 0, ahead_row = 0;  // of the next step to load
    auto load_ahead = [&](int slot) {
        if (ahead_chunk >= n_seen) return;
        load_weights(ahead_chunk, ahead_row, slot);
        ahead_row += seen[ahead_chunk].step_rows;
        if (ahead_row >= seen[ahead_chunk].taps_h) {
            ahead_row = 0;
            ahead_chunk++;
        }
    };
    for (int i = 0; i < RING - 1; i++) {
        if (i < n_seen) load_input(i);
        load_ahead(i);
        commit_copies();
    }
    for (int step = 0; chunk < n_seen; step++) {
        const int taps_h = seen[chunk].taps_h, taps_w = seen[chunk].taps_w;
        const int step_rows = min(seen[chunk].step_rows, taps_h - row);
        wait_copies<1>();
        sync_block();
        load_ahead((step + 2) % RING);
        if (row == 0 && chunk + 2 < n_seen) load_input(chunk + 2);
        commit_copies();

        int input = inputs_at + chunk % RING * input_bytes + row * args.halo_w * 16;
        const int weights = weights_at + step % RING * ring_bytes + weight_row;
        const int n_taps = step_rows * taps_w, to_next_row = (args.halo_w - taps_w + 1) * 16;
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
                int last = n + 1 < PLANES ? 0 : lane / 16 * -128;
                uint32_t b[4];
                load_matrices(b, weights + tap * 2 * COLUMNS * 16 + n * 128 + last);
                UNROLL for (int m = 0; m < TILES; m++) {
                    multiply_add(sum[m][n], a[m], b[0], b[1]);
                    if (n + 1 < PLANES) multiply_add(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        row += step_rows;
        if (row == taps_h) {
            row = 0;
            chunk++;
        }
    }
    wait_copies<0>();
    sync_block();

    // Epilogue. A lane holds, of rows g and g + 8 of each tile, channels 2t and 2t + 1 of a plane.
    auto sums = shared<float>(0, (N_WARPS + 1) * 2 * COLUMNS);  // [warp][2][column], then totals
    const int width = 8 * args.planes;
    const bool of_norm = args.kind >= EPILOGUE_SUMS;  // or with the ReLU's mask
    UNROLL for (int n = 0; n < PLANES; n++) {
        const int plane = first_plane + n, channel = plane * 8 + 2 * t;
        float total[2][2] = {};  // of value, of value times xhat; of each channel
        float c[4][2] = {};      // rows of coefficients
        if (of_norm && plane < args.planes)
            UNROLL for (int i = 0; i < 4; i++)
                UNROLL for (int k = 0; k < 2; k++)
                    c[i][k] = args.coefficients[i * width + channel + k];
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                int p = (warp * TILES + m) * 16 + g + 8 * half;
                int i = row0 + (p >> args.tile_w_log2), j = column0 + (p & (tile_w - 1));
                if (i >= rows || j >= columns || plane >= args.planes) continue;
                int y = i * args.phases_h + phase_h, x = j * args.phases_w + phase_w;
                int64_t at = ((((int64_t)image * args.planes + plane) * args.h + y) * args.w + x) * 4 + t;
                float value[2] = {sum[m][n][2 * half], sum[m][n][2 * half + 1]};
                if (args.add) {
                    uint32_t before = args.out.read(at);
                    value[0] += low(before);
                    value[1] += high(before);
                }
                uint32_t pair = to_pair(value[0], value[1]);
                if (of_norm) {
                    uint32_t norm_x = args.norm_x[at];
                    UNROLL for (int k = 0; k < 2; k++) {
                        float nx = k ? high(norm_x) : low(norm_x);
                        if (args.kind == EPILOGUE_RELU_SUMS && fmaf(c[2][k], nx, c[3][k]) <= 0.f)
                            pair &= k ? 0x0000ffffu : 0xffff0000u;
                        float dz = k ? high(pair) : low(pair);
                        total[0][k] += dz;
                        total[1][k] += dz * ((nx - c[0][k]) * c[1][k]);
                    }
                } else {
                    total[0][0] += low(pair);
                    total[0][1] += high(pair);
                }
                args.out.write(at, pair);
                sum[m][n][2 * half] = low(pair);
                sum[m][n][2 * half + 1] = high(pair);
            }
        if (args.kind == EPILOGUE_NONE) continue;
        UNROLL for (int i = 0; i < 2; i++)
            UNROLL for (int k = 0; k < 2; k++) {
                float x = total[i][k];
                UNROLL for (int mask = 4; mask < 32; mask *= 2) x += shuffle_xor(x, mask);
                if (g == 0) sums[(warp * 2 + i) * COLUMNS + n * 8 + 2 * t + k] = x;
            }
    }
    if (args.kind == EPILOGUE_NONE) return;
    sync_block();
    const int n_parts = (int)gridDim.x;
    const int64_t part = ((int64_t)image * n_parts + (int)blockIdx.x) * 2 * width + first_plane * 8;
    const bool mine = thread < COLUMNS && first_plane * 8 + thread < width;
    auto total = [&](int i) {
        float x = 0.f;
        for (int w = 0; w < N_WARPS; w++) x += sums[(w * 2 + i) * COLUMNS + thread];
        return x;
    };
    if (of_norm) {
        if (mine) args.parts.write(part + thread, total(0));
        if (mine) args.parts.write(part + width + thread, total(1));
        return;
    }
    const int count = min(tile_h, rows - row0) * min(tile_w, columns - column0);
    const int means = N_WARPS * 2 * COLUMNS;
    if (thread < COLUMNS) sums[means + thread] = total(0) / (float)count;
    if (mine) args.parts.write(part + thread, sums[means + thread]);
    sync_block();
    UNROLL for (int n = 0; n < PLANES; n++)
        UNROLL for (int k = 0; k < 2; k++) {
            float mean = sums[means + n * 8 + 2 * t + k], squares = 0.f;
            UNROLL for (int m = 0; m < TILES; m++)
                UNROLL for (int half = 0; half < 2; half++) {
                    int p = (warp * TILES + m) * 16 + g + 8 * half;
                    int i = row0 + (p >> args.tile_w_log2), j = column0 + (p & (tile_w - 1));
                    float d = sum[m][n][2 * half + k] - mean;
                    if (i < rows && j < columns) squares += d * d;
                }
            UNROLL for (int mask = 4; mask < 32; mask *= 2) squares += shuffle_xor(squares, mask);
            if (g == 0) sums[(warp * 2 + 1) * COLUMNS + n * 8 + 2 * t + k] = squares;
        }
    sync_block();
    if (mine) args.parts.write(part + width + thread, total(1));
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
