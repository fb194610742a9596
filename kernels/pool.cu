// Max and average pooling without padding, and their gradients.
#include "device.cuh"

struct PoolArgs {
    In<Pixel> x;     // [n][planes][h][w]
    In<Pixel> dout;  // [n][planes][out_h][out_w]; read backward
    Out<Pixel> out;  // of the result forward; of x backward
    int planes;
    int h;
    int w;
    int out_h;
    int out_w;
    int kh;
    int kw;
    int stride_h;
    int stride_w;
    int is_max;
    int add;  // 1: add to what `out` holds
    int reserved;
};

// Whether `x` takes the place of the largest value so far: what is not a number stays.
DEVICE bool above(float x, float largest) {
    return x > largest || (x != x && largest == largest);
}

// The first of the largest values of a window, or their mean.
//
// grid:  planes, ceil(out_h out_w / 128), n; a piece of a plane of an image
// block: 128; each thread one result of 8 channels
// needs: nothing
// bytes: x once or more, out once
KERNEL(pool_fwd, PoolArgs, 128, 1) {
    const int i = (int)blockIdx.y * 128 + thread_idx();
    if (i >= args.out_h * args.out_w) return;
    const int64_t plane = (int64_t)blockIdx.z * args.planes + blockIdx.x;
    const int top = i / args.out_w * args.stride_h, left = i % args.out_w * args.stride_w;
    float out[8], x[8];
    for (int tap = 0; tap < args.kh * args.kw; tap++) {
        const int y = top + tap / args.kw;
        to_floats(args.x[(plane * args.h + y) * args.w + left + tap % args.kw], x);
        UNROLL for (int c = 0; c < 8; c++) {
            if (tap == 0)
                out[c] = x[c];
            else if (!args.is_max)
                out[c] += x[c];
            else if (above(x[c], out[c]))
                out[c] = x[c];
        }
    }
    if (!args.is_max)
        UNROLL for (int c = 0; c < 8; c++) out[c] /= (float)(args.kh * args.kw);
    args.out.write(plane * args.out_h * args.out_w + i, to_pixel(out));
}

// The gradient to x, gathered: each pixel looks for the windows of which it is the first largest
// value, or a part.
//
// grid:  planes, ceil(h w / 128), n; a piece of a plane of an image
// block: 128; each thread one pixel of 8 channels
// needs: nothing
// bytes: x and dout once or more, out once
KERNEL(pool_bwd, PoolArgs, 128, 1) {
    const int i = (int)blockIdx.y * 128 + thread_idx();
    if (i >= args.h * args.w) return;
    const int64_t plane = (int64_t)blockIdx.z * args.planes + blockIdx.x;
    const int y = i / args.w, x = i % args.w;
    float sum[8] = {}, dout[8];
    // Windows p with p stride <= y < p stride + kh.
    const int first_p = max(0, ceil_div(y - args.kh + 1, args.stride_h));
    const int first_q = max(0, ceil_div(x - args.kw + 1, args.stride_w));
    for (int p = first_p; p < args.out_h && p * args.stride_h <= y; p++)
        for (int q = first_q; q < args.out_w && q * args.stride_w <= x; q++) {
            to_floats(args.dout[(plane * args.out_h + p) * args.out_w + q], dout);
            if (!args.is_max) {
                UNROLL for (int c = 0; c < 8; c++) sum[c] += dout[c] / (float)(args.kh * args.kw);
                continue;
            }
            float largest[8], value[8];
            int at[8] = {};
            for (int tap = 0; tap < args.kh * args.kw; tap++) {
                const int row = p * args.stride_h + tap / args.kw;
                const int column = q * args.stride_w + tap % args.kw;
                to_floats(args.x[(plane * args.h + row) * args.w + column], value);
                UNROLL for (int c = 0; c < 8; c++)
                    if (tap == 0 || above(value[c], largest[c]))
                        largest[c] = value[c], at[c] = row * args.w + column;
            }
            UNROLL for (int c = 0; c < 8; c++) sum[c] += at[c] == i ? dout[c] : 0.f;
        }
    const int64_t to = plane * args.h * args.w + i;
    if (args.add) {
        float before[8];
        to_floats(args.out.read(to), before);
        UNROLL for (int c = 0; c < 8; c++) sum[c] += before[c];
    }
    args.out.write(to, to_pixel(sum));
}
