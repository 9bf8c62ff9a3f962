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

template <auto function, uint32_t written> struct PreparedCall;

template <class... Parameters, void (*function)(Parameters...), uint32_t written>
struct PreparedCall<function, written> final : Prepared {
  std::tuple<Argument<std::decay_t<Parameters>>...> arguments;

  template <size_t... i>
  PreparedCall(PyObject* const* objects, Moving& moving, std::index_sequence<i...>) : arguments{objects[i]...} {
    weight = (std::get<i>(arguments).weight + ... + int64_t{0});
    (note_moving(std::get<i>(arguments), objects[i], moving), ...);
  }

  void run() const override {
    const Writing<written, decltype(arguments)> writing(arguments);
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
  uint32_t written;  // bit i: argument i, where the backend says which arguments its kernels write
};

template <auto function, uint32_t written = 0> Kernel kernel(const char* name) {
  return {method<function, written>(name), PreparedCall<function, written>::prepare, written};
}

// Calls of a backend's methods, in order.
class Sequence {
 public:
  // `calls` is a list of tuples of arguments, `prepares` how each is prepared; `moving` a list of views. All objects
  // are kept alive.
  Sequence(PyObject* calls, const std::vector<Prepare>& prepares, PyObject* moving)
      : prepares_(prepares), moving_{Py_NewRef(moving)}, places_(prepares.size()) {
    prepared_.resize(prepares.size());
    for (size_t i = 0; i < prepares.size(); ++i) {
      calls_.emplace_back(nullptr);
      replace(i, PyList_GET_ITEM(calls, static_cast<Py_ssize_t>(i)));
    }
  }

  size_t size() const { return prepared_.size(); }

  // Other arguments for a call, with the same views.
  void replace(size_t call, PyObject* arguments) {
    if (!PyTuple_Check(arguments)) {
      PyErr_SetString(PyExc_TypeError, "a tuple of arguments is expected");
      throw PythonError();
    }
    Moving views;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(moving_.object); ++i) views[PyList_GET_ITEM(moving_.object, i)];
    auto prepared = prepares_.at(call)(&PyTuple_GET_ITEM(arguments, 0), PyTuple_GET_SIZE(arguments), views);
    weight_ += prepared->weight - (prepared_[call] == nullptr ? 0 : prepared_[call]->weight);
    prepared_[call] = std::move(prepared);
    calls_[call] = Owned{Py_NewRef(arguments)};
    moving_places_ -= places_[call].size();
    places_[call].clear();
    for (const auto& [object, found] : views) {
      for (View* view : found) places_[call].push_back({object, view, byte_offset(object)});
    }
    moving_places_ += places_[call].size();
  }

  // Points the moving views at the buffers that they have now, and gives these; `moved`: whether any had another.
  std::vector<Owned> bind(bool* moved = nullptr) {
    std::vector<Owned> held;
    held.reserve(moving_places_);
    for (const std::vector<Place>& places : places_) {
      for (const Place& place : places) {
        held.emplace_back(buffer_of(place.object));
        char* const data = buffer_memory(held.back().object) + place.offset;
        if (moved != nullptr) *moved = *moved || place.view->data != data;
        place.view->data = data;
        place.view->owner = held.back().object;
      }
    }
    return held;
  }

  void run_call(size_t call) const { prepared_[call]->run(); }

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

  std::vector<Prepare> prepares_;
  Owned moving_;
  std::vector<Owned> calls_;
  std::vector<std::unique_ptr<Prepared>> prepared_;
  std::vector<std::vector<Place>> places_;  // of the moving views, by call
  size_t moving_places_ = 0;
  int64_t weight_ = 0;
};

}  // namespace needle

#endif  // NEEDLE_SEQUENCE_H
