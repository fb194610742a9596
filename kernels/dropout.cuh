// Dropout by addressed masks: values are zero or divided by what is kept on average.
#pragma once
#include "epoch.cuh"
#include "rng.cuh"

// What a stack's masks are made of, but for epoch, batch and place.
struct DropoutRate {
    uint64_t seed;
    uint32_t threshold;  // words from here on keep their value
    float factor;        // of a value that is kept
};

// The mask of an epoch, batch and place.
struct Mask {
    DropoutRate rate;
    uint64_t index;
    bool drops;  // not in evaluation, nor at a rate of zero
};

// The mask of place `place`: the layer that reads through it, or the number of layers for the last.
DEVICE Mask mask_at(const DropoutRate& rate, const Control& control, int batch, int place) {
    const uint32_t high = (uint32_t)control.epoch << 8 | (uint32_t)place;
    const bool drops = control.epoch >= 0 && rate.threshold > 0;
    return {rate, (uint64_t)high << 32 | (uint32_t)batch, drops};
}

DEVICE float dropped(const Mask& mask, float x, uint64_t element) {
    if (!mask.drops) return x;
    const uint32_t word = word_at(mask.rate.seed, PURPOSE_DROPOUT, mask.index, element);
    return word >= mask.rate.threshold ? rounded_product(x, mask.rate.factor) : 0.f;
}
