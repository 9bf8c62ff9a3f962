// Memory that recorded work goes on using: what is released while it is taken down is not given to others.
#ifndef NEEDLE_CUDA_HOLDING_H
#define NEEDLE_CUDA_HOLDING_H

#include <vector>

#include "allocator.h"

namespace needle {

// Blocks, given back when this ends.
class Holding {
 public:
  // `reuses`: what was released may be allocated again within the holding, as work that follows in order allows.
  Holding(Allocator& memory, bool reuses) : memory(memory), reuses(reuses) {}
  ~Holding() {
    for (Block* block : blocks) memory.release(block);
  }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;

  size_t nbytes() const {
    size_t sum = 0;
    for (const Block* block : blocks) sum += block->size;
    return sum;
  }
  Block* take(size_t nbytes);  // a block that may be used again, or none

  Allocator& memory;
  const bool reuses;
  std::vector<Block*> blocks;
};

// Lets the holding, or none, have what is released from now on; returns the one before. With the GIL held.
Holding* hold(Holding* holding);

}  // namespace needle

#endif  // NEEDLE_CUDA_HOLDING_H
