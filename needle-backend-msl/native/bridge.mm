// The functions behind needle_msl/bridge.h, by which needle-backend-mps shares this device's memory and queue.
#include "bridge.h"

#include "device.h"
#include "python.h"

namespace needle {
namespace {

// What `work` gives, or `failed` with Python's error set.
template <class Result, class Work> Result guarded(Result failed, Work work) {
  @autoreleasepool {
    try {
      return work();
    } catch (...) {
      set_python_error();
      return failed;
    }
  }
}

char* memory(PyObject* buffer) {
  return guarded<char*>(nullptr, [&] { return buffer_memory(buffer); });
}

char* scratch(size_t nbytes) {
  return guarded<char*>(nullptr, [&] { return allocate(nbytes); });
}

bool copy_bytes(char* dst, const char* src, size_t nbytes) {
  return guarded(false, [&] {
    Launch("bytes", "copy_bytes").memory(dst).memory(src).threads({nbytes});
    return true;
  });
}

void* metal_device() {
  return guarded<void*>(nullptr, [] { return device().metal.get(); });
}

void* buffer_of(const char* data, size_t* offset) {
  return guarded<void*>(nullptr, [&] {
    Block& block = block_at(data);
    block.last_use = device().serial + 1;
    *offset = static_cast<size_t>(data - block.data);
    return block.memory.get();
  });
}

void* commands() {
  return guarded<void*>(nullptr, [] { return commands_without_encoder(); });
}

bool encoded(void* commands, void* now) {
  return guarded(false, [&] {
    count_encoded((id<MTLCommandBuffer>)commands, (id<MTLCommandBuffer>)now);
    return true;
  });
}

}  // namespace

PyObject* bridge_capsule() {
  static Bridge bridge{kBridgeVersion, begin,        memory,    scratch,  release,
                       copy_bytes,     metal_device, buffer_of, commands, encoded};
  return PyCapsule_New(&bridge, kBridgeName, nullptr);
}

}  // namespace needle
