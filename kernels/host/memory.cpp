// Allocations, and the checks of every access to global memory.
#include <vector>

#include "memory.h"

#include "launch.h"

namespace host {

thread_local Memory* memory;
thread_local unsigned block_number;

constexpr size_t ALIGNMENT = 256;  // of an allocation, as a GPU's
constexpr size_t SECTOR = 32;      // what a GPU's memory brings at once
constexpr uint32_t SEVERAL = UINT32_MAX;  // blocks, instead of the number of one

void* Memory::allocate(size_t bytes) {
    Allocation a;
    a.room.reset(new (std::nothrow) unsigned char[bytes + ALIGNMENT]());
    if (!a.room) return nullptr;
    a.data = a.room.get() + ALIGNMENT - (uintptr_t)a.room.get() % ALIGNMENT;
    a.bytes = bytes;
    a.written.resize(bytes / 2 + 1);
    a.sector_read.resize(bytes / SECTOR + 1);
    a.sector_written.resize(bytes / SECTOR + 1);
    void* data = a.data;
    allocations.emplace((uintptr_t)data, std::move(a));
    last = nullptr;
    return data;
}

bool Memory::release(void* data) {
    last = nullptr;
    return allocations.erase((uintptr_t)data) == 1;
}

Memory::Allocation* Memory::find(const void* data, size_t bytes) {
    auto holds = [&](const Allocation& a) {
        auto p = (const unsigned char*)data;
        return p >= a.data && p + bytes <= a.data + a.bytes;
    };
    if (last && holds(*last)) return last;
    auto next = allocations.upper_bound((uintptr_t)data);
    if (next == allocations.begin()) return nullptr;
    Allocation& a = std::prev(next)->second;
    return holds(a) ? last = &a : nullptr;
}

namespace {

struct Access {
    Memory::Allocation* allocation;
    size_t first, end;  // bytes of it
    // The stamps of the accessed bytes.
    uint64_t* stamp;
    size_t n;
};

// After the checks that reads and writes share.
Access access(const void* p, size_t bytes, size_t alignment) {
    if ((uintptr_t)p % alignment) fail("an access to global memory that is not aligned");
    Memory::Allocation* a = memory->find(p, bytes);
    if (!a) fail("an access outside of every allocation");
    size_t first = (size_t)((const unsigned char*)p - a->data), end = first + bytes;
    return {a, first, end, &a->written[first / 2], (end + 1) / 2 - first / 2};
}

uint64_t stamp_of_block() { return memory->launch << 32 | block_number; }

bool of_this_launch(uint64_t stamp) { return stamp >> 32 == memory->launch; }

// Counts what was read; of blocks that take turns, which ones read is kept for what is written later.
void note_read(Memory::Allocation* a, size_t first, size_t end) {
    counters.bytes_read += end - first;
    for (size_t i = first / SECTOR; i * SECTOR < end; i++) {
        // What the launch itself wrote is in the cache.
        bool cached = a->sector_read[i] == memory->launch || a->sector_written[i] == memory->launch;
        counters.sectors_read += !cached;
        a->sector_read[i] = memory->launch;
    }
    if (!is_cooperative()) return;
    a->was_read.resize(a->written.size());
    for (size_t i = first / 2; i < (end + 1) / 2; i++) {
        uint64_t& reader = a->was_read[i];
        bool by_another = of_this_launch(reader) && reader != stamp_of_block();
        reader = by_another ? memory->launch << 32 | SEVERAL : stamp_of_block();
    }
}

}  // namespace

void read(const void* from, size_t bytes, size_t alignment, bool never_written) {
    auto [a, first, end, stamp, n] = access(from, bytes, alignment);
    note_read(a, first, end);
    for (size_t i = 0; i < n; i++) {
        if (!of_this_launch(stamp[i])) continue;
        if (never_written) fail("a read-only tensor that this launch writes");
        if (stamp[i] != stamp_of_block()) fail("a read of what another block wrote");
    }
}

void write(void* to, size_t bytes, size_t alignment) {
    auto [a, first, end, stamp, n] = access(to, bytes, alignment);
    counters.bytes_written += bytes;
    for (size_t i = first / SECTOR; i * SECTOR < end; i++) {
        counters.sectors_written += a->sector_written[i] != memory->launch;
        a->sector_written[i] = memory->launch;
    }
    for (size_t i = 0; i < n; i++) {
        if (of_this_launch(stamp[i]) && stamp[i] != stamp_of_block())
            fail("a write over what another block wrote");
        uint64_t reader = a->was_read.empty() ? 0 : a->was_read[first / 2 + i];
        if (of_this_launch(reader) && reader != stamp_of_block())
            fail("a write of what another block has read before");
        stamp[i] = stamp_of_block();
    }
}

void fetch(const void* from, size_t bytes, size_t alignment) {
    auto [a, first, end, stamp, n] = access(from, bytes, alignment);
    note_read(a, first, end);
    a->published.resize(a->written.size());
    for (size_t i = 0; i < n; i++) {
        if (!of_this_launch(stamp[i]) || stamp[i] == stamp_of_block()) continue;
        uint64_t published = a->published[first / 2 + i];
        if (!of_this_launch(published)) fail("a read of what another block wrote, not published");
        if (!was_shown((uint32_t)stamp[i], (uint32_t)published))
            fail("a read of what another block published, with no fences and barrier between");
    }
}

void publish(void* to, size_t bytes, size_t alignment) {
    write(to, bytes, alignment);
    auto [a, first, end, stamp, n] = access(to, bytes, alignment);
    a->published.resize(a->written.size());
    for (size_t i = first / 2; i < first / 2 + n; i++)
        a->published[i] = memory->launch << 32 | published_now();
}

}  // namespace host
