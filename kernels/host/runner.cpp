// Fibers, the order of threads, and the primitives of a block and of a grid.
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <memory>
#include <vector>

#include "launch.h"
#include "memory.h"

namespace host {

thread_local Fiber* fiber;
thread_local Index block, block_size, grid_size;

namespace {

// A copy from global to shared memory that was issued and not waited for.
struct Copy {
    uint32_t to;
    const void* from;
    bool valid;
};

// Lanes that have arrived at a primitive of their warp, with what they brought.
struct Warp {
    unsigned arrived = 0;
    const char* where = nullptr;
    const void* in[32];
    void* out[32];
};

constexpr size_t STACK_BYTES = 64 << 10;
constexpr size_t SHARED_ALIGNMENT = 1024;

// A number for each block of a grid.
using Clock = std::vector<uint32_t>;

void join(Clock& clock, const Clock& other) {
    for (size_t i = 0; i < other.size(); i++) clock[i] = std::max(clock[i], other[i]);
}

struct Block {
    const Kernel* kernel;
    Index place;
    unsigned number;
    const void* args;
    unsigned char* shared;
    uint32_t shared_bytes;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<std::vector<std::vector<Copy>>> copies;  // of each thread, of each group
    std::unique_ptr<unsigned char[]> stacks;
    void* scheduler;
    unsigned n_running;
    bool copies_early;
    char failure[512];
    // Of a cooperative launch: the number of what is published next, and of each block up to which
    // number its published writes were shown, came before the latest fence, and were found in a count.
    uint32_t publishes;
    Clock shown, fenced, found;
};

thread_local Block* current;

// What the blocks of a cooperative launch share: a count of arrivals, and what came before it.
struct Grid {
    bool cooperative;
    std::map<const uint64_t*, Clock> arrivals;
};

thread_local Grid* grid;

extern "C" void host_switch(void** from, void* to);
// Saves what the calling convention of x86-64 keeps, changes stacks, and restores.
asm(R"(
.text
.globl host_switch
.type host_switch,@function
host_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

void to_scheduler() { host_switch(&fiber->stack_pointer, current->scheduler); }

void run_thread() {
    current->kernel->body(current->args);
    for (auto& group : current->copies[fiber->number])
        if (!group.empty()) fail("a thread ends with copies that it never waited for");
    fiber->state = Fiber::Ended;
    current->n_running--;
    to_scheduler();
    abort();  // an ended fiber never runs again
}

void start_fiber(Fiber& f, unsigned number) {
    f.number = number;
    f.thread = {number, 0, 0};
    f.state = Fiber::Ready;
    f.where = nullptr;
    void** top = (void**)(current->stacks.get() + (number + 1) * STACK_BYTES);
    top = (void**)((uintptr_t)top & ~(uintptr_t)63);
    *--top = nullptr;
    *--top = (void*)run_thread;
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    f.stack_pointer = top;
}

// Puts the numbers below `n` in the launch's order.
struct Orderer {
    Order order;
    uint32_t state = 12345;
    void arrange(std::vector<unsigned>& list) {
        if (order == Order::Random)
            for (size_t i = list.size(); i > 1; i--) {
                state = state * 1664525u + 1013904223u;
                std::swap(list[i - 1], list[(state >> 8) % i]);
            }
    }
};

std::vector<unsigned> numbers(unsigned n, Order order) {
    std::vector<unsigned> list(n);
    for (unsigned i = 0; i < n; i++) list[i] = order == Order::Descending ? n - 1 - i : i;
    return list;
}

void note_failure(const char* what) {
    Block& b = *current;
    if (!b.failure[0])
        snprintf(b.failure, sizeof b.failure, "kernel %s, block (%u, %u, %u), thread %u%s%s: %s",
                 b.kernel->name, block.x, block.y, block.z, fiber->number,
                 fiber->where ? ", at " : "", fiber->where ? fiber->where : "", what);
}

// Every thread waits: lets them on where that is at the barrier, all together.
void release_barrier() {
    unsigned waiting = 0;
    for (auto& f : current->fibers) {
        waiting += f.state == Fiber::AtBarrier;
        if (f.state == Fiber::InWarp) fiber = &f;
    }
    if (waiting != current->n_running)
        return note_failure("threads wait for each other at different places");
    if (waiting != current->fibers.size())
        return note_failure("a barrier after which some threads have ended");
    counters.barriers++;
    for (auto& f : current->fibers) f.state = Fiber::Ready;
}

// Whether one of the 32 threads from place `first` of the order can go on.
bool is_ready(size_t first, const std::vector<unsigned>& threads) {
    for (size_t i = first; i < first + 32; i++)
        if (current->fibers[threads[i]].state == Fiber::Ready) return true;
    return false;
}

void begin_block(Block& b) {
    memset(b.shared, 0xff, b.shared_bytes);
    b.n_running = b.fibers.size();
    b.copies.assign(b.fibers.size(), {{}});
    b.warps.assign(b.fibers.size() / 32, Warp{});
    for (unsigned i = 0; i < b.fibers.size(); i++) start_fiber(b.fibers[i], i);
}

// Lets threads on whose arrivals have come; whether any waits on.
bool waits_for_grid(Block& b) {
    bool waits = false;
    for (auto& f : b.fibers) {
        if (f.state != Fiber::AtGrid) continue;
        if (*f.arrivals >= f.n_arrivals) {
            f.state = Fiber::Ready;
            join(b.found, grid->arrivals[f.arrivals]);
        }
        waits |= f.state == Fiber::AtGrid;
    }
    return waits;
}

// Runs each thread of the current block as far as it comes, in the order's way, then lets them over
// a barrier at which all wait. False where none can go on before another block does.
bool advance(Orderer& orderer, std::vector<unsigned>& threads) {
    Block& b = *current;
    bool waits = waits_for_grid(b), ran = false;
    orderer.arrange(threads);
    for (size_t i = 0; i < threads.size(); i++) {
        Fiber& f = b.fibers[threads[i]];
        if (f.state == Fiber::Ready) {
            ran = true;
            fiber = &f;
            host_switch(&b.scheduler, f.stack_pointer);
            if (b.failure[0]) return true;
        }
        // A warp alone, as far as it comes without the others.
        if (orderer.order == Order::Descending && i % 32 == 31 && is_ready(i / 32 * 32, threads))
            i = i / 32 * 32 - 1;
    }
    if (ran || waits) return ran;
    fiber = &b.fibers[0];
    release_barrier();
    return true;
}

void enter(Block& b) {
    current = &b;
    block = b.place;
    block_number = b.number;
}

// Runs blocks by turns until all have ended: descending, each runs as far as it comes before the next
// one does.
void run_resident(std::vector<Block>& blocks, Orderer& orderer, std::vector<unsigned>& threads) {
    auto order = numbers(blocks.size(), orderer.order);
    for (unsigned i : order) {
        enter(blocks[i]);
        begin_block(blocks[i]);
    }
    for (;;) {
        bool ran = false, running = false;
        orderer.arrange(order);
        for (unsigned i : order) {
            Block& b = blocks[i];
            enter(b);
            while (b.n_running > 0 && advance(orderer, threads)) {
                ran = true;
                if (b.failure[0]) return;
                if (orderer.order != Order::Descending) break;
            }
            running |= b.n_running > 0;
        }
        if (!running) return;
        if (!ran) {
            for (Block& b : blocks)
                for (Fiber& f : b.fibers)
                    if (f.state == Fiber::AtGrid) enter(b), fiber = &f;
            return note_failure("blocks that wait for each other for ever");
        }
    }
}

}  // namespace

thread_local Counters counters;

void fail(const char* what) {
    note_failure(what);
    to_scheduler();
    abort();  // nothing runs after a failure
}

static Block new_block(const Kernel& kernel, unsigned n_threads, uint32_t shared_bytes,
                       const void* args, const Mode& mode, std::vector<unsigned char>& shared) {
    Block b{};
    b.kernel = &kernel;
    b.args = args;
    b.shared_bytes = shared_bytes;
    b.copies_early = mode.copies_early;
    shared.resize(shared_bytes + SHARED_ALIGNMENT);
    b.shared = shared.data() + SHARED_ALIGNMENT - (uintptr_t)shared.data() % SHARED_ALIGNMENT;
    b.fibers.resize(n_threads);
    b.stacks.reset(new unsigned char[n_threads * STACK_BYTES]);
    return b;
}

std::string run(const Kernel& kernel, Index grid_size, unsigned n_threads, uint32_t shared_bytes,
                const void* args, const Mode& mode, bool cooperative) {
    Block* outer = current;
    Grid all{cooperative, {}}, *outer_grid = grid;
    grid = &all;
    host::grid_size = grid_size;
    block_size = {n_threads, 1, 1};
    const unsigned n_blocks = grid_size.x * grid_size.y * grid_size.z;
    const unsigned n_resident = cooperative ? n_blocks : 1;
    std::vector<std::vector<unsigned char>> shared(n_resident);
    std::vector<Block> blocks;
    for (unsigned i = 0; i < n_resident; i++) {
        blocks.push_back(new_block(kernel, n_threads, shared_bytes, args, mode, shared[i]));
        blocks[i].number = i;
        blocks[i].publishes = 1;
        blocks[i].shown = blocks[i].fenced = blocks[i].found = Clock(cooperative ? n_blocks : 0);
    }
    auto place = [&](unsigned i) {
        return Index{i % grid_size.x, i / grid_size.x % grid_size.y, i / grid_size.x / grid_size.y};
    };
    Orderer orderer{mode.order};
    auto threads = numbers(n_threads, mode.order);
    if (cooperative) {
        for (Block& b : blocks) b.place = place(b.number);
        run_resident(blocks, orderer, threads);
    } else {
        auto order = numbers(n_blocks, mode.order);
        orderer.arrange(order);
        for (unsigned i : order) {
            Block& b = blocks[0];
            b.number = i;
            b.place = place(i);
            enter(b);
            begin_block(b);
            while (b.n_running > 0 && !b.failure[0]) advance(orderer, threads);
            if (b.failure[0]) break;
        }
    }
    current = outer;
    grid = outer_grid;
    for (Block& b : blocks)
        if (b.failure[0]) return b.failure;
    return "";
}

void* shared(uint32_t offset, size_t bytes, size_t alignment) {
    if (offset % alignment) fail("a shared array that is not aligned");
    if (offset + bytes > current->shared_bytes) fail("a shared array beyond the shared memory");
    return current->shared + offset;
}

void sync_block() {
    fiber->state = Fiber::AtBarrier;
    fiber->where = "sync_block";
    to_scheduler();
    fiber->where = nullptr;
}

// ---- grids whose blocks are all resident --------------------------------------------------------

bool is_cooperative() { return grid->cooperative; }

uint32_t published_now() { return current->publishes; }

bool was_shown(unsigned block, uint32_t published) { return current->shown[block] >= published; }

// What the block has published so far comes before what it does next, and what it has found in a count
// is shown to it.
void fence_grid() {
    Block& b = *current;
    if (!grid->cooperative) fail("a fence of the grid in a launch that is not cooperative");
    join(b.shown, b.found);
    b.shown[b.number] = b.publishes++;
    b.fenced = b.shown;
}

uint64_t count_arrival(uint64_t* arrivals) {
    Block& b = *current;
    if (!grid->cooperative) fail("a barrier of the grid in a launch that is not cooperative");
    if (!memory->find(arrivals, 8)) fail("an access outside of every allocation");
    Clock& clock = grid->arrivals[arrivals];
    clock.resize(b.fenced.size());
    join(clock, b.fenced);
    return (*arrivals)++;
}

void await_arrivals(const uint64_t* arrivals, uint64_t n) {
    fiber->state = Fiber::AtGrid;
    fiber->where = "await_arrivals";
    fiber->arrivals = arrivals;
    fiber->n_arrivals = n;
    to_scheduler();
    fiber->where = nullptr;
}

// ---- copies: as late as allowed, or at once -----------------------------------------------------

static void land(const Copy& copy) {
    if (copy.valid)
        memcpy(current->shared + copy.to, copy.from, 16);
    else
        memset(current->shared + copy.to, 0, 16);
}

void copy_async(uint32_t to, const void* from, bool valid) {
    if (to % 16) fail("a copy to shared memory that is not aligned");
    if (to + 16 > current->shared_bytes) fail("a copy beyond the shared memory");
    if (valid) read(from, 16, 16, true);
    Copy copy{to, from, valid};
    if (current->copies_early) {
        land(copy);
        return;
    }
    for (int i = 0; i < 8; i++) {
        uint16_t poison = 0x7fc1;  // a bfloat16 that is not a number
        memcpy(current->shared + to + 2 * i, &poison, 2);
    }
    current->copies[fiber->number].back().push_back(copy);
}

void commit_copies() { current->copies[fiber->number].push_back({}); }

void wait_copies(int under_way) {
    auto& groups = current->copies[fiber->number];
    // The last group is the one that is not yet committed.
    while ((int)groups.size() > under_way + 1) {
        for (auto& copy : groups.front()) land(copy);
        groups.erase(groups.begin());
    }
}

// ---- warps --------------------------------------------------------------------------------------

void in_warp(const char* where, const void* in, void* out, WarpWork work) {
    Warp& warp = current->warps[fiber->number / 32];
    unsigned lane = fiber->number % 32;
    if (warp.arrived && warp.where != where) fail("lanes of a warp at different primitives");
    warp.where = where;
    warp.in[lane] = in;
    warp.out[lane] = out;
    warp.arrived |= 1u << lane;
    fiber->where = where;
    if (warp.arrived != 0xffffffffu) {
        fiber->state = Fiber::InWarp;
        to_scheduler();
        fiber->where = nullptr;
        return;
    }
    warp.arrived = 0;
    work(warp.in, warp.out);
    unsigned first = fiber->number / 32 * 32;
    for (unsigned i = first; i < first + 32; i++) current->fibers[i].state = Fiber::Ready;
    fiber->where = nullptr;
}

}  // namespace host
