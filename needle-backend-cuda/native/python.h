// Python's view of device memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_CUDA_PYTHON_H
#define NEEDLE_CUDA_PYTHON_H

#include <needle/python.h>

#include "ops.h"
#include "runtime.h"

namespace needle {

// Memory as Python holds it: nbytes, device, ptr().
struct BufferObject {
  PyObject_HEAD char* data;
  Py_ssize_t nbytes;
  int index;
  Runtime* runtime;
  Block* block;
};

PyTypeObject* buffer_type();
PyObject* new_buffer(Runtime& runtime, Py_ssize_t nbytes);
BufferObject* as_buffer(PyObject* object);  // throws PythonError if it is none

}  // namespace needle

#endif  // NEEDLE_CUDA_PYTHON_H
