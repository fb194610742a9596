// What conv_tiled does with its sums: writes the outputs, and what a normalisation needs of them.
//
// Of these sums, sum[m][n] of lane 4g + t has rows g and g + 8 of the warp's tile m of 16 outputs, and
// of each the channels 2t and 2t + 1 of plane n.
#pragma once
#include "conv_tile.cuh"

// An output's row and column among those of the phase.
struct Place {
    int i;
    int j;
    METHOD bool is_in(const ConvTile& tile) const { return i < tile.rows && j < tile.columns; }
};

// That of row g + 8 half of the warp's tile m of 16 outputs.
template <int TILES>
DEVICE Place place_of(const ConvArgs& args, const ConvTile& tile, int m, int half) {
    const int p = (warp_idx() * TILES + m) * 16 + lane_idx() / 4 + 8 * half;
    return {tile.row0 + (p >> args.tile_w_log2), tile.column0 + (p & (tile.w - 1))};
}

// The epilogue's two sums of each column, in shared memory: [warp][2][column], then the means.
template <int COLUMNS>
struct ColumnSums {
    Shared<float> sums;

    // Keeps the sum over the lanes that have rows of the same column.
    METHOD void keep(int i, int column, float x) const {
        UNROLL for (int mask = 4; mask < 32; mask *= 2) x += shuffle_xor(x, mask);
        if (lane_idx() / 4 == 0) sums[(warp_idx() * 2 + i) * COLUMNS + column] = x;
    }

    // Of all warps, of the column that has this thread's number.
    METHOD float total(int i) const {
        float x = 0.f;
        for (int w = 0; w < N_WARPS; w++) x += sums[(w * 2 + i) * COLUMNS + thread_idx()];
        return x;
    }

    METHOD float& mean(int column) const { return sums[N_WARPS * 2 * COLUMNS + column]; }
};

// Whether the outputs are the gradient of a normalisation's result.
DEVICE bool is_of_norm(const ConvArgs& args) { return args.kind >= EPILOGUE_SUMS; }

// Gives a pair of dz, by the ReLU's mask where there is one, and adds it to the sums of dz and of
// dz xhat. `c` has rows of the normalisation's coefficients.
DEVICE uint32_t mask_and_sum(int kind, uint32_t pair, uint32_t norm_x, const float (&c)[4][2],
                              float (&total)[2][2]) {
    UNROLL for (int k = 0; k < 2; k++) {
        float nx = k ? high(norm_x) : low(norm_x);
        if (kind == EPILOGUE_RELU_SUMS && fmaf(c[2][k], nx, c[3][k]) <= 0.f)
            pair &= k ? 0x0000ffffu : 0xffff0000u;
        float dz = k ? high(pair) : low(pair);
        total[0][k] += dz;
        total[1][k] += dz * ((nx - c[0][k]) * c[1][k]);
    }
    return pair;
}

// Writes the outputs, which stay in `sum` as they were rounded, and keeps each warp's sums of them,
// or of dz and dz xhat.
template <int PLANES, int TILES>
DEVICE void write_outputs(const ConvArgs& args, const ConvTile& tile, float (&sum)[TILES][PLANES][4],
                          const ColumnSums<8 * PLANES>& sums) {
    const int t = lane_idx() % 4, width = tile.width;
    const bool of_norm = is_of_norm(args);
    UNROLL for (int n = 0; n < PLANES; n++) {
        const int plane = tile.first_plane + n, channel = plane * 8 + 2 * t;
        float total[2][2] = {};  // of value, of value times xhat; of each channel
        float c[4][2] = {};      // rows of coefficients
        if (of_norm && plane < args.planes)
            UNROLL for (int i = 0; i < 4; i++)
                UNROLL for (int k = 0; k < 2; k++)
                    c[i][k] = args.coefficients[i * width + channel + k];
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                const Place place = place_of<TILES>(args, tile, m, half);
                if (!place.is_in(tile) || plane >= args.planes) continue;
                int y = place.i * args.phases_h + tile.phase_h;
                int x = place.j * args.phases_w + tile.phase_w;
                int64_t at =
                    ((((int64_t)tile.image * args.planes + plane) * args.h + y) * args.w + x) * 4 + t;
                float value[2] = {sum[m][n][2 * half], sum[m][n][2 * half + 1]};
                if (args.add) {
                    uint32_t before = args.out.read(at);
                    value[0] += low(before);
                    value[1] += high(before);
                }
                uint32_t pair = to_pair(value[0], value[1]);
                if (of_norm) {
                    pair = mask_and_sum(args.kind, pair, args.norm_x[at], c, total);
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
            UNROLL for (int k = 0; k < 2; k++) sums.keep(i, n * 8 + 2 * t + k, total[i][k]);
    }
}

// Keeps each warp's sums of squared differences from the means.
template <int PLANES, int TILES>
DEVICE void sum_squares(const ConvArgs& args, const ConvTile& tile,
                        const float (&sum)[TILES][PLANES][4], const ColumnSums<8 * PLANES>& sums) {
    const int t = lane_idx() % 4;
    UNROLL for (int n = 0; n < PLANES; n++)
        UNROLL for (int k = 0; k < 2; k++) {
            float mean = sums.mean(n * 8 + 2 * t + k), squares = 0.f;
            UNROLL for (int m = 0; m < TILES; m++)
                UNROLL for (int half = 0; half < 2; half++) {
                    float d = sum[m][n][2 * half + k] - mean;
                    if (place_of<TILES>(args, tile, m, half).is_in(tile)) squares += d * d;
                }
            sums.keep(1, n * 8 + 2 * t + k, squares);
        }
}

// Writes the tile's sums of dz and dz xhat, or the means of its outputs and their sums of squared
// differences from these.
template <int PLANES, int TILES>
DEVICE void write_parts(const ConvArgs& args, const ConvTile& tile,
                        const float (&sum)[TILES][PLANES][4], const ColumnSums<8 * PLANES>& sums) {
    constexpr int COLUMNS = 8 * PLANES;
    const int thread = thread_idx(), width = tile.width, n_parts = (int)gridDim.x;
    const int64_t part =
        ((int64_t)tile.image * n_parts + (int)blockIdx.x) * 2 * width + tile.first_plane * 8;
    const bool mine = thread < COLUMNS && tile.first_plane * 8 + thread < width;
    if (is_of_norm(args)) {
        if (mine) args.parts.write(part + thread, sums.total(0));
        if (mine) args.parts.write(part + width + thread, sums.total(1));
        return;
    }
    const int count = min(tile.h, tile.rows - tile.row0) * min(tile.w, tile.columns - tile.column0);
    if (thread < COLUMNS) sums.mean(thread) = sums.total(0) / (float)count;
    if (mine) args.parts.write(part + thread, sums.mean(thread));
    sync_block();
    sum_squares(args, tile, sum, sums);
    sync_block();
    if (mine) args.parts.write(part + width + thread, sums.total(1));
}
