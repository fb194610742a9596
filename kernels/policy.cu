// The controller's policy walks architectures: draws their tokens, or follows given ones.
#include "lstm.cuh"
#include "policy.cuh"
#include "rng.cuh"

// Turns logits (in shared memory) into log-probabilities of token number `token`, and returns the
// token: as given, or drawn. One thread.
DEVICE int decide(const PolicyArgs& args, const Trace& trace, const PolicySample& sample, int token,
                  const Shared<double>& logits, int first, int n, PolicyOutcome& outcome) {
    double largest = logits[first], total = 0.0;
    for (int k = 1; k < n; k++) largest = fmax(largest, logits[first + k]);
    for (int k = 0; k < n; k++) total += exp(logits[first + k] - largest);
    const double log_total = log(total);
    for (int k = 0; k < n; k++)
        args.log_p.write(trace.choice(token, k), logits[first + k] - largest - log_total);
    int drawn = 0;
    if (sample.n_tokens > 0) {
        drawn = args.tokens.read(trace.token(token));
    } else {
        double left = uniform_at(args.seed, PURPOSE_SAMPLE, sample.number, token);
        // Rounding may leave the sum of the probabilities below the number drawn.
        while (drawn < n - 1) {
            left -= exp(args.log_p.read(trace.choice(token, drawn)));
            if (left < 0.0) break;
            drawn++;
        }
        args.tokens.write(trace.token(token), drawn);
    }
    outcome.log_probability += args.log_p.read(trace.choice(token, drawn));
    outcome.entropy += entropy_of(args.log_p, trace.choice(token, 0), n);
    return drawn;
}

// A step's input, to shared memory and to the trace.
DEVICE void load_input(const PolicyArgs& args, const Trace& trace, const PolicyStep& step, int i,
                       const Shared<double>& x) {
    const int H = args.hidden;
    for (int k = thread_idx(); k < H; k += n_threads()) {
        double value;
        if (step.input == INPUT_MEAN) {
            const PolicyStep before = args.steps.read(trace.step(i - 1));
            int n = 0;
            value = 0.0;
            for (int j = 0; j < before.anchor; j++)
                if (args.tokens.read(trace.token(before.token + j))) {
                    value += args.anchors.read(trace.anchor(j, 0, k));
                    n++;
                }
            value /= n;
        } else if (step.input == INPUT_FIRST) {
            value = args.weights[args.first_input + k];
        } else {
            value = args.weights[args.kinds[step.input].embedding + step.choice * H + k];
        }
        x[k] = value;
        args.inputs.write(trace.input(i, k), value);
    }
}

// Keeps a layer's state and gates for the gradient.
DEVICE void keep_layer(const PolicyArgs& args, const Trace& trace, int step, int layer,
                       const Shared<double>& h, const Shared<double>& c,
                       const Shared<double>& gates) {
    const int H = args.hidden;
    for (int k = thread_idx(); k < 4 * H; k += n_threads()) {
        if (k < H) args.layers.write(trace.h(step, layer, k), h[k]);
        if (k < H) args.layers.write(trace.c(step, layer, k), c[k]);
        args.layers.write(trace.gate(step, layer, k), gates[k]);
    }
}

// The logits of a choice: head and bias of its kind, a choice a thread.
DEVICE void choice_logits(const PolicyArgs& args, const PolicyKind& kind, const Shared<double>& h,
                          const Shared<double>& logits) {
    for (int k = thread_idx(); k < kind.n_choices; k += n_threads()) {
        double sum = args.weights[kind.bias + k];
        for (int i = 0; i < args.hidden; i++)
            sum += h[i] * args.weights[kind.head + (int64_t)i * kind.n_choices + k];
        logits[k] = sum;
    }
}

// What anchor number `anchor` contributes to pairs, and its logits with each earlier one: behind a
// zero each, the logit of not being chosen.
DEVICE void anchor_logits(const PolicyArgs& args, const Trace& trace, int anchor, int n_candidates,
                          const Shared<double>& h, const Shared<double>& current,
                          const Shared<double>& logits) {
    const int H = args.hidden;
    const int64_t w_previous = args.attention, w_current = w_previous + (int64_t)H * H;
    const int64_t v = w_current + (int64_t)H * H;
    for (int k = thread_idx(); k < H; k += n_threads()) {
        double previous = 0.0, later = 0.0;
        for (int i = 0; i < H; i++) {
            previous += h[i] * args.weights[w_previous + (int64_t)i * H + k];
            later += h[i] * args.weights[w_current + (int64_t)i * H + k];
        }
        current[k] = later;
        args.anchors.write(trace.anchor(anchor, 0, k), h[k]);
        args.anchors.write(trace.anchor(anchor, 1, k), previous);
        args.anchors.write(trace.anchor(anchor, 2, k), later);
    }
    sync_block();
    for (int j = warp_idx(); j < n_candidates; j += n_threads() / 32) {
        double sum = 0.0;
        for (int k = lane_idx(); k < H; k += 32)
            sum += args.weights[v + k] * tanh(args.anchors.read(trace.anchor(j, 1, k)) + current[k]);
        sum = warp_sum(sum);
        if (lane_idx() == 0) logits[2 * j] = 0.0, logits[2 * j + 1] = sum;
    }
}

// Walks whole architectures: two LSTM layers, a step a decision; a choice ends in the softmax of its
// kind, a layer in the attention of its anchor to the earlier ones (paper, 3.1 and 3.3). Keeps all
// that the gradient needs.
//
// grid:  n_samples
// block: 256; over units of the layers
// shared: 8 (10 hidden + max(max_choices, 2 max_anchors)) + 4; doubles, and one int
// needs: shared memory as above: H up to 1,200 in 99 KB
// bytes: the weights of the walked tensors once a step (from a cache); 13 H doubles written a step
KERNEL(policy_fwd, PolicyArgs, 256, 1) {
    const int H = args.hidden, n_logits = max(args.max_choices, 2 * args.max_anchors);
    const Trace trace = {args, blockIdx.x};
    const PolicySample sample = args.samples[blockIdx.x];
    auto x = shared<double>(0, H);
    auto h0 = shared<double>(8 * H, H), c0 = shared<double>(16 * H, H);
    auto h1 = shared<double>(24 * H, H), c1 = shared<double>(32 * H, H);
    auto gates = shared<double>(40 * H, 4 * H);
    auto current = shared<double>(72 * H, H);
    auto logits = shared<double>(80 * H, n_logits);
    auto decided = shared<int>(80 * H + 8 * n_logits, 1);
    for (int k = thread_idx(); k < H; k += n_threads()) h0[k] = c0[k] = h1[k] = c1[k] = 0.0;

    PolicyOutcome outcome = {0.0, 0.0, 0, 0};
    PolicyStep step = {0, 0, 0, INPUT_FIRST, 0};
    int state = args.first_state;
    while (step.anchor < sample.depth) {
        const int i = outcome.n_steps;
        const PolicyState now = args.states[state];
        if (now.kind == STATE_END) break;
        step.kind = now.kind;
        step.token = outcome.n_tokens;
        load_input(args, trace, step, i, x);
        sync_block();
        lstm_fwd(args.weights, args.lstm[0], H, x, h0, c0, gates);
        keep_layer(args, trace, i, 0, h0, c0, gates);
        sync_block();
        lstm_fwd(args.weights, args.lstm[1], H, h0, h1, c1, gates);
        keep_layer(args, trace, i, 1, h1, c1, gates);
        if (thread_idx() == 0) args.steps.write(trace.step(i), step);
        if (now.kind >= 0) {
            const PolicyKind kind = args.kinds[now.kind];
            choice_logits(args, kind, h1, logits);
            sync_block();
            if (thread_idx() == 0)
                decided[0] = decide(args, trace, sample, step.token, logits, 0, kind.n_choices,
                                    outcome);
            sync_block();
            step.input = now.kind;
            step.choice = decided[0];
            state = args.next[now.next + step.choice];
            outcome.n_tokens++;
        } else {
            const int n_candidates = args.has_anchors ? step.anchor : 0;
            anchor_logits(args, trace, step.anchor, n_candidates, h1, current, logits);
            sync_block();
            if (thread_idx() == 0) {
                int n_chosen = 0;
                for (int j = 0; j < n_candidates; j++)
                    n_chosen += decide(args, trace, sample, step.token + j, logits, 2 * j, 2,
                                       outcome);
                decided[0] = n_chosen;
            }
            sync_block();
            step.input = decided[0] > 0 ? INPUT_MEAN : INPUT_FIRST;
            state = args.next[now.next];
            outcome.n_tokens += n_candidates;
            step.anchor++;
        }
        outcome.n_steps++;
    }
    if (thread_idx() == 0) args.outcomes.write(blockIdx.x, outcome);
}
