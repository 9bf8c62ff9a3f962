#include "python.h"

#include <new>

#include "buffer.h"

namespace needle {
namespace {

void deallocate(PyObject* self) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  buffer->copies.~Copies();
  if (buffer->data != nullptr) release(buffer->data, static_cast<size_t>(buffer->nbytes));
  PyObject_Free(self);
  Py_DECREF(type);
}

int get_bytes(PyObject* self, Py_buffer* view, int flags) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  buffer->copies.exported();
  const int failed = PyBuffer_FillInfo(view, self, buffer->data, buffer->nbytes, 0, flags);
  if (failed != 0) buffer->copies.released();
  return failed;
}

void release_bytes(PyObject* self, Py_buffer*) { reinterpret_cast<BufferObject*>(self)->copies.released(); }

// Whoever knows the address may write at any time, so that this is never taken back.
PyObject* pointer(PyObject* self, PyObject*) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  buffer->copies.exported();
  return PyLong_FromVoidPtr(buffer->data);
}

PyObject* packed(PyObject* self, void*) {
  return PyLong_FromSize_t(reinterpret_cast<BufferObject*>(self)->copies.nbytes());
}

PyTypeObject* make_buffer_type() {
  static PyMemberDef members[] = {
      {"nbytes", T_PYSSIZET, offsetof(BufferObject, nbytes), READONLY, "Bytes asked for."},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyMethodDef methods[] = {
      {"ptr", pointer, METH_NOARGS, "The address of the first byte."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyGetSetDef properties[] = {
      {"packed", packed, nullptr, "Bytes of the packed copies of what is in it.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Memory of the CPU device, freed with its last reference.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {Py_tp_getset, properties},
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_bytes)},
      {Py_bf_releasebuffer, reinterpret_cast<void*>(release_bytes)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"needle_backend_cpu._ext.Buffer", sizeof(BufferObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) throw PythonError();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

PyTypeObject* buffer_type() {
  static PyTypeObject* const type = make_buffer_type();
  return type;
}

PyObject* new_buffer(Py_ssize_t nbytes) {
  if (nbytes < 0) throw std::invalid_argument("allocate: a negative number of bytes");
  void* data = allocate(static_cast<size_t>(nbytes));
  BufferObject* buffer = PyObject_New(BufferObject, buffer_type());
  if (buffer == nullptr) {
    release(data, static_cast<size_t>(nbytes));
    throw PythonError();
  }
  new (&buffer->copies) Copies;
  buffer->data = data;
  buffer->nbytes = nbytes;
  return reinterpret_cast<PyObject*>(buffer);
}

BufferObject* as_buffer(PyObject* object) {
  if (Py_TYPE(object) == buffer_type()) return reinterpret_cast<BufferObject*>(object);
  PyErr_SetString(PyExc_TypeError, "not a buffer of this device");
  throw PythonError();
}

void set_python_error() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const OutOfMemory& error) {
    raise_needle_error("OutOfMemoryError", Py_BuildValue("(KK)", static_cast<unsigned long long>(error.requested),
                                                         static_cast<unsigned long long>(error.free)));
  } catch (const IndexOutOfRange& error) {
    raise_needle_error("IndexRangeError", Py_BuildValue("(s)", error.what()));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

char* buffer_memory(PyObject* buffer) {
  if (Py_TYPE(buffer) == buffer_type()) return static_cast<char*>(reinterpret_cast<BufferObject*>(buffer)->data);
  PyErr_SetString(PyExc_TypeError, "the view's buffer is not of this device");
  throw PythonError();
}

void memory_written(void* owner) {
  if (owner != nullptr) static_cast<BufferObject*>(owner)->copies.written();
}

Copies* copies_of(const View& view) {
  BufferObject* const buffer = static_cast<BufferObject*>(view.owner);
  if (buffer == nullptr) return nullptr;
  const char *data = view.as<char>(), *first = static_cast<char*>(buffer->data);
  return data >= first && data < first + buffer->nbytes ? &buffer->copies : nullptr;
}

// Long work is done without the GIL.
void* before_call(const char*, int64_t weight) { return weight > kReleaseAbove ? PyEval_SaveThread() : nullptr; }

void after_call(void* state) {
  if (state != nullptr) PyEval_RestoreThread(static_cast<PyThreadState*>(state));
}

}  // namespace needle
