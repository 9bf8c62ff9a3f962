// The extension's face: names on one side, functions of ops.h on the other. See _ext.pyi for the types.
#include <needle/methods.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <string>
#include <vector>

#include "isa.h"
#include "launch.h"
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

// A kernel and the arguments that it writes, by position; the first unless it is said otherwise.
template <auto function, int... written> Kernel kernel_of(const char* name) {
  constexpr uint32_t bits = sizeof...(written) == 0 ? 1U : ((1U << written) | ... | 0U);
  return kernel<function, bits>(name);
}

Methods methods({
    kernel_of<&copy>("copy"),
    kernel_of<&cast>("cast"),
    kernel_of<&unary, 1>("unary"),
    kernel_of<&binary, 1>("binary"),
    kernel_of<&binary_scalar, 1>("binary_scalar"),
    kernel_of<&elementwise>("elementwise"),
    kernel_of<&elementwise_reduce>("elementwise_reduce"),
    kernel_of<&where>("where"),
    kernel_of<&reduce, 1>("reduce"),
    kernel_of<&argmax>("argmax"),
    kernel_of<&cumsum>("cumsum"),
    kernel_of<&matmul>("matmul"),
    kernel_of<&matmul_naive>("matmul_naive"),
    kernel_of<&linear>("linear"),
    kernel_of<&conv2d>("conv2d"),
    kernel_of<&conv2d_bias>("conv2d_bias"),
    kernel_of<&conv2d_grad_input>("conv2d_grad_input"),
    kernel_of<&conv2d_grad_weight>("conv2d_grad_weight"),
    kernel_of<&pool2d, 1>("pool2d"),
    kernel_of<&pool2d_grad, 1>("pool2d_grad"),
    kernel_of<&layer_norm>("layer_norm"),
    kernel_of<&layer_norm_grad, 0, 1, 2>("layer_norm_grad"),
    kernel_of<&rms_norm>("rms_norm"),
    kernel_of<&rms_norm_grad, 0, 1>("rms_norm_grad"),
    kernel_of<&moments, 0, 1>("moments"),
    kernel_of<&batch_norm>("batch_norm"),
    kernel_of<&batch_norm_relu>("batch_norm_relu"),
    kernel_of<&batch_norm_grad, 0, 1, 2>("batch_norm_grad"),
    kernel_of<&attention>("attention"),
    kernel_of<&attention_grad, 0, 1, 2>("attention_grad"),
    kernel_of<&argsort>("argsort"),
    kernel_of<&gather>("gather"),
    kernel_of<&scatter_add>("scatter_add"),
    kernel_of<&softmax>("softmax"),
    kernel_of<&log_softmax>("log_softmax"),
    kernel_of<&softmax_grad>("softmax_grad"),
    kernel_of<&log_softmax_grad>("log_softmax_grad"),
    kernel_of<&cross_entropy>("cross_entropy"),
    kernel_of<&cross_entropy_grad>("cross_entropy_grad"),
    kernel_of<&sgd_step, 0, 2>("sgd_step"),
    kernel_of<&adam_step, 0, 2, 3>("adam_step"),
    kernel_of<&needle::random, 1>("random"),
});

// The positions of the arguments that each kernel writes, by name.
py::dict written_arguments() {
  py::dict by_name;
  for (const Kernel& kernel : methods.kernels()) {
    py::list places;
    for (int i = 0; i < 32; ++i) {
      if ((kernel.written >> i & 1) != 0) places.append(i);
    }
    by_name[kernel.method.ml_name] = py::tuple(places);
  }
  return by_name;
}

// [(name, (argument, ...)), ...] and the views whose buffers change between runs.
std::unique_ptr<Sequence> make_sequence(const std::vector<std::pair<std::string, py::tuple>>& calls,
                                        const py::list& moving) {
  return methods.sequence(calls, moving.ptr());
}

void run_sequence(Sequence& sequence) {
  try {
    sequence.run();
  } catch (const PythonError&) {
    throw;
  } catch (...) {
    set_python_error();
    throw PythonError();
  }
}

void upload(py::handle dst, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request();
  char* to = Buffer::part(dst.ptr(), offset, info.size * info.itemsize);
  memory_written(dst.ptr());
  {
    const py::gil_scoped_release unlocked;
    std::memcpy(to, info.ptr, static_cast<size_t>(info.size * info.itemsize));
  }
  memory_written(dst.ptr());
}

void download(py::handle src, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request(true);
  const char* from = Buffer::part(src.ptr(), offset, info.size * info.itemsize);
  const py::gil_scoped_release unlocked;
  std::memcpy(info.ptr, from, static_cast<size_t>(info.size * info.itemsize));
}

py::dict stats() {
  const MemoryStats stats = memory_stats();
  py::dict by_name;
  by_name["used"] = stats.used;
  by_name["held"] = stats.held;
  by_name["peak"] = stats.peak;
  by_name["total"] = stats.total;
  by_name["packed"] = stats.packed;
  by_name["system_allocations"] = stats.system_allocations;
  return by_name;
}

}  // namespace

PYBIND11_MODULE(_ext, m) {
  m.doc() = "Kernels of the CPU device.";
  m.attr("isa") = isa_name();  // chosen here: a bad NEEDLE_CPU_ISA or NEEDLE_NUM_THREADS fails the import
  num_threads();
  m.add_object("Buffer", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Buffer::type())));
  if (methods.add_to(m.ptr(), {"allocate", allocate_buffer, METH_O, nullptr}) != 0) throw py::error_already_set();
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const PythonError&) {  // already set
    }
  });
  py::class_<Sequence>(m, "Sequence", py::module_local()).def(py::init(&make_sequence)).def("run", &run_sequence);
  m.def("upload", &upload);
  m.def("download", &download);
  m.def("has_unary", [](int kind, int dtype) { return has_unary(Unary(kind), DType(dtype)); });
  m.def("has_binary", [](int kind, int dtype) { return has_binary(Binary(kind), DType(dtype)); });
  m.attr("written") = written_arguments();
  m.def("memory_stats", &stats);
  m.def("empty_cache", &empty_cache);
  m.def("set_cache_limit", &set_cache_limit);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads);
}
