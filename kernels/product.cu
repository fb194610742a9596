// Products of matrices in f32 for recurrent layers, every sum in a fixed order.
#include "rows.cuh"

struct ProductArgs {
    In<float> a;     // [m][k]
    In<float> b;     // [n][k]
    In<float> bias;  // [n], if there is one
    Out<float> out;  // [m][n]
    int m;
    int n;
    int k;
    int pieces;  // of k, each of as many values
    int has_bias;
    int reserved;
};

// out[i,j] = bias[j] + sum over l of a[i,l] b[j,l]: first each piece of l by itself, then the pieces
// in order.
//
// grid:  ceil(m / 32) ceil(n / 32); rows of a that follow each other with all of b
// block: 256; each of 8 warps four rows of a with four times eight of b
// needs: k a multiple of pieces
// bytes: b once for 32 rows of a and a once for 32 of b, from a cache; out once
// flops: 2 m n k
KERNEL(product_rows, ProductArgs, 256, 1) {
    const int n_tiles = ceil_div(args.n, 32), tile = (int)blockIdx.x, lane = lane_idx();
    const int first_a = tile / n_tiles * 32 + 4 * warp_idx(), column = tile % n_tiles * 32;
    const int piece = args.k / args.pieces;
    if (first_a >= args.m) return;
    for (int first_b = column; first_b < min(args.n, column + 32); first_b += 8) {
        float sum = 0.f;
        for (int p = 0; p < args.pieces; p++) {
            int64_t a_rows[4], b_rows[8];
            UNROLL for (int i = 0; i < 4; i++)
                a_rows[i] = (int64_t)min(first_a + i, args.m - 1) * args.k + p * piece;
            UNROLL for (int i = 0; i < 8; i++)
                b_rows[i] = (int64_t)min(first_b + i, args.n - 1) * args.k + p * piece;
            sum += row_products<4>(args.a, a_rows, args.b, b_rows, piece);
        }
        const int i = first_a + lane / 8, j = first_b + lane % 8;
        if (i >= args.m || j >= args.n) continue;
        args.out.write((int64_t)i * args.n + j, args.has_bias ? sum + args.bias[j] : sum);
    }
}

struct MatrixArgs {
    In<float> a;  // [m][n]
    Out<float> out;
    int m;
    int n;
};

// out[j] = sum over i, in order, of a[i,j].
//
// grid:  ceil(n / 64)
// block: 64; each thread one column
// needs: nothing
// bytes: 4 a value
KERNEL(column_sums, MatrixArgs, 64, 1) {
    const int j = (int)blockIdx.x * 64 + thread_idx();
    if (j >= args.n) return;
    float sum = 0.f;
    for (int i = 0; i < args.m; i++) sum += args.a[(int64_t)i * args.n + j];
    args.out.write(j, sum);
}

// out[j,i] = a[i,j].
//
// grid:  ceil(n / 32), ceil(m / 32)
// block: 256; each of 8 warps every eighth row of a tile of 32 by 32
// shared: 4 * 32 * 33; a row is one longer, so that a column lies in all banks
// needs: nothing
// bytes: 8 a value
KERNEL(transpose, MatrixArgs, 256, 1) {
    auto tile = shared<float>(0, 32 * 33);
    const int first_row = (int)blockIdx.y * 32, first_column = (int)blockIdx.x * 32;
    const int lane = lane_idx();
    for (int i = warp_idx(); i < 32; i += 8) {
        const int row = first_row + i, column = first_column + lane;
        if (row < args.m && column < args.n)
            tile[i * 33 + lane] = args.a[(int64_t)row * args.n + column];
    }
    sync_block();
    for (int i = warp_idx(); i < 32; i += 8) {
        const int row = first_row + lane, column = first_column + i;
        if (row < args.m && column < args.n)
            args.out.write((int64_t)column * args.m + row, tile[lane * 33 + i]);
    }
}
