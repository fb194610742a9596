// What a block of conv_tiled computes, and the chunks that it reads for it.
#pragma once
#include "conv.cuh"

// The outputs of a block: a tile of those of one phase, of one image, of some planes.
struct ConvTile {
    int h;  // of the tile, of which a part may lie behind the phase's last outputs
    int w;
    int phase_h;
    int phase_w;
    int row0;  // of the tile, among the outputs of the phase
    int column0;
    int image;
    int first_plane;
    int rows;  // of outputs of the phase
    int columns;
    int width;  // channels of all planes, with those of padding
};

template <int PLANES>
DEVICE ConvTile tile_of_block(const ConvArgs& args) {
    const int n_phases = args.phases_h * args.phases_w;
    const int phase = (int)blockIdx.x % n_phases, number = (int)blockIdx.x / n_phases;
    ConvTile tile;
    tile.h = 1 << args.tile_h_log2, tile.w = 1 << args.tile_w_log2;
    tile.phase_h = phase / args.phases_w, tile.phase_w = phase % args.phases_w;
    tile.row0 = number / args.tiles_w * tile.h, tile.column0 = number % args.tiles_w * tile.w;
    tile.image = (int)blockIdx.y, tile.first_plane = (int)blockIdx.z * PLANES;
    tile.rows = ceil_div(args.h - tile.phase_h, args.phases_h);
    tile.columns = ceil_div(args.w - tile.phase_w, args.phases_w);
    tile.width = 8 * args.planes;
    return tile;
}

// The taps of a chunk that reach the tile's phase.
DEVICE void taps_of_chunk(const ConvArgs& args, const ConvTile& tile, int chunk, Taps& along_h,
                          Taps& along_w) {
    const ConvSource& source = args.sources[source_of(args.chunks[chunk], 0)];
    along_h = taps_of(source.kh, args.phases_h, tile.phase_h);
    along_w = taps_of(source.kw, args.phases_w, tile.phase_w);
}

// Whether the tile reads anything of a chunk but the zeros around it.
DEVICE bool sees(const ConvArgs& args, const ConvTile& tile, int chunk) {
    Taps along_h, along_w;
    taps_of_chunk(args, tile, chunk, along_h, along_w);
    int top = tile.row0 * args.step_h - along_h.pad;
    int left = tile.column0 * args.step_w - along_w.pad;
    bool any = false;
    for (int half = 0; half < 2; half++) {
        const int number = source_of(args.chunks[chunk], half);
        if (number == 255) continue;
        const ConvSource& source = args.sources[number];
        any = any || (top < source.h && left < source.w);
    }
    return any && along_h.n > 0 && along_w.n > 0;
}

// What a block keeps of chunk `number`, which its tile sees.
DEVICE void describe_chunk(const ConvArgs& args, const ConvTile& tile, int number, SeenChunk& chunk) {
    const uint32_t c = args.chunks[number];
    Taps along_h, along_w;
    taps_of_chunk(args, tile, number, along_h, along_w);
    chunk.taps_h = along_h.n, chunk.taps_w = along_w.n;
    // Rows of about the same number in each of as few steps as there can be.
    const int n_steps = ceil_div(along_h.n, max(STEP_TAPS / along_w.n, 1));
    chunk.step_rows = ceil_div(along_h.n, n_steps);
    chunk.top = tile.row0 * args.step_h - along_h.pad;
    chunk.left = tile.column0 * args.step_w - along_w.pad;
    chunk.columns = (tile.w - 1) * args.step_w + along_w.n;
    chunk.pixels = ((tile.h - 1) * args.step_h + along_h.n) * chunk.columns;
    chunk.magic = 0xffffffffu / (uint32_t)chunk.columns + 1;
    for (int half = 0; half < 2; half++) {
        const bool there = source_of(c, half) != 255;
        const ConvSource& source = args.sources[there ? source_of(c, half) : source_of(c, 0)];
        const int64_t plane = (int64_t)tile.image * source.image_planes + plane_of(c, half);
        const int64_t row = (int64_t)plane_of(c, half) * source.kh + along_h.first;
        chunk.h[half] = there ? source.h : 0, chunk.w[half] = source.w;
        chunk.x[half] = {source.x.data + plane * source.h * source.w};
        chunk.weight[half] = {source.weight.data +
                              (row * source.kw + along_w.first) * source.columns +
                              tile.first_plane * 8};
        chunk.row_step[half] = along_h.step * source.kw * source.columns;
        chunk.tap_step[half] = along_w.step * source.columns;
    }
}

// Fills `seen` with the chunks that the tile sees, in their order, and gives their number. What a
// copy needs is computed here, once a chunk: the loop over steps has few warps to hide the latency of
// arithmetic with. Shared memory from byte `room` on is used meanwhile.
DEVICE int describe_chunks(const ConvArgs& args, const ConvTile& tile, const Shared<SeenChunk>& seen,
                           int room) {
    const int thread = thread_idx();
    auto is_seen = shared<uint32_t>(room, args.n_chunks);
    for (int i = thread; i < args.n_chunks; i += 32 * N_WARPS) is_seen[i] = sees(args, tile, i);
    sync_block();
    int n_seen = 0;
    for (int i = 0; i < args.n_chunks; i++) {
        if (is_seen[i] == 0) continue;
        if (i % (32 * N_WARPS) == thread) describe_chunk(args, tile, i, seen[n_seen]);
        n_seen++;
    }
    sync_block();
    return n_seen;
}
