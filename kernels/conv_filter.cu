// Gradient of a convolution to its filters: by tensor cores in parts, their sum, and a plain kernel.
#include "conv.cuh"

struct ConvFilterArgs {
    ConvSource sources[MAX_SOURCES];  // `weight` and `columns` are not read
    uint32_t chunks[MAX_CHUNKS];      // as in ConvArgs
    In<Pixel> dy;                     // [n][planes][h][w]
    Out<float> partials;              // [splits][chunks][kh kw][16][8 planes]
    int n_chunks;
    int n_images;
    int images;  // of a split
    int planes;  // of dy
    int h;       // of dy
    int w;
    int stride_h;
    int stride_w;
    int tile_n_log2;  // a tile is 2^tile_n_log2 images of 2^tile_h_log2 rows of 2^tile_w_log2 pixels
    int tile_h_log2;  // of dy
    int tile_w_log2;
    int tiles_h;
    int tiles_w;
    int halo_h;  // rows of the source that a tile meets
    int halo_w;
    int reserved;
};

// dw[f,c,u,v] = sum over n, i, j of dy[n,f,i,j] x[n,c,i s - kh/2 + u,j t - kw/2 + v], of the images
// of a split. The products have 16 channels for rows, output channels for columns, and pixels to
// sum over: both operands are transposed as they are loaded.
//
// grid:  n_chunks ceil(taps / TAPS), ceil(n_images / images), ceil(planes / PLANES); groups of taps
//        of a chunk, splits, groups of planes of dy
// block: 256; each of 8 warps every eighth 16 pixels of a tile
// shared: max(32 2^tile_n_log2 (2 halo_h halo_w + PLANES 2^(tile_h_log2 + tile_w_log2)),
//        4 * 16 TAPS 8 PLANES); two buffers of [2][tile_n][halo_h][halo_w] pixels of x and
//        [PLANES][tile] of dy; then the sums
// needs: a tile has at least 16 pixels; all sources have the same kh and kw
// bytes: x once a group of taps, dy once a group of taps and chunk; partials
// flops: at most 2 (ceil(n_images / images) ceil(images / 2^tile_n_log2) tiles_h tiles_w)
//        2^(tile_n_log2 + tile_h_log2 + tile_w_log2) (16 n_chunks) (8 PLANES ceil(planes / PLANES))
//        (TAPS ceil(taps / TAPS)); the last split may have fewer images
template <int PLANES, int TAPS>
DEVICE void conv_filter_tiled(const ConvFilterArgs& args) {
    constexpr int N_WARPS = 8, COLUMNS = 8 * PLANES;
    const int thread = thread_idx(), lane = lane_idx(), warp = warp_idx();
    const int g = lane / 4, t = lane % 4;
    const ConvSource& any = args.sources[0];
    const int taps = any.kh * any.kw, tap_groups = ceil_div(taps, TAPS);
    const int chunk = (int)blockIdx.x / tap_groups, tap0 = (int)blockIdx.x % tap_groups * TAPS;
    const int first_plane = (int)blockIdx.z * PLANES;
    const int tile_n = 1 << args.tile_n_log2;
    const int tile_h = 1 << args.tile_h_log2, tile_w = 1 << args.tile_w_log2;
    const int image_log2 = args.tile_h_log2 + args.tile_w_log2;  // of the pixels of an image
    const int pixels = tile_n << image_log2;
    const int halo = args.halo_h * args.halo_w, plane_bytes = tile_n * halo * 16;
    const int buffer_bytes = 2 * plane_bytes + PLANES * pixels * 16;
    const int tiles = args.tiles_h * args.tiles_w;
    const int image0 = (int)blockIdx.y * args.images;
    const int image_end = min(image0 + args.images, args.n_images);
    const int n_steps = ceil_div(image_end - image0, tile_n) * tiles;
    const uint32_t c = args.chunks[chunk];

    auto load = [&](int step, int buffer) {
        const int image = image0 + step / tiles * tile_n, tile = step % tiles;
        const int row0 = tile / args.tiles_w * tile_h, column0 = tile % args.tiles_w * tile_w;
        int to = buffer * buffer_bytes;
        for (int half = 0; half < 2; half++) {
            const int plane = plane_of(c, half);
            const bool there = source_of(c, half) != 255;
            const ConvSource& source = args.sources[there ? source_of(c, half) : 0];
            const int top = row0 * args.stride_h - any.kh / 2;
            const int left = column0 * args.stride_w - any.kw / 2;
            for (int i = thread; i < tile_n * halo; i += 32 * N_WARPS) {
                int m = image + i / halo, y = top + i % halo / args.halo_w;
                int x = left + i % args.halo_w;
                bool inside = there && m < image_end && y >= 0 && y < source.h && x >= 0 &&
                              x < source.w;
                int64_t at = ((int64_t)m * source.image_planes + plane) * source.h + y;
                copy_async(to + half * plane_bytes + i * 16, source.x,
                           inside ? at * source.w + x : 0, inside);
            }
        }
        to += 2 * plane_bytes;
        for (int i = thread; i < PLANES * pixels; i += 32 * N_WARPS) {
            int plane = first_plane + i / pixels, p = i % pixels;
            int m = image + (p >> image_log2);
            int y = row0 + (p >> args.tile_w_log2 & (tile_h - 1)), x = column0 + (p & (tile_w - 1));
            bool inside = m < image_end && plane < args.planes && y < args.h && x < args.w;
            int64_t at = ((int64_t)m * args.planes + plane) * args.h + y;
            copy_async(to + i * 16, args.dy, inside ? at * args.w + x : 0, inside);
        }
    };

    float sum[TAPS][PLANES][4];
    int tap_at[TAPS];  // of a pixel's input, from that of tap (0, 0)
    UNROLL for (int k = 0; k < TAPS; k++) {
        int tap = min(tap0 + k, taps - 1);
        tap_at[k] = (tap / any.kw * args.halo_w + tap % any.kw) * 16;
        UNROLL for (int n = 0; n < PLANES; n++)
            UNROLL for (int i = 0; i < 4; i++) sum[k][n][i] = 0.f;
    }
    if (n_steps > 0) load(0, 0);
    commit_copies();
    for (int step = 0; step < n_steps; step++) {
        if (step + 1 < n_steps) load(step + 1, (step + 1) % 2);
        commit_copies();
        wait_copies<1>();
        sync_block();
        const int input = step % 2 * buffer_bytes, dy = input + 2 * plane_bytes;
        for (int p0 = warp * 16; p0 < pixels; p0 += N_WARPS * 16) {
            uint32_t b[PLANES + PLANES % 2][2];
            UNROLL for (int n = 0; n < PLANES; n += 2) {
                int plane = min(n + lane / 16, PLANES - 1);
                uint32_t two[4];
                load_matrices_transposed(two, dy + (plane * pixels + p0 + lane % 16) * 16);
                b[n][0] = two[0], b[n][1] = two[1];
                b[n + 1][0] = two[2], b[n + 1][1] = two[3];
            }
            // Rows of x: pixels 0 to 7 of both planes, then pixels 8 to 15 of both.
            int p = p0 + lane % 8 + lane / 16 * 8;
            int r = (p >> args.tile_w_log2 & (tile_h - 1)) * args.stride_h;
            int q = (p & (tile_w - 1)) * args.stride_w, m = p >> image_log2;
            int row = input + lane / 8 % 2 * plane_bytes + (m * halo + r * args.halo_w + q) * 16;
            UNROLL for (int k = 0; k < TAPS; k++) {
                uint32_t a[4];
                load_matrices_transposed(a, row + tap_at[k]);
                UNROLL for (int n = 0; n < PLANES; n++) multiply_add(sum[k][n], a, b[n][0], b[n][1]);
            }
        }
        sync_block();
    }
    wait_copies<0>();
    sync_block();

    // The sums of the warps, one after the other.
    auto sums = shared<float>(0, TAPS * 16 * COLUMNS);  // [tap][channel][column]
    for (int w = 0; w < N_WARPS; w++) {
        if (warp == w)
            UNROLL for (int k = 0; k < TAPS; k++)
                UNROLL for (int n = 0; n < PLANES; n++)
                    UNROLL for (int i = 0; i < 4; i++) {
                        int at = (k * 16 + g + i / 2 * 8) * COLUMNS + n * 8 + 2 * t + i % 2;
                        sums[at] = w > 0 ? sums[at] + sum[k][n][i] : sum[k][n][i];
                    }
        sync_block();
    }
    const int width = 8 * args.planes;
    for (int i = thread; i < TAPS * 16 * COLUMNS; i += 32 * N_WARPS) {
        int tap = tap0 + i / (16 * COLUMNS), channel = i / COLUMNS % 16;
        int column = first_plane * 8 + i % COLUMNS;
        if (tap >= taps || column >= width) continue;
        int64_t at = ((int64_t)blockIdx.y * args.n_chunks + chunk) * taps + tap;
        args.partials.write((at * 16 + channel) * width + column, sums[i]);
    }
}

#define CONV_FILTER(name, PLANES, TAPS) \
    KERNEL(name, ConvFilterArgs, 256, 1) { conv_filter_tiled<PLANES, TAPS>(args); }
CONV_FILTER(conv_filter_tiled_1, 1, 7)
CONV_FILTER(conv_filter_tiled_2, 2, 7)
CONV_FILTER(conv_filter_tiled_3, 3, 7)
CONV_FILTER(conv_filter_tiled_4, 4, 7)
CONV_FILTER(conv_filter_tiled_5, 5, 5)
CONV_FILTER(conv_filter_tiled_6, 6, 5)
CONV_FILTER(conv_filter_tiled_8, 8, 5)

struct ConvFilterSumArgs {
    In<float> partials;  // [splits][chunks][taps][16][columns]
    In<int> lanes;       // of each channel, its lane in the chunks: 16 chunk + row
    Out<float> dw;       // [f][c][taps]
    int splits;
    int n_chunks;
    int taps;
    int columns;
    int n_filters;
    int n_channels;
};

// The sum of the splits, in their order.
//
// grid:  ceil(n_filters n_channels taps / 256)
// block: 256; each thread one weight
// needs: nothing
// bytes: 4 (splits + 1) a weight
KERNEL(conv_filter_sum, ConvFilterSumArgs, 256, 1) {
    const int64_t i = (int64_t)blockIdx.x * 256 + thread_idx();
    if (i >= (int64_t)args.n_filters * args.n_channels * args.taps) return;
    // Neighbours are filters, as in the partials.
    const int filter = (int)(i % args.n_filters), tap = (int)(i / args.n_filters % args.taps);
    const int channel = (int)(i / args.n_filters / args.taps);
    const int lane = args.lanes[channel];
    float sum = 0.f;
    for (int split = 0; split < args.splits; split++) {
        int64_t at = ((int64_t)split * args.n_chunks + lane / 16) * args.taps + tap;
        sum += args.partials[(at * 16 + lane % 16) * args.columns + filter];
    }
    args.dw.write(((int64_t)filter * args.n_channels + channel) * args.taps + tap, sum);
}

struct ConvFilterDirectArgs {
    In<Pixel> x;   // of one source, [n][x_planes][x_h][x_w]
    In<Pixel> dy;  // [n][planes][h][w]
    In<int> channels;  // of the source's lanes: the channel in the concatenation, or -1
    Out<float> dw;     // [f][c][kh kw]
    int n_images;
    int x_planes;
    int x_h;
    int x_w;
    int planes;
    int h;
    int w;
    int kh;
    int kw;
    int stride_h;
    int stride_w;
    int n_filters;
    int n_channels;
    int reserved;
};

// The gradient to the weights of one source, 8 channels by 8 filters of one tap a warp.
//
// grid:  kh kw, x_planes, planes
// block: 32; each thread every 32nd pixel of all images
// needs: nothing
// bytes: x and dy once a block
KERNEL(conv_filter_direct, ConvFilterDirectArgs, 32, 1) {
    const int tap = (int)blockIdx.x, x_plane = (int)blockIdx.y, plane = (int)blockIdx.z;
    const int u = tap / args.kw - args.kh / 2, v = tap % args.kw - args.kw / 2;
    float sum[8][8] = {};  // [filter][channel]
    for (int64_t i = lane_idx(); i < (int64_t)args.n_images * args.h * args.w; i += 32) {
        const int image = (int)(i / (args.h * args.w)), pixel = (int)(i % (args.h * args.w));
        const int y = pixel / args.w * args.stride_h + u, x = pixel % args.w * args.stride_w + v;
        if (y < 0 || y >= args.x_h || x < 0 || x >= args.x_w) continue;
        float in[8], dy[8];
        int64_t at = ((int64_t)image * args.x_planes + x_plane) * args.x_h + y;
        to_floats(args.x[at * args.x_w + x], in);
        to_floats(args.dy[((int64_t)image * args.planes + plane) * args.h * args.w + pixel], dy);
        UNROLL for (int f = 0; f < 8; f++)
            UNROLL for (int c = 0; c < 8; c++) sum[f][c] = fmaf(dy[f], in[c], sum[f][c]);
    }
    UNROLL for (int f = 0; f < 8; f++)
        UNROLL for (int c = 0; c < 8; c++) {
            const float total = warp_sum(sum[f][c]);
            const int filter = plane * 8 + f, channel = args.channels[x_plane * 8 + c];
            if (lane_idx() == 0 && filter < args.n_filters && channel >= 0) {
                int64_t at = (int64_t)filter * args.n_channels + channel;
                args.dw.write(at * args.kh * args.kw + tap, total);
            }
        }
}
