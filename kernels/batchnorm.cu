// Batch normalisation: moments, statistics, the normalisation with ReLU, and their gradients.
#include "device.cuh"

#define RUNNING 0.1f  // the part of the running statistics that a batch replaces

struct BatchnormMomentsArgs {
    In<Pixel> x;       // [n][planes][pixels]
    Out<float> parts;  // [n][2][8 planes]
    int planes;
    int pixels;
};

// Sums over the threads of a block for 8 channels; on every thread.
DEVICE void block_sums(float (&x)[8], const Shared<float>& room) {
    UNROLL for (int c = 0; c < 8; c++) x[c] = warp_sum(x[c]);
    if (lane_idx() == 0)
        UNROLL for (int c = 0; c < 8; c++) room[warp_idx() * 8 + c] = x[c];
    sync_block();
    UNROLL for (int c = 0; c < 8; c++) {
        x[c] = 0.f;
        for (int warp = 0; warp < n_threads() / 32; warp++) x[c] += room[warp * 8 + c];
    }
    sync_block();
}

// Of an image's channel: the mean over h and w, and the sum of squared differences from it.
//
// grid:  planes, n; a plane of an image
// block: 128; each thread every 128th pixel of 8 channels
// shared: 4 * 8 * 4; sums of 8 channels for each of 4 warps
// needs: nothing
// bytes: x twice (the second time from a cache)
KERNEL(batchnorm_moments, BatchnormMomentsArgs, 128, 1) {
    const int plane = (int)blockIdx.x, image = (int)blockIdx.y;
    const int64_t first = ((int64_t)image * args.planes + plane) * args.pixels;
    auto room = shared<float>(0, 4 * 8);
    float mean[8] = {}, squares[8] = {}, x[8];
    for (int i = thread_idx(); i < args.pixels; i += 128) {
        to_floats(args.x[first + i], x);
        UNROLL for (int c = 0; c < 8; c++) mean[c] += x[c];
    }
    block_sums(mean, room);
    UNROLL for (int c = 0; c < 8; c++) mean[c] /= (float)args.pixels;
    for (int i = thread_idx(); i < args.pixels; i += 128) {
        to_floats(args.x[first + i], x);
        UNROLL for (int c = 0; c < 8; c++) squares[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
    }
    block_sums(squares, room);
    if (thread_idx() > 0) return;
    const int64_t part = (int64_t)image * 2 * 8 * args.planes + plane * 8;
    UNROLL for (int c = 0; c < 8; c++) {
        args.parts.write(part + c, mean[c]);
        args.parts.write(part + 8 * args.planes + c, squares[c]);
    }
}

struct BatchnormStatisticsArgs {
    In<float> parts;  // [n][tiles][2][8 planes]: mean and sum of squared differences of each tile
    In<int> channels;  // [8 planes]: the channel of each lane, or -1
    In<float> scale;   // [c]
    In<float> shift;
    Out<float> running_mean;
    Out<float> running_var;
    Out<float> coefficients;  // [7][8 planes], of which rows 0 to 3 are written
    int n_images;
    int planes;
    int h;
    int w;
    int tile_h;
    int tile_w;
    float epsilon;  // what is added to a variance
    int reserved;
};

// Mean and sum of squared differences of some values.
struct Moments {
    float n;
    float mean;
    float squares;
};

// Of two sets together (Chan, Golub and LeVeque 1979).
DEVICE Moments join(Moments a, Moments b) {
    const float n = a.n + b.n;
    if (n == 0.f) return a;
    const float delta = b.mean - a.mean, share = b.n / n;
    return {n, a.mean + delta * share, a.squares + b.squares + delta * delta * a.n * share};
}

// From the mean and the variance of lane `lane`: rows 0 to 3 of the coefficients.
DEVICE void set_coefficients(const Out<float>& rows, int width, int lane, float mean, float var,
                             float scale, float shift, float epsilon) {
    const float inverse = 1.f / sqrtf(var + epsilon), factor = scale * inverse;
    rows.write(lane, mean);
    rows.write(width + lane, inverse);
    rows.write(2 * width + lane, factor);
    rows.write(3 * width + lane, shift - factor * mean);
}

DEVICE void clear_coefficients(const Out<float>& rows, int width, int lane, int from, int to) {
    for (int row = from; row < to; row++) rows.write(row * width + lane, 0.f);
}

// The batch's mean and variance of each channel, the coefficients of the normalisation, and the
// running statistics moved.
//
// grid:  planes
// block: 256; 8 channels by 32 strands, each every 32nd tile
// shared: 12 * 256; a thread's moments
// needs: nothing
// bytes: the parts
KERNEL(batchnorm_statistics, BatchnormStatisticsArgs, 256, 1) {
    const int thread = thread_idx(), lane = (int)blockIdx.x * 8 + thread % 8, strand = thread / 8;
    const int width = 8 * args.planes;
    const int tiles_w = ceil_div(args.w, args.tile_w);
    const int tiles = tiles_w * ceil_div(args.h, args.tile_h);
    auto room = shared<Moments>(0, 256);
    Moments all = {0.f, 0.f, 0.f};
    for (int i = strand; i < args.n_images * tiles; i += 32) {
        const int row0 = i % tiles / tiles_w * args.tile_h, column0 = i % tiles_w * args.tile_w;
        const int n = min(args.tile_h, args.h - row0) * min(args.tile_w, args.w - column0);
        const int64_t part = (int64_t)i * 2 * width + lane;
        all = join(all, {(float)n, args.parts[part], args.parts[part + width]});
    }
    room[thread] = all;
    sync_block();
    if (strand > 0) return;
    for (int i = 1; i < 32; i++) all = join(all, room[i * 8 + thread]);
    const int channel = args.channels[lane];
    if (channel < 0) return clear_coefficients(args.coefficients, width, lane, 0, 4);
    const float var = all.squares / all.n;
    set_coefficients(args.coefficients, width, lane, all.mean, var, args.scale[channel],
                     args.shift[channel], args.epsilon);
    const float unbiased = all.n > 1.f ? all.squares / (all.n - 1.f) : var;
    const float mean = args.running_mean.read(channel), old_var = args.running_var.read(channel);
    args.running_mean.write(channel, (1.f - RUNNING) * mean + RUNNING * all.mean);
    args.running_var.write(channel, (1.f - RUNNING) * old_var + RUNNING * unbiased);
}

struct BatchnormRunningArgs {
    In<int> channels;
    In<float> scale;
    In<float> shift;
    In<float> running_mean;
    In<float> running_var;
    Out<float> coefficients;
    int planes;
    float epsilon;
};

// Coefficients from the running statistics.
//
// grid:  ceil(8 planes / 128)
// block: 128; each thread one channel
// needs: nothing
KERNEL(batchnorm_running, BatchnormRunningArgs, 128, 1) {
    const int lane = (int)blockIdx.x * 128 + thread_idx(), width = 8 * args.planes;
    if (lane >= width) return;
    const int channel = args.channels[lane];
    if (channel < 0) return clear_coefficients(args.coefficients, width, lane, 0, 4);
    set_coefficients(args.coefficients, width, lane, args.running_mean[channel],
                     args.running_var[channel], args.scale[channel], args.shift[channel],
                     args.epsilon);
}

struct BatchnormFwdArgs {
    In<Pixel> x;  // [n][planes][pixels]
    In<float> coefficients;
    Out<Pixel> out;
    int planes;
    int pixels;
    int relu;
    int reserved;
};

// out = factor x + summand, then perhaps max(0, ·).
//
// grid:  planes, ceil(pixels / 256), n; a piece of a plane of an image
// block: 256; each thread one pixel of 8 channels
// needs: nothing
// bytes: x and out once
KERNEL(batchnorm_fwd, BatchnormFwdArgs, 256, 1) {
    const int plane = (int)blockIdx.x, pixel = (int)blockIdx.y * 256 + thread_idx();
    if (pixel >= args.pixels) return;
    const int64_t at = ((int64_t)blockIdx.z * args.planes + plane) * args.pixels + pixel;
    const int factor = 2 * 8 * args.planes + plane * 8, summand = factor + 8 * args.planes;
    float x[8];
    to_floats(args.x[at], x);
    UNROLL for (int c = 0; c < 8; c++) {
        x[c] = fmaf(args.coefficients[factor + c], x[c], args.coefficients[summand + c]);
        if (args.relu && x[c] < 0.f) x[c] = 0.f;  // lets through what is not a number
    }
    args.out.write(at, to_pixel(x));
}

struct BatchnormMaskArgs {
    In<Pixel> x;  // of the normalisation
    In<float> coefficients;
    Out<Pixel> dz;     // the gradient to its result, masked in place
    Out<float> parts;  // [n][2][8 planes]
    int planes;
    int pixels;
    int relu;
    int reserved;
};

// The end of a gathered gradient that no convolution's epilogue has finished: the ReLU's mask, and
// the sums over h and w of dz and of dz (x - mean) / sqrt(var + eps).
//
// grid:  planes, n; a plane of an image
// block: 128; each thread every 128th pixel of 8 channels
// shared: 4 * 8 * 4; sums of 8 channels for each of 4 warps
// needs: nothing
// bytes: x once, dz twice
KERNEL(batchnorm_mask, BatchnormMaskArgs, 128, 1) {
    const int plane = (int)blockIdx.x, image = (int)blockIdx.y, width = 8 * args.planes;
    const int64_t first = ((int64_t)image * args.planes + plane) * args.pixels;
    auto room = shared<float>(0, 4 * 8);
    float row[4][8], sums[2][8] = {};
    UNROLL for (int i = 0; i < 4; i++)
        UNROLL for (int c = 0; c < 8; c++) row[i][c] = args.coefficients[i * width + plane * 8 + c];
    for (int i = thread_idx(); i < args.pixels; i += 128) {
        float x[8], dz[8];
        to_floats(args.x[first + i], x);
        to_floats(args.dz.read(first + i), dz);
        UNROLL for (int c = 0; c < 8; c++) {
            if (args.relu && fmaf(row[2][c], x[c], row[3][c]) <= 0.f) dz[c] = 0.f;
            sums[0][c] += dz[c];
            sums[1][c] += dz[c] * ((x[c] - row[0][c]) * row[1][c]);
        }
        args.dz.write(first + i, to_pixel(dz));
    }
    block_sums(sums[0], room);
    block_sums(sums[1], room);
    if (thread_idx() > 0) return;
    const int64_t part = (int64_t)image * 2 * width + plane * 8;
    UNROLL for (int c = 0; c < 8; c++) {
        args.parts.write(part + c, sums[0][c]);
        args.parts.write(part + width + c, sums[1][c]);
    }
}

struct BatchnormBwdStatisticsArgs {
    In<float> parts;   // [n_parts][2][8 planes]: sums of dz and of dz (x - mean) / sqrt(var + eps)
    In<int> channels;  // [8 planes]
    Out<float> coefficients;  // rows 0 to 2 are read, 4 to 6 written
    Out<float> dscale;        // [c]
    Out<float> dshift;
    int n_parts;
    int planes;
    float count;  // n h w
    int reserved;
};

// Gradients to scale and shift, and the coefficients of dx = row 4 dz + row 5 x + row 6.
//
// grid:  planes
// block: 256; 8 channels by 32 strands, each every 32nd part
// shared: 4 * 2 * 256; two sums a thread
// needs: nothing
// bytes: the parts
KERNEL(batchnorm_bwd_statistics, BatchnormBwdStatisticsArgs, 256, 1) {
    const int thread = thread_idx(), lane = (int)blockIdx.x * 8 + thread % 8, strand = thread / 8;
    const int width = 8 * args.planes;
    auto room = shared<float>(0, 2 * 256);
    float sum = 0.f, sum_xn = 0.f;
    for (int i = strand; i < args.n_parts; i += 32) {
        sum += args.parts[(int64_t)i * 2 * width + lane];
        sum_xn += args.parts[(int64_t)i * 2 * width + width + lane];
    }
    room[thread] = sum;
    room[256 + thread] = sum_xn;
    sync_block();
    if (strand > 0) return;
    for (int i = 1; i < 32; i++) {
        sum += room[i * 8 + thread];
        sum_xn += room[256 + i * 8 + thread];
    }
    const int channel = args.channels[lane];
    if (channel < 0) return clear_coefficients(args.coefficients, width, lane, 4, 7);
    const float mean = args.coefficients.read(lane);
    const float inverse = args.coefficients.read(width + lane);
    const float factor = args.coefficients.read(2 * width + lane);
    const float slope = -factor * inverse * sum_xn / args.count;
    args.coefficients.write(4 * width + lane, factor);
    args.coefficients.write(5 * width + lane, slope);
    args.coefficients.write(6 * width + lane, -factor * sum / args.count - slope * mean);
    args.dscale.write(channel, sum_xn);
    args.dshift.write(channel, sum);
}

struct BatchnormBwdArgs {
    Out<Pixel> dx;    // in the place of x, or of dz
    In<Pixel> other;  // dz, or x
    In<float> coefficients;
    int planes;
    int pixels;
    int in_place_of_x;
    int reserved;
};

// dx = row 4 dz + row 5 x + row 6.
//
// grid:  planes, ceil(pixels / 256), n; a piece of a plane of an image
// block: 256; each thread one pixel of 8 channels
// needs: nothing
// bytes: x, dz and dx once
KERNEL(batchnorm_bwd, BatchnormBwdArgs, 256, 1) {
    const int plane = (int)blockIdx.x, pixel = (int)blockIdx.y * 256 + thread_idx();
    if (pixel >= args.pixels) return;
    const int64_t at = ((int64_t)blockIdx.z * args.planes + plane) * args.pixels + pixel;
    const int width = 8 * args.planes, first = 4 * width + plane * 8;
    float own[8], other[8];
    to_floats(args.dx.read(at), own);
    to_floats(args.other[at], other);
    UNROLL for (int c = 0; c < 8; c++) {
        const float x = args.in_place_of_x ? own[c] : other[c];
        const float dz = args.in_place_of_x ? other[c] : own[c];
        const float rest = fmaf(args.coefficients[first + width + c], x,
                                args.coefficients[first + 2 * width + c]);
        own[c] = fmaf(args.coefficients[first + c], dz, rest);
    }
    args.dx.write(at, to_pixel(own));
}
