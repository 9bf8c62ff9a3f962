// Python's view of this device's memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_CPU_PYTHON_H
#define NEEDLE_CPU_PYTHON_H

#include <needle/buffer_type.h>

#include "buffer.h"
#include "ops.h"
#include "packed.h"

namespace needle {

struct Memory : MemoryDefaults {
  static constexpr const char* kName = "needle_backend_cpu._ext.Buffer";
  static constexpr const char* kDoc = "Memory of the CPU device, freed with its last reference.";
  explicit Memory(size_t nbytes) : data(static_cast<char*>(allocate(nbytes))), nbytes(nbytes) {}
  ~Memory() { release(data, nbytes); }
  char* const data;
  const size_t nbytes;
  Copies copies;

  static PyGetSetDef* properties();
  void lent() { copies.shared(); }
  void addressed() { copies.shared(); }
};
using Buffer = BufferType<Memory>;

constexpr int64_t kReleaseAbove = 1 << 15;  // elements of all operands: more work than this is done without the GIL

}  // namespace needle

#endif  // NEEDLE_CPU_PYTHON_H
