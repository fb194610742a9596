// A tile of a matrix product by tensor cores: factors in f32, rounded to bfloat16 on their way to
// shared memory, sums in f32.
#pragma once
#include "device.cuh"

#define TILE 128  // rows and columns of a tile
#define STEP 32   // of the sum that are in shared memory together
#define GAP 8     // values between two lines in shared memory

// A block has 256 threads: 8 warps, four along rows and two along columns, each 32 rows by 64 columns.

// Values between the starts of two lines in shared memory, by which a warp's loads of matrices meet
// no bank twice. A factor lies there as in global memory: [TILE][STEP] where the values of a sum are
// side by side, [STEP][TILE] where those of a row or column are.
template <bool BY_STEP>
struct Lines {
    static constexpr int PITCH = (BY_STEP ? STEP : TILE) + GAP;
    static constexpr int BYTES = 2 * PITCH * (BY_STEP ? TILE : STEP);
};

// A thread's part of a step of a factor: 8 pairs of values that are side by side.
template <bool BY_STEP>
struct Loaded {
    static constexpr int PAIRS = TILE * STEP / 2 / 256;
    static constexpr int IN_LINE = (BY_STEP ? STEP : TILE) / 2;
    float value[PAIRS][2];

    // `at(i, k)`: of row or column i of the tile the value k of the sum.
    template <class At>
    METHOD void load(At at, int k0) {
        UNROLL for (int p = 0; p < PAIRS; p++) {
            const int pair = p * 256 + thread_idx();
            const int line = pair / IN_LINE, place = pair % IN_LINE * 2;
            UNROLL for (int half = 0; half < 2; half++)
                value[p][half] = BY_STEP ? at(line, k0 + place + half) : at(place + half, k0 + line);
        }
    }

    METHOD void store(int to) const {
        auto pairs = shared<uint32_t>(to, Lines<BY_STEP>::BYTES / 4);
        UNROLL for (int p = 0; p < PAIRS; p++) {
            const int pair = p * 256 + thread_idx();
            const int at = pair / IN_LINE * (Lines<BY_STEP>::PITCH / 2) + pair % IN_LINE;
            pairs[at] = to_pair(value[p][0], value[p][1]);
        }
    }
};

// Where in a warp's 32 x 64 results its sum [m][n][i] lies.
DEVICE int row_of(int m, int i) { return m * 16 + lane_idx() / 4 + i / 2 * 8; }
DEVICE int column_of(int n, int i) { return n * 8 + lane_idx() % 4 * 2 + i % 2; }

// sum += the sum over k0 <= k < k1 of left(row, k) right(column, k), for the warp's rows and columns
// of the tile. Both are 0 where there is nothing, and are asked for that from k1 on too.
template <bool LEFT_BY_STEP, bool RIGHT_BY_STEP, class Left, class Right>
DEVICE void gemm_tile(int k0, int k1, Left left, Right right, float (&sum)[2][8][4]) {
    constexpr int LEFT_BYTES = Lines<LEFT_BY_STEP>::BYTES;
    constexpr int BYTES = LEFT_BYTES + Lines<RIGHT_BY_STEP>::BYTES;
    constexpr int LEFT_PITCH = 2 * Lines<LEFT_BY_STEP>::PITCH;
    constexpr int RIGHT_PITCH = 2 * Lines<RIGHT_BY_STEP>::PITCH;
    const int lane = lane_idx(), row0 = warp_idx() / 2 * 32, column0 = warp_idx() % 2 * 64;
    // Of the four matrices of a load, this lane's is the second along one side, or along the other.
    const int low = lane % 8, second = lane / 8 % 2 * 8, third = lane / 16 * 8;
    Loaded<LEFT_BY_STEP> loaded_left;
    Loaded<RIGHT_BY_STEP> loaded_right;
    loaded_left.load(left, k0);
    loaded_right.load(right, k0);
    loaded_left.store(0);
    loaded_right.store(LEFT_BYTES);
    sync_block();
    int at = 0;
    ROLLED for (int k = k0; k < k1; k += STEP) {
        const bool more = k + STEP < k1;
        if (more) {
            loaded_left.load(left, k + STEP);
            loaded_right.load(right, k + STEP);
        }
        UNROLL for (int inner = 0; inner < STEP; inner += 16) {
            uint32_t a[2][4];
            UNROLL for (int m = 0; m < 2; m++) {
                const int row = row0 + m * 16 + second;
                if (LEFT_BY_STEP)
                    load_matrices(a[m], at + (row + low) * LEFT_PITCH + 2 * (inner + third));
                else
                    load_matrices_transposed(
                        a[m], at + (inner + third + low) * LEFT_PITCH + 2 * row);
            }
            UNROLL for (int n = 0; n < 8; n += 2) {
                uint32_t b[4];
                const int column = column0 + n * 8 + third;
                if (RIGHT_BY_STEP)
                    load_matrices(
                        b, at + LEFT_BYTES + (column + low) * RIGHT_PITCH + 2 * (inner + second));
                else
                    load_matrices_transposed(
                        b, at + LEFT_BYTES + (inner + second + low) * RIGHT_PITCH + 2 * column);
                UNROLL for (int m = 0; m < 2; m++) {
                    multiply_add(sum[m][n], a[m], b[0], b[1]);
                    multiply_add(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        at = BYTES - at;
        if (more) {
            loaded_left.store(at);
            loaded_right.store(at + LEFT_BYTES);
        }
        sync_block();
    }
}

// Runs `work(row, column, x)` for the warp's sums, with their row and column within the tile.
template <class Work>
DEVICE void each_sum(const float (&sum)[2][8][4], Work work) {
    const int row0 = warp_idx() / 2 * 32, column0 = warp_idx() % 2 * 64;
    UNROLL for (int m = 0; m < 2; m++)
        UNROLL for (int n = 0; n < 8; n++)
            UNROLL for (int i = 0; i < 4; i++)
                work(row0 + row_of(m, i), column0 + column_of(n, i), sum[m][n][i]);
}
