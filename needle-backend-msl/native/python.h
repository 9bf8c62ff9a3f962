// Python's view of this device's memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_MSL_PYTHON_H
#define NEEDLE_MSL_PYTHON_H

#include <needle/buffer_type.h>

#include "ops.h"
#include "runtime.h"

namespace needle {

struct Memory : MemoryDefaults {
  static constexpr const char* kName = "needle_backend_msl._ext.Buffer";
  static constexpr const char* kDoc = "Memory of the Metal device, freed with its last reference.";
  explicit Memory(size_t nbytes) : data(allocate(nbytes)), nbytes(nbytes) {}
  ~Memory() { release(data, nbytes); }
  char* const data;
  const size_t nbytes;
};
using Buffer = BufferType<Memory>;

}  // namespace needle

#endif  // NEEDLE_MSL_PYTHON_H
