// Recurrent layers over a window of text, a launch a step of a layer. All in f32.
#include "epoch.cuh"
#include "recurrent.cuh"

struct CarryArgs {
    In<int> counters;
    Out<float> h;  // [t + 1][n]
    Out<float> c;  // [t + 1][n]
    int n;         // rows hidden units
    int steps;
};

// h and c before the first step: those after the last one of the window before, or zeros before the
// first window of an epoch.
//
// grid:  ceil(n / 256)
// block: 256; each thread one unit of one row
// needs: nothing
// bytes: 16 a unit and row
KERNEL(recurrent_carry, CarryArgs, 256, 1) {
    const int64_t i = (int64_t)blockIdx.x * 256 + thread_idx(), last = (int64_t)args.steps * args.n;
    if (i >= args.n) return;
    const bool first = args.counters[BATCH_IDX] == 0;
    args.h.write(i, first ? 0.f : args.h.read(last + i));
    args.c.write(i, first ? 0.f : args.c.read(last + i));
}

struct RecurrentFwdArgs {
    In<float> weight;            // U [l][h][h]
    In<float> input_products;    // of the step, as all below, [b][l][h]
    In<float> h_before;          // [b][h]
    In<float> c_before;          // [b][h]
    Out<float> hidden_products;  // [b][l][h]
    Out<float> h;                // [b][h]
    Out<float> c;                // [b][h]
    CellProgram program;
    int rows;
    int hidden;
    int units;  // of a block
    int leaves;
    int slots;
    int reserved;
};

// A step of a layer: U h, then h and c of every unit by the cell.
//
// grid:  ceil(hidden / units)
// block: 256; each of 8 warps every eighth tile of 4 rows and 8 rows of U; of the cells the first 128
//        threads one each
// shared: 4 * 128 slots; of the cells
// needs: W x of the step, h and c of the step before
// bytes: U and 12 leaves + 16 a unit and row
// flops: 2 leaves rows hidden^2; and those of the cells
KERNEL(recurrent_fwd, RecurrentFwdArgs, 256, 1) {
    const Slice slice = slice_of((int)blockIdx.x, args.units, args.hidden);
    const GlobalRows weight = {args.weight, slice, args.hidden, args.hidden};
    const Slots slots = {shared<float>(0, CELLS * args.slots)};
    slice_products(args.h_before, weight, slice, args.rows, args.hidden, args.leaves, args.weight,
                   false, args.hidden_products);
    sync_block();
    each_cell(slice, args.rows, [&](int, int row, int unit) {
        const int64_t at = (int64_t)row * args.hidden + unit;
        fill_slots(args.program, slots, args.input_products, Own{args.hidden_products},
                   args.c_before[at], row, unit, args.hidden);
        const float c = cell_fwd(args.program, slots);
        args.c.write(at, c);
        args.h.write(at, slots[value_slot(args.program, args.program.output)]);
    });
}

struct RecurrentBwdArgs {
    In<float> weight;            // U transposed, [h][l][h]
    In<float> after;             // gradient to U h of the step after, [b][l][h]
    In<float> c_before;          // [b][h]
    In<float> dh;                // from the layers above, [b][h]
    Out<float> input_products;   // of the step, [b][l][h]; takes the gradient in its place
    Out<float> hidden_products;  // the same
    Out<float> dc;               // [b][h]: gradient to c of the step; then to c of the one before
    CellProgram program;
    int rows;
    int hidden;
    int units;  // of a block
    int leaves;
    int slots;
    int is_last;  // of the window: no step after it
};

// Back through a step of a layer: to h from the step after, then through the cell of every unit.
//
// grid:  ceil(hidden / units)
// block: 256; each of 8 warps every eighth tile of 8 rows, 4 units and a leaf; of the cells the first
//        128 threads one each
// shared: 8 * 128 slots + 4 leaves rows units; of the cells, and the products leaf by leaf
// needs: the step after, and what the forward pass left
// bytes: U and 20 leaves + 16 a unit and row
// flops: 2 leaves rows hidden^2, but for the last step; and those of the cells
KERNEL(recurrent_bwd, RecurrentBwdArgs, 256, 1) {
    const Slice slice = slice_of((int)blockIdx.x, args.units, args.hidden);
    const GlobalRows weight = {args.weight, slice, args.hidden, args.leaves * args.hidden};
    const Slots slots = {shared<float>(0, CELLS * args.slots)};
    const Slots dslots = {shared<float>(4 * CELLS * args.slots, CELLS * args.slots)};
    auto room = shared<float>(8 * CELLS * args.slots, args.leaves * args.rows * args.units);
    if (!args.is_last)
        slice_products_bwd(args.after, weight, slice, args.rows, args.hidden, args.leaves, room);
    sync_block();
    each_cell(slice, args.rows, [&](int cell, int row, int unit) {
        const int64_t at = (int64_t)row * args.hidden + unit;
        const float from_after =
            args.is_last ? 0.f : leaf_sum(room, args.rows * slice.n, args.leaves, cell);
        const float dc = args.is_last ? 0.f : args.dc.read(at);
        fill_slots(args.program, slots, Own{args.input_products}, Own{args.hidden_products},
                   args.c_before[at], row, unit, args.hidden);
        cell_bwd(args.program, slots, dslots, args.dh[at] + from_after, dc);
        write_gradients(args.program, dslots, args.input_products, args.hidden_products, row, unit,
                        args.hidden);
        args.dc.write(at, dslots[state_slot(args.program)]);
    });
}
