// Products of rows in f32, each a sum in an order that its length alone fixes: lane l of a warp sums
// the places l, l + 32, ... one after the other, and a tree joins the lanes. So a product has the same
// bits wherever it is computed.
#pragma once
#include "device.cuh"

// Half of so many values each by lanes that differ in the bit `MASK`, then half of these.
template <int MASK>
DEVICE void fold_lanes(float (&x)[32]) {
    const bool upper = lane_idx() & MASK;
    UNROLL for (int i = 0; i < MASK; i++) {
        const float own = upper ? x[i + MASK] : x[i], other = upper ? x[i] : x[i + MASK];
        x[i] = own + shuffle_xor(other, MASK);
    }
    if constexpr (MASK > 1) fold_lanes<MASK / 2>(x);
}

// The sums over the lanes of a warp of 32 values: lane l gets that of value l. The tree is that of
// warp_sum.
DEVICE float warp_sums(float (&x)[32]) {
    fold_lanes<16>(x);
    return x[0];
}

// Products of M rows of `a` with 32 / M of `b`, of k values from these places on: lane l gets that of
// row l / N of a and row l % N of b, for N = 32 / M. All lanes of a warp.
template <int M, class A, class B>
DEVICE float row_products(const A& a, const int64_t (&a_rows)[M], const B& b,
                          const int64_t (&b_rows)[32 / M], int k) {
    constexpr int N = 32 / M;
    float sums[32] = {};
    UNROLL_TWICE for (int i = lane_idx(); i < k; i += 32) {
        float x[M], y[N];
        UNROLL for (int m = 0; m < M; m++) x[m] = a[a_rows[m] + i];
        UNROLL for (int n = 0; n < N; n++) y[n] = b[b_rows[n] + i];
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int n = 0; n < N; n++) sums[m * N + n] = fmaf(x[m], y[n], sums[m * N + n]);
    }
    return warp_sums(sums);
}
