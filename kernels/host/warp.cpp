// The primitives of a warp: what its lanes bring together, and what each takes.
#include "launch.h"
#include "runner.h"

namespace host {

template <class T>
static T shuffled(T x, int mask) {
    struct In {
        T x;
        int mask;
    } in{x, mask};
    T out;
    in_warp("shuffle_xor", &in, &out, [](const void** in, void** out) {
        for (int lane = 0; lane < 32; lane++) {
            int other = lane ^ ((const In*)in[lane])->mask;
            *(T*)out[lane] = ((const In*)in[other])->x;
        }
    });
    return out;
}

float shuffle_xor(float x, int mask) { return shuffled(x, mask); }
double shuffle_xor(double x, int mask) { return shuffled(x, mask); }

void load_matrices(uint32_t row, uint32_t (&out)[4], bool transposed) {
    struct In {
        uint32_t row;
        bool transposed;
    } in{row, transposed};
    const char* where = transposed ? "load_matrices_transposed" : "load_matrices";
    in_warp(where, &in, out, [](const void** in, void** out) {
        uint16_t value[32][8];  // of each row
        for (int lane = 0; lane < 32; lane++) {
            uint32_t row = ((const In*)in[lane])->row;
            memcpy(value[lane], shared(row, 16, 16), 16);
        }
        counters.matrix_loads++;
        bool transposed = ((const In*)in[0])->transposed;
        for (int lane = 0; lane < 32; lane++)
            for (int m = 0; m < 4; m++) {
                int g = lane / 4, t = lane % 4 * 2;
                uint32_t first = transposed ? value[8 * m + t][g] : value[8 * m + g][t];
                uint32_t second = transposed ? value[8 * m + t + 1][g] : value[8 * m + g][t + 1];
                ((uint32_t*)out[lane])[m] = first | second << 16;
            }
    });
}

static float bf16_to_float(uint32_t bits) {
    bits <<= 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    struct In {
        const uint32_t* a;
        uint32_t b[2];
    } in{a, {b0, b1}};
    in_warp("multiply_add", &in, d, [](const void** in, void** out) {
        float a[16][16], b[16][8];
        for (int lane = 0; lane < 32; lane++) {
            const In& of = *(const In*)in[lane];
            int g = lane / 4, t = lane % 4 * 2;
            for (int i = 0; i < 8; i++) {  // register i / 2, half i % 2
                int row = g + (i / 2 % 2) * 8, column = t + (i / 4) * 8 + i % 2;
                a[row][column] = bf16_to_float(of.a[i / 2] >> (i % 2 * 16) & 0xffff);
            }
            for (int i = 0; i < 4; i++)
                b[t + (i / 2) * 8 + i % 2][g] = bf16_to_float(of.b[i / 2] >> (i % 2 * 16) & 0xffff);
        }
        float d[16][8] = {};
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++)
                for (int column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
        counters.flops += 2 * 16 * 16 * 8;
        for (int lane = 0; lane < 32; lane++) {
            int g = lane / 4, t = lane % 4 * 2;
            float* to = (float*)out[lane];
            for (int i = 0; i < 4; i++) to[i] += d[g + i / 2 * 8][t + i % 2];
        }
    });
}

}  // namespace host
