// Products of matrices by tensor cores: factors in f32, rounded to bfloat16, sums in f32. Each factor is
// as it lies (n) or transposed (t).
#include "gemm.cuh"

struct GemmArgs {
    In<float> a;     // [m][k], or transposed [k][m]
    In<float> b;     // [k][n], or transposed [n][k]
    In<float> bias;  // [n], if there is one
    Out<float> out;  // [m][n]
    int m;
    int n;
    int k;
    int has_bias;
};

// A tile of out = a b + bias.
template <bool A_TRANSPOSED, bool B_TRANSPOSED>
DEVICE void gemm(const GemmArgs& args) {
    const int64_t m = args.m, n = args.n, k = args.k;
    const int row0 = (int)blockIdx.x * TILE, column0 = (int)blockIdx.y * TILE;
    float sum[2][8][4] = {};
    gemm_tile<!A_TRANSPOSED, B_TRANSPOSED>(
        0, args.k,
        [&](int i, int l) {
            if (row0 + i >= m || l >= k) return 0.f;
            return args.a[A_TRANSPOSED ? l * m + row0 + i : (row0 + i) * k + l];
        },
        [&](int j, int l) {
            if (column0 + j >= n || l >= k) return 0.f;
            return args.b[B_TRANSPOSED ? (column0 + j) * k + l : l * n + column0 + j];
        },
        sum);
    each_sum(sum, [&](int i, int j, float x) {
        const int row = row0 + i, column = column0 + j;
        if (row >= args.m || column >= args.n) return;
        args.out.write(row * n + column, args.has_bias ? x + args.bias[column] : x);
    });
}

// out[i,j] = sum over l of a[i,l] b[l,j].
//
// grid:  ceil(m / 128), ceil(n / 128)
// block: 256; each of 8 warps 32 rows by 64 columns
// shared: 4 (128 (32 + 8) + 32 (128 + 8)); two steps of both factors
// needs: nothing
// bytes: a and b once a tile (from a cache), out once
// flops: 2 128^2 32 ceil(k / 32) blocks
KERNEL(gemm_nn, GemmArgs, 256, 1) { gemm<false, false>(args); }

// out[i,j] = sum over l of a[i,l] b[j,l], plus bias[j].
//
// grid:  ceil(m / 128), ceil(n / 128)
// block: 256; each of 8 warps 32 rows by 64 columns
// shared: 4 (128 + 128) (32 + 8); two steps of both factors
// needs: nothing
// bytes: a and b once a tile (from a cache), out once
// flops: 2 128^2 32 ceil(k / 32) blocks
KERNEL(gemm_nt, GemmArgs, 256, 1) { gemm<false, true>(args); }

// out[i,j] = sum over l of a[l,i] b[l,j].
//
// grid:  ceil(m / 128), ceil(n / 128)
// block: 256; each of 8 warps 32 rows by 64 columns
// shared: 4 * 2 * 32 (128 + 8); two steps of both factors
// needs: nothing
// bytes: a and b once a tile (from a cache), out once
// flops: 2 128^2 32 ceil(k / 32) blocks
KERNEL(gemm_tn, GemmArgs, 256, 1) { gemm<true, false>(args); }
