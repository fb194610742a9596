// The softmax over a vocabulary: logits = x W^T + bias, the cross-entropy of the targets, and the
// gradients. Products by tensor cores, of factors rounded to bfloat16; all else in f32.
//
// Logits are in memory once, and only where there is a gradient to make of them, in their place. Of
// each row of them their blocks leave the largest and the sum of exponentials by parts of 64 words.
#include "epoch.cuh"
#include "gemm.cuh"

#define PART 64  // words of a part: the columns of a warp

struct DecoderArgs {
    In<float> x;        // [n][hidden]
    In<float> weight;   // [vocabulary][hidden]
    In<float> bias;     // [vocabulary]
    In<float> targets;  // [n]: a word, or -1
    Out<float> logits;  // [n][vocabulary]; in the end their gradient
    Out<float> parts;   // [n][n_parts][2]: the largest logit, and the sum of exp(logit - largest)
    Out<float> of_targets;  // [n]: the target's logit
    Out<float> scales;      // [n][2]: the largest, and 1 / (rows sum); 0 without a target
    Out<double> losses;     // [n]
    int n;
    int rows;
    int hidden;
    int vocabulary;
    int n_parts;
    int keep;  // 1: logits are written
};

// The larger of two; one that is no number is passed over.
DEVICE float larger(float a, float b) { return b > a ? b : a; }

// logits = x W^T + bias; what a row's softmax needs of each part, and the targets' logits.
//
// grid:  ceil(n / 128) ceil(vocabulary / 128); all places with words that follow each other
// block: 256; each of 8 warps 32 places by 64 words
// shared: 4 (128 + 128) (32 + 8); two steps of both factors
// needs: nothing
// bytes: x and weights once a tile (from a cache), logits once if they are kept
// flops: 2 128^2 32 ceil(hidden / 32) blocks
KERNEL(decoder_logits, DecoderArgs, 256, 1) {
    const int64_t hidden = args.hidden, vocabulary = args.vocabulary;
    const int n_rows = ceil_div(args.n, TILE), tile = (int)blockIdx.x;
    const int row0 = tile % n_rows * TILE, column0 = tile / n_rows * TILE;
    float sum[2][8][4] = {};
    gemm_tile<true, true>(
        0, args.hidden,
        [&](int i, int k) {
            return row0 + i < args.n && k < args.hidden ? args.x[(row0 + i) * hidden + k] : 0.f;
        },
        [&](int i, int k) {
            const bool inside = column0 + i < args.vocabulary && k < args.hidden;
            return inside ? args.weight[(column0 + i) * hidden + k] : 0.f;
        },
        sum);

    const int warp_row = row0 + warp_idx() / 2 * 32, warp_column = column0 + warp_idx() % 2 * PART;
    UNROLL for (int n = 0; n < 8; n++) {
        UNROLL for (int i = 0; i < 2; i++) {
            const int word = warp_column + column_of(n, i);
            const float bias = word < args.vocabulary ? args.bias[word] : 0.f;
            UNROLL for (int m = 0; m < 2; m++) {
                sum[m][n][i] += bias;
                sum[m][n][i + 2] += bias;
            }
        }
    }
    UNROLL for (int m = 0; m < 2; m++) {
        UNROLL for (int lower = 0; lower < 4; lower += 2) {
            const int row = warp_row + row_of(m, lower);
            const int target = row < args.n ? (int)args.targets[row] : -1;
            float largest = -INFINITY, total = 0.f;
            UNROLL for (int n = 0; n < 8; n++)
                UNROLL for (int i = lower; i < lower + 2; i++)
                    if (warp_column + column_of(n, i) < args.vocabulary)
                        largest = larger(largest, sum[m][n][i]);
            // The four lanes that share a row.
            UNROLL for (int mask = 1; mask < 4; mask *= 2)
                largest = larger(largest, shuffle_xor(largest, mask));
            UNROLL for (int n = 0; n < 8; n++) {
                UNROLL for (int i = lower; i < lower + 2; i++) {
                    const int word = warp_column + column_of(n, i);
                    if (word >= args.vocabulary) continue;
                    total += expf(sum[m][n][i] - largest);
                    if (row >= args.n) continue;
                    if (word == target) args.of_targets.write(row, sum[m][n][i]);
                    if (args.keep) args.logits.write(row * vocabulary + word, sum[m][n][i]);
                }
            }
            UNROLL for (int mask = 1; mask < 4; mask *= 2) total += shuffle_xor(total, mask);
            if (row >= args.n || warp_column >= args.vocabulary || lane_idx() % 4 > 0) continue;
            const int64_t part = (int64_t)row * args.n_parts + warp_column / PART;
            args.parts.write(2 * part, largest);
            args.parts.write(2 * part + 1, total);
        }
    }
}

// Of each place: its loss, and what its gradient is made with.
//
// grid:  ceil(n / 8)
// block: 256; each of 8 warps a place, a lane every 32nd part
// needs: nothing
// bytes: 8 a part
KERNEL(decoder_places, DecoderArgs, 256, 1) {
    const int64_t row = (int64_t)blockIdx.x * 8 + warp_idx(), first = row * args.n_parts;
    if (row >= args.n) return;
    float largest = -INFINITY, total = 0.f;
    for (int part = lane_idx(); part < args.n_parts; part += 32)
        largest = larger(largest, args.parts.read(2 * (first + part)));
    UNROLL for (int mask = 16; mask > 0; mask /= 2)
        largest = larger(largest, shuffle_xor(largest, mask));
    for (int part = lane_idx(); part < args.n_parts; part += 32)
        total += args.parts.read(2 * (first + part) + 1) *
                 expf(args.parts.read(2 * (first + part)) - largest);
    total = warp_sum(total);
    if (lane_idx() > 0) return;
    const bool predicted = args.targets[row] >= 0.f;
    args.losses.write(
        row, predicted ? (double)logf(total) + (double)(largest - args.of_targets.read(row)) : 0.0);
    args.scales.write(2 * row, largest);
    args.scales.write(2 * row + 1, predicted ? 1.f / ((float)args.rows * total) : 0.f);
}

struct DecoderLossArgs {
    In<double> losses;  // [n]
    Out<int> counters;
    Out<double> loss_sums;  // [batches of the epoch]
    int64_t n;
};

// The sum of the batch's losses.
//
// grid:  1
// block: 256; each thread every 256th place
// shared: 8 * 8; a number for each of 8 warps
// needs: nothing
// bytes: 8 a place
KERNEL(decoder_loss, DecoderLossArgs, 256, 1) {
    double loss = 0.0;
    for (int64_t i = thread_idx(); i < args.n; i += 256) loss += args.losses[i];
    loss = block_sum(loss, shared<double>(0, 8));
    if (thread_idx() > 0) return;
    args.loss_sums.write(args.counters.read(BATCH_IDX), loss);
    if (!isfinite(loss)) args.counters.write(NOT_FINITE, 1);
}

// (softmax - one-hot) / rows in the place of the logits; 0 for places without a target.
//
// grid:  n, ceil(vocabulary / 1024)
// block: 256; each thread four words
// needs: nothing
// bytes: 8 a word
KERNEL(decoder_dlogits, DecoderArgs, 256, 1) {
    const int64_t row = blockIdx.x;
    const int target = (int)args.targets[row];
    const float largest = args.scales.read(2 * row), scale = args.scales.read(2 * row + 1);
    const float one = 1.f / (float)args.rows;
    for (int k = 0; k < 4; k++) {
        const int word = (int)blockIdx.y * 1024 + k * 256 + thread_idx();
        if (word >= args.vocabulary) return;
        const int64_t at = row * args.vocabulary + word;
        const float share = expf(args.logits.read(at) - largest) * scale;
        args.logits.write(at, target < 0 ? 0.f : share - (word == target ? one : 0.f));
    }
}

struct DecoderGradArgs {
    In<float> dlogits;   // [n][vocabulary]
    In<float> x;         // [n][hidden]
    In<float> weight;    // [vocabulary][hidden]
    Out<float> partials;  // [splits][n][hidden]
    Out<float> dx;        // [n][hidden]
    Out<float> dweight;   // [vocabulary][hidden]
    Out<float> dbias;     // [vocabulary]
    int n;
    int hidden;
    int vocabulary;
    int splits;
    int split_words;  // a multiple of 32
    int reserved;
};

// partials[s] = the sum of dlogits W over the words of split s.
//
// grid:  ceil(n / 128) ceil(hidden / 128), 1, splits; places that follow each other with all of W
// block: 256; each of 8 warps 32 places by 64 values
// shared: 4 (128 (32 + 8) + 32 (128 + 8)); two steps of both factors
// needs: nothing
// bytes: dlogits and weights once a tile (from a cache), partials once
// flops: 2 128^2 32 ceil(vocabulary / 32) ceil(hidden / 128) ceil(n / 128)
KERNEL(decoder_bwd_data, DecoderGradArgs, 256, 1) {
    const int64_t hidden = args.hidden, vocabulary = args.vocabulary;
    const int n_columns = ceil_div(args.hidden, TILE), tile = (int)blockIdx.x;
    const int row0 = tile / n_columns * TILE, column0 = tile % n_columns * TILE;
    const int split = (int)blockIdx.z, first = split * args.split_words;
    float sum[2][8][4] = {};
    gemm_tile<true, false>(
        first, min(first + args.split_words, args.vocabulary),
        [&](int i, int k) {
            const bool inside = row0 + i < args.n && k < args.vocabulary;
            return inside ? args.dlogits[(row0 + i) * vocabulary + k] : 0.f;
        },
        [&](int i, int k) {
            const bool inside = column0 + i < args.hidden && k < args.vocabulary;
            return inside ? args.weight[k * hidden + column0 + i] : 0.f;
        },
        sum);
    each_sum(sum, [&](int i, int j, float x) {
        const int row = row0 + i, column = column0 + j;
        if (row < args.n && column < args.hidden)
            args.partials.write(((int64_t)split * args.n + row) * hidden + column, x);
    });
}

// dx = the sum of the partials, in the order of the splits.
//
// grid:  ceil(n hidden / 256)
// block: 256; each thread one value
// needs: nothing
// bytes: 4 (splits + 1) a value
KERNEL(decoder_bwd_data_sum, DecoderGradArgs, 256, 1) {
    const int64_t i = (int64_t)blockIdx.x * 256 + thread_idx(), len = (int64_t)args.n * args.hidden;
    if (i >= len) return;
    float sum = 0.f;
    for (int split = 0; split < args.splits; split++) sum += args.partials.read(split * len + i);
    args.dx.write(i, sum);
}

// dW = dlogits^T x; dbias = the sum of dlogits over the places, as if x had a last column of ones.
//
// grid:  ceil(vocabulary / 128) ceil((hidden + 1) / 128); words that follow each other with all x
// block: 256; each of 8 warps 32 words by 64 values
// shared: 4 * 2 * 32 (128 + 8); two steps of both factors
// needs: nothing
// bytes: dlogits and x once a tile (from a cache), dW once
// flops: 2 128^2 32 ceil(n / 32) blocks
KERNEL(decoder_bwd_filter, DecoderGradArgs, 256, 1) {
    const int64_t hidden = args.hidden, vocabulary = args.vocabulary;
    const int n_columns = ceil_div(args.hidden + 1, TILE), tile = (int)blockIdx.x;
    const int row0 = tile / n_columns * TILE, column0 = tile % n_columns * TILE;
    float sum[2][8][4] = {};
    gemm_tile<false, false>(
        0, args.n,
        [&](int i, int k) {
            const bool inside = row0 + i < args.vocabulary && k < args.n;
            return inside ? args.dlogits[k * vocabulary + row0 + i] : 0.f;
        },
        [&](int i, int k) {
            const int column = column0 + i;
            if (column < args.hidden && k < args.n) return args.x[k * hidden + column];
            return column == args.hidden ? 1.f : 0.f;
        },
        sum);
    each_sum(sum, [&](int i, int j, float x) {
        const int word = row0 + i, column = column0 + j;
        if (word >= args.vocabulary) return;
        if (column < args.hidden)
            args.dweight.write(word * hidden + column, x);
        else if (column == args.hidden)
            args.dbias.write(word, x);
    });
}
