// Gradient of a convolution to its filters: by tensor cores in parts, their sum, and a plain kernel.
#include "conv.cuh"

struct ConvFilterArgs {
    ConvSource sources[MAX_SOURCES];  // `weight` and `columns` are not read
    uint32_t chunks[MAX_CHUNKS];      // as in ConvArgs
    In<Pixel> dy;                     // [n][planes][h][w]
    Out<float> partials;              // [splits][chunks][kh kw][16][8 planes]
    int n_chunks;
    int groups_log2;    // the warps are this many groups, each with slots of its own
    int buffer_chunks;  // chunks that a block reads, at most
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

// What a block keeps of each plane of x that it reads.
struct FilterPlane {
    In<Pixel> x;  // of the first image
    int h;        // of the source; 0: there is no such plane
    int w;
    int image_stride;
    int reserved;
};

// What a block of conv_filter_tiled computes, of which images, and where in shared memory it keeps
// what it reads: tables of places and of planes, then two buffers of a tile's input.
struct FilterBlock {
    int kh;
    int kw;
    int taps;     // of a chunk
    int n_pairs;  // of a chunk and a tap, of all blocks
    int pair0;    // of the block's slots
    int n_slots;
    int chunk0;  // of the chunks that it reads
    int n_chunks;
    int first_plane;  // of dy
    int image0;       // of the split
    int image_end;
    int tile_n;  // images, rows and columns of a tile
    int tile_h;
    int tile_w;
    int image_log2;   // of a tile's pixels of one image
    int pixels_log2;  // of all its pixels
    int pixels;
    int halo;          // places of an image of x that a tile meets
    int n_places;      // of all its images
    int plane_bytes;   // of a plane of x in a buffer
    int input_bytes;   // of all planes of x
    int buffer_bytes;  // of these and of dy
    int planes_at;     // the table of planes
    int buffers_at;    // the first buffer

    METHOD int buffer(int step) const { return buffers_at + step % 2 * buffer_bytes; }
};

template <int PLANES, int SLOTS>
DEVICE FilterBlock block_of(const ConvFilterArgs& args) {
    FilterBlock block;
    block.tile_n = 1 << args.tile_n_log2;
    block.tile_h = 1 << args.tile_h_log2, block.tile_w = 1 << args.tile_w_log2;
    block.kh = args.sources[0].kh, block.kw = args.sources[0].kw;
    block.taps = block.kh * block.kw;
    block.n_pairs = args.n_chunks * block.taps;
    block.n_slots = SLOTS << args.groups_log2;
    block.pair0 = (int)blockIdx.x * block.n_slots;
    block.chunk0 = block.pair0 / block.taps;
    const int chunk_end = ceil_div(block.pair0 + block.n_slots, block.taps);
    block.n_chunks = min(chunk_end, args.n_chunks) - block.chunk0;
    block.first_plane = (int)blockIdx.z * PLANES;
    block.image_log2 = args.tile_h_log2 + args.tile_w_log2;
    block.pixels_log2 = args.tile_n_log2 + block.image_log2;
    block.pixels = 1 << block.pixels_log2;
    block.halo = args.halo_h * args.halo_w;
    block.n_places = block.tile_n * block.halo;
    block.plane_bytes = block.n_places * 16;
    block.input_bytes = args.buffer_chunks * 2 * block.plane_bytes;
    block.buffer_bytes = block.input_bytes + PLANES * block.pixels * 16;
    block.planes_at = ceil_div(block.n_places, 4) * 16;
    block.buffers_at = block.planes_at + args.buffer_chunks * 2 * (int)sizeof(FilterPlane);
    block.image0 = (int)blockIdx.y * args.images;
    block.image_end = min(block.image0 + args.images, args.n_images);
    return block;
}

// Fills the tables of what a copy needs, which is computed once: dividing anew for each takes longer
// than the products. A place is an image, row and column of a tile's input in 10, 11 and 11 bits.
DEVICE void describe_input(const ConvFilterArgs& args, const FilterBlock& block,
                           const Shared<uint32_t>& places, const Shared<FilterPlane>& planes) {
    for (int i = thread_idx(); i < block.n_places; i += 32 * N_WARPS) {
        int m = i / block.halo, r = i % block.halo / args.halo_w, q = i % args.halo_w;
        places[i] = (uint32_t)m << 22 | (uint32_t)r << 11 | (uint32_t)q;
    }
    for (int k = thread_idx(); k < 2 * block.n_chunks; k += 32 * N_WARPS) {
        const uint32_t c = args.chunks[block.chunk0 + k / 2];
        const bool there = source_of(c, k % 2) != 255;
        const ConvSource& source = args.sources[there ? source_of(c, k % 2) : 0];
        planes[k] = {{source.x.data + plane_of(c, k % 2) * source.h * source.w},
                     there ? source.h : 0, source.w, source.image_planes * source.h * source.w, 0};
    }
    sync_block();
}

// ---- copies to shared memory --------------------------------------------------------------------

// Where a tile of the split begins.
struct FilterTile {
    int image;
    int row0;
    int column0;

    METHOD void advance(const ConvFilterArgs& args, const FilterBlock& block) {
        if ((column0 += block.tile_w) < args.w) return;
        column0 = 0;
        if ((row0 += block.tile_h) < args.h) return;
        row0 = 0;
        image += block.tile_n;
    }
};

// Begins to copy what a tile meets of each plane of x to the buffer at `to`.
DEVICE void load_x(const ConvFilterArgs& args, const FilterBlock& block, const FilterTile& tile,
                   int to, const Shared<uint32_t>& places, const Shared<FilterPlane>& planes) {
    const uint32_t top = tile.row0 * args.stride_h - block.kh / 2;
    const uint32_t left = tile.column0 * args.stride_w - block.kw / 2;
    const uint32_t images = block.image_end - tile.image;
    for (int k = 0; k < 2 * block.n_chunks; k++) {
        const FilterPlane plane = planes[k];
        const uint32_t h = plane.h, w = plane.w, image_stride = plane.image_stride;
        const In<Pixel> x_plane = {plane.x.data + (int64_t)tile.image * plane.image_stride};
        const int plane_to = to + k * block.plane_bytes;
        ROLLED for (int i = thread_idx(); i < block.n_places; i += 32 * N_WARPS) {
            // What lies before the image is far behind its end as a number without a sign.
            const uint32_t place = places[i], m = place >> 22;
            const uint32_t y = top + (place >> 11 & 2047), x = left + (place & 2047);
            copy_async(plane_to + i * 16, x_plane, (int)(m * image_stride + y * w + x),
                       y < h && x < w && m < images);
        }
    }
}

// Begins to copy a tile's pixels of dy, of the block's planes, to the buffer at `to`.
template <int PLANES>
DEVICE void load_dy(const ConvFilterArgs& args, const FilterBlock& block, const FilterTile& tile,
                    int to) {
    const int64_t dy0 = ((int64_t)tile.image * args.planes + block.first_plane) * args.h * args.w;
    const int plane_stride = args.h * args.w;
    const int planes_at_once = max(32 * N_WARPS >> block.pixels_log2, 1);
    for (int p = thread_idx() & (block.pixels - 1); p < block.pixels; p += 32 * N_WARPS) {
        int m = p >> block.image_log2, y = tile.row0 + (p >> args.tile_w_log2 & (block.tile_h - 1));
        int x = tile.column0 + (p & (block.tile_w - 1));
        bool inside = tile.image + m < block.image_end && y < args.h && x < args.w;
        int at = m * args.planes * plane_stride + y * args.w + x;
        for (int plane = thread_idx() >> block.pixels_log2; plane < PLANES; plane += planes_at_once)
            copy_async(to + (plane * block.pixels + p) * 16, args.dy,
                       dy0 + (at + plane * plane_stride),
                       inside && block.first_plane + plane < args.planes);
    }
}

// ---- products -----------------------------------------------------------------------------------

// The group of this warp, and which of the group's warps it is.
struct FilterGroup {
    int n_warps;
    int number;
    int warp;
};

DEVICE FilterGroup group_of_warp(const ConvFilterArgs& args) {
    const int n_warps = N_WARPS >> args.groups_log2;
    return {n_warps, warp_idx() / n_warps, warp_idx() % n_warps};
}

// Where a pixel's input of each of a group's slots lies, from that of tap (0, 0) of the first chunk.
template <int SLOTS>
DEVICE void find_slots(const ConvFilterArgs& args, const FilterBlock& block, int group,
                       int (&slot_at)[SLOTS]) {
    const int pair0 = block.pair0 + group * SLOTS, kw = block.kw;
    UNROLL for (int k = 0; k < SLOTS; k++) {
        int pair = min(pair0 + k, block.n_pairs - 1), tap = pair % block.taps;
        slot_at[k] = (pair / block.taps - block.chunk0) * 2 * block.plane_bytes +
                     (tap / kw * args.halo_w + tap % kw) * 16;
    }
}

// Adds the products of a tile to `sum`: the group's warps take 16 of its pixels each, then the next.
template <int PLANES, int SLOTS>
DEVICE void multiply_tile(const ConvFilterArgs& args, const FilterBlock& block,
                          const FilterGroup& group, int input, const int (&slot_at)[SLOTS],
                          float (&sum)[SLOTS][PLANES][4]) {
    const int lane = lane_idx(), dy = input + block.input_bytes;
    for (int p0 = group.warp * 16; p0 < block.pixels; p0 += group.n_warps * 16) {
        uint32_t b[PLANES + PLANES % 2][2];
        UNROLL for (int n = 0; n < PLANES; n += 2) {
            int plane = min(n + lane / 16, PLANES - 1);
            uint32_t two[4];
            load_matrices_transposed(two, dy + (plane * block.pixels + p0 + lane % 16) * 16);
            b[n][0] = two[0], b[n][1] = two[1];
            b[n + 1][0] = two[2], b[n + 1][1] = two[3];
        }
        // Rows of x: pixels 0 to 7 of both planes, then pixels 8 to 15 of both.
        int p = p0 + lane % 8 + lane / 16 * 8;
        int r = (p >> args.tile_w_log2 & (block.tile_h - 1)) * args.stride_h;
        int q = (p & (block.tile_w - 1)) * args.stride_w, m = p >> block.image_log2;
        int row = input + lane / 8 % 2 * block.plane_bytes +
                  (m * block.halo + r * args.halo_w + q) * 16;
        UNROLL for (int k = 0; k < SLOTS; k++) {
            uint32_t a[4];
            load_matrices_transposed(a, row + slot_at[k]);
            UNROLL for (int n = 0; n < PLANES; n++) multiply_add(sum[k][n], a, b[n][0], b[n][1]);
        }
    }
}

// ---- sums ---------------------------------------------------------------------------------------

// Leaves the sums over each group's warps in `sums`, [group][slot][plane][4][lane]. The warps add up
// in pairs, those of the upper half to the lower, until one is left.
template <int PLANES, int SLOTS>
DEVICE void add_warps(const FilterGroup& group, float (&sum)[SLOTS][PLANES][4],
                      const Shared<float>& sums) {
    constexpr int N_SUMS = SLOTS * PLANES * 4;  // of a lane
    const int lane = lane_idx();
    for (int half = group.n_warps / 2; half > 0; half /= 2) {
        const int at = (group.number * half + group.warp % half) * N_SUMS * 32 + lane;
        sync_block();
        if (group.warp >= half && group.warp < 2 * half)
            UNROLL for (int i = 0; i < N_SUMS; i++)
                sums[at + i * 32] = sum[i / (4 * PLANES)][i / 4 % PLANES][i % 4];
        sync_block();
        if (group.warp < half)
            UNROLL for (int i = 0; i < N_SUMS; i++)
                sum[i / (4 * PLANES)][i / 4 % PLANES][i % 4] += sums[at + i * 32];
    }
    sync_block();
    if (group.warp == 0)
        UNROLL for (int i = 0; i < N_SUMS; i++)
            sums[(group.number * N_SUMS + i) * 32 + lane] =
                sum[i / (4 * PLANES)][i / 4 % PLANES][i % 4];
    sync_block();
}

// Writes the sums of the split, of the block's slots.
template <int PLANES>
DEVICE void write_partials(const ConvFilterArgs& args, const FilterBlock& block,
                           const Shared<float>& sums) {
    constexpr int COLUMNS = 8 * PLANES;
    const int width = 8 * args.planes;
    for (int i = thread_idx(); i < block.n_slots * 16 * COLUMNS; i += 32 * N_WARPS) {
        const int k = i / (16 * COLUMNS), channel = i / COLUMNS % 16, c = i % COLUMNS;
        const int pair = block.pair0 + k, column = block.first_plane * 8 + c;
        if (pair >= block.n_pairs || column >= width) continue;
        const int of = (k * PLANES + c / 8) * 4 + channel / 8 * 2 + c % 2;
        const float total = sums[of * 32 + channel % 8 * 4 + c % 8 / 2];
        const int64_t row = ((int64_t)blockIdx.y * block.n_pairs + pair) * 16 + channel;
        args.partials.write(row * width + column, total);
    }
}

// ---- the kernels --------------------------------------------------------------------------------

// dw[f,c,u,v] = sum over n, i, j of dy[n,f,i,j] x[n,c,i s - kh/2 + u,j t - kw/2 + v], of the images
// of a split. The products have 16 channels for rows, output channels for columns, and pixels to
// sum over: both operands are transposed as they are loaded.
//
// grid:  ceil(n_chunks taps / (SLOTS 2^groups_log2)), ceil(n_images / images), ceil(planes / PLANES);
//        groups of (chunk, tap), a slot each, of which those of a chunk follow each other; splits,
//        groups of planes of dy
// block: 256; the warps of each of 2^groups_log2 groups share 16 pixels of a tile after the other
// shared: max(16 ceil(2^tile_n_log2 halo_h halo_w / 4) + 48 buffer_chunks + 32 (2 buffer_chunks
//        2^tile_n_log2 halo_h halo_w + PLANES 2^(tile_n_log2 + tile_h_log2 + tile_w_log2)),
//        2048 SLOTS PLANES); tables of places and of planes; two buffers of
//        [chunks][2][tile_n][halo_h][halo_w] pixels of x and [PLANES][tile] of dy; then the sums
// needs: a tile has at least 16 pixels; all sources have the same kh and kw; at most 4 groups
// bytes: x once a group of slots, dy once a group of slots; partials
// flops: at most 2 (ceil(n_images / images) ceil(images / 2^tile_n_log2) tiles_h tiles_w)
//        2^(tile_n_log2 + tile_h_log2 + tile_w_log2) 16 (8 PLANES ceil(planes / PLANES))
//        (SLOTS 2^groups_log2 ceil(n_chunks taps / (SLOTS 2^groups_log2))); the last split may have
//        fewer images
template <int PLANES, int SLOTS>
DEVICE void conv_filter_tiled(const ConvFilterArgs& args) {
    const FilterBlock block = block_of<PLANES, SLOTS>(args);
    const FilterGroup group = group_of_warp(args);
    const int n_steps = ceil_div(block.image_end - block.image0, block.tile_n) *
                        args.tiles_h * args.tiles_w;
    auto places = shared<uint32_t>(0, block.n_places);
    auto planes = shared<FilterPlane>(block.planes_at, 2 * block.n_chunks);
    describe_input(args, block, places, planes);

    float sum[SLOTS][PLANES][4] = {};
    int slot_at[SLOTS];
    find_slots(args, block, group.number, slot_at);
    FilterTile next = {block.image0, 0, 0};  // to load
    auto load = [&](int step) {
        const int to = block.buffer(step);
        load_x(args, block, next, to, places, planes);
        load_dy<PLANES>(args, block, next, to + block.input_bytes);
        next.advance(args, block);
    };
    if (n_steps > 0) load(0);
    commit_copies();
    for (int step = 0; step < n_steps; step++) {
        if (step + 1 < n_steps) load(step + 1);
        commit_copies();
        wait_copies<1>();
        sync_block();
        const int input = block.buffer(step);
        multiply_tile(args, block, group, input, slot_at, sum);
        sync_block();
    }
    wait_copies<0>();

    auto sums = shared<float>(0, N_WARPS / 2 * SLOTS * PLANES * 4 * 32);
    add_warps(group, sum, sums);
    write_partials<PLANES>(args, block, sums);
}

// Two blocks share a multiprocessor where their registers allow it.
#define CONV_FILTER(name, PLANES, SLOTS, BLOCKS) \
    KERNEL(name, ConvFilterArgs, 256, BLOCKS) { conv_filter_tiled<PLANES, SLOTS>(args); }
CONV_FILTER(conv_filter_tiled_1, 1, 7, 2)
CONV_FILTER(conv_filter_tiled_2, 2, 7, 2)
CONV_FILTER(conv_filter_tiled_3, 3, 6, 2)
CONV_FILTER(conv_filter_tiled_4, 4, 7, 1)
CONV_FILTER(conv_filter_tiled_5, 5, 5, 1)
CONV_FILTER(conv_filter_tiled_6, 6, 5, 1)
CONV_FILTER(conv_filter_tiled_8, 8, 5, 1)

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
// grid:  x_planes, kh kw, planes
// block: 32; each thread every 32nd pixel of all images
// needs: nothing
// bytes: x and dy once a block
KERNEL(conv_filter_direct, ConvFilterDirectArgs, 32, 1) {
    const int x_plane = (int)blockIdx.x, tap = (int)blockIdx.y, plane = (int)blockIdx.z;
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
