// A step of an optimizer over all parameters: Nesterov or plain descent of a child, Adam of the
// controller.
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
// block: 256; each thread four parameters
// shared: 4 * 8; a flag for each of 8 warps
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

struct DescendArgs {
    In<float> gradients;
    In<Control> control;
    Out<double> squares;  // of each piece of the gradients: the sum of squares
    Out<float> rate;      // of the step
    Out<float> weights;
    Out<int> not_finite;  // of each block: 1 after a weight that was no number
    Out<int> counters;
    int64_t n;
    int64_t n_pieces;
};

// The sum of squares of each piece of the gradients.
//
// grid:  n_pieces
// block: 256; each thread every 256th of 8,192 parameters
// shared: 8 * 8; a number for each of 8 warps
// needs: nothing
// bytes: 4 a parameter
KERNEL(descend_squares, DescendArgs, 256, 1) {
    double sum = 0.0;
    for (int k = 0; k < 32; k++) {
        const int64_t i = (int64_t)blockIdx.x * 8192 + k * 256 + thread_idx();
        const double g = i < args.n ? (double)args.gradients[i] : 0.0;
        sum += g * g;
    }
    sum = block_sum(sum, shared<double>(0, 8));
    if (thread_idx() == 0) args.squares.write(blockIdx.x, sum);
}

// rate = learning rate min(1, max_norm / |g|), |g| over all parameters.
//
// grid:  1
// block: 256; each thread every 256th piece
// shared: 8 * 8; a number for each of 8 warps
// needs: nothing
// bytes: 8 a piece
KERNEL(descend_rate, DescendArgs, 256, 1) {
    const Control control = args.control[0];
    double sum = 0.0;
    for (int64_t i = thread_idx(); i < args.n_pieces; i += 256) sum += args.squares.read(i);
    const double norm = sqrt(block_sum(sum, shared<double>(0, 8)));
    if (thread_idx() > 0) return;
    const double max_norm = (double)control.max_norm;
    const double factor = norm > max_norm ? max_norm / norm : 1.0;
    args.rate.write(0, (float)((double)control.learning_rate * factor));
}

// w -= rate g. Then the counters go on to the next batch.
//
// grid:  ceil(n / 1024)
// block: 256; each thread four parameters
// shared: 4 * 8; a flag for each of 8 warps
// needs: nothing
// bytes: 12 a parameter
KERNEL(descend, DescendArgs, 256, 1) {
    const float rate = args.rate.read(0);
    float bad = 0.f;
    for (int k = 0; k < 4; k++) {
        const int64_t i = (int64_t)blockIdx.x * 1024 + k * 256 + thread_idx();
        if (i >= args.n) continue;
        const float w = args.weights.read(i) - rate * args.gradients[i];
        args.weights.write(i, w);
        if (!isfinite(w)) bad = 1.f;
    }
    bad = block_sum(bad, shared<float>(0, 8));
    if (thread_idx() > 0) return;
    if (bad > 0.f) args.not_finite.write(blockIdx.x, 1);
    if (blockIdx.x == 0) args.counters.write(BATCH_IDX, args.counters.read(BATCH_IDX) + 1);
}

// Set before each step: the rate, and what corrects the averages for their start at zero,
// 1 - beta^step.
struct AdamControl {
    double learning_rate;
    double correction1;
    double correction2;
};

struct AdamArgs {
    In<double> gradient;
    In<AdamControl> control;
    Out<double> weights;
    Out<double> mean;    // moving average of the gradient
    Out<double> square;  // moving average of its square
    int64_t n;
};

// Adam (Kingma and Ba 2015), ascending, in doubles: src/controller/adam.rs on the device.
//
// grid:  ceil(n / 256)
// block: 256; each thread one parameter
// needs: nothing
// bytes: 56 a parameter
KERNEL(adam_step, AdamArgs, 256, 1) {
    const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    const int64_t i = (int64_t)blockIdx.x * 256 + thread_idx();
    if (i >= args.n) return;
    const AdamControl control = args.control[0];
    const double g = args.gradient[i];
    const double mean = beta1 * args.mean.read(i) + (1.0 - beta1) * g;
    const double square = beta2 * args.square.read(i) + (1.0 - beta2) * g * g;
    args.mean.write(i, mean);
    args.square.write(i, square);
    const double root = sqrt(square / control.correction2);
    const double step = control.learning_rate * (mean / control.correction1) / (root + epsilon);
    args.weights.write(i, args.weights.read(i) + step);
}
