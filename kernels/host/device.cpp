// The library's face: devices with memory and launches, as C functions for the tests' driver.
#include <stdio.h>
#include <string.h>

#include <string>
#include <vector>

#include "launch.h"
#include "memory.h"

namespace host {
namespace {

std::vector<const Kernel*>& kernels() {
    static std::vector<const Kernel*> list;
    return list;
}

const Kernel* kernel(const char* name) {
    for (auto k : kernels())
        if (!strcmp(k->name, name)) return k;
    return nullptr;
}

// Limits that every GPU has, and that of this one for shared memory.
std::string refusal(const Kernel* k, const uint32_t* grid, uint32_t n_threads,
                    uint32_t shared_bytes, size_t args_bytes, uint32_t shared_limit,
                    uint32_t resident_limit) {
    if (!k) return "no kernel has this name";
    std::string name = k->name;
    if (!grid[0] || !grid[1] || !grid[2]) return name + ": an empty grid";
    if (grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535)
        return name + ": a grid of more blocks than a GPU takes";
    if (!n_threads || n_threads % 32) return name + ": a block that is not of whole warps";
    if (n_threads > k->max_threads || n_threads > 1024)
        return name + ": more threads a block than the kernel was compiled for";
    if (shared_bytes > shared_limit)
        return name + ": " + std::to_string(shared_bytes) + " bytes of shared memory, of " +
               std::to_string(shared_limit);
    uint64_t n_blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    if (n_blocks > resident_limit)
        return name + ": " + std::to_string(n_blocks) + " blocks that wait for each other, of " +
               std::to_string(resident_limit) + " that are resident at once";
    if (args_bytes != k->args_bytes)
        return name + ": " + std::to_string(args_bytes) + " bytes of arguments, not " +
               std::to_string(k->args_bytes);
    if (args_bytes > 4096) return name + ": more than 4096 bytes of arguments";
    return "";
}

}  // namespace

Kernel::Kernel(const char* name, size_t args_bytes, unsigned max_threads,
               void (*body)(const void*))
    : name(name), args_bytes(args_bytes), max_threads(max_threads), body(body) {
    kernels().push_back(this);
}

}  // namespace host

using namespace host;

extern "C" {

Memory* host_open() { return new Memory; }

void host_close(Memory* m) { delete m; }

// Zeros; null where there is no room.
void* host_allocate(Memory* m, size_t bytes) { return m->allocate(bytes); }

bool host_release(Memory* m, void* data) { return m->release(data); }

// Whether the bytes lie in one allocation, so that the caller may copy them.
bool host_holds(Memory* m, const void* data, size_t bytes) { return m->find(data, bytes); }

// Runs a kernel; false, with words in `error`, where a GPU would refuse it or it did wrong.
bool host_launch(Memory* m, const char* name, const uint32_t* grid, uint32_t n_threads,
                 uint32_t shared_bytes, uint32_t shared_limit, bool cooperative,
                 uint32_t processors, const void* args, size_t args_bytes, const Mode* mode,
                 Counters* count, char* error, size_t error_bytes) {
    const Kernel* k = kernel(name);
    auto what = refusal(k, grid, n_threads, shared_bytes, args_bytes, shared_limit,
                        cooperative ? processors : UINT32_MAX);
    if (what.empty()) {
        memory = m;
        m->launch++;
        counters = *count;
        counters.launches++;
        what = run(*k, {grid[0], grid[1], grid[2]}, n_threads, shared_bytes, args, *mode,
                   cooperative);
        *count = counters;
        memory = nullptr;
    }
    snprintf(error, error_bytes, "%s", what.c_str());
    return what.empty();
}

size_t host_kernel_count() { return kernels().size(); }

const char* host_kernel_name(size_t i) { return kernels()[i]->name; }

#ifdef COVERAGE
// Writes how often each line has run.
void __gcov_dump();
void host_dump_coverage() { __gcov_dump(); }
#endif
}
