#include "python.h"

namespace needle {
namespace {

PyObject* packed(PyObject* self, void*) { return PyLong_FromSize_t(Buffer::of(self).copies.nbytes()); }

}  // namespace

PyGetSetDef* Memory::properties() {
  static PyGetSetDef own[] = {
      {"packed", packed, nullptr, "Bytes of the packed copies of what is in it.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  return own;
}

void set_python_error() {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    raise_needle_error("OutOfMemoryError", Py_BuildValue("(KK)", static_cast<unsigned long long>(error.requested),
                                                         static_cast<unsigned long long>(error.free)));
  } catch (const IndexOutOfRange& error) {
    raise_needle_error("IndexRangeError", Py_BuildValue("(s)", error.what()));
  } catch (...) {
    set_standard_error();
  }
}

char* buffer_memory(PyObject* buffer) { return Buffer::of(buffer).data; }

void memory_written(void* owner) {
  if (owner != nullptr) Buffer::of(static_cast<PyObject*>(owner)).copies.written();
}

Copies* copies_of(const View& view) {
  if (view.owner == nullptr) return nullptr;
  Memory& memory = Buffer::of(static_cast<PyObject*>(view.owner));
  const char* data = view.as<char>();
  return data >= memory.data && data < memory.data + memory.nbytes ? &memory.copies : nullptr;
}

// Long work is done without the GIL.
void* before_call(const char*, int64_t weight) { return weight > kReleaseAbove ? PyEval_SaveThread() : nullptr; }

void after_call(void* state) {
  if (state != nullptr) PyEval_RestoreThread(static_cast<PyThreadState*>(state));
}

}  // namespace needle
