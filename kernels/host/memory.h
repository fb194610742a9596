// Global memory of a host device: allocations, and who wrote what in the launch under way.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "runner.h"

namespace host {

struct Memory {
    struct Allocation {
        std::unique_ptr<unsigned char[]> room;
        unsigned char* data;
        size_t bytes;
        // Of each two bytes, the launch and block that wrote them last.
        std::vector<uint64_t> written;
        // The same of what was published, with the writer's number instead of the block; and, of
        // cooperative launches, of what was read, with the block. Made when first needed.
        std::vector<uint64_t> published, was_read;
        // Of each sector, the launches that read and that wrote it last.
        std::vector<uint64_t> sector_read, sector_written;
    };
    std::map<uintptr_t, Allocation> allocations;  // by their first address
    uint64_t launch = 0;                          // number of the launch under way
    Allocation* last = nullptr;                   // where the last access was

    void* allocate(size_t bytes);
    bool release(void* data);
    // The allocation that holds all of these bytes, or null.
    Allocation* find(const void* data, size_t bytes);
};

extern thread_local Memory* memory;

}  // namespace host
