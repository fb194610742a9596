// Convolution without tensor cores, for what the tiled kernels have no room for; and the packing
// of weights for both.
#include "conv.cuh"

// The same sums as conv_tiled with kind 0, in f32, from the same arguments; tiles are not used.
//
// grid:  planes, ceil(h w / 128), n; a piece of a plane of an image
// block: 128; each thread one output of 8 channels
// needs: nothing
// bytes: sources and weights once an output (caches hold them)
KERNEL(conv_direct, ConvArgs, 128, 1) {
    const int plane = (int)blockIdx.x, image = (int)blockIdx.z;
    const int pixel = (int)blockIdx.y * 128 + thread_idx();
    if (pixel >= args.h * args.w) return;
    const int y = pixel / args.w, x = pixel % args.w;
    const int phase_h = y % args.phases_h, phase_w = x % args.phases_w;
    float sum[8] = {};
    for (int s = 0; s < args.n_sources; s++) {
        const ConvSource& source = args.sources[s];
        const Taps along_h = taps_of(source.kh, args.phases_h, phase_h);
        const Taps along_w = taps_of(source.kw, args.phases_w, phase_w);
        const int top = y / args.phases_h * args.step_h - along_h.pad;
        const int left = x / args.phases_w * args.step_w - along_w.pad;
        for (int p = 0; p < source.planes; p++)
            for (int r = 0; r < along_h.n; r++)
                for (int q = 0; q < along_w.n; q++) {
                    if (top + r < 0 || top + r >= source.h) continue;
                    if (left + q < 0 || left + q >= source.w) continue;
                    int64_t at = (int64_t)image * source.image_planes + p;
                    at = (at * source.h + top + r) * source.w + left + q;
                    int tap = (along_h.first + r * along_h.step) * source.kw + along_w.first +
                              q * along_w.step;
                    int64_t weights = (int64_t)p * source.kh * source.kw + tap;
                    weights = weights * source.columns + plane * 8;
                    float in[8], w[8];
                    to_floats(source.x[at], in);
                    for (int f = 0; f < 8; f++) {
                        to_floats(source.weight[weights + f], w);
                        UNROLL for (int c = 0; c < 8; c++) sum[f] = fmaf(w[c], in[c], sum[f]);
                    }
                }
    }
    const int64_t at = (((int64_t)image * args.planes + plane) * args.h * args.w + pixel) * 4;
    UNROLL for (int i = 0; i < 4; i++) {
        if (args.add) {
            uint32_t before = args.out.read(at + i);
            sum[2 * i] += low(before);
            sum[2 * i + 1] += high(before);
        }
        args.out.write(at + i, to_pair(sum[2 * i], sum[2 * i + 1]));
    }
}

struct ConvPackArgs {
    In<float> weights;  // [f][c][kh kw]
    In<int> channels;   // [8 planes of the input]: the channel of each lane, or -1
    Out<bf16> forward;  // [input planes][kh kw][8 output planes][8]
    Out<bf16> backward;  // [output planes][kh kw, last first][8 input planes][8]
    int n_filters;
    int n_channels;
    int taps;
    int input_lanes;
    int output_lanes;
    int reserved;
};

// The bfloat16 copies of a convolution's weights in the orders in which conv_tiled reads them;
// lanes of padding get zeros.
//
// grid:  input_lanes / 8, ceil(8 output_lanes taps / 256); planes of the input, pieces of their weights
// block: 256; each thread one weight in both copies
// needs: lanes are multiples of 8; 8 output_lanes taps below 2^31
// bytes: 8 a weight
KERNEL(conv_pack, ConvPackArgs, 256, 1) {
    const int plane = (int)blockIdx.x, n = 8 * args.output_lanes * args.taps;
    // The order of `forward`, so that its writes are of neighbours.
    const int i = (int)blockIdx.y * 256 + thread_idx();
    if (i >= n) return;
    const int filter = i / 8 % args.output_lanes, tap = i / 8 / args.output_lanes;
    const int input = plane * 8 + i % 8;
    const int channel = args.channels[input];
    float weight = 0.f;
    if (filter < args.n_filters && channel >= 0)
        weight = args.weights[((int64_t)filter * args.n_channels + channel) * args.taps + tap];
    args.forward.write((int64_t)plane * n + i, to_bf16(weight));
    const int64_t row = (int64_t)(filter / 8) * args.taps + args.taps - 1 - tap;
    args.backward.write((row * args.input_lanes + input) * 8 + filter % 8, to_bf16(weight));
}
