// The policy gradient: back through the walks of architectures, then to the weights.
#include "lstm.cuh"
#include "policy.cuh"

// The gradient of a sample's objective to logit k of n: with p the probabilities and S their
// entropy, that of the log-probability is 1 (where drawn) - p, and that of S is -p (log p + S).
DEVICE double dlogit(const PolicyArgs& args, const Trace& trace, const PolicySample& sample,
                     int token, int k, int n) {
    const int64_t at = trace.choice(token, 0);
    const double log_p = args.log_p.read(at + k), p = exp(log_p);
    const double drawn = args.tokens.read(trace.token(token)) == k ? 1.0 : 0.0;
    return sample.log_probability * (drawn - p) -
           sample.entropy * p * (log_p + entropy_of(args.log_p, at, n));
}

// Back through a choice: to the step's output.
DEVICE void choice_bwd(const PolicyArgs& args, const Trace& trace, const PolicySample& sample,
                       const PolicyStep& step, const Shared<double>& dlogits,
                       const Shared<double>& dh) {
    const PolicyKind kind = args.kinds[step.kind];
    for (int k = thread_idx(); k < kind.n_choices; k += n_threads()) {
        dlogits[k] = dlogit(args, trace, sample, step.token, k, kind.n_choices);
        args.dlogits.write(trace.choice(step.token, k), dlogits[k]);
    }
    sync_block();
    matrix_bwd_data(args.weights, kind.head, args.hidden, kind.n_choices, dlogits, dh, true);
}

// Back through an anchor's bits: to the step's output and to what earlier anchors contributed. What
// later ones ask of this one is complete.
DEVICE void anchor_bwd(const PolicyArgs& args, const Trace& trace, const PolicySample& sample,
                       const PolicyStep& step, int n_candidates, const Shared<double>& dlogits,
                       const Shared<double>& dpart, const Shared<double>& dh) {
    const int H = args.hidden;
    const int64_t w_previous = args.attention, w_current = w_previous + (int64_t)H * H;
    const int64_t v = w_current + (int64_t)H * H;
    for (int j = thread_idx(); j < n_candidates; j += n_threads())
        dlogits[j] = dlogit(args, trace, sample, step.token + j, 1, 2);
    for (int k = thread_idx(); k < H; k += n_threads()) {
        dpart[k] = args.danchors.read(trace.anchor(step.anchor, 1, k));
        dh[k] += args.danchors.read(trace.anchor(step.anchor, 0, k));
    }
    sync_block();
    matrix_bwd_data(args.weights, w_previous, H, H, dpart, dh, true);
    sync_block();
    for (int k = thread_idx(); k < H; k += n_threads()) {
        const double current = args.anchors.read(trace.anchor(step.anchor, 2, k));
        double dcurrent = 0.0, dv = args.dv.read(trace.sample * H + k);
        for (int j = 0; j < n_candidates; j++) {
            const double u = tanh(args.anchors.read(trace.anchor(j, 1, k)) + current);
            const double du = dlogits[j] * args.weights[v + k] * (1.0 - u * u);
            const int64_t previous = trace.anchor(j, 1, k);
            args.danchors.write(previous, args.danchors.read(previous) + du);
            dcurrent += du;
            dv += dlogits[j] * u;
        }
        args.dv.write(trace.sample * H + k, dv);
        args.danchors.write(trace.anchor(step.anchor, 2, k), dcurrent);
        dpart[k] = dcurrent;
    }
    sync_block();
    matrix_bwd_data(args.weights, w_current, H, H, dpart, dh, true);
}

// Back through a step of a layer, from the gradients of its state after it to those of its state
// before it and of its input.
DEVICE void layer_bwd(const PolicyArgs& args, const Trace& trace, int step, int layer,
                      const Shared<double>& dh, const Shared<double>& dc,
                      const Shared<double>& dgates, const Shared<double>& dx, bool add_to_dx) {
    const int H = args.hidden;
    for (int k = thread_idx(); k < H; k += n_threads()) {
        double gates[4], dz[4];
        UNROLL for (int gate = 0; gate < 4; gate++)
            gates[gate] = args.layers.read(trace.gate(step, layer, gate * H + k));
        const double before = step > 0 ? args.layers.read(trace.c(step - 1, layer, k)) : 0.0;
        const double after = args.layers.read(trace.c(step, layer, k));
        lstm_gates_bwd(gates, before, after, dh[k], dc[k], dz);
        UNROLL for (int gate = 0; gate < 4; gate++) {
            dgates[gate * H + k] = dz[gate];
            args.dgates.write(trace.dgate(step, layer, gate * H + k), dz[gate]);
        }
    }
    sync_block();
    const int64_t input = args.lstm[layer], hidden = input + (int64_t)H * 4 * H;
    matrix_bwd_data(args.weights, input, H, 4 * H, dgates, dx, add_to_dx);
    matrix_bwd_data(args.weights, hidden, H, 4 * H, dgates, dh, false);
    sync_block();
}

// Back through the walks that policy_fwd kept, last step first: whatever a step's output feeds lies
// after it. Leaves what the gradient of the weights is made of.
//
// grid:  n_samples
// block: 256; over units of the layers
// shared: 8 (10 hidden + max(max_choices, max_anchors)); doubles
// needs: the walks of policy_fwd
// bytes: the weights of the walked tensors once a step (from a cache); 9 H doubles written a step
KERNEL(policy_bwd, PolicyArgs, 256, 1) {
    const int H = args.hidden;
    const Trace trace = {args, blockIdx.x};
    const PolicySample sample = args.samples[blockIdx.x];
    const int n_steps = args.outcomes.read(blockIdx.x).n_steps;
    auto dh0 = shared<double>(0, H), dc0 = shared<double>(8 * H, H);
    auto dh1 = shared<double>(16 * H, H), dc1 = shared<double>(24 * H, H);
    auto dx = shared<double>(32 * H, H), dpart = shared<double>(40 * H, H);
    auto dgates = shared<double>(48 * H, 4 * H);
    auto dlogits = shared<double>(80 * H, max(args.max_choices, args.max_anchors));
    for (int k = thread_idx(); k < H; k += n_threads()) {
        dh0[k] = dc0[k] = dh1[k] = dc1[k] = 0.0;
        args.dv.write(trace.sample * H + k, 0.0);
        for (int j = 0; j < sample.depth; j++)
            UNROLL for (int part = 0; part < 3; part++)
                args.danchors.write(trace.anchor(j, part, k), 0.0);
    }
    sync_block();
    for (int i = n_steps - 1; i >= 0; i--) {
        const PolicyStep step = args.steps.read(trace.step(i));
        if (step.kind >= 0)
            choice_bwd(args, trace, sample, step, dlogits, dh1);
        else
            anchor_bwd(args, trace, sample, step, args.has_anchors ? step.anchor : 0, dlogits, dpart,
                       dh1);
        sync_block();
        layer_bwd(args, trace, i, 1, dh1, dc1, dgates, dh0, true);
        layer_bwd(args, trace, i, 0, dh0, dc0, dgates, dx, false);
        const bool is_mean = step.input == INPUT_MEAN;
        const PolicyStep before = is_mean ? args.steps.read(trace.step(i - 1)) : step;
        for (int k = thread_idx(); k < H; k += n_threads()) {
            args.dinputs.write(trace.input(i, k), dx[k]);
            if (!is_mean) continue;
            int n = 0;
            for (int j = 0; j < before.anchor; j++) n += args.tokens.read(trace.token(before.token + j));
            for (int j = 0; j < before.anchor; j++) {
                if (!args.tokens.read(trace.token(before.token + j))) continue;
                const int64_t dh = trace.anchor(j, 0, k);
                args.danchors.write(dh, args.danchors.read(dh) + dx[k] / n);
            }
        }
        sync_block();
    }
}

// What step i of a walk adds to a weight of a tensor, at (row, column).
DEVICE double contribution(const PolicyArgs& args, const Trace& trace, const PolicyTensor& tensor,
                           const PolicyStep& step, int i, int row, int column) {
    const int layer = tensor.index;
    switch (tensor.role) {
        case LSTM_INPUT: {
            const double x = layer == 0 ? args.inputs.read(trace.input(i, row))
                                        : args.layers.read(trace.h(i, 0, row));
            return x * args.dgates.read(trace.dgate(i, layer, column));
        }
        case LSTM_HIDDEN:
            return i == 0 ? 0.0
                          : args.layers.read(trace.h(i - 1, layer, row)) *
                                args.dgates.read(trace.dgate(i, layer, column));
        case LSTM_BIAS:
            return args.dgates.read(trace.dgate(i, layer, column));
        case FIRST_INPUT:
            return step.input == INPUT_FIRST ? args.dinputs.read(trace.input(i, column)) : 0.0;
        case ANCHOR_PREVIOUS:
        case ANCHOR_CURRENT:
            if (step.kind >= 0) return 0.0;
            return args.anchors.read(trace.anchor(step.anchor, 0, row)) *
                   args.danchors.read(trace.anchor(
                       step.anchor, tensor.role == ANCHOR_PREVIOUS ? 1 : 2, column));
        case ANCHOR_V:
            return i == 0 ? args.dv.read(trace.sample * args.hidden + column) : 0.0;
        case EMBEDDING:
            if (step.input != tensor.index || step.choice != row) return 0.0;
            return args.dinputs.read(trace.input(i, column));
        case HEAD:
            if (step.kind != tensor.index) return 0.0;
            return args.layers.read(trace.h(i, 1, row)) *
                   args.dlogits.read(trace.choice(step.token, column));
        default:  // HEAD_BIAS
            if (step.kind != tensor.index) return 0.0;
            return args.dlogits.read(trace.choice(step.token, column));
    }
}

// The gradient of every weight: what each step of each walk adds, samples and steps in order.
//
// grid:  ceil(n_weights / 256)
// block: 256; each thread one weight
// needs: what policy_bwd left
// bytes: 8 a weight; the traces from a cache
KERNEL(policy_bwd_weights, PolicyArgs, 256, 1) {
    const int weight = (int)blockIdx.x * 256 + thread_idx();
    if (weight >= args.n_weights) return;
    int t = 0;
    while (t + 1 < args.n_tensors && args.tensors[t + 1].first <= weight) t++;
    const PolicyTensor tensor = args.tensors[t];
    const int row = (weight - tensor.first) / tensor.n_columns;
    const int column = (weight - tensor.first) % tensor.n_columns;
    double sum = args.accumulate ? args.gradient.read(weight) : 0.0;
    for (int sample = 0; sample < args.n_samples; sample++) {
        const Trace trace = {args, sample};
        const int n_steps = args.outcomes.read(sample).n_steps;
        for (int i = 0; i < n_steps; i++) {
            const PolicyStep step = args.steps.read(trace.step(i));
            sum += contribution(args, trace, tensor, step, i, row, column);
        }
    }
    args.gradient.write(weight, sum);
}
