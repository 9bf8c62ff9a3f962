#include "buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "packed.h"
#include "workspace.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace needle {
namespace {

// Tells AddressSanitizer, if it is there, that only the first `nbytes` of a block may be touched.
void allow(void* block, size_t nbytes, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(block, size);
  __asan_poison_memory_region(static_cast<char*>(block) + nbytes, size - nbytes);
#else
  static_cast<void>(block), static_cast<void>(nbytes), static_cast<void>(size);
#endif
}

constexpr int kClasses = 200;

// Class c holds blocks of (4 + c % 4) * 16 * 2^(c / 4) bytes: 64, 80 -> 128, ... rounded to the alignment.
size_t class_bytes(int c) {
  const size_t bytes = (size_t{4} + c % 4) << (c / 4 + 4);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

int class_of(size_t nbytes) {
  if (nbytes <= kAlignment) return 0;
  const int top = 63 - __builtin_clzll(nbytes - 1);                  // 2^top < nbytes <= 2^(top + 1)
  const int step = static_cast<int>((nbytes - 1) >> (top - 2)) - 4;  // which quarter of that range
  return (top - 6) * 4 + step + 1;
}

struct FreeBlock {
  FreeBlock* next;
};

struct State {
  FreeBlock* free_lists[kClasses] = {};
  size_t cached = 0;
  size_t limit = 0;
  MemoryStats stats;
};

State& state() {
  static State* const s = [] {  // never destroyed: buffers may be freed while the interpreter shuts down
    State* fresh = new State;
    fresh->stats.total = physical_memory();
    fresh->limit = fresh->stats.total / 4;
    return fresh;
  }();
  return *s;
}

constexpr size_t kHugePage = size_t{1} << 21;

// Asks the system; if it has none, gives back what is cached and asks once more.
void* allocate_anew(State& s, size_t requested, size_t nbytes) {
  const size_t free = s.stats.total > s.stats.used ? s.stats.total - s.stats.used : 0;
  if (requested > free) throw OutOfMemory(requested, free);
  if (s.stats.held + nbytes > s.stats.total) empty_cache();
  void* block = system_allocate(nbytes);
  if (block == nullptr) {
    empty_cache();
    block = system_allocate(nbytes);
  }
  if (block == nullptr) throw OutOfMemory(requested, free);
  ++s.stats.system_allocations;
  s.stats.held += nbytes;
  return block;
}

constexpr int kKept = 6;  // workspaces that a thread keeps; one kernel seldom borrows more

struct ThreadScratch {
  void* blocks[kKept] = {};
  size_t sizes[kKept] = {};
  int depth = 0;
  ~ThreadScratch() {
    for (void* block : blocks) std::free(block);
  }
};

thread_local ThreadScratch scratch;

}  // namespace

size_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : size_t{1} << 40;
}

// Blocks of some size ask for huge pages: fewer faults when they are touched first, fewer misses of address translation
// ever after. Where the system has none, nothing is lost.
void* system_allocate(size_t nbytes) {
  void* block = nullptr;
  const bool huge = nbytes >= 2 * kHugePage;
  if (posix_memalign(&block, huge ? kHugePage : kAlignment, nbytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (huge) madvise(block, nbytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

void system_free(void* block) { std::free(block); }

void* allocate(size_t nbytes) {
  State& s = state();
  if (nbytes > s.stats.total)
    throw OutOfMemory(nbytes, s.stats.total > s.stats.used ? s.stats.total - s.stats.used : 0);
  const int c = class_of(nbytes);
  const size_t size = class_bytes(c);
  void* block = s.free_lists[c];
  if (block != nullptr) {
    allow(block, size, size);
    s.free_lists[c] = s.free_lists[c]->next;
    s.cached -= size;
  } else {
    block = allocate_anew(s, nbytes, size);
  }
  s.stats.used += size;
  s.stats.peak = std::max(s.stats.peak, s.stats.used + packed_bytes());
  allow(block, nbytes, size);
  return block;
}

void release(void* block, size_t nbytes) {
  State& s = state();
  const int c = class_of(nbytes);
  const size_t size = class_bytes(c);
  s.stats.used -= size;
  allow(block, size, size);
  if (s.cached + size > s.limit) {
    std::free(block);
    s.stats.held -= size;
    return;
  }
  FreeBlock* freed = static_cast<FreeBlock*>(block);
  freed->next = s.free_lists[c];
  s.free_lists[c] = freed;
  s.cached += size;
  allow(block, sizeof(FreeBlock), size);
}

void empty_cache() {
  drop_packed();
  State& s = state();
  for (FreeBlock*& list : s.free_lists) {
    while (list != nullptr) {
      FreeBlock* next = list->next;
      std::free(list);
      list = next;
    }
  }
  s.stats.held -= s.cached;
  s.cached = 0;
}

void set_cache_limit(size_t nbytes) {
  state().limit = nbytes;
  if (state().cached > nbytes) empty_cache();
}

MemoryStats memory_stats() {
  MemoryStats stats = state().stats;
  stats.packed = packed_bytes();
  stats.used += stats.packed;
  stats.held += stats.packed;
  stats.peak = state().stats.peak = std::max(stats.peak, stats.used);
  return stats;
}

Workspace::Workspace(size_t nbytes) : data_(nullptr), owned_(scratch.depth >= kKept) {
  const int slot = scratch.depth++;
  if (owned_) {
    data_ = system_allocate(nbytes);
  } else {
    if (scratch.sizes[slot] < nbytes) {
      std::free(scratch.blocks[slot]);
      scratch.blocks[slot] = system_allocate(nbytes);
      scratch.sizes[slot] = scratch.blocks[slot] == nullptr ? 0 : nbytes;
    }
    data_ = scratch.blocks[slot];
  }
  if (data_ == nullptr) {
    --scratch.depth;
    throw OutOfMemory(nbytes, 0);
  }
  if (!owned_) allow(data_, nbytes, scratch.sizes[slot]);
}

Workspace::~Workspace() {
  --scratch.depth;
  if (owned_) std::free(data_);
}

}  // namespace needle
