// A step of an LSTM layer by one block, and its gradient, in doubles.
//
// z = x W + h U + b in four parts: input gate, forget gate, candidate, output gate. Then
// c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o) tanh(c'). The weights of a layer are
// W [H][4H], U [H][4H] and b [4H], one after the other.
#pragma once
#include "device.cuh"

// Takes a step: x [H], h and c [H] before it, which become those after it, and room for the gates
// [4H]. All threads of the block; what it writes is seen after its last barrier.
DEVICE void lstm_fwd(const In<double>& weights, int64_t layer, int H, const Shared<double>& x,
                     const Shared<double>& h, const Shared<double>& c,
                     const Shared<double>& gates) {
    const int64_t hidden = layer + (int64_t)H * 4 * H, bias = hidden + (int64_t)H * 4 * H;
    for (int k = thread_idx(); k < 4 * H; k += n_threads()) {
        double z = weights[bias + k];
        for (int i = 0; i < H; i++) z += x[i] * weights[layer + (int64_t)i * 4 * H + k];
        for (int i = 0; i < H; i++) z += h[i] * weights[hidden + (int64_t)i * 4 * H + k];
        gates[k] = k / H == 2 ? tanh(z) : 1.0 / (1.0 + exp(-z));
    }
    sync_block();
    for (int k = thread_idx(); k < H; k += n_threads()) {
        c[k] = gates[H + k] * c[k] + gates[k] * gates[2 * H + k];
        h[k] = gates[3 * H + k] * tanh(c[k]);
    }
    sync_block();
}

// The gradient of unit k's four gates before their activations, from those of its state after the
// step; `dc` becomes that of the state before it.
DEVICE void lstm_gates_bwd(const double (&gates)[4], double c_before, double c_after, double dh,
                           double& dc, double (&dz)[4]) {
    const double i = gates[0], f = gates[1], g = gates[2], o = gates[3], tanh_c = tanh(c_after);
    const double d = dc + dh * o * (1.0 - tanh_c * tanh_c);
    dz[0] = d * g * i * (1.0 - i);
    dz[1] = d * c_before * f * (1.0 - f);
    dz[2] = d * i * (1.0 - g * g);
    dz[3] = dh * tanh_c * o * (1.0 - o);
    dc = d * f;
}

// dx[i] (+)= sum over k of dy[k] M[i][k] for a matrix of `n_rows` rows, a row a warp.
DEVICE void matrix_bwd_data(const In<double>& weights, int64_t matrix, int n_rows, int n_columns,
                            const Shared<double>& dy, const Shared<double>& dx, bool add) {
    for (int i = warp_idx(); i < n_rows; i += n_threads() / 32) {
        double sum = 0.0;
        for (int k = lane_idx(); k < n_columns; k += 32)
            sum += dy[k] * weights[matrix + (int64_t)i * n_columns + k];
        sum = warp_sum(sum);
        if (lane_idx() == 0) dx[i] = add ? dx[i] + sum : sum;
    }
}
