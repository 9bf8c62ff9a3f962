#include "python.h"

namespace needle {

void set_python_error() {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    raise_needle_error("OutOfMemoryError", Py_BuildValue("(KK)", static_cast<unsigned long long>(error.requested),
                                                         static_cast<unsigned long long>(error.free)));
  } catch (const KernelFailure& error) {
    raise_needle_error("KernelError", Py_BuildValue("(ss)", error.op.c_str(), error.what()));
  } catch (...) {
    set_standard_error();
  }
}

char* buffer_memory(PyObject* buffer) { return Buffer::of(buffer).data; }

// Encoding takes microseconds and keeps the GIL; waits give it up.
void* before_call(const char* method, int64_t) {
  begin(method);
  return nullptr;
}

void after_call(void*) {}

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()) {}
WithoutGil::~WithoutGil() { PyEval_RestoreThread(static_cast<PyThreadState*>(state_)); }

}  // namespace needle
