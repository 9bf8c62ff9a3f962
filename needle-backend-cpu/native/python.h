// From Python's objects to the arguments of ops.h, by the C API: an op on small arrays must not pay for its call.
#ifndef NEEDLE_CPU_PYTHON_H
#define NEEDLE_CPU_PYTHON_H

#include <Python.h>

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "ops.h"

namespace needle {

// Memory as Python holds it: nbytes, ptr(), and the buffer protocol over its writable bytes.
struct BufferObject {
  PyObject_HEAD void* data;
  Py_ssize_t nbytes;
};

PyTypeObject* buffer_type();
PyObject* new_buffer(Py_ssize_t nbytes);
BufferObject* as_buffer(PyObject* object);  // throws PythonError if it is none

struct PythonError {};                      // a Python exception is set
void set_python_error();                    // from the C++ exception being handled
constexpr int64_t kReleaseAbove = 1 << 15;  // elements of all operands: more work than this is done without the GIL

// One argument, converted, and what must stay alive with it. `weight` is the number of elements.
template <class T, class = void> struct Argument;

template <class T> struct Argument<T, std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>>> {
  T value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object) {
    if constexpr (std::is_same_v<T, bool>) {
      const int truth = object == Py_True ? 1 : object == Py_False ? 0 : PyObject_IsTrue(object);
      if (truth < 0) throw PythonError();
      value = truth != 0;
    } else if constexpr (std::is_unsigned_v<T>) {
      value = PyLong_AsUnsignedLongLongMask(object);
      if (value == static_cast<T>(-1) && PyErr_Occurred() != nullptr) throw PythonError();
    } else {
      const long long number = PyLong_AsLongLong(object);
      if (number == -1 && PyErr_Occurred() != nullptr) throw PythonError();
      value = static_cast<T>(number);
    }
  }
};

template <> struct Argument<double> {
  double value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object) : value(PyFloat_AsDouble(object)) {
    if (value == -1.0 && PyErr_Occurred() != nullptr) throw PythonError();
  }
};

template <> struct Argument<Scalar> {
  Scalar value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object);
};

template <> struct Argument<std::optional<Unary>> {
  std::optional<Unary> value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object) {
    if (object != Py_None) value = Argument<Unary>(object).value;
  }
};

template <> struct Argument<Pair> {
  Pair value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object);
};

template <> struct Argument<View> {
  View value;
  int64_t weight;
  explicit Argument(PyObject* object);
  ~Argument() { Py_XDECREF(buffer_); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

 private:
  PyObject* buffer_;
};

template <> struct Argument<ShapedView> {
  ShapedView value;
  int64_t weight;
  explicit Argument(PyObject* object);
  ~Argument() { Py_XDECREF(buffer_); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

 private:
  PyObject* buffer_ = nullptr;
};

template <> struct Argument<std::vector<View>> {
  std::vector<View> value;
  int64_t weight = 0;
  explicit Argument(PyObject* object);
  ~Argument() { Py_XDECREF(items_); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

 private:
  PyObject* items_;  // holds the views, which hold their buffers
};

template <> struct Argument<Expression> {
  Expression value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object);
  ~Argument() { Py_XDECREF(packed_); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

 private:
  PyObject* packed_;
};

template <> struct Argument<std::vector<Scalar>> {
  std::vector<Scalar> value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object);
};

// `call<&f>` is f as a METH_FASTCALL function: it converts the arguments by f's signature, calls f, releasing the GIL
// if the operands are large, and turns C++ exceptions into Python's. f returns void.
template <auto function> struct Caller;

template <class... Parameters, void (*function)(Parameters...)> struct Caller<function> {
  template <size_t... i> static void run(PyObject* const* objects, std::index_sequence<i...>) {
    const std::tuple<Argument<std::decay_t<Parameters>>...> arguments{objects[i]...};
    if ((std::get<i>(arguments).weight + ... + int64_t{0}) <= kReleaseAbove) {
      function(std::get<i>(arguments).value...);
      return;
    }
    struct Unlocked {
      PyThreadState* state = PyEval_SaveThread();
      ~Unlocked() { PyEval_RestoreThread(state); }
    } unlocked;
    function(std::get<i>(arguments).value...);
  }

  static PyObject* call(PyObject*, PyObject* const* objects, Py_ssize_t count) {
    constexpr Py_ssize_t expected = sizeof...(Parameters);
    if (count != expected) return PyErr_Format(PyExc_TypeError, "%zd arguments expected, got %zd", expected, count);
    try {
      run(objects, std::index_sequence_for<Parameters...>());
    } catch (...) {
      set_python_error();
      return nullptr;
    }
    Py_RETURN_NONE;
  }
};

template <auto function> PyMethodDef method(const char* name) {
  using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
  const Function call = Caller<function>::call;
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL, nullptr};
}

}  // namespace needle

#endif  // NEEDLE_CPU_PYTHON_H
