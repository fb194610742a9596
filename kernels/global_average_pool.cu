// Global average pooling of one source of a padded concatenation, and its gradient.
#include "device.cuh"

struct GlobalAveragePoolArgs {
    In<Pixel> x;          // [n][planes][pixels]
    In<int> channels;     // [8 planes]: the channel of each lane, or -1
    In<float> dfeatures;  // [n][n_features]; read backward
    Out<float> features;  // [n][n_features]; written forward
    Out<Pixel> dx;        // written backward
    int planes;
    int pixels;
    int first_feature;
    int n_features;
    float all_pixels;  // h w of the padded concatenation
    int add;           // backward, 1: add to what `dx` holds
};

// features[n,c] = sum over h and w of x / all_pixels.
//
// grid:  planes, n; a plane of an image
// block: 128; each thread every 128th pixel of 8 channels
// shared: 4 * 4; a sum for each of 4 warps
// needs: nothing
// bytes: x once
KERNEL(global_average_pool_fwd, GlobalAveragePoolArgs, 128, 1) {
    const int plane = (int)blockIdx.x, image = (int)blockIdx.y;
    const int64_t first = ((int64_t)image * args.planes + plane) * args.pixels;
    auto room = shared<float>(0, 4);
    float sum[8] = {}, x[8];
    for (int i = thread_idx(); i < args.pixels; i += 128) {
        to_floats(args.x[first + i], x);
        UNROLL for (int c = 0; c < 8; c++) sum[c] += x[c];
    }
    for (int c = 0; c < 8; c++) {
        const float total = block_sum(sum[c], room);
        sync_block();
        const int channel = args.channels[plane * 8 + c];
        if (thread_idx() == 0 && channel >= 0)
            args.features.write((int64_t)image * args.n_features + args.first_feature + channel,
                                total / args.all_pixels);
    }
}

// dx = dfeatures / all_pixels at every pixel.
//
// grid:  planes, ceil(pixels / 256), n; a piece of a plane of an image
// block: 256; each thread one pixel of 8 channels
// needs: nothing
// bytes: dx once
KERNEL(global_average_pool_bwd, GlobalAveragePoolArgs, 256, 1) {
    const int plane = (int)blockIdx.x, i = (int)blockIdx.y * 256 + thread_idx();
    if (i >= args.pixels) return;
    const int64_t image = blockIdx.z, at = (image * args.planes + plane) * args.pixels + i;
    float sum[8] = {};
    if (args.add) to_floats(args.dx.read(at), sum);
    UNROLL for (int c = 0; c < 8; c++) {
        const int channel = args.channels[plane * 8 + c];
        if (channel >= 0)
            sum[c] += args.dfeatures[image * args.n_features + args.first_feature + channel] /
                      args.all_pixels;
    }
    args.dx.write(at, to_pixel(sum));
}
