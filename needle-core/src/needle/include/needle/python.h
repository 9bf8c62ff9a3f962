// From Python's objects to the arguments of a backend's methods, by the C API: an op on small arrays must not pay for
// its call. For extensions of C++17; the backend says what its buffers are by the functions declared first.
#ifndef NEEDLE_PYTHON_H
#define NEEDLE_PYTHON_H

#include <Python.h>
#include <structmember.h>

#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "arguments.h"
#include "functors.h"

namespace needle {

struct PythonError {};  // a Python exception is set

// The backend defines these. Between the first two a kernel runs; what `before_call` gives is handed to `after_call`.
void* before_call(const char* method, int64_t weight);  // the arguments are read; weight: elements of all of them
void after_call(void* state);
char* buffer_memory(PyObject* buffer);  // its first byte; throws PythonError if it is not this device's
void set_python_error();                // from the C++ exception being handled
void memory_written(void* owner);       // by backends that say which arguments their kernels write: before and after

class CallScope {
 public:
  CallScope(const char* method, int64_t weight) : state_(before_call(method, weight)) {}
  ~CallScope() { after_call(state_); }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  void* state_;
};

struct Owned {  // a reference that ends with the scope
  PyObject* object;
  explicit Owned(PyObject* reference) : object(reference) {}
  Owned(Owned&& other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { Py_XDECREF(object); }
};

// needle.errors.<name>(*arguments); a reference to `arguments` is taken over.
inline void raise_needle_error(const char* name, PyObject* arguments) {
  const Owned given{arguments}, errors{PyImport_ImportModule("needle.errors")};
  const Owned type{errors.object == nullptr ? nullptr : PyObject_GetAttrString(errors.object, name)};
  const Owned error{type.object == nullptr || arguments == nullptr ? nullptr
                                                                   : PyObject_CallObject(type.object, arguments)};
  if (error.object != nullptr) PyErr_SetObject(type.object, error.object);
}

// The end of a device's `set_python_error`: what standard exceptions are in Python. To be called where one is handled.
inline void set_standard_error() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

// Reads one attribute of objects that keep it in `__slots__`: the slot's place in the object is looked up once per
// type, as PyMemberDef tells it. Objects of any other kind are asked the ordinary way.
class Slot {
 public:
  explicit Slot(const char* name) : name_(PyUnicode_InternFromString(name)) {}

  // A new reference.
  PyObject* get(PyObject* object) {
    if (Py_TYPE(object) != type_) look_up(Py_TYPE(object));
    if (offset_ > 0) {
      PyObject* value = *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset_);
      if (value != nullptr) return Py_NewRef(value);
    }
    PyObject* value = PyObject_GetAttr(object, name_);
    if (value == nullptr) throw PythonError();
    return value;
  }

  int64_t integer(PyObject* object) {
    const Owned value{get(object)};
    const long long number = value.object == Py_True    ? 1
                             : value.object == Py_False ? 0
                                                        : PyLong_AsLongLong(value.object);
    if (number == -1 && PyErr_Occurred() != nullptr) throw PythonError();
    return number;
  }

 private:
  void look_up(PyTypeObject* type) {
    const Owned found{PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name_)};
    PyErr_Clear();
    offset_ = 0;
    if (found.object != nullptr && Py_TYPE(found.object) == &PyMemberDescr_Type) {
      const PyMemberDef* member = reinterpret_cast<PyMemberDescrObject*>(found.object)->d_member;
      if (member->type == T_OBJECT_EX) offset_ = member->offset;
    }
    Py_INCREF(type);  // so that no other type takes its address
    Py_XDECREF(reinterpret_cast<PyObject*>(type_));
    type_ = type;
  }

  PyObject* name_;
  PyTypeObject* type_ = nullptr;
  Py_ssize_t offset_ = 0;
};

inline void read_integers(PyObject* tuple, int64_t* out) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
    out[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, i));
    if (out[i] == -1 && PyErr_Occurred() != nullptr) throw PythonError();
  }
}

inline void read_shape(PyObject* layout, View& view) {
  static Slot shape_slot("shape"), strides_slot("strides");
  const Owned shape{shape_slot.get(layout)}, strides{strides_slot.get(layout)};
  if (!PyTuple_CheckExact(shape.object) || PyTuple_GET_SIZE(shape.object) > kMaxRank) {
    PyErr_Format(PyExc_ValueError, "a shape is a tuple of at most %d sizes", kMaxRank);
    throw PythonError();
  }
  view.rank = static_cast<int32_t>(PyTuple_GET_SIZE(shape.object));
  read_integers(shape.object, view.shape);
  read_integers(strides.object, view.strides);
}

// The buffer of a needle.backend.View, a new reference.
inline PyObject* buffer_of(PyObject* view) {
  static Slot buffer_slot("buffer");
  return buffer_slot.get(view);
}

// The bytes of its buffer before a view.
inline int64_t byte_offset(PyObject* view) {
  static Slot layout_slot("layout"), dtype_slot("dtype"), code_slot("code"), offset_slot("offset");
  const Owned layout{layout_slot.get(view)}, dtype{dtype_slot.get(view)};
  return offset_slot.integer(layout.object) * item_size(static_cast<DType>(code_slot.integer(dtype.object)));
}

// Fills `view` from a needle.backend.View and returns its buffer, a new reference.
inline PyObject* read_view(PyObject* object, View& view, bool shaped) {
  static Slot layout_slot("layout"), dtype_slot("dtype"), code_slot("code");
  static Slot contiguous_slot("contiguous"), size_slot("size"), offset_slot("offset");
  const Owned layout{layout_slot.get(object)}, dtype{dtype_slot.get(object)};
  view.dtype = static_cast<DType>(code_slot.integer(dtype.object));
  view.contiguous = contiguous_slot.integer(layout.object) != 0;
  view.size = size_slot.integer(layout.object);
  if (shaped || !view.contiguous) read_shape(layout.object, view);
  const int64_t offset = offset_slot.integer(layout.object);
  Owned buffer{buffer_of(object)};
  view.data = buffer_memory(buffer.object) + offset * item_size(view.dtype);
  view.owner = buffer.object;
  return std::exchange(buffer.object, nullptr);
}

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
  explicit Argument(PyObject* object) {
    value.is_float = PyFloat_Check(object);
    value.real = Argument<double>(object).value;
    value.integer = value.is_float ? 0 : Argument<int64_t>(object).value;
  }
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
  explicit Argument(PyObject* object) {
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
      PyErr_SetString(PyExc_TypeError, "a pair of integers is expected");
      throw PythonError();
    }
    value.y = Argument<int64_t>(PyTuple_GET_ITEM(object, 0)).value;
    value.x = Argument<int64_t>(PyTuple_GET_ITEM(object, 1)).value;
  }
};

template <class AnyView, bool shaped> struct ViewArgument {
  AnyView value;
  int64_t weight;
  explicit ViewArgument(PyObject* object) : buffer_(read_view(object, value, shaped)) { weight = value.size; }
  ~ViewArgument() { Py_XDECREF(buffer_); }
  ViewArgument(const ViewArgument&) = delete;
  ViewArgument& operator=(const ViewArgument&) = delete;

 private:
  PyObject* buffer_;
};

template <> struct Argument<View> : ViewArgument<View, false> {
  using ViewArgument::ViewArgument;
};

template <> struct Argument<ShapedView> : ViewArgument<ShapedView, true> {
  using ViewArgument::ViewArgument;
};

template <> struct Argument<std::vector<View>> {
  std::vector<View> value;
  int64_t weight = 0;
  explicit Argument(PyObject* object) : items_(PySequence_Fast(object, "a sequence of views")) {
    if (items_ == nullptr) throw PythonError();
    value.resize(static_cast<size_t>(PySequence_Fast_GET_SIZE(items_)));
    for (size_t i = 0; i < value.size(); ++i) {
      // The item's reference to the buffer keeps it alive.
      Py_DECREF(read_view(PySequence_Fast_GET_ITEM(items_, static_cast<Py_ssize_t>(i)), value[i], false));
      weight += value[i].size;
    }
  }
  ~Argument() { Py_XDECREF(items_); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

 private:
  PyObject* items_;  // holds the views, which hold their buffers
};

template <> struct Argument<Expression> {
  Expression value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object) : packed_{PyObject_GetAttrString(object, "packed")} {
    value.packed = packed_.object == nullptr ? nullptr : PyBytes_AsString(packed_.object);
    if (value.packed == nullptr) throw PythonError();
  }

 private:
  Owned packed_;
};

template <> struct Argument<std::vector<Scalar>> {
  std::vector<Scalar> value;
  static constexpr int64_t weight = 0;
  explicit Argument(PyObject* object) {
    if (!PyTuple_Check(object)) {
      PyErr_SetString(PyExc_TypeError, "a tuple of numbers is expected");
      throw PythonError();
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
      value.push_back(Argument<Scalar>(PyTuple_GET_ITEM(object, i)).value);
    }
  }
};

inline void note_written(const Argument<View>& argument) { memory_written(argument.value.owner); }
inline void note_written(const Argument<ShapedView>& argument) { memory_written(argument.value.owner); }
inline void note_written(const Argument<std::vector<View>>& argument) {
  for (const View& view : argument.value) memory_written(view.owner);
}

// Says what a call writes, when it begins and when it has ended: bit i of `written` stands for argument i.
template <uint32_t written, class Arguments> class Writing {
 public:
  explicit Writing(const Arguments& arguments) : arguments_(arguments) { note(Indices()); }
  ~Writing() { note(Indices()); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

 private:
  using Indices = std::make_index_sequence<std::tuple_size_v<std::remove_const_t<Arguments>>>;

  template <size_t... i> void note(std::index_sequence<i...>) const { (note_one<i>(), ...); }
  template <size_t i> void note_one() const {
    if constexpr ((written >> i & 1) != 0) note_written(std::get<i>(arguments_));
  }

  const Arguments& arguments_;
};

// `call<&f>` is f as a METH_FASTCALL function: it converts the arguments by f's signature, calls f, and turns C++
// exceptions into Python's. f returns void or bool.
template <auto function, uint32_t written> struct Caller;

template <class Result, class... Parameters, Result (*function)(Parameters...), uint32_t written>
struct Caller<function, written> {
  static inline const char* name = "";

  template <size_t... i> static PyObject* run(PyObject* const* objects, std::index_sequence<i...>) {
    const std::tuple<Argument<std::decay_t<Parameters>>...> arguments{objects[i]...};
    const Writing<written, decltype(arguments)> writing(arguments);
    const CallScope scope(name, (std::get<i>(arguments).weight + ... + int64_t{0}));
    if constexpr (std::is_same_v<Result, bool>) {
      return PyBool_FromLong(function(std::get<i>(arguments).value...));
    } else {
      function(std::get<i>(arguments).value...);
      Py_RETURN_NONE;
    }
  }

  static PyObject* call(PyObject*, PyObject* const* objects, Py_ssize_t count) {
    constexpr Py_ssize_t expected = sizeof...(Parameters);
    if (count != expected) return PyErr_Format(PyExc_TypeError, "%zd arguments expected, got %zd", expected, count);
    try {
      return run(objects, std::index_sequence_for<Parameters...>());
    } catch (...) {
      set_python_error();
      return nullptr;
    }
  }
};

template <auto function, uint32_t written = 0> PyMethodDef method(const char* name) {
  using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
  Caller<function, written>::name = name;
  const Function call = Caller<function, written>::call;
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL, nullptr};
}

}  // namespace needle

#endif  // NEEDLE_PYTHON_H
