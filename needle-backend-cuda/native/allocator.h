// Memory of one device: segments asked of the driver once, cut into blocks that are used again and again.
#ifndef NEEDLE_CUDA_ALLOCATOR_H
#define NEEDLE_CUDA_ALLOCATOR_H

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace needle {

// A piece of a segment. Free ones are in a bin or in the set of large ones.
struct Block {
  char* data;
  size_t size;
  Block* before;  // its neighbours in the segment
  Block* after;
  Block* previous;  // in its bin
  Block* next;
  bool free;
  bool small;
};

struct MemoryStats {
  size_t used = 0;                // bytes of live blocks
  size_t held = 0;                // of segments
  size_t peak = 0;                // the most `used` has been
  size_t peak_held = 0;           // the most `held` has been
  size_t system_allocations = 0;  // how often the driver was asked
};

// All work of a device is in one stream, so a block may be handed out again as soon as it was released: what is
// launched next comes after what was launched before. Called with Python's GIL held, which is the lock.
//
// Requests are rounded up to 512 bytes. Those up to 1 MiB come from segments of 2 MiB, by a bin for each size and a
// bitmap that finds the smallest one that fits; larger ones come from segments of 20 MiB or of their own.
class Allocator {
 public:
  Block* allocate(size_t nbytes);  // throws OutOfMemory
  void release(Block* block);
  void empty_cache();  // gives back the segments that hold no live block
  void set_limit(size_t nbytes) { limit_ = nbytes; }
  void reset_peak() { stats_.peak = stats_.used, stats_.peak_held = stats_.held; }
  const MemoryStats& stats() const { return stats_; }

 private:
  static constexpr size_t kGranule = 512, kLargestSmall = 1 << 20, kSmallSegment = 2 << 20;
  static constexpr size_t kBins = kSmallSegment / kGranule + 1, kWords = kBins / 64 + 1;

  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->data < b->data;
    }
  };

  Block* find(size_t size, bool small);
  Block* new_segment(size_t requested, size_t size, bool small);
  void insert(Block* block);
  void remove(Block* block);
  void split(Block* block, size_t size);
  Block* merge(Block* first, Block* second);
  Block* new_block();
  size_t free_on_card() const;

  Block* bins_[kBins] = {};
  uint64_t occupied_[kWords] = {};
  std::set<Block*, BySize> large_;
  std::vector<Block*> spare_;  // block records without memory
  size_t limit_ = ~size_t{0};
  MemoryStats stats_;
};

}  // namespace needle

#endif  // NEEDLE_CUDA_ALLOCATOR_H
