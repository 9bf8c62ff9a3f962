// Python's view of this device's memory, and of the errors of this backend; the rest is needle/python.h.
#ifndef NEEDLE_MSL_PYTHON_H
#define NEEDLE_MSL_PYTHON_H

#include <needle/python.h>

#include "ops.h"
#include "runtime.h"

namespace needle {

// Memory as Python holds it: nbytes, ptr(), and the buffer protocol over its writable bytes.
struct BufferObject {
  PyObject_HEAD char* data;
  Py_ssize_t nbytes;
};

PyTypeObject* buffer_type();
PyObject* new_buffer(Py_ssize_t nbytes);
BufferObject* as_buffer(PyObject* object);  // throws PythonError if it is none

}  // namespace needle

#endif  // NEEDLE_MSL_PYTHON_H
