// Softmax, cross-entropy and its gradient; and the counters of the epoch.
#include "epoch.cuh"

struct SoftmaxXentArgs {
    In<float> logits;  // [n][n_classes]
    In<int> labels;    // [n]
    Out<int> counters;
    Out<double> loss_sums;  // [batches of the epoch]
    Out<float> dlogits;     // [n][n_classes]; 0 for images without a label
    int n_images;           // of a whole batch
    int n_classes;
};

// dlogits = (softmax - one-hot) / n, the sum of the batch's losses, and the number of images that
// are right (of equal logits the first counts).
//
// grid:  1
// block: 256; each thread every 256th image
// shared: (8 + 4) 256; a thread's loss and number of right images
// needs: nothing
KERNEL(softmax_xent, SoftmaxXentArgs, 256, 1) {
    const int thread = thread_idx(), n = args.counters.read(N_IMAGES);
    auto losses = shared<double>(0, 256);
    auto right = shared<int>(256 * 8, 256);
    double loss_sum = 0.0;
    int correct = 0;
    for (int image = thread; image < args.n_images; image += 256) {
        const int64_t first = (int64_t)image * args.n_classes;
        if (image >= n) {
            for (int k = 0; k < args.n_classes; k++) args.dlogits.write(first + k, 0.f);
            continue;
        }
        const int label = args.labels[image];
        int top = 0;
        for (int k = 1; k < args.n_classes; k++)
            if (args.logits[first + k] > args.logits[first + top]) top = k;
        const float largest = args.logits[first + top];
        float total = 0.f;
        for (int k = 0; k < args.n_classes; k++) total += expf(args.logits[first + k] - largest);
        loss_sum += (double)(logf(total) + largest - args.logits[first + label]);
        correct += top == label;
        for (int k = 0; k < args.n_classes; k++) {
            const float share = expf(args.logits[first + k] - largest) / total;
            args.dlogits.write(first + k, (share - (k == label ? 1.f : 0.f)) / (float)n);
        }
    }
    losses[thread] = loss_sum;
    right[thread] = correct;
    sync_block();
    if (thread > 0) return;
    for (int i = 1; i < 256; i++) {
        loss_sum += losses[i];
        correct += right[i];
    }
    args.loss_sums.write(args.counters.read(BATCH_IDX), loss_sum);
    args.counters.write(CORRECT, args.counters.read(CORRECT) + correct);
    if (!isfinite(loss_sum)) args.counters.write(NOT_FINITE, 1);
}

struct AdvanceArgs {
    Out<int> counters;
};

// The counters go on to the next batch, without an update.
//
// grid:  1
// block: 32; one thread works
// needs: nothing
KERNEL(advance, AdvanceArgs, 32, 1) {
    if (thread_idx() == 0) args.counters.write(BATCH_IDX, args.counters.read(BATCH_IDX) + 1);
}
