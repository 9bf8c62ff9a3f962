// Python's view of device memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_CUDA_PYTHON_H
#define NEEDLE_CUDA_PYTHON_H

#include <needle/buffer_type.h>

#include "ops.h"
#include "runtime.h"

namespace needle {

struct Memory : MemoryDefaults {
  static constexpr const char* kName = "needle_backend_cuda._ext.Buffer";
  static constexpr const char* kDoc = "Memory of a CUDA device, freed with its last reference.";
  static constexpr bool kOnHost = false;
  static PyGetSetDef* properties();  // index, the device's

  Memory(size_t nbytes, Runtime& of) : runtime(of), block(of.memory.allocate(nbytes)), data(block->data) {}
  ~Memory() { runtime.memory.release(block); }
  Runtime& runtime;
  Block* const block;
  char* const data;
};
using Buffer = BufferType<Memory>;

}  // namespace needle

#endif  // NEEDLE_CUDA_PYTHON_H
