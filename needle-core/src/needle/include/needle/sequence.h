// Many calls of kernels, prepared once and run again and again without Python between them.
#ifndef NEEDLE_SEQUENCE_H
#define NEEDLE_SEQUENCE_H

#include <memory>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python.h"

namespace needle {

// Views whose buffers change between the runs: by Python object, where the calls keep what they read of it.
using Moving = std::unordered_map<PyObject*, std::vector<View*>>;

// One call with its arguments converted.
struct Prepared {
  int64_t weight = 0;  // elements of all operands
  virtual ~Prepared() = default;
  virtual void run() const = 0;
};

using Prepare = std::unique_ptr<Prepared> (*)(PyObject* const* objects, Py_ssize_t count, Moving& moving);

template <class T> void note_moving(Argument<T>&, PyObject*, Moving&) {}

inline void note_view(View& view, PyObject* object, Moving& moving) {
  const auto found = moving.find(object);
  if (found != moving.end()) found->second.push_back(&view);
}
inline void note_moving(Argument<View>& argument, PyObject* object, Moving& moving) {
  note_view(argument.value, object, moving);
}
inline void note_moving(Argument<ShapedView>& argument, PyObject* object, Moving& moving) {
  note_view(argument.value, object, moving);
}
inline void note_moving(Argument<std::vector<View>>& argument, PyObject* object, Moving& moving) {
  for (size_t i = 0; i < argument.value.size(); ++i) {
    const Owned item{PySequence_GetItem(object, static_cast<Py_ssize_t>(i))};  // the sequence goes on holding it
    note_view(argument.value[i], item.object, moving);
  }
}

template <auto function> struct PreparedCall;

template <class... Parameters, void (*function)(Parameters...)> struct PreparedCall<function> final : Prepared {
  std::tuple<Argument<std::decay_t<Parameters>>...> arguments;

  template <size_t... i>
  PreparedCall(PyObject* const* objects, Moving& moving, std::index_sequence<i...>) : arguments{objects[i]...} {
    weight = (std::get<i>(arguments).weight + ... + int64_t{0});
    (note_moving(std::get<i>(arguments), objects[i], moving), ...);
  }

  void run() const override {
    std::apply([](const auto&... argument) { function(argument.value...); }, arguments);
  }

  static std::unique_ptr<Prepared> prepare(PyObject* const* objects, Py_ssize_t count, Moving& moving) {
    constexpr size_t expected = sizeof...(Parameters);
    if (count != static_cast<Py_ssize_t>(expected)) {
      PyErr_Format(PyExc_TypeError, "%zu arguments expected, got %zd", expected, count);
      throw PythonError();
    }
    return std::make_unique<PreparedCall>(objects, moving, std::index_sequence_for<Parameters...>());
  }
};

// A backend's method, in both uses: called from Python, and prepared.
struct Kernel {
  PyMethodDef method;
  Prepare prepare;
};

template <auto function> Kernel kernel(const char* name) {
  return {method<function>(name), PreparedCall<function>::prepare};
}

// Calls of a backend's methods, in order.
class Sequence {
 public:
  // `calls` is a list of tuples of arguments, `prepares` how each is prepared; `moving` a list of views. All objects
  // are kept alive.
  Sequence(PyObject* calls, const std::vector<Prepare>& prepares, PyObject* moving)
      : calls_{Py_NewRef(calls)}, moving_{Py_NewRef(moving)} {
    Moving views;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(moving); ++i) views[PyList_GET_ITEM(moving, i)];
    for (size_t i = 0; i < prepares.size(); ++i) {
      PyObject* call = PyList_GET_ITEM(calls, static_cast<Py_ssize_t>(i));
      if (!PyTuple_Check(call)) {
        PyErr_SetString(PyExc_TypeError, "a tuple of arguments is expected");
        throw PythonError();
      }
      prepared_.push_back(prepares[i](&PyTuple_GET_ITEM(call, 0), PyTuple_GET_SIZE(call), views));
      weight_ += prepared_.back()->weight;
    }
    for (const auto& [object, found] : views) {
      for (View* view : found) places_.push_back({object, view, byte_offset(object)});
    }
  }

  void run() {
    const std::vector<Owned> held = bind();
    const CallScope scope("sequence", weight_);
    for (const auto& call : prepared_) call->run();
  }

 private:
  struct Place {
    PyObject* object;
    View* view;
    int64_t offset;  // bytes of the buffer before the view
  };

  // Points the moving views at the buffers that they have now, and gives these.
  std::vector<Owned> bind() {
    std::vector<Owned> held;
    held.reserve(places_.size());
    for (const Place& place : places_) {
      held.emplace_back(buffer_of(place.object));
      place.view->data = buffer_memory(held.back().object) + place.offset;
    }
    return held;
  }

  Owned calls_, moving_;
  std::vector<std::unique_ptr<Prepared>> prepared_;
  std::vector<Place> places_;
  int64_t weight_ = 0;
};

}  // namespace needle

#endif  // NEEDLE_SEQUENCE_H
