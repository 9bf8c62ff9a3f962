// A backend's methods by name: as functions of its extension, and prepared as parts of a Sequence.
#ifndef NEEDLE_METHODS_H
#define NEEDLE_METHODS_H

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sequence.h"

namespace needle {

// `{kernel<&copy>("copy"), ...}`, made once: Python keeps pointers into it.
class Methods {
 public:
  explicit Methods(std::vector<Kernel> kernels) : kernels_(std::move(kernels)) {}

  // Puts them into an extension, with its `allocate`; not 0 if a Python exception is set.
  int add_to(PyObject* module, const PyMethodDef& allocate) {
    functions_ = {allocate};
    for (const Kernel& kernel : kernels_) functions_.push_back(kernel.method);
    functions_.push_back({nullptr, nullptr, 0, nullptr});
    return PyModule_AddFunctions(module, functions_.data());
  }

  // Of pairs of a name and a tuple of arguments, as pybind11 gives them; `moving`: a list of the views whose buffers
  // change between runs.
  template <class Calls> std::unique_ptr<Sequence> sequence(const Calls& calls, PyObject* moving) const {
    std::vector<Prepare> prepares;
    const Owned arguments{PyList_New(0)};
    if (arguments.object == nullptr) throw PythonError();
    for (const auto& [name, given] : calls) {
      prepares.push_back(of(name).prepare);
      if (PyList_Append(arguments.object, given.ptr()) != 0) throw PythonError();
    }
    return std::make_unique<Sequence>(arguments.object, prepares, moving);
  }

  const std::vector<Kernel>& kernels() const { return kernels_; }

 private:
  const Kernel& of(const std::string& name) const {
    for (const Kernel& kernel : kernels_) {
      if (name == kernel.method.ml_name) return kernel;
    }
    throw std::invalid_argument("sequence: no method " + name);
  }

  std::vector<Kernel> kernels_;
  std::vector<PyMethodDef> functions_;
};

}  // namespace needle

#endif  // NEEDLE_METHODS_H
