// What needle/python.h asks of a backend, by way of needle-backend-msl.
#include <needle/python.h>

#include <new>
#include <stdexcept>

#include "bridge.h"

namespace needle {
namespace {

const Bridge* taken = nullptr;

}  // namespace

const Bridge& bridge() { return *taken; }

void take_bridge() {
  const Owned msl{PyImport_ImportModule("needle_backend_msl._ext")};
  const Owned capsule{checked(msl.object == nullptr ? nullptr : PyObject_GetAttrString(msl.object, "bridge"))};
  taken = static_cast<const Bridge*>(checked(PyCapsule_GetPointer(capsule.object, kBridgeName)));
  if (taken->version == kBridgeVersion) return;
  PyErr_Format(PyExc_ImportError,
               "needle-backend-mps was built for version %u of needle-backend-msl's bridge, the one installed has %u: "
               "install both anew",
               kBridgeVersion, taken->version);
  throw PythonError();
}

void set_python_error() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const std::exception&) {
    set_standard_error();
  } catch (...) {  // Objective-C's exceptions pass through C++
    PyErr_SetString(PyExc_RuntimeError, "mps: Metal Performance Shaders threw an exception; the log tells which");
  }
}

char* buffer_memory(PyObject* buffer) { return checked(bridge().memory(buffer)); }

void* before_call(const char* method, int64_t) {
  bridge().begin(method);
  return nullptr;
}

void after_call(void*) {}

}  // namespace needle
