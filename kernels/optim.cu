// A step of the optimizer over all parameters.
#include "epoch.cuh"

struct NesterovArgs {
    In<float> gradients;
    In<Control> control;
    Out<float> weights;
    Out<float> momentum;
    Out<int> not_finite;  // of each block: 1 after a weight that was no number
    Out<int> counters;
    int64_t n;
};

// Nesterov momentum with weight decay, as PyTorch's SGD: g += decay w; v = mu v + g;
// w -= rate (g + mu v). Then the counters go on to the next batch.
//
// grid:  ceil(n / 1024)
// block: 256 threads, each four parameters
// shared: 8 floats
// needs: nothing
// bytes: 20 a parameter
KERNEL(nesterov_step, NesterovArgs, 256, 1) {
    const Control control = args.control[0];
    auto room = shared<float>(0, 8);
    float bad = 0.f;
    for (int k = 0; k < 4; k++) {
        const int64_t i = (int64_t)blockIdx.x * 1024 + k * 256 + thread_idx();
        if (i >= args.n) continue;
        float w = args.weights.read(i);
        const float g = args.gradients[i] + control.weight_decay * w;
        const float v = control.momentum * args.momentum.read(i) + g;
        w -= control.learning_rate * (g + control.momentum * v);
        args.momentum.write(i, v);
        args.weights.write(i, w);
        if (!isfinite(w)) bad = 1.f;
    }
    bad = block_sum(bad, room);
    if (thread_idx() > 0) return;
    if (bad > 0.f) args.not_finite.write(blockIdx.x, 1);
    if (blockIdx.x == 0) args.counters.write(BATCH_IDX, args.counters.read(BATCH_IDX) + 1);
}
