// The extension's face: names on one side, functions of ops.h on the other. See _ext.pyi for the types.
#include <needle/methods.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bridge.h"
#include "python.h"

namespace py = pybind11;
using namespace needle;

namespace {

PyObject* allocate_buffer(PyObject*, PyObject* nbytes) {
  try {
    return Buffer::make(Argument<int64_t>(nbytes).value);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

Methods methods({
    kernel<&copy>("copy"),
    kernel<&cast>("cast"),
    kernel<&unary>("unary"),
    kernel<&binary>("binary"),
    kernel<&binary_scalar>("binary_scalar"),
    kernel<&where>("where"),
    kernel<&elementwise>("elementwise"),
    kernel<&elementwise_reduce>("elementwise_reduce"),
    kernel<&reduce>("reduce"),
    kernel<&argmax>("argmax"),
    kernel<&cumsum>("cumsum"),
    kernel<&softmax>("softmax"),
    kernel<&log_softmax>("log_softmax"),
    kernel<&softmax_grad>("softmax_grad"),
    kernel<&log_softmax_grad>("log_softmax_grad"),
    kernel<&cross_entropy>("cross_entropy"),
    kernel<&cross_entropy_grad>("cross_entropy_grad"),
    kernel<&matmul>("matmul"),
    kernel<&matmul_naive>("matmul_naive"),
    kernel<&matmul_tiled>("matmul_tiled"),
    kernel<&linear>("linear"),
    kernel<&layer_norm>("layer_norm"),
    kernel<&rms_norm>("rms_norm"),
    kernel<&layer_norm_grad>("layer_norm_grad"),
    kernel<&rms_norm_grad>("rms_norm_grad"),
    kernel<&moments>("moments"),
    kernel<&batch_norm>("batch_norm"),
    kernel<&batch_norm_relu>("batch_norm_relu"),
    kernel<&batch_norm_grad>("batch_norm_grad"),
    kernel<&conv2d>("conv2d"),
    kernel<&conv2d_bias>("conv2d_bias"),
    kernel<&conv2d_grad_input>("conv2d_grad_input"),
    kernel<&conv2d_grad_weight>("conv2d_grad_weight"),
    kernel<&pool2d>("pool2d"),
    kernel<&pool2d_grad>("pool2d_grad"),
    kernel<&attention>("attention"),
    kernel<&attention_grad>("attention_grad"),
    kernel<&argsort>("argsort"),
    kernel<&gather>("gather"),
    kernel<&scatter_add>("scatter_add"),
    kernel<&sgd_step>("sgd_step"),
    kernel<&adam_step>("adam_step"),
    kernel<&needle::random>("random"),
});

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

// [(name, (argument, ...)), ...] and the views whose buffers change between runs.
std::unique_ptr<Sequence> make_sequence(const std::vector<std::pair<std::string, py::tuple>>& calls,
                                        const py::list& moving) {
  return methods.sequence(calls, moving.ptr());
}

void upload_bytes(py::handle dst, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request();
  char* to = Buffer::part(dst.ptr(), offset, info.size * info.itemsize);
  guarded([&] { upload(to, static_cast<const char*>(info.ptr), static_cast<size_t>(info.size * info.itemsize)); });
}

void download_bytes(py::handle src, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request(true);
  const char* from = Buffer::part(src.ptr(), offset, info.size * info.itemsize);
  guarded([&] { synchronize(); });
  std::memcpy(info.ptr, from, static_cast<size_t>(info.size * info.itemsize));
}

// The bytes themselves, when the device is done with them.
py::object host_view(const py::object& buffer) {
  guarded([&] { wait_for(Buffer::of(buffer.ptr()).data); });
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
  m.add_object("Buffer", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Buffer::type())));
  if (methods.add_to(m.ptr(), {"allocate", allocate_buffer, METH_O, nullptr}) != 0) throw py::error_already_set();
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const PythonError&) {  // already set
    }
  });
  py::class_<Sequence>(m, "Sequence", py::module_local())
      .def(py::init(&make_sequence))
      .def("run", [](Sequence& sequence) { guarded([&] { sequence.run(); }); });
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
  m.def("close_device", [] { guarded([] { close_device(); }); });
  m.def("counters", &counts);
  m.add_object("bridge", py::reinterpret_steal<py::object>(bridge_capsule()));  // for needle-backend-mps
}
