// Local contrast normalisation (Jarrett et al. 2009), each channel alone: v = x - G x,
// s = sqrt(G v²), y = v / max(s, mean of s over h and w, 1e-4), G a 9x9 Gaussian of deviation 2.
#include "device.cuh"

#define REACH 4
#define DEVIATION 2.f
#define FLOOR 1e-4f

struct LcnArgs {
    In<bf16> x;     // [n][planes][h][w][8]
    In<bf16> dout;  // read backward
    Out<bf16> out;  // y forward, dx backward
    int planes;
    int h;
    int w;
    int add;  // backward, 1: add to what `out` holds
};

// Weight of the tap at distance `d`, before a pixel's taps are made to add up to 1.
DEVICE float tap(int d) { return expf(-(float)(d * d) / (2.f * DEVIATION * DEVIATION)); }

// What the taps of place `i` of an axis of `n` add up to.
DEVICE float taps_inside(int i, int n) {
    float sum = 0.f;
    for (int p = max(0, i - REACH); p < min(n, i + REACH + 1); p++) sum += tap(p - i);
    return sum;
}

// One axis of G, or of its transpose: `to` from `from`, [h][w] each. G is the product of the axes,
// as are the sums over the taps inside the image.
DEVICE void blur_axis(const Shared<float>& from, const Shared<float>& to, int h, int w, bool rows,
                      bool transposed) {
    sync_block();
    for (int i = thread_idx(); i < h * w; i += n_threads()) {
        const int place = rows ? i / w : i % w, n = rows ? h : w, step = rows ? w : 1;
        float sum = 0.f;
        for (int p = max(0, place - REACH); p < min(n, place + REACH + 1); p++) {
            const float weight = tap(p - place) / (transposed ? taps_inside(p, n) : 1.f);
            sum += weight * from[i + (p - place) * step];
        }
        to[i] = transposed ? sum : sum / taps_inside(place, n);
    }
    sync_block();
}

// `x` in its own place; `room` is of the same size.
DEVICE void blur(const Shared<float>& x, const Shared<float>& room, int h, int w, bool transposed) {
    blur_axis(x, room, h, w, true, transposed);
    blur_axis(room, x, h, w, false, transposed);
}

// Leaves v and s in shared memory; returns the mean of s.
DEVICE float parts(const LcnArgs& args, int64_t first, const Shared<float>& v,
                   const Shared<float>& s, const Shared<float>& room, const Shared<float>& sums) {
    const int pixels = args.h * args.w;
    for (int i = thread_idx(); i < pixels; i += n_threads()) s[i] = to_float(args.x[first + i * 8]);
    blur(s, room, args.h, args.w, false);
    for (int i = thread_idx(); i < pixels; i += n_threads()) {
        v[i] = to_float(args.x[first + i * 8]) - s[i];
        s[i] = v[i] * v[i];
    }
    blur(s, room, args.h, args.w, false);
    float sum = 0.f;
    for (int i = thread_idx(); i < pixels; i += n_threads()) {
        s[i] = sqrtf(s[i]);
        sum += s[i];
    }
    return block_sum(sum, sums) / (float)pixels;
}

// y.
//
// grid:  8 planes, n; a channel or its padding, of an image
// block: 256; each thread every 256th pixel
// shared: 4 (3 h w + 8); three images of a channel, and a sum for each of 8 warps
// needs: so much shared memory
// bytes: x twice, out once, two bytes of every 16
KERNEL(lcn_fwd, LcnArgs, 256, 1) {
    const int pixels = args.h * args.w, channel = (int)blockIdx.x;
    const int64_t plane = (int64_t)blockIdx.y * args.planes + channel / 8;
    const int64_t first = plane * pixels * 8 + channel % 8;
    auto v = shared<float>(0, pixels), s = shared<float>(4 * pixels, pixels);
    auto room = shared<float>(8 * pixels, pixels), sums = shared<float>(12 * pixels, 8);
    const float mean = parts(args, first, v, s, room, sums);
    for (int i = thread_idx(); i < pixels; i += n_threads())
        args.out.write(first + i * 8, to_bf16(v[i] / fmaxf(fmaxf(s[i], mean), FLOOR)));
}

// The gradient to x. The divisor's goes to whatever the divisor was: s of the pixel, the mean and
// so s of every pixel, or the floor and so nowhere. A pixel with s = 0 passes none on.
//
// grid:  8 planes, n; a channel or its padding, of an image
// block: 256; each thread every 256th pixel
// shared: 4 (4 h w + 8); four images of a channel, and a sum for each of 8 warps
// needs: so much shared memory
// bytes: x twice, dout and out once, two bytes of every 16
KERNEL(lcn_bwd, LcnArgs, 256, 1) {
    const int pixels = args.h * args.w, channel = (int)blockIdx.x;
    const int64_t plane = (int64_t)blockIdx.y * args.planes + channel / 8;
    const int64_t first = plane * pixels * 8 + channel % 8;
    auto v = shared<float>(0, pixels), s = shared<float>(4 * pixels, pixels);
    auto room = shared<float>(8 * pixels, pixels), d = shared<float>(12 * pixels, pixels);
    auto sums = shared<float>(16 * pixels, 8);
    const float mean = parts(args, first, v, s, room, sums);
    sync_block();
    float dmean = 0.f;
    for (int i = thread_idx(); i < pixels; i += n_threads()) {
        const float divisor = fmaxf(fmaxf(s[i], mean), FLOOR);
        const float dout = to_float(args.dout[first + i * 8]);
        const float ddivisor = -dout * v[i] / (divisor * divisor);
        d[i] = divisor == s[i] ? ddivisor : 0.f;
        if (divisor != s[i] && divisor == mean) dmean += ddivisor;
    }
    dmean = block_sum(dmean, sums) / (float)pixels;
    for (int i = thread_idx(); i < pixels; i += n_threads())
        d[i] = s[i] > 0.f ? (d[i] + dmean) / (2.f * s[i]) : 0.f;
    blur(d, room, args.h, args.w, true);
    for (int i = thread_idx(); i < pixels; i += n_threads()) {
        const float divisor = fmaxf(fmaxf(s[i], mean), FLOOR);
        const float dv = to_float(args.dout[first + i * 8]) / divisor + d[i] * 2.f * v[i];
        d[i] = dv;
        v[i] = dv;
    }
    blur(d, room, args.h, args.w, true);
    for (int i = thread_idx(); i < pixels; i += n_threads()) {
        float dx = v[i] - d[i];
        if (args.add) dx += to_float(args.out.read(first + i * 8));
        args.out.write(first + i * 8, to_bf16(dx));
    }
}
