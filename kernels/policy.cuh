// The controller's policy on the device: where its weights, the decisions that it walks and the
// traces of its architectures lie. All of it in doubles, as on the host, so that a search samples the
// same architectures wherever its controller runs: sums go in another order, which changes a draw only
// where it falls within that rounding of a boundary.
//
// Letters: H units of a layer. Matrices are [inputs][outputs].
#pragma once
#include "device.cuh"

// A kind of choice: among how many, and where its tensors begin in the weights.
struct PolicyKind {
    int n_choices;
    int embedding;  // [n_choices][H]
    int head;       // [H][n_choices]
    int bias;       // [n_choices]
};

// What is decided next: a choice of a kind, an anchor, or nothing any more; `next` + token (+ 0 after
// an anchor) is the place of the following state's number in `PolicyArgs::next`.
struct PolicyState {
    int kind;  // or one below
    int next;
};
#define STATE_ANCHOR (-1)  // the end of a layer
#define STATE_END (-2)     // the end of the walk, whatever its layers

// An architecture to walk: drawn at (seed, number) where `n_tokens` is 0, else as its tokens say.
// The weights of the objective's two parts are used backward.
struct PolicySample {
    uint64_t number;
    double log_probability;
    double entropy;
    int depth;
    int n_tokens;
};

// What came of a walk: sums over its decisions.
struct PolicyOutcome {
    double log_probability;
    double entropy;
    int n_steps;
    int n_tokens;
};

// A step of a walk: what it decided and what its input was.
struct PolicyStep {
    int kind;    // or STATE_ANCHOR
    int token;   // place of its first token
    int anchor;  // anchors before it
    int input;   // kind whose choice is embedded, or one below
    int choice;  // the choice that is embedded
};
#define INPUT_FIRST (-1)  // the learned first input
#define INPUT_MEAN (-2)   // the mean of the outputs of the anchors that the step before chose

// A tensor among the weights, from the one's first weight to the next one's.
struct PolicyTensor {
    int first;
    int n_columns;
    int role;
    int index;  // of its layer, or of its kind
};
#define LSTM_INPUT 0
#define LSTM_HIDDEN 1
#define LSTM_BIAS 2
#define FIRST_INPUT 3
#define ANCHOR_PREVIOUS 4
#define ANCHOR_CURRENT 5
#define ANCHOR_V 6
#define EMBEDDING 7
#define HEAD 8
#define HEAD_BIAS 9

struct PolicyArgs {
    In<double> weights;
    In<PolicyKind> kinds;
    In<PolicyState> states;
    In<int> next;
    In<PolicyTensor> tensors;  // in the order of the weights
    In<PolicySample> samples;
    Out<PolicyOutcome> outcomes;  // [samples]
    Out<int> tokens;              // [samples][max_tokens]
    Out<PolicyStep> steps;        // [samples][max_steps]
    Out<double> inputs;           // [samples][max_steps][H]
    Out<double> layers;           // [samples][max_steps][2][6H]: h, c, and the four gates
    Out<double> log_p;            // [samples][max_tokens][max_choices]
    Out<double> anchors;          // [samples][max_anchors][3][H]: h, W_prev h, W_curr h
    Out<double> dinputs;          // as inputs
    Out<double> dgates;           // [samples][max_steps][2][4H], before the activations
    Out<double> dlogits;          // as log_p
    Out<double> danchors;         // as anchors
    Out<double> dv;               // [samples][H]
    Out<double> gradient;         // as the weights
    uint64_t seed;
    int hidden;
    int n_samples;
    int max_steps;
    int max_tokens;
    int max_anchors;
    int max_choices;
    int first_state;  // where a walk begins
    int has_anchors;  // whether layers choose among the earlier ones
    int n_tensors;
    int n_weights;
    int accumulate;    // add to the gradient that is there
    int lstm[2];       // first weights of the layers: W [H][4H], U [H][4H], b [4H]
    int first_input;   // [H]
    int attention;     // W_prev [H][H], W_curr [H][H], v [H]
    int reserved;
};

// Where a sample's traces begin.
struct Trace {
    const PolicyArgs& args;
    int64_t sample;

    METHOD int64_t step(int i) const { return sample * args.max_steps + i; }
    METHOD int64_t token(int i) const { return sample * args.max_tokens + i; }
    METHOD int64_t input(int step, int k) const { return this->step(step) * args.hidden + k; }
    METHOD int64_t h(int step, int layer, int k) const {
        return (this->step(step) * 2 + layer) * 6 * args.hidden + k;
    }
    METHOD int64_t c(int step, int layer, int k) const { return h(step, layer, args.hidden + k); }
    METHOD int64_t gate(int step, int layer, int k) const {
        return h(step, layer, 2 * args.hidden + k);
    }
    METHOD int64_t dgate(int step, int layer, int k) const {
        return (this->step(step) * 2 + layer) * 4 * args.hidden + k;
    }
    METHOD int64_t choice(int token, int k) const {
        return this->token(token) * args.max_choices + k;
    }
    // part 0: h, 1: as the earlier one of a pair, 2: as the later one
    METHOD int64_t anchor(int i, int part, int k) const {
        return ((sample * args.max_anchors + i) * 3 + part) * args.hidden + k;
    }
};

// The entropy of a distribution over n choices, from the logarithms of its probabilities.
DEVICE double entropy_of(const Out<double>& log_p, int64_t at, int n) {
    double sum = 0.0;
    for (int k = 0; k < n; k++) {
        const double l = log_p.read(at + k);
        sum -= exp(l) * l;
    }
    return sum;
}
