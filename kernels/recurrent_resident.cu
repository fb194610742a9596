// Recurrent layers over a whole window in one launch a direction: every block keeps a slice of the
// hidden units of all layers, with its rows of the weights in shared memory. Layers go on together, one
// step apart from the next, with a barrier of the grid between.
#include "dropout.cuh"
#include "grid_barrier.cuh"
#include "recurrent.cuh"

// What other blocks published, from a place on.
struct Fetched {
    Exchanged<float> data;
    int64_t first;
    METHOD float operator[](int64_t i) const { return data.fetch(first + i); }
};

// What the launch writes, from a place on.
DEVICE Out<float> from(const Out<float>& x, int64_t first) { return {x.data + first}; }
DEVICE Out<float> from(const Exchanged<float>& x, int64_t first) { return {x.data + first}; }

// Rows of a weight that belong to a slice, in shared memory.
struct SharedRows {
    Shared<float> data;
    int k;  // values of a row
    METHOD int64_t row(int r) const { return (int64_t)r * k; }
    METHOD float operator[](int64_t i) const { return data[(int)i]; }
};

// Copies the rows of a slice to shared memory, a row a warp.
DEVICE void load_rows(const GlobalRows& from, int n_rows, const Shared<float>& to) {
    for (int r = warp_idx(); r < n_rows; r += n_threads() / 32) {
        const int64_t row = from.row(r);
        for (int i = lane_idx(); i < from.k; i += 32) to[r * from.k + i] = from[row + i];
    }
}

struct ResidentFwdLayer {
    In<float> hidden_weight;      // U [l][h][h]
    In<float> input_weight;       // W [l][h][h], but for the first layer
    In<float> bias;               // [l][h], if there is one
    Out<float> input_products;    // [t][b][l][h]; those of the first layer are there
    Out<float> hidden_products;   // [t][b][l][h]
    Out<float> c;                 // [t + 1][b][h]
    Exchanged<float> h;           // [t + 1][b][h]
    Exchanged<float> y;           // h after dropout, which the layer above reads, [t][b][h]
};

struct ResidentFwdArgs {
    ResidentFwdLayer layers[4];
    In<Control> control;
    In<int> counters;
    Out<uint64_t> arrivals;
    DropoutRate rate;
    CellProgram program;
    int n_layers;
    int steps;
    int rows;
    int hidden;
    int units;  // of a block
    int leaves;
    int slots;
    int n_resident;   // weights in shared memory, of U of the first layer, W and U of the second, ...
    int has_bias;
    int variational;  // one mask for all steps
};

// Weight `number` of a slice, of those in the order of `n_resident`: W of a layer is 2 layer - 1, U
// 2 layer.
DEVICE GlobalRows weight_rows(const ResidentFwdArgs& args, const Slice& slice, int number) {
    const ResidentFwdLayer& layer = args.layers[(number + 1) / 2];
    const In<float> weight = number % 2 ? layer.input_weight : layer.hidden_weight;
    return {weight, slice, args.hidden, args.hidden};
}

// Every step of every layer: in round s layer i is at step s - i. U h and, above the first layer, W x,
// then h and c of every unit by the cell, and what the layer above reads.
//
// grid:  ceil(hidden / units); all resident at once
// block: 512; each of 16 warps every sixteenth tile of 4 rows and 8 rows of a weight; of the cells the
//        first 128 threads one each
// shared: 4 * 128 slots + 4 n_resident leaves units hidden; of the cells, and the weights
// needs: W x of the first layer, h and c before the first step
// bytes: weights once where they are resident; 12 leaves + 16 a unit, row and step of the first layer,
//        16 leaves + 16 of the others; and h and y of all blocks, from a cache
// flops: 2 leaves rows hidden^2 steps (2 n_layers - 1); and those of the cells
KERNEL(recurrent_resident_fwd, ResidentFwdArgs, 512, 1) {
    const int h = args.hidden, state = args.rows * h, n_weights = 2 * args.n_layers - 1;
    const int weight_len = args.leaves * args.units * h, first_weight = 4 * CELLS * args.slots;
    const Slice slice = slice_of((int)blockIdx.x, args.units, h);
    const Slots slots = {shared<float>(0, CELLS * args.slots)};
    for (int i = 0; i < min(args.n_resident, n_weights); i++)
        load_rows(weight_rows(args, slice, i), args.leaves * slice.n,
                  shared<float>(first_weight + 4 * i * weight_len, weight_len));
    sync_block();
    const Control control = args.control[0];
    const int batch = args.counters[BATCH_IDX], n_rounds = args.steps + args.n_layers - 1;
    for (int round = 0; round < n_rounds; round++) {
        for (int i = max(0, round - args.steps + 1); i <= min(round, args.n_layers - 1); i++) {
            const ResidentFwdLayer& layer = args.layers[i];
            const int step = round - i;
            const int64_t before = (int64_t)step * state, products = before * args.leaves;
            for (int weight = max(0, 2 * i - 1); weight <= 2 * i; weight++) {
                const bool of_input = weight % 2;
                const Fetched x = {of_input ? args.layers[i - 1].y : layer.h, before};
                const Out<float> out =
                    from(of_input ? layer.input_products : layer.hidden_products, products);
                const bool has_bias = of_input && args.has_bias;
                if (weight < args.n_resident) {
                    const int at = first_weight + 4 * weight * weight_len;
                    slice_products(x, SharedRows{shared<float>(at, weight_len), h}, slice, args.rows, h,
                                   args.leaves, layer.bias, has_bias, out);
                } else {
                    slice_products(x, weight_rows(args, slice, weight), slice, args.rows, h,
                                   args.leaves, layer.bias, has_bias, out);
                }
            }
            sync_block();
            const Mask mask = mask_at(args.rate, control, batch, i + 1);
            each_cell(slice, args.rows, [&](int, int row, int unit) {
                const int64_t at = (int64_t)row * h + unit;
                fill_slots(args.program, slots, Own{from(layer.input_products, products)},
                           Own{from(layer.hidden_products, products)}, layer.c.read(before + at), row,
                           unit, h);
                layer.c.write(before + state + at, cell_fwd(args.program, slots));
                const float value = slots[value_slot(args.program, args.program.output)];
                layer.h.publish(before + state + at, value);
                layer.y.publish(before + at,
                                dropped(mask, value, (uint64_t)(args.variational ? at : before + at)));
            });
        }
        if (round + 1 < n_rounds) grid_barrier(args.arrivals);
    }
}

struct ResidentBwdLayer {
    In<float> hidden_weight;            // U transposed, [h][l][h]
    In<float> input_weight;             // W transposed, [h][l][h], but for the first layer
    In<float> c;                        // [t + 1][b][h]
    Out<float> dc;                      // [b][h]: gradient to c of a step; then to c of the one before
    Exchanged<float> input_products;    // [t][b][l][h]; takes the gradient in its place
    Exchanged<float> hidden_products;   // the same
};

struct ResidentBwdArgs {
    ResidentBwdLayer layers[4];
    In<float> dh;  // of the last layer, [t][b][h]
    In<Control> control;
    In<int> counters;
    Out<uint64_t> arrivals;
    DropoutRate rate;
    CellProgram program;
    int n_layers;
    int steps;
    int rows;
    int hidden;
    int units;  // of a block
    int leaves;
    int slots;
    int n_resident;  // as in ResidentFwdArgs
    int variational;
    int reserved;
};

// The same of the transposed weights.
DEVICE GlobalRows weight_rows_bwd(const ResidentBwdArgs& args, const Slice& slice, int number) {
    const ResidentBwdLayer& layer = args.layers[(number + 1) / 2];
    const In<float> weight = number % 2 ? layer.input_weight : layer.hidden_weight;
    return {weight, slice, args.hidden, args.leaves * args.hidden};
}

// Back through every step of every layer: in round s layer i is n_layers - 1 - i steps behind the
// last one. To h from the layer above and from the step after, then through the cell of every unit.
//
// grid:  ceil(hidden / units); all resident at once
// block: 512; each of 16 warps every sixteenth tile of 8 rows, 4 units and a leaf; of the cells the
//        first 128 threads one each
// shared: 8 * 128 slots + 8 leaves rows units + 4 n_resident leaves units hidden; of the cells, the
//         products leaf by leaf, and the weights
// needs: what the forward pass left, dh of the last layer
// bytes: weights once where they are resident; 16 leaves + 12 a unit, row and step of a layer, 4 more of
//        the last one; and the gradients to products of all blocks, from a cache
// flops: 2 leaves rows hidden^2 ((2 n_layers - 1) steps - n_layers); and those of the cells
KERNEL(recurrent_resident_bwd, ResidentBwdArgs, 512, 1) {
    const int h = args.hidden, state = args.rows * h, last = args.n_layers - 1;
    const int room_len = args.leaves * args.rows * args.units, first_room = 8 * CELLS * args.slots;
    const int weight_len = args.leaves * args.units * h, first_weight = first_room + 8 * room_len;
    const Slice slice = slice_of((int)blockIdx.x, args.units, h);
    const Slots slots = {shared<float>(0, CELLS * args.slots)};
    const Slots dslots = {shared<float>(4 * CELLS * args.slots, CELLS * args.slots)};
    auto from_above = shared<float>(first_room, room_len);
    auto from_after = shared<float>(first_room + 4 * room_len, room_len);
    for (int i = 0; i < min(args.n_resident, 2 * last + 1); i++)
        load_rows(weight_rows_bwd(args, slice, i), slice.n,
                  shared<float>(first_weight + 4 * i * weight_len, weight_len));
    sync_block();
    const Control control = args.control[0];
    const int batch = args.counters[BATCH_IDX], n_rounds = args.steps + last;
    for (int round = 0; round < n_rounds; round++) {
        for (int behind = max(0, round - args.steps + 1); behind <= min(round, last); behind++) {
            const int i = last - behind, step = args.steps - 1 - (round - behind);
            const ResidentBwdLayer& layer = args.layers[i];
            const int64_t before = (int64_t)step * state, products = before * args.leaves;
            const bool is_last_step = step == args.steps - 1;
            // W of the layer above, by the gradients of this step, and U, by those of the step after.
            for (int weight = 2 * i; weight <= min(2 * i + 1, 2 * last); weight++) {
                const bool above = weight % 2;
                if (!above && is_last_step) continue;
                const Fetched dy = above ? Fetched{args.layers[i + 1].input_products, products}
                                         : Fetched{layer.hidden_products,
                                                   products + (int64_t)state * args.leaves};
                const auto room = above ? from_above : from_after;
                if (weight < args.n_resident) {
                    const int at = first_weight + 4 * weight * weight_len;
                    const SharedRows rows = {shared<float>(at, weight_len), args.leaves * h};
                    slice_products_bwd(dy, rows, slice, args.rows, h, args.leaves, room);
                } else {
                    slice_products_bwd(dy, weight_rows_bwd(args, slice, weight), slice, args.rows, h,
                                       args.leaves, room);
                }
            }
            sync_block();
            const Mask mask = mask_at(args.rate, control, batch, i + 1);
            each_cell(slice, args.rows, [&](int cell, int row, int unit) {
                const int n_cells = args.rows * slice.n;
                const int64_t at = (int64_t)row * h + unit;
                const float dh =
                    i == last ? args.dh[before + at]
                              : dropped(mask, leaf_sum(from_above, n_cells, args.leaves, cell),
                                        (uint64_t)(args.variational ? at : before + at));
                const float after =
                    is_last_step ? 0.f : leaf_sum(from_after, n_cells, args.leaves, cell);
                const float dc = is_last_step ? 0.f : layer.dc.read(at);
                fill_slots(args.program, slots, Own{from(layer.input_products, products)},
                           Own{from(layer.hidden_products, products)}, layer.c[before + at], row, unit,
                           h);
                cell_bwd(args.program, slots, dslots, dh + after, dc);
                for (int leaf = 0; leaf < args.leaves; leaf++) {
                    const int64_t to = products + (int64_t)(row * args.leaves + leaf) * h + unit;
                    layer.input_products.publish(to, dslots[leaf]);
                    layer.hidden_products.publish(to, dslots[args.leaves + leaf]);
                }
                layer.dc.write(at, dslots[state_slot(args.program)]);
            });
            sync_block();
        }
        if (round + 1 < n_rounds) grid_barrier(args.arrivals);
    }
}
