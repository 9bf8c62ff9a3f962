#include "python.h"

#include <new>

namespace needle {
namespace {

void deallocate(PyObject* self) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  if (buffer->data != nullptr) release(buffer->data, static_cast<size_t>(buffer->nbytes));
  PyObject_Free(self);
  Py_DECREF(type);
}

int get_bytes(PyObject* self, Py_buffer* view, int flags) {
  BufferObject* buffer = reinterpret_cast<BufferObject*>(self);
  return PyBuffer_FillInfo(view, self, buffer->data, buffer->nbytes, 0, flags);
}

PyObject* pointer(PyObject* self, PyObject*) { return PyLong_FromVoidPtr(reinterpret_cast<BufferObject*>(self)->data); }

PyTypeObject* make_buffer_type() {
  static PyMemberDef members[] = {
      {"nbytes", T_PYSSIZET, offsetof(BufferObject, nbytes), READONLY, "Bytes asked for."},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyMethodDef methods[] = {
      {"ptr", pointer, METH_NOARGS, "The address of the first byte."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Memory of the Metal device, freed with its last reference.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_bytes)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"needle_backend_msl._ext.Buffer", sizeof(BufferObject), 0,
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
  char* data = allocate(static_cast<size_t>(nbytes));
  BufferObject* buffer = PyObject_New(BufferObject, buffer_type());
  if (buffer == nullptr) {
    release(data, static_cast<size_t>(nbytes));
    throw PythonError();
  }
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
  } catch (const KernelFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", error.op.c_str(), error.what()));
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

char* buffer_memory(PyObject* buffer) {
  if (Py_TYPE(buffer) == buffer_type()) return reinterpret_cast<BufferObject*>(buffer)->data;
  PyErr_SetString(PyExc_TypeError, "the view's buffer is not of this device");
  throw PythonError();
}

// Encoding takes microseconds and keeps the GIL; waits give it up.
void* before_call(const char* method, int64_t) {
  begin(method);
  return nullptr;
}

void after_call(void*) {}

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()) {}
WithoutGil::~WithoutGil() { PyEval_RestoreThread(static_cast<PyThreadState*>(state_)); }

}  // namespace needle
