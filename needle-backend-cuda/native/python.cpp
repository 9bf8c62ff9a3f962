#include "python.h"

#include <new>

namespace needle {
namespace {

void deallocate(PyObject* self) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  if (buffer->block != nullptr) buffer->runtime->memory.release(buffer->block);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* pointer(PyObject* self, PyObject*) { return PyLong_FromVoidPtr(reinterpret_cast<BufferObject*>(self)->data); }

PyTypeObject* make_buffer_type() {
  static PyMemberDef members[] = {
      {"nbytes", T_PYSSIZET, offsetof(BufferObject, nbytes), READONLY, "Bytes asked for."},
      {"index", T_INT, offsetof(BufferObject, index), READONLY, "The device's index."},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyMethodDef methods[] = {
      {"ptr", pointer, METH_NOARGS, "The device address of the first byte."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Memory of a CUDA device, freed with its last reference.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {0, nullptr},
  };
  static PyType_Spec spec = {"needle_backend_cuda._ext.Buffer", sizeof(BufferObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) throw PythonError();
  return reinterpret_cast<PyTypeObject*>(type);
}

void raise_out_of_memory(const OutOfMemory& error) {
  PyObject* note =
      PyUnicode_FromFormat("Needle holds %zu bytes of the card; free arrays, or make the batch smaller", error.held);
  raise_needle_error("OutOfMemoryError", Py_BuildValue("(KKN)", static_cast<unsigned long long>(error.requested),
                                                       static_cast<unsigned long long>(error.free), note));
}

}  // namespace

PyTypeObject* buffer_type() {
  static PyTypeObject* const type = make_buffer_type();
  return type;
}

PyObject* new_buffer(Runtime& runtime, Py_ssize_t nbytes) {
  if (nbytes < 0) throw std::invalid_argument("allocate: a negative number of bytes");
  Block* block = runtime.memory.allocate(static_cast<size_t>(nbytes));
  BufferObject* buffer = PyObject_New(BufferObject, buffer_type());
  if (buffer == nullptr) {
    runtime.memory.release(block);
    throw PythonError();
  }
  buffer->data = block->data;
  buffer->nbytes = nbytes;
  buffer->index = runtime.index;
  buffer->runtime = &runtime;
  buffer->block = block;
  return reinterpret_cast<PyObject*>(buffer);
}

BufferObject* as_buffer(PyObject* object) {
  if (Py_TYPE(object) == buffer_type()) return reinterpret_cast<BufferObject*>(object);
  PyErr_SetString(PyExc_TypeError, "not a buffer of a CUDA device");
  throw PythonError();
}

char* buffer_memory(PyObject* object) {
  BufferObject* buffer = as_buffer(object);
  set_runtime(*buffer->runtime);
  return buffer->data;
}

// Kernels are only queued here, which is too short to release the GIL for: it is the lock of all that is not a queue.
void* before_call(const char* method, int64_t) {
  runtime().begin(method);
  return nullptr;
}

void after_call(void*) {}

void set_python_error() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const OutOfMemory& error) {
    raise_out_of_memory(error);
  } catch (const KernelFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", error.op.c_str(), error.what()));
  } catch (const LibraryFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", current_op(), error.what()));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace needle
