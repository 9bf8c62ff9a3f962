// The extension's face: names on one side, functions of ops.h and the runtime on the other. See _ext.pyi for the types.
#include <cublasLt.h>
#include <cudnn.h>
#include <needle/methods.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "conv.h"
#include "event.h"
#include "fault.h"
#include "fused.h"
#include "matmul.h"
#include "python.h"
#include "recording.h"

namespace py = pybind11;
using namespace needle;

namespace {

// allocate(index, nbytes)
PyObject* allocate_buffer(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  try {
    if (count != 2) throw std::invalid_argument("allocate: 2 arguments expected");
    Runtime& device = Runtime::of(Argument<int>(arguments[0]).value);
    set_runtime(device);
    device.begin("allocate");
    return Buffer::make(Argument<int64_t>(arguments[1]).value, device);
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
    kernel<&reduce>("reduce"),
    kernel<&argmax>("argmax"),
    kernel<&cumsum>("cumsum"),
    kernel<&matmul>("matmul"),
    kernel<&matmul_naive>("matmul_naive"),
    kernel<&matmul_tiled>("matmul_tiled"),
    kernel<&linear>("linear"),
    kernel<&conv2d>("conv2d"),
    kernel<&conv2d_bias>("conv2d_bias"),
    kernel<&conv2d_unrolled>("conv2d_unrolled"),
    kernel<&conv2d_grad_weight_unrolled>("conv2d_grad_weight_unrolled"),
    kernel<&conv2d_grad_input>("conv2d_grad_input"),
    kernel<&conv2d_grad_weight>("conv2d_grad_weight"),
    kernel<&conv2d_direct>("conv2d_direct"),
    kernel<&conv2d_grad_input_direct>("conv2d_grad_input_direct"),
    kernel<&conv2d_grad_weight_direct>("conv2d_grad_weight_direct"),
    kernel<&pool2d>("pool2d"),
    kernel<&pool2d_grad>("pool2d_grad"),
    kernel<&layer_norm>("layer_norm"),
    kernel<&layer_norm_grad>("layer_norm_grad"),
    kernel<&rms_norm>("rms_norm"),
    kernel<&rms_norm_grad>("rms_norm_grad"),
    kernel<&moments>("moments"),
    kernel<&batch_norm>("batch_norm"),
    kernel<&batch_norm_relu>("batch_norm_relu"),
    kernel<&batch_norm_grad>("batch_norm_grad"),
    kernel<&attention>("attention"),
    kernel<&attention_grad>("attention_grad"),
    kernel<&lstm>("lstm"),
    kernel<&lstm_grad>("lstm_grad"),
    kernel<&argsort>("argsort"),
    kernel<&gather>("gather"),
    kernel<&scatter_add>("scatter_add"),
    kernel<&softmax>("softmax"),
    kernel<&log_softmax>("log_softmax"),
    kernel<&softmax_grad>("softmax_grad"),
    kernel<&log_softmax_grad>("log_softmax_grad"),
    kernel<&cross_entropy>("cross_entropy"),
    kernel<&cross_entropy_grad>("cross_entropy_grad"),
    kernel<&sgd_step>("sgd_step"),
    kernel<&adam_step>("adam_step"),
    kernel<&needle::random>("random"),
    kernel<&waiting>("waiting"),
});

void add_functions(py::module_& m) {
  using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
  const Function call = allocate_buffer;
  const PyMethodDef allocate{"allocate", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
                             METH_FASTCALL, nullptr};
  if (methods.add_to(m.ptr(), allocate) != 0) throw py::error_already_set();
}

// Makes the device the one that is being called.
Runtime& enter(int index, const char* op) {
  Runtime& device = Runtime::of(index);
  set_runtime(device);
  device.begin(op);
  return device;
}

using Calls = std::vector<std::pair<std::string, py::tuple>>;  // [(name, (argument, ...)), ...]

// A Sequence, and the device that it is for.
class DeviceSequence {
 public:
  DeviceSequence(int index, const Calls& calls, const py::list& moving)
      : index_(index), sequence_(methods.sequence(calls, moving.ptr())) {}

  void run() {
    enter(index_, "sequence");
    sequence_->run();
  }

 private:
  int index_;
  std::unique_ptr<Sequence> sequence_;
};

class DeviceRecording {
 public:
  DeviceRecording(int index, const Calls& calls, const py::list& moving, std::vector<std::vector<size_t>> after)
      : index_(index),
        recording_(enter(index, "record"), names(calls), methods.sequence(calls, moving.ptr()), std::move(after)) {}

  void run() {
    enter(index_, "recording");
    recording_.run();
  }
  void update(size_t call, const py::tuple& arguments) {
    enter(index_, "recording");
    recording_.update(call, arguments.ptr());
  }
  std::string note() const { return recording_.note(); }

 private:
  static std::vector<std::string> names(const Calls& calls) {
    std::vector<std::string> found;
    for (const auto& call : calls) found.push_back(call.first);
    return found;
  }

  int index_;
  Recording recording_;
};

// By fused.py, with NVRTC.
std::string build_fused(const FusedShape& shape, int architecture) {
  try {
    py::list operands;
    for (const FusedShape::Operand& x : shape.operands) operands.append(py::make_tuple(x.dtype, x.pattern));
    return py::module_::import("needle_backend_cuda.fused")
        .attr("build")(py::bytes(shape.expression), operands, shape.results, shape.count, shape.wide, architecture)
        .cast<std::string>();
  } catch (py::error_already_set& error) {
    error.restore();
    throw PythonError();
  }
}

struct Part {  // of a buffer: from `offset`, as long as the host's bytes
  Runtime& device;
  char* data;
};

Part checked_part(py::handle buffer, int64_t offset, int64_t nbytes, const char* op) {
  char* const data = Buffer::part(buffer.ptr(), offset, nbytes);
  return {enter(Buffer::of(buffer.ptr()).runtime.index, op), data};
}

void upload(py::handle dst, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request();
  const size_t nbytes = static_cast<size_t>(info.size * info.itemsize);
  const Part to = checked_part(dst, offset, static_cast<int64_t>(nbytes), "upload");
  const py::gil_scoped_release unlocked;
  const std::shared_lock<std::shared_mutex> not_taking_down(taking_down());
  to.device.staging.upload(to.data, info.ptr, nbytes, to.device.stream);
}

void download(py::handle src, int64_t offset, const py::buffer& host) {
  const py::buffer_info info = host.request(true);
  const size_t nbytes = static_cast<size_t>(info.size * info.itemsize);
  const Part from = checked_part(src, offset, static_cast<int64_t>(nbytes), "download");
  const py::gil_scoped_release unlocked;
  const std::shared_lock<std::shared_mutex> not_taking_down(taking_down());
  from.device.staging.download(info.ptr, from.data, nbytes, from.device.stream);
}

// dst's queue waits for src's, the bytes travel, src's queue waits for them: either may be dropped on return.
void copy_peer(py::handle dst, int64_t dst_offset, py::handle src, int64_t src_offset, int64_t nbytes) {
  const Part from = checked_part(src, src_offset, nbytes, "copy_peer");
  const Event sent(from.device);
  const Part to = checked_part(dst, dst_offset, nbytes, "copy_peer");
  check(cudaStreamWaitEvent(to.device.stream, sent.handle(), 0));
  check(cudaMemcpyPeerAsync(to.data, to.device.index, from.data, from.device.index, static_cast<size_t>(nbytes),
                            to.device.stream));
  const Event received(to.device);
  enter(from.device.index, "copy_peer");
  check(cudaStreamWaitEvent(from.device.stream, received.handle(), 0));
}

void synchronize(int index) {
  Runtime& device = enter(index, "synchronize");
  const py::gil_scoped_release unlocked;
  const std::shared_lock<std::shared_mutex> not_taking_down(taking_down());
  device.wait();
}

py::dict stats(int index) {
  const Runtime& device = enter(index, "memory_stats");
  const MemoryStats& stats = device.memory.stats();
  py::dict by_name;
  by_name["used"] = stats.used;
  by_name["held"] = stats.held;
  by_name["peak"] = stats.peak;
  by_name["peak_held"] = stats.peak_held;
  by_name["pinned"] = device.staging.pinned();
  by_name["total"] = device.properties.totalGlobalMem;
  by_name["system_allocations"] = stats.system_allocations;
  return by_name;
}

// "13.0" of 13000.
std::string dotted(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

py::dict versions() {
  int driver = 0;
  check(cudaDriverGetVersion(&driver));
  const size_t cublas = cublasLtGetVersion(), cudnn = cudnnGetVersion();
  py::dict by_name;
  by_name["driver for CUDA"] = dotted(driver);
  by_name["CUDA runtime"] = dotted(CUDART_VERSION);
  by_name["cuBLASLt"] = std::to_string(cublas / 10000) + "." + std::to_string(cublas / 100 % 100);
  by_name["cuDNN"] = std::to_string(cudnn / 10000) + "." + std::to_string(cudnn / 100 % 100);
  return by_name;
}

std::string describe(int index) {
  const cudaDeviceProp& properties = enter(index, "describe").properties;
  int driver = 0;
  check(cudaDriverGetVersion(&driver));
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major * 10 + properties.minor) + ", " +
         std::to_string(properties.multiProcessorCount) + " multiprocessors, " +
         std::to_string(properties.totalGlobalMem >> 20) + " MiB, driver for CUDA " + dotted(driver);
}

}  // namespace

PYBIND11_MODULE(_ext, m) {
  m.doc() = "Kernels and runtime of CUDA devices.";
  m.add_object("Buffer", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Buffer::type())));
  add_functions(m);
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const py::builtin_exception&) {
      throw;
    } catch (const py::error_already_set&) {
      throw;
    } catch (...) {
      set_python_error();
    }
  });
  m.def("upload", &upload);
  m.def("download", &download);
  m.def("copy_peer", &copy_peer);
  m.def("synchronize", &synchronize);
  m.def("memory_stats", &stats);
  m.def("reset_peak", [](int index) { enter(index, "reset_peak").memory.reset_peak(); });
  m.def("empty_cache", [](int index) { enter(index, "empty_cache").memory.empty_cache(); });
  m.def("set_memory_limit",
        [](int index, size_t nbytes) { enter(index, "set_memory_limit").memory.set_limit(nbytes); });
  m.def("describe", &describe);
  m.def("versions", &versions);
  m.def("set_tf32", &set_tf32);
  m.def("set_tuning", &set_tuning);
  m.def("set_scratch_limit", &set_scratch_limit);
  set_fused_builder(&build_fused);
  m.def("fault", [](int index) {
    enter(index, "fault");
    fault();
  });
  m.def("has_unary", [](int kind, int dtype) { return has_unary(Unary(kind), DType(dtype)); });
  m.def("has_binary", [](int kind, int dtype) { return has_binary(Binary(kind), DType(dtype)); });
  py::class_<DeviceSequence>(m, "Sequence", py::module_local())
      .def(py::init<int, const Calls&, const py::list&>())
      .def("run", &DeviceSequence::run);
  py::class_<DeviceRecording>(m, "Recording", py::module_local())
      .def(py::init<int, const Calls&, const py::list&, std::vector<std::vector<size_t>>>())
      .def("update", &DeviceRecording::update)
      .def("run", &DeviceRecording::run)
      .def_property_readonly("note", &DeviceRecording::note);
  py::class_<Event>(m, "Event")
      .def(py::init([](int index) { return new Event(enter(index, "record")); }))
      .def_property_readonly("done", &Event::done)
      .def("wait", &Event::wait, py::call_guard<py::gil_scoped_release>())
      .def("milliseconds_since", &Event::milliseconds_since);
}
