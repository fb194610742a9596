// A step of a recurrent layer, forward and backward, for a slice of its hidden units. What is summed
// here has an order that the layer's sizes fix, so that slices of any size give the same bits.
//
// Letters: t steps, b rows, h hidden units, l leaves.
#pragma once
#include "cell.cuh"
#include "rows.cuh"

// Units from `first` on, of `hidden`.
struct Slice {
    int first;
    int n;
};

DEVICE Slice slice_of(int number, int units, int hidden) {
    return {number * units, min(units, hidden - number * units)};
}

// What the launch writes, read by the block that wrote it.
struct Own {
    Out<float> data;
    METHOD float operator[](int64_t i) const { return data.read(i); }
};

// Rows of a weight that belong to a slice, in global memory: forward row r of U is unit r % n of leaf
// r / n, backward row r of the transposed one is unit r.
struct GlobalRows {
    In<float> data;
    Slice slice;
    int hidden;
    int k;  // values of a row
    METHOD int64_t row(int r) const {
        return (int64_t)(r / slice.n * hidden + slice.first + r % slice.n) * k;
    }
    METHOD float operator[](int64_t i) const { return data[i]; }
};

// out[b][l][unit] = row of `weight` . row of x (+ bias), for the units of a slice.
template <class X, class Weight>
DEVICE void slice_products(const X& x, const Weight& weight, const Slice& slice, int rows,
                           int hidden, int leaves, const In<float>& bias, bool has_bias,
                           const Out<float>& out) {
    const int n = leaves * slice.n, lane = lane_idx(), n_tiles = ceil_div(n, 8);
    for (int tile = warp_idx(); tile < n_tiles * ceil_div(rows, 4); tile += n_threads() / 32) {
        const int first_x = tile / n_tiles * 4, first = tile % n_tiles * 8;
        int64_t x_rows[4], w_rows[8];
        UNROLL for (int i = 0; i < 4; i++) x_rows[i] = (int64_t)min(first_x + i, rows - 1) * hidden;
        UNROLL for (int i = 0; i < 8; i++) w_rows[i] = weight.row(min(first + i, n - 1));
        // From zero, as product_rows.
        const float product = 0.f + row_products<4>(x, x_rows, weight, w_rows, hidden);
        const int row = first_x + lane / 8, r = first + lane % 8;
        if (row >= rows || r >= n) continue;
        const int unit = r / slice.n * hidden + slice.first + r % slice.n;
        const float sum = has_bias ? product + bias[unit] : product;
        out.write((int64_t)row * leaves * hidden + unit, sum);
    }
}

// room[l][b][n] = the parts of sum over l and units u of dy[b][l][u] weight[l][u][unit], leaf by leaf,
// for the n units of a slice; `weight` is transposed.
template <class Y, class Weight>
DEVICE void slice_products_bwd(const Y& dy, const Weight& weight, const Slice& slice, int rows,
                               int hidden, int leaves, const Shared<float>& room) {
    const int lane = lane_idx(), n_tiles = ceil_div(slice.n, 4), row_tiles = ceil_div(rows, 8);
    for (int tile = warp_idx(); tile < leaves * n_tiles * row_tiles; tile += n_threads() / 32) {
        const int leaf = tile / n_tiles / row_tiles, first = tile % n_tiles * 4;
        const int first_y = tile / n_tiles % row_tiles * 8;
        int64_t y_rows[8], w_rows[4];
        UNROLL for (int i = 0; i < 8; i++)
            y_rows[i] = ((int64_t)min(first_y + i, rows - 1) * leaves + leaf) * hidden;
        UNROLL for (int i = 0; i < 4; i++)
            w_rows[i] = weight.row(min(first + i, slice.n - 1)) + leaf * hidden;
        const float product = row_products<8>(dy, y_rows, weight, w_rows, hidden);
        const int row = first_y + lane / 4, j = first + lane % 4;
        if (row < rows && j < slice.n) room[(leaf * rows + row) * slice.n + j] = product;
    }
}

// The sum of a cell's parts over the leaves, in order.
DEVICE float leaf_sum(const Shared<float>& room, int n_cells, int leaves, int cell) {
    float sum = 0.f;
    for (int leaf = 0; leaf < leaves; leaf++) sum += room[leaf * n_cells + cell];
    return sum;
}

// Runs `work(cell, row, unit)` for every row and unit of a slice, CELLS at once, a thread each; there
// are no barriers in it.
template <class Work>
DEVICE void each_cell(const Slice& slice, int rows, Work work) {
    if (thread_idx() >= CELLS) return;
    for (int cell = thread_idx(); cell < rows * slice.n; cell += CELLS)
        work(cell, cell / slice.n, slice.first + cell % slice.n);
}

// Fills the slots of leaves and state of a unit.
template <class Inputs>
DEVICE void fill_slots(const CellProgram& program, const Slots& slots, const Inputs& inputs,
                       const Own& hidden_products, float c, int row, int unit, int hidden) {
    for (int leaf = 0; leaf < program.leaves; leaf++) {
        const int64_t at = (int64_t)(row * program.leaves + leaf) * hidden + unit;
        slots[leaf] = inputs[at];
        slots[program.leaves + leaf] = hidden_products[at];
    }
    slots[state_slot(program)] = c;
}

// Writes the gradients to the leaves in the place of their values.
DEVICE void write_gradients(const CellProgram& program, const Slots& dslots, const Out<float>& inputs,
                            const Out<float>& hidden_products, int row, int unit, int hidden) {
    for (int leaf = 0; leaf < program.leaves; leaf++) {
        const int64_t at = (int64_t)(row * program.leaves + leaf) * hidden + unit;
        inputs.write(at, dslots[leaf]);
        hidden_products.write(at, dslots[program.leaves + leaf]);
    }
}
