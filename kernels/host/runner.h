// The host runner: executes kernels on a CPU, as strictly as the worst GPU would allow.
//
// Threads of a block are fibers; blocks run one after the other, those of a cooperative launch by
// turns. What a GPU may do late happens as late as it may, into poisoned memory; what a GPU does in any
// order happens in several. Every access to global memory is checked: it lies in an allocation, is
// aligned, and meets no write of another block of the launch. For tests alone; x86-64.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>

struct Index {
    unsigned x, y, z;
};

namespace host {

// A kernel by its name; made by the macro KERNEL.
struct Kernel {
    const char* name;
    size_t args_bytes;
    unsigned max_threads;
    void (*body)(const void* args);
    Kernel(const char* name, size_t args_bytes, unsigned max_threads, void (*body)(const void*));
};

// The running thread.
struct Fiber {
    void* stack_pointer;
    Index thread;
    unsigned number;
    enum State : uint8_t { Ready, AtBarrier, InWarp, AtGrid, Ended } state;
    const char* where;  // the primitive in which it waits
    const uint64_t* arrivals;  // which it waits for, and how many
    uint64_t n_arrivals;
};

extern thread_local Fiber* fiber;
extern thread_local Index block, block_size, grid_size;

[[noreturn]] void fail(const char* what);

void read(const void* from, size_t bytes, size_t alignment, bool never_written);
void write(void* to, size_t bytes, size_t alignment);
// Of what the blocks of a cooperative launch exchange.
void fetch(const void* from, size_t bytes, size_t alignment);
void publish(void* to, size_t bytes, size_t alignment);
void* shared(uint32_t offset, size_t bytes, size_t alignment);

void sync_block();
void fence_grid();
uint64_t count_arrival(uint64_t* arrivals);
void await_arrivals(const uint64_t* arrivals, uint64_t n);
void copy_async(uint32_t to, const void* from, bool valid);
void commit_copies();
void wait_copies(int under_way);

float shuffle_xor(float x, int mask);
double shuffle_xor(double x, int mask);
void load_matrices(uint32_t row, uint32_t (&out)[4], bool transposed);
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

}  // namespace host

#define threadIdx (host::fiber->thread)
#define blockIdx (host::block)
#define blockDim (host::block_size)
#define gridDim (host::grid_size)

using std::max;
using std::min;
