// The barrier of a grid: the one place where blocks of a launch wait for each other.
//
// All blocks are resident at once: launches with this barrier are cooperative, which a GPU refuses
// where that is not so. `arrivals` is a counter of the launch's own, zero once, that only grows; every
// launch of the same grid counts every barrier as often as the grid has blocks, n.
//
// Why none passes early. A thread of each block counts one up at each barrier, and no block comes to
// the next barrier before it has passed this one. So the tickets of barrier k, of all launches there
// have been, are k n to k n + n - 1: by induction, all of barrier k - 1 were drawn before one passed
// it, hence before one of barrier k was drawn, and there are n of them. A block with ticket x of
// barrier k = floor(x / n) waits for the count (k + 1) n = x - x mod n + n, which it is when all n
// blocks have drawn, and not before. Nothing is reset, so nothing is reset too early; 64 bits do not
// run over.
//
// Why none waits for ever. All n blocks run, and each arrives, as none ends or takes another way
// before: the count comes to (k + 1) n, and never falls below it again.
//
// Why what was published before is seen after. Let thread p of block A publish before the barrier and
// thread q of block B fetch after it. p's store comes before A's first sync_block, that before the
// fence of A's thread 0, and that before its count: the fence is cumulative, so that whoever sees the
// count and then fences has p's store behind it. B's thread 0 reads a count that A's is part of (the
// read sees the last of a chain of atomic additions to one place), then fences, then comes to the
// second sync_block, before q's load. In the memory model of PTX (fence.sc or fence.acq_rel at the
// scope of the GPU, barriers and causality order) the store is before the load, which need not be
// volatile; the second fence also empties the first-level cache, where old values of the place may
// lie. Read-only loads (`In`, ld.global.nc) have no part in that order: `Exchanged` makes none.
#pragma once
#include "device.cuh"

// Every thread of every block arrives before one goes on; what was published before it is seen after
// it. Of grids along x.
DEVICE void grid_barrier(const Out<uint64_t>& arrivals) {
    sync_block();
    if (thread_idx() == 0) {
        fence_grid();
        const uint64_t n = gridDim.x, ticket = count_arrival(arrivals);
        await_arrivals(arrivals, ticket - ticket % n + n);
        fence_grid();
    }
    sync_block();
}
