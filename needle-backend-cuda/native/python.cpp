#include "python.h"

namespace needle {
namespace {

PyObject* index(PyObject* self, void*) { return PyLong_FromLong(Buffer::of(self).runtime.index); }

void raise_out_of_memory(const OutOfMemory& error) {
  PyObject* note =
      PyUnicode_FromFormat("Needle holds %zu bytes of the card; free arrays, or make the batch smaller", error.held);
  raise_needle_error("OutOfMemoryError", Py_BuildValue("(KKN)", static_cast<unsigned long long>(error.requested),
                                                       static_cast<unsigned long long>(error.free), note));
}

}  // namespace

PyGetSetDef* Memory::properties() {
  static PyGetSetDef defined[] = {
      {"index", index, nullptr, "The device's index.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  return defined;
}

char* buffer_memory(PyObject* object) {
  const Memory& memory = Buffer::of(object);
  set_runtime(memory.runtime);
  return memory.data;
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
  } catch (const OutOfMemory& error) {
    raise_out_of_memory(error);
  } catch (const KernelFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", error.op.c_str(), error.what()));
  } catch (const LibraryFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", current_op(), error.what()));
  } catch (...) {
    set_standard_error();
  }
}

}  // namespace needle
