// Memory of arrays: a caching allocator.
#ifndef NEEDLE_CPU_BUFFER_H
#define NEEDLE_CPU_BUFFER_H

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace needle {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector

struct OutOfMemory : std::runtime_error {
  OutOfMemory(size_t requested, size_t free) : std::runtime_error("out of memory"), requested(requested), free(free) {}
  size_t requested;
  size_t free;
};

// Blocks are rounded up to size classes, four to each power of two, and freed ones kept in a list per class.
// The functions are called with Python's GIL held, which is their lock.
struct MemoryStats {
  size_t used = 0;                // bytes of live blocks and packed copies
  size_t held = 0;                // the same, and of blocks kept for reuse
  size_t peak = 0;                // the most `used` has been
  size_t total = 0;               // physical memory of the machine
  size_t packed = 0;              // bytes of packed copies (packed.h)
  size_t system_allocations = 0;  // how often the system was asked for blocks
};

void* allocate(size_t nbytes);  // throws OutOfMemory
void release(void* block, size_t nbytes);
void empty_cache();
void set_cache_limit(size_t nbytes);  // of blocks kept for reuse
MemoryStats memory_stats();
size_t physical_memory();  // of the machine; needs no lock

void* system_allocate(size_t nbytes);  // aligned, and uncounted; null where there is none
void system_free(void* block);

}  // namespace needle

#endif  // NEEDLE_CPU_BUFFER_H
