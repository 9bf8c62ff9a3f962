#include "python.h"

namespace needle {

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

// Long work is done without the GIL.
void* before_call(const char*, int64_t weight) { return weight > kReleaseAbove ? PyEval_SaveThread() : nullptr; }

void after_call(void* state) {
  if (state != nullptr) PyEval_RestoreThread(static_cast<PyThreadState*>(state));
}

}  // namespace needle
