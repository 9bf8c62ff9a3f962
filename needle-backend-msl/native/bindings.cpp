// The extension's face: names on one side, functions of ops.h on the other. See _ext.pyi for the types.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bridge.h"
#include "python.h"

namespace py = pybind11;
using namespace needle;

namespace {

PyObject* allocate_buffer(PyObject*, PyObject* nbytes) {
  try {
    return new_buffer(static_cast<Py_ssize_t>(Argument<int64_t>(nbytes).value));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

PyMethodDef kernel_methods[] = {
    {"allocate", allocate_buffer, METH_O, nullptr},
    method<&copy>("copy"),
    method<&cast>("cast"),
    method<&unary>("unary"),
    method<&binary>("binary"),
    method<&binary_scalar>("binary_scalar"),
    method<&where>("where"),
    method<&reduce>("reduce"),
    method<&argmax>("argmax"),
    method<&cumsum>("cumsum"),
    method<&softmax>("softmax"),
    method<&log_softmax>("log_softmax"),
    method<&softmax_grad>("softmax_grad"),
    method<&log_softmax_grad>("log_softmax_grad"),
    method<&cross_entropy>("cross_entropy"),
    method<&cross_entropy_grad>("cross_entropy_grad"),
    method<&matmul>("matmul"),
    method<&matmul_naive>("matmul_naive"),
    method<&matmul_tiled>("matmul_tiled"),
    method<&linear>("linear"),
    method<&layer_norm>("layer_norm"),
    method<&rms_norm>("rms_norm"),
    method<&layer_norm_grad>("layer_norm_grad"),
    method<&rms_norm_grad>("rms_norm_grad"),
    method<&moments>("moments"),
    method<&batch_norm>("batch_norm"),
    method<&batch_norm_grad>("batch_norm_grad"),
    method<&conv2d>("conv2d"),
    method<&conv2d_grad_input>("conv2d_grad_input"),
    method<&conv2d_grad_weight>("conv2d_grad_weight"),
    method<&pool2d>("pool2d"),
    method<&pool2d_grad>("pool2d_grad"),
    method<&gather>("gather"),
    method<&scatter_add>("scatter_add"),
    method<&sgd_step>("sgd_step"),
    method<&adam_step>("adam_step"),
    method<&needle::random>("random"),
    {nullptr, nullptr, 0, nullptr},
};

// Runs `work` and turns what it throws into Needle's errors.
template <class Work> void guarded(Work work) {
  try {
    work();
  } catch (const PythonError&) {
    throw;
  } catch (...) {
    set_python_error();
    throw PythonError();
  }
}

// The part of a buffer that begins at `offset` and is as long as `host`.
char* checked_part(py::handle buffer, int64_t offset, const py::buffer_info& host) {
  const BufferObject* memory = as_buffer(buffer.ptr());
  if (offset < 0 || offset > memory->nbytes || host.size * host.itemsize > memory->nbytes - offset) {
    throw py::value_error("the bytes lie outside the buffer");
  }
  return memory->data + offset;
}

void upload_bytes(py::handle dst, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request();
  char* to = checked_part(dst, offset, info);
  guarded([&] { upload(to, static_cast<const char*>(info.ptr), static_cast<size_t>(info.size * info.itemsize)); });
}

void download_bytes(py::handle src, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request(true);
  const char* from = checked_part(src, offset, info);
  guarded([&] { synchronize(); });
  std::memcpy(info.ptr, from, static_cast<size_t>(info.size * info.itemsize));
}

// The bytes themselves, when the device is done with them.
py::object host_view(const py::object& buffer) {
  guarded([&] { wait_for(as_buffer(buffer.ptr())->data); });
  return py::reinterpret_steal<py::object>(PyMemoryView_FromObject(buffer.ptr()));
}

py::dict stats() {
  const MemoryStats stats = memory_stats();
  py::dict by_name;
  by_name["used"] = stats.used;
  by_name["held"] = stats.held;
  by_name["peak"] = stats.peak;
  by_name["total"] = stats.total;
  return by_name;
}

py::dict counts() {
  const Counters counters = needle::counters();
  py::dict by_name;
  by_name["dispatches"] = counters.dispatches;
  by_name["command_buffers"] = counters.command_buffers;
  by_name["waits"] = counters.waits;
  by_name["pipelines"] = counters.pipelines;
  return by_name;
}

}  // namespace

PYBIND11_MODULE(_ext, m) {
  m.doc() = "Kernels of the Metal device.";
  m.add_object("Buffer", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(buffer_type())));
  if (PyModule_AddFunctions(m.ptr(), kernel_methods) != 0) throw py::error_already_set();
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const PythonError&) {  // already set
    }
  });
  m.def("upload", &upload_bytes);
  m.def("download", &download_bytes);
  m.def("host_view", &host_view);
  m.def("synchronize", [] { guarded([] { synchronize(); }); });
  m.def("probe", &probe);
  m.def("device_name", &device_name);
  m.def("has_unary", [](int kind, int dtype) { return has_unary(Unary(kind), DType(dtype)); });
  m.def("has_binary", [](int kind, int dtype) { return has_binary(Binary(kind), DType(dtype)); });
  m.def("memory_stats", &stats);
  m.def("empty_cache", &empty_cache);
  m.def("counters", &counts);
  m.add_object("bridge", py::reinterpret_steal<py::object>(bridge_capsule()));  // for needle-backend-mps
}
