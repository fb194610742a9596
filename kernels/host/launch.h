// How a kernel is run: the order of its threads and blocks, and what is counted.
#pragma once
#include <string>

#include "runner.h"

namespace host {

// Of the threads of a block and of the blocks of a grid. Ascending, warps go on together, from one
// primitive to the next; descending, each runs as far as it comes before the next one does.
enum class Order : uint32_t { Ascending, Descending, Random };

struct Mode {
    Order order;
    uint32_t copies_early;  // asynchronous copies land at once, not as late as they may
};

struct Counters {
    uint64_t bytes_read, bytes_written;  // of global memory, as threads ask for them
    // The same as memory must bring and take them at least, with a cache that forgets nothing while
    // a launch runs: sectors of 32 bytes, each once a launch.
    uint64_t sectors_read, sectors_written;
    uint64_t flops;                      // of matrix products
    uint64_t matrix_loads, barriers, launches;
};

extern thread_local Counters counters;
extern thread_local unsigned block_number;  // in the grid, x fastest

// Runs every block: one after the other, or, where they are all resident, by turns. Empty, or what
// went wrong, with kernel, block and thread.
std::string run(const Kernel& kernel, Index grid, unsigned n_threads, uint32_t shared_bytes,
                const void* args, const Mode& mode, bool cooperative);

// Whether the blocks of the launch under way are all resident.
bool is_cooperative();

// Published writes of a block are numbered by the fences before them. Number of the next one's, and
// whether the running block has been shown those of another.
uint32_t published_now();
bool was_shown(unsigned block, uint32_t published);

// Lanes of a warp bring `in` and take `out`; the last one to arrive at `where` does `work` for all.
using WarpWork = void (*)(const void** in, void** out);
void in_warp(const char* where, const void* in, void* out, WarpWork work);

}  // namespace host
