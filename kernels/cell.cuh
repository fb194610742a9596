// A recurrent cell: a table of instructions. Threads run it together, each for a hidden unit of its
// own; what they compute lies in shared memory, where an instruction finds it by its number.
#pragma once
#include "device.cuh"

#define ADD 0
#define ELEM_MULT 1
#define LARGER 2
#define IDENTITY 0
#define TANH 1
#define SIGMOID 2
#define RELU 3
#define SINE 4

// Cells of a block that are computed at once: its first threads.
#define CELLS 128

// value = activation(z), z = combination(left, right). Operands are slots of a cell.
struct CellInstruction {
    int combination;
    int activation;
    int left;
    int right;
};

// Slots: `leaves` of W x, as many of U h, c of the step before, and the value of each instruction.
struct CellProgram {
    CellInstruction instructions[32];
    int n_instructions;
    int leaves;
    int output;  // the instruction whose value is h
    int state;   // the instruction whose z is c
};

DEVICE int state_slot(const CellProgram& program) { return 2 * program.leaves; }
DEVICE int value_slot(const CellProgram& program, int i) { return 2 * program.leaves + 1 + i; }
DEVICE int n_slots(const CellProgram& program) { return value_slot(program, program.n_instructions); }

// The slots of the running thread's cell; the first CELLS threads have one each.
struct Slots {
    Shared<float> data;
    METHOD float& operator[](int slot) const { return data[slot * CELLS + thread_idx()]; }
};

// Sine, or cosine for `turn` 1, to two units in the last place. x is brought to an eighth of a turn by
// doubles; beyond 2^50, where floats are many turns apart, there is none.
DEVICE float sine(float x, int turn) {
    const double quarter = 0.6366197723675814, high = 1.5707963267948966, low = 6.123233995736766e-17;
    const double quarters = fabsf(x) < 1.125899906842624e15f ? rint((double)x * quarter) : 0.0;
    const double rest = fma(-quarters, low, fma(-quarters, high, (double)x));
    const float r = fabsf(x) < 1.125899906842624e15f ? (float)rest : 0.f * x, s = r * r;
    const int64_t quadrant = (int64_t)quarters + turn;
    const float of_sine = fmaf(fmaf(fmaf(-1.9515296e-4f, s, 8.3321609e-3f), s, -0.16666655f), s * r, r);
    const float of_cosine =
        fmaf(fmaf(fmaf(2.4433157e-5f, s, -1.3887316e-3f), s, 4.1666646e-2f), s * s, fmaf(-0.5f, s, 1.f));
    const float y = quadrant & 1 ? of_cosine : of_sine;
    return quadrant & 2 ? -y : y;
}

// A NaN on either side stays.
DEVICE float combined(int combination, float left, float right) {
    if (combination == ADD) return left + right;
    if (combination == ELEM_MULT) return rounded_product(left, right);
    must_be(combination == LARGER);
    return left >= right || isnan(left) ? left : right;
}

// A NaN stays.
DEVICE float activated(int activation, float z) {
    if (activation == IDENTITY) return z;
    if (activation == TANH) return tanhf(z);
    if (activation == SIGMOID) return 1.f / (1.f + expf(-z));
    if (activation == RELU) return z <= 0.f ? 0.f : z;
    must_be(activation == SINE);
    return sine(z, 0);
}

// dvalue times the activation's derivative at z, where it gives y.
DEVICE float sloped(int activation, float z, float y, float dvalue) {
    if (activation == IDENTITY) return dvalue;
    if (activation == TANH) return rounded_product(dvalue, fmaf(-y, y, 1.f));
    if (activation == SIGMOID) return rounded_product(dvalue, y * (1.f - y));
    if (activation == RELU) return z <= 0.f ? 0.f : dvalue;
    must_be(activation == SINE);
    return rounded_product(dvalue, sine(z, 1));
}

// z of instruction i.
DEVICE float cell_z(const CellInstruction& of, const Slots& slots) {
    return combined(of.combination, slots[of.left], slots[of.right]);
}

// Computes every value from leaves and state; gives z of the state's instruction.
DEVICE float cell_fwd(const CellProgram& program, const Slots& slots) {
    float c = 0.f;
    ROLLED for (int i = 0; i < program.n_instructions; i++) {
        const float z = cell_z(program.instructions[i], slots);
        if (i == program.state) c = z;
        slots[value_slot(program, i)] = activated(program.instructions[i].activation, z);
    }
    return c;
}

// From leaves and state, and the gradients to h and c, the gradients to leaves and state, in the same
// slots of `dslots`. Of two equal operands the first is the larger.
DEVICE void cell_bwd(const CellProgram& program, const Slots& slots, const Slots& dslots, float dh,
                     float dc) {
    cell_fwd(program, slots);
    ROLLED for (int i = 0; i < n_slots(program); i++) dslots[i] = 0.f;
    dslots[value_slot(program, program.output)] = dh;
    ROLLED for (int i = program.n_instructions - 1; i >= 0; i--) {
        const CellInstruction& of = program.instructions[i];
        const int slot = value_slot(program, i);
        const float left = slots[of.left], right = slots[of.right];
        float dz = sloped(of.activation, cell_z(of, slots), slots[slot], dslots[slot]);
        if (i == program.state) dz += dc;
        const float by_right = of.combination == ADD ? dz : rounded_product(dz, right);
        const float by_left = of.combination == ADD ? dz : rounded_product(dz, left);
        const bool larger = of.combination == LARGER;
        dslots[of.left] += !larger ? by_right : left >= right ? dz : 0.f;
        dslots[of.right] += !larger ? by_left : left >= right ? 0.f : dz;
    }
}
