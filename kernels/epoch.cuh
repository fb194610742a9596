// What an epoch keeps on the device: rates, counters and results. Set when it begins, read when it
// ends, moved on by the steps themselves.
#pragma once
#include "device.cuh"

struct Control {
    float learning_rate;
    float momentum;
    float weight_decay;
    float max_norm;  // of the gradient, in plain descent
    int epoch;      // of crops, flips and dropout; -1: evaluation, without them
    int n_records;  // of the epoch's order
};

// Places in the counters, an array of int.
#define BATCH_IDX 0  // batches that have been run
#define N_IMAGES 1   // of the current batch
#define CORRECT 2    // images whose largest logit was their label's
#define NOT_FINITE 3  // 1 after a loss that was no number
