// Counter-based random numbers addressed by (seed, purpose, index): src/rng.rs on the device.
#pragma once
#include "device.cuh"

#define PURPOSE_AUGMENT 3
#define PURPOSE_SAMPLE 6
#define PURPOSE_DROPOUT 8

// The stream at one address: Philox4x32-10 (Salmon et al., SC 2011), four words a block.
struct Rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    int used;
};

DEVICE Rng rng_at(uint64_t seed, uint32_t purpose, uint64_t index) {
    Rng rng = {};
    rng.key[0] = (uint32_t)seed;
    rng.key[1] = (uint32_t)(seed >> 32);
    rng.counter[1] = purpose;
    rng.counter[2] = (uint32_t)index;
    rng.counter[3] = (uint32_t)(index >> 32);
    rng.used = 4;
    return rng;
}

DEVICE void philox(const uint32_t (&counter)[4], const uint32_t (&key)[2], uint32_t (&out)[4]) {
    uint32_t x[4], k0 = key[0], k1 = key[1];
    UNROLL for (int i = 0; i < 4; i++) x[i] = counter[i];
    UNROLL for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)x[0] * 0xD2511F53u, b = (uint64_t)x[2] * 0xCD9E8D57u;
        const uint32_t y0 = (uint32_t)(b >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(a >> 32) ^ x[3] ^ k1;
        x[0] = y0, x[1] = (uint32_t)b, x[2] = y2, x[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    UNROLL for (int i = 0; i < 4; i++) out[i] = x[i];
}

DEVICE uint32_t next(Rng& rng) {
    if (rng.used == 4) {
        philox(rng.counter, rng.key, rng.block);
        rng.counter[0]++;
        rng.used = 0;
    }
    return rng.block[rng.used++];
}

// Uniform in 0..n, without bias (Lemire's multiplication with rejection).
DEVICE uint32_t below(Rng& rng, uint32_t n) {
    const uint32_t reject = (0u - n) % n;
    for (;;) {
        const uint64_t product = (uint64_t)next(rng) * n;
        if ((uint32_t)product >= reject) return (uint32_t)(product >> 32);
    }
}

// Number `n` of the doubles that a stream gives, uniform in [0, 1) with 53 bits.
DEVICE double uniform_at(uint64_t seed, uint32_t purpose, uint64_t index, uint32_t n) {
    Rng rng = rng_at(seed, purpose, index);
    rng.counter[0] = n / 2;
    philox(rng.counter, rng.key, rng.block);
    const bool second = n % 2;
    const uint32_t low = second ? rng.block[2] : rng.block[0];
    const uint32_t high = second ? rng.block[3] : rng.block[1];
    return (double)(((uint64_t)high << 32 | low) >> 11) / 9007199254740992.0;  // 2^53
}

// Number `n` of the 32-bit words that a stream gives, below 2^34.
DEVICE uint32_t word_at(uint64_t seed, uint32_t purpose, uint64_t index, uint64_t n) {
    Rng rng = rng_at(seed, purpose, index);
    rng.counter[0] = (uint32_t)(n / 4);
    philox(rng.counter, rng.key, rng.block);
    const uint32_t first = n & 1 ? rng.block[1] : rng.block[0];
    const uint32_t second = n & 1 ? rng.block[3] : rng.block[2];
    return n & 2 ? second : first;
}
