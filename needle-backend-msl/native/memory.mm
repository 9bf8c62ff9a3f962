// Memory that host and device share, in blocks kept for reuse; uploads that do not wait.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "device.h"

namespace needle {
namespace {

// Eighths of powers of two, at least 256 bytes: little is lost, and blocks find new users. With NEEDLE_MSL_EXACT=1
// blocks are as large as was asked for, so that whoever checks accesses sees the first byte beyond.
size_t rounded(size_t nbytes) {
  static const char* const exact = std::getenv("NEEDLE_MSL_EXACT");
  if (exact != nullptr && std::strcmp(exact, "1") == 0) return std::max<size_t>(1, nbytes);
  size_t step = 32;
  while (step * 8 < nbytes) step *= 2;
  return std::max<size_t>(256, (nbytes + step - 1) / step * step);
}

size_t headroom() {
  const size_t total = device().metal.get().recommendedMaxWorkingSetSize;
  return total > device().memory.held ? total - device().memory.held : 0;
}

Ref<id<MTLBuffer>> new_buffer(size_t size) {
  if (size > headroom()) return {};
  return Ref<id<MTLBuffer>>([device().metal.get() newBufferWithLength:size options:MTLResourceStorageModeShared]);
}

bool idle(const Block& block) { return block.last_use <= device().done; }

Block take(size_t size) {
  Device& d = device();
  auto& kept = d.free[size];
  if (!kept.empty()) {
    Block block = std::move(kept.back());
    kept.pop_back();
    return block;
  }
  Ref<id<MTLBuffer>> memory = new_buffer(size);
  if (!memory) {
    synchronize();
    empty_cache();
    memory = new_buffer(size);
  }
  if (!memory) throw OutOfMemory(size, headroom());
  d.memory.held += size;
  char* data = static_cast<char*>([memory.get() contents]);
  return {std::move(memory), data, size, 0};
}

}  // namespace

char* allocate(size_t nbytes) {
  Device& d = device();
  @autoreleasepool {
    Block block = take(rounded(nbytes));
    char* data = block.data;
    d.memory.used += block.size;
    d.memory.peak = std::max(d.memory.peak, d.memory.used);
    d.memory.total = d.metal.get().recommendedMaxWorkingSetSize;
    d.live.emplace(data, std::move(block));
    return data;
  }
}

void release(char* data, size_t) {
  Device& d = device();
  auto found = d.live.find(data);
  d.memory.used -= found->second.size;
  d.free[found->second.size].push_back(std::move(found->second));
  d.live.erase(found);
}

void empty_cache() {
  Device& d = device();
  @autoreleasepool {
    for (auto& [size, blocks] : d.free) d.memory.held -= size * blocks.size();
    d.free.clear();  // command buffers retain what they use
  }
}

MemoryStats memory_stats() { return device().memory; }

Block& block_at(const char* data) {
  auto after = device().live.upper_bound(data);
  if (after == device().live.begin()) throw std::invalid_argument("msl: an array's memory is not this device's");
  return std::prev(after)->second;
}

void wait_for(const char* data) {
  if (!idle(block_at(data))) synchronize();
}

void upload(char* dst, const char* src, size_t nbytes) {
  if (nbytes == 0) return;
  if (idle(block_at(dst))) {
    std::memcpy(dst, src, nbytes);
  } else if (nbytes <= 4096) {  // the device still works on it: let it copy when it comes to it
    begin("upload");
    Launch("bytes", "write_bytes").memory(dst).raw_bytes(src, nbytes).threads({nbytes});
  } else {
    char* staging = allocate(nbytes);
    if (!idle(block_at(staging))) synchronize();
    std::memcpy(staging, src, nbytes);
    begin("upload");
    Launch("bytes", "copy_bytes").memory(dst).memory(staging).threads({nbytes});
    release(staging, nbytes);
  }
}

}  // namespace needle
