// Python's view of this device's memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_CPU_PYTHON_H
#define NEEDLE_CPU_PYTHON_H

#include <needle/python.h>

#include "ops.h"
#include "packed.h"

namespace needle {

// Memory as Python holds it: nbytes, ptr(), and the buffer protocol over its writable bytes.
struct BufferObject {
  PyObject_HEAD void* data;
  Py_ssize_t nbytes;
  Copies copies;
};

PyTypeObject* buffer_type();
PyObject* new_buffer(Py_ssize_t nbytes);
BufferObject* as_buffer(PyObject* object);  // throws PythonError if it is none

constexpr int64_t kReleaseAbove = 1 << 15;  // elements of all operands: more work than this is done without the GIL

}  // namespace needle

#endif  // NEEDLE_CPU_PYTHON_H
