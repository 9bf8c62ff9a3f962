// The state of the one device, shared by runtime.mm and memory.mm.
#ifndef NEEDLE_MSL_DEVICE_H
#define NEEDLE_MSL_DEVICE_H

#import <Metal/Metal.h>
#include <needle_msl/ref.h>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime.h"

namespace needle {

struct Block {
  Ref<id<MTLBuffer>> memory;
  char* data;
  size_t size;
  uint64_t last_use;  // the serial number of the last command buffer that names it
};

struct Submission {
  Ref<id<MTLCommandBuffer>> commands;
  std::vector<const char*> ops;
};

struct Device {
  Device();

  Ref<id<MTLDevice>> metal;
  Ref<id<MTLCommandQueue>> queue;
  Ref<id<MTLComputeCommandEncoder>> encoder;  // of `open`, nil if nothing is encoded
  Submission open;
  std::vector<Submission> flight;             // committed and not waited for
  uint64_t serial = 0, done = 0;              // command buffers committed, and known to have completed
  uint64_t encoded = 0;                       // dispatches in `open`
  const char* op = "";                        // what is being encoded
  std::map<const char*, Block> live;          // by address, as kernels' arguments name them
  std::map<size_t, std::vector<Block>> free;  // by size
  MemoryStats memory;
  Counters counters;
  std::unordered_map<std::string, Ref<id<MTLLibrary>>> libraries;
  std::unordered_map<std::string, Ref<id<MTLComputePipelineState>>> pipelines;
};

Device& device();
Block& block_at(const char* data);  // the live block in which this address lies

// For those who encode by themselves: the open command buffer, and afterwards the one to go on with.
id<MTLCommandBuffer> commands_without_encoder();
void count_encoded(id<MTLCommandBuffer> commands, id<MTLCommandBuffer> now);

}  // namespace needle

#endif  // NEEDLE_MSL_DEVICE_H
