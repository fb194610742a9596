// The last layer: logits = features W^T + bias, and its gradients. All in f32.
#include "device.cuh"

struct ClassifierArgs {
    In<float> features;  // [n][n_features]
    In<float> weight;    // [n_classes][n_features]
    In<float> bias;      // [n_classes]
    In<float> dlogits;   // [n][n_classes]; read backward
    Out<float> logits;   // [n][n_classes]
    Out<float> dfeatures;  // [n][n_features]
    Out<float> dweight;    // [n_classes][n_features]
    Out<float> dbias;      // [n_classes]
    int n_images;
    int n_features;
    int n_classes;
    int reserved;
};

// logits[n,k] = bias[k] + sum over c of features[n,c] W[k,c].
//
// grid:  n_images
// block: 256; each of 8 warps every eighth class, a lane every 32nd feature
// needs: nothing
// bytes: weights once an image (from a cache)
KERNEL(classifier_fwd, ClassifierArgs, 256, 1) {
    const int64_t image = blockIdx.x;
    for (int k = warp_idx(); k < args.n_classes; k += 8) {
        float sum = 0.f;
        for (int c = lane_idx(); c < args.n_features; c += 32)
            sum = fmaf(args.features[image * args.n_features + c],
                       args.weight[(int64_t)k * args.n_features + c], sum);
        sum = warp_sum(sum);
        if (lane_idx() == 0) args.logits.write(image * args.n_classes + k, sum + args.bias[k]);
    }
}

// dfeatures[n,c] = sum over k of dlogits[n,k] W[k,c].
//
// grid:  ceil(n_features / 128), n_images
// block: 128; each thread one feature
// needs: nothing
// bytes: weights once an image (from a cache)
KERNEL(classifier_bwd_data, ClassifierArgs, 128, 1) {
    const int c = (int)blockIdx.x * 128 + thread_idx();
    const int64_t image = blockIdx.y;
    if (c >= args.n_features) return;
    float sum = 0.f;
    for (int k = 0; k < args.n_classes; k++)
        sum = fmaf(args.dlogits[image * args.n_classes + k],
                   args.weight[(int64_t)k * args.n_features + c], sum);
    args.dfeatures.write(image * args.n_features + c, sum);
}

// dW[k,c] = sum over n of dlogits[n,k] features[n,c]; dbias[k] = sum over n of dlogits[n,k].
//
// grid:  ceil((n_features + 1) / 128), n_classes
// block: 128; each thread one weight, the last one the bias
// needs: nothing
// bytes: features once a class (from a cache)
KERNEL(classifier_bwd_filter, ClassifierArgs, 128, 1) {
    const int c = (int)blockIdx.x * 128 + thread_idx(), k = (int)blockIdx.y;
    if (c > args.n_features) return;
    float sum = 0.f;
    for (int64_t image = 0; image < args.n_images; image++) {
        const float feature = c < args.n_features ? args.features[image * args.n_features + c] : 1.f;
        sum = fmaf(args.dlogits[image * args.n_classes + k], feature, sum);
    }
    if (c < args.n_features)
        args.dweight.write((int64_t)k * args.n_features + c, sum);
    else
        args.dbias.write(k, sum);
}
