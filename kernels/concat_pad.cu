// A copy into a concatenation padded with zeros, and its gradient.
#include "device.cuh"

struct ConcatPadArgs {
    In<Pixel> x;     // forward the source [n][planes][h][w], backward the concatenation's gradient
    Out<Pixel> out;  // forward the concatenation, backward the source's gradient
    int planes;
    int h;
    int w;
    int first_plane;  // of the source in the concatenation
    int concat_planes;
    int concat_h;
    int concat_w;
    int add;  // backward, 1: add to what `out` holds
};

// One source's planes of the concatenation, with zeros at the bottom and right.
//
// grid:  planes, ceil(concat_h concat_w / 256), n; a piece of a plane of an image
// block: 256; each thread one pixel of 8 channels
// needs: nothing
// bytes: the source and its part of the concatenation once
KERNEL(concat_pad_fwd, ConcatPadArgs, 256, 1) {
    const int plane = (int)blockIdx.x, i = (int)blockIdx.y * 256 + thread_idx();
    if (i >= args.concat_h * args.concat_w) return;
    const int y = i / args.concat_w, x = i % args.concat_w;
    Pixel pixel = {};
    if (y < args.h && x < args.w) {
        const int64_t from = (int64_t)blockIdx.z * args.planes + plane;
        pixel = args.x[(from * args.h + y) * args.w + x];
    }
    const int64_t to = (int64_t)blockIdx.z * args.concat_planes + args.first_plane + plane;
    args.out.write(to * args.concat_h * args.concat_w + i, pixel);
}

// The source's gradient: its planes of the concatenation's, cropped.
//
// grid:  planes, ceil(h w / 256), n; a piece of a plane of an image
// block: 256; each thread one pixel of 8 channels
// needs: nothing
// bytes: both once
KERNEL(concat_pad_bwd, ConcatPadArgs, 256, 1) {
    const int plane = (int)blockIdx.x, i = (int)blockIdx.y * 256 + thread_idx();
    if (i >= args.h * args.w) return;
    const int64_t from = (int64_t)blockIdx.z * args.concat_planes + args.first_plane + plane;
    Pixel pixel = args.x[(from * args.concat_h + i / args.w) * args.concat_w + i % args.w];
    const int64_t to = ((int64_t)blockIdx.z * args.planes + plane) * args.h * args.w + i;
    if (args.add) {
        float sum[8], before[8];
        to_floats(pixel, sum);
        to_floats(args.out.read(to), before);
        UNROLL for (int c = 0; c < 8; c++) sum[c] += before[c];
        pixel = to_pixel(sum);
    }
    args.out.write(to, pixel);
}
