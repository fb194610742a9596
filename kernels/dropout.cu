// Dropout on what a layer reads, and back through it.
#include "dropout.cuh"

struct DropoutArgs {
    In<float> x;
    In<Control> control;
    In<int> counters;
    Out<float> out;
    DropoutRate rate;
    int64_t n;
    int64_t n_mask;  // values of a mask; the next so many have the same one
    int place;
    int reserved;
};

// out[i] = x[i] factor or 0, by word i of the mask at (seed, epoch, batch, place); x[i] in
// evaluation.
//
// grid:  ceil(n / 256)
// block: 256; each thread one value
// needs: nothing
// bytes: 8 a value
KERNEL(dropout, DropoutArgs, 256, 1) {
    const int64_t i = (int64_t)blockIdx.x * 256 + thread_idx();
    if (i >= args.n) return;
    const Mask mask = mask_at(args.rate, args.control[0], args.counters[BATCH_IDX], args.place);
    args.out.write(i, dropped(mask, args.x[i], (uint64_t)(i % args.n_mask)));
}
