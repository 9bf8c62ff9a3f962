#include "allocator.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "holding.h"
#include "runtime.h"

namespace needle {
namespace {

constexpr size_t kMiB = 1 << 20, kWord = 4;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// For compute-sanitizer, which sees the bounds of what the driver gave: each block is a segment of its own size, in
// whole words, for an atomic addition to a byte works on the word around it.
bool uncached() {
  static const bool asked = std::getenv("NEEDLE_CUDA_UNCACHED") != nullptr;
  return asked;
}

size_t segment_bytes(size_t size, bool small, size_t small_segment) {
  if (uncached()) return size;
  return small ? small_segment : size < 10 * kMiB ? 20 * kMiB : round_up(size, 2 * kMiB);
}

Holding* holding = nullptr;  // read and written with the GIL held

}  // namespace

Holding* hold(Holding* next) { return std::exchange(holding, next); }

Block* Holding::take(size_t nbytes) {
  size_t best = blocks.size();
  for (size_t i = 0; reuses && i < blocks.size(); ++i) {
    if (blocks[i]->size >= nbytes && (best == blocks.size() || blocks[i]->size < blocks[best]->size)) best = i;
  }
  if (best == blocks.size()) return nullptr;
  Block* block = blocks[best];
  blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(best));
  return block;
}

Block* Allocator::allocate(size_t nbytes) {
  if (holding != nullptr && &holding->memory == this) {
    if (Block* block = holding->take(nbytes)) return block;
  }
  if (nbytes > (size_t{1} << 50)) throw OutOfMemory(nbytes, stats_.held, free_on_card());
  const size_t size = round_up(std::max<size_t>(nbytes, 1), uncached() ? kWord : kGranule);
  const bool small = size <= kLargestSmall;
  Block* block = uncached() ? nullptr : find(size, small);
  if (block == nullptr) block = new_segment(nbytes, size, small);
  if (!uncached()) split(block, size);
  block->free = false;
  stats_.used += block->size;
  stats_.peak = std::max(stats_.peak, stats_.used);
  return block;
}

void Allocator::release(Block* block) {
  if (holding != nullptr && &holding->memory == this) return holding->blocks.push_back(block);
  stats_.used -= block->size;
  if (uncached()) {
    static_cast<void>(cudaFree(block->data));  // waits for the device
    stats_.held -= block->size;
    spare_.push_back(block);
    return;
  }
  block->free = true;
  if (block->after != nullptr && block->after->free) {
    remove(block->after);
    block = merge(block, block->after);
  }
  if (block->before != nullptr && block->before->free) {
    remove(block->before);
    block = merge(block->before, block);
  }
  insert(block);
}

// The smallest free block that fits, taken out of its bin.
Block* Allocator::find(size_t size, bool small) {
  Block* found = nullptr;
  if (small) {
    const size_t bin = size / kGranule;
    uint64_t word = occupied_[bin / 64] & (~uint64_t{0} << bin % 64);
    for (size_t w = bin / 64; w < kWords; word = ++w < kWords ? occupied_[w] : 0) {
      if (word == 0) continue;
      found = bins_[w * 64 + static_cast<size_t>(__builtin_ctzll(word))];
      break;
    }
  } else {
    Block wanted{};
    wanted.size = size;
    const auto at = large_.lower_bound(&wanted);
    // A huge segment is not broken up for a small request: it would be missing when it is asked for again.
    if (at != large_.end() && ((*at)->size < 200 * kMiB || (*at)->size < 2 * size)) found = *at;
  }
  if (found != nullptr) remove(found);
  return found;
}

Block* Allocator::new_segment(size_t requested, size_t size, bool small) {
  const size_t bytes = segment_bytes(size, small, kSmallSegment);
  void* data = nullptr;
  for (int attempt = 0; data == nullptr; ++attempt) {
    const bool allowed = bytes <= limit_ && stats_.held <= limit_ - bytes;
    const cudaError_t status = allowed ? cudaMalloc(&data, bytes) : cudaErrorMemoryAllocation;
    if (status == cudaSuccess) break;
    data = nullptr;
    if (status != cudaErrorMemoryAllocation) check(status);
    static_cast<void>(cudaGetLastError());  // or the next launch would report it
    if (attempt > 0) throw OutOfMemory(requested, stats_.held, free_on_card());
    empty_cache();
  }
  ++stats_.system_allocations;
  stats_.held += bytes;
  stats_.peak_held = std::max(stats_.peak_held, stats_.held);
  Block* block = new_block();
  *block = Block{static_cast<char*>(data), bytes, nullptr, nullptr, nullptr, nullptr, true, small};
  return block;
}

// Leaves `size` bytes in the block and makes what follows a free one, if it is worth it.
void Allocator::split(Block* block, size_t size) {
  const size_t rest = block->size - size;
  if (rest < (block->small ? kGranule : kLargestSmall)) return;
  Block* tail = new_block();
  *tail = Block{block->data + size, rest, block, block->after, nullptr, nullptr, true, block->small};
  if (block->after != nullptr) block->after->before = tail;
  block->after = tail;
  block->size = size;
  insert(tail);
}

Block* Allocator::merge(Block* first, Block* second) {
  first->size += second->size;
  first->after = second->after;
  if (second->after != nullptr) second->after->before = first;
  spare_.push_back(second);
  return first;
}

void Allocator::insert(Block* block) {
  if (!block->small) {
    large_.insert(block);
    return;
  }
  const size_t bin = block->size / kGranule;
  block->previous = nullptr;
  block->next = bins_[bin];
  if (block->next != nullptr) block->next->previous = block;
  bins_[bin] = block;
  occupied_[bin / 64] |= uint64_t{1} << bin % 64;
}

void Allocator::remove(Block* block) {
  if (!block->small) {
    large_.erase(block);
    return;
  }
  const size_t bin = block->size / kGranule;
  if (block->next != nullptr) block->next->previous = block->previous;
  (block->previous != nullptr ? block->previous->next : bins_[bin]) = block->next;
  if (bins_[bin] == nullptr) occupied_[bin / 64] &= ~(uint64_t{1} << bin % 64);
}

Block* Allocator::new_block() {
  if (spare_.empty()) return new Block();
  Block* block = spare_.back();
  spare_.pop_back();
  return block;
}

// cudaFree waits until the device is idle, so that no kernel still uses the memory.
void Allocator::empty_cache() {
  std::vector<Block*> whole;
  for (Block* block : large_) {
    if (block->before == nullptr && block->after == nullptr) whole.push_back(block);
  }
  for (Block* block = bins_[kBins - 1]; block != nullptr; block = block->next) whole.push_back(block);
  for (Block* block : whole) {
    remove(block);
    check(cudaFree(block->data));
    stats_.held -= block->size;
    spare_.push_back(block);
  }
}

size_t Allocator::free_on_card() const {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) static_cast<void>(cudaGetLastError());
  return free;
}

}  // namespace needle
