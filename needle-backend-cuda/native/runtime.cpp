#include "runtime.h"

#include <pthread.h>

#include <memory>
#include <vector>

namespace needle {
namespace {

Runtime* current = nullptr;  // read and written with the GIL held
const char* op_name = "";
bool forked = false;

void refuse_after_fork() { forked = true; }

// Errors after which the driver refuses all further work of the process on the device.
bool is_fatal(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidPc:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable: return true;
    default: return false;
  }
}

}  // namespace

int Runtime::count() {
  int devices = 0;
  check(cudaGetDeviceCount(&devices));
  return devices;
}

Runtime& Runtime::of(int index) {
  static std::vector<std::unique_ptr<Runtime>>* const all =
      [] {  // never destroyed: buffers may outlive the interpreter
        pthread_atfork(nullptr, nullptr, &refuse_after_fork);
        return new std::vector<std::unique_ptr<Runtime>>();
      }();
  if (forked) throw KernelFailure("cuda", "CUDA was used before this process was forked; start it by spawn instead");
  const size_t at = static_cast<size_t>(index);
  if (at >= all->size()) all->resize(at + 1);
  std::unique_ptr<Runtime>& found = (*all)[at];
  if (found == nullptr) found.reset(new Runtime(index));
  return *found;
}

Runtime::Runtime(int index) : index(index) {
  check(cudaSetDevice(index));
  check(cudaGetDeviceProperties(&properties, index));
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
}

void Runtime::begin(const char* op) {
  thread_local int active = -1;
  static const bool several = count() > 1;
  op_name = op;
  if (forked) throw KernelFailure(op, "CUDA was used before this process was forked; start it by spawn instead");
  if (!lost.empty()) throw KernelFailure(op, lost);
  // With several devices another library may have chosen one in the meantime.
  if (active != index || several) {
    check(cudaSetDevice(index));
    active = index;
  }
  ops_[begun_++ % kRemembered] = op;
}

void Runtime::wait() {
  const uint64_t begun = begun_;
  check(cudaStreamSynchronize(stream));
  waited_ = begun;
}

std::string Runtime::recent_ops() const {
  const uint64_t pending = begun_ - waited_, shown = pending < kRemembered ? pending : kRemembered;
  std::string names;
  for (uint64_t i = begun_ - shown; i < begun_; ++i)
    names += (names.empty() ? "" : ", ") + std::string(ops_[i % kRemembered]);
  return pending <= 1
             ? names
             : "one of the last " + std::to_string(pending) + " ops (" + (shown < pending ? "..., " : "") + names + ")";
}

Runtime& runtime() { return *current; }
void set_runtime(Runtime& runtime) { current = &runtime; }
const char* current_op() { return op_name; }

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const std::string what = cudaGetErrorString(status);
  if (!is_fatal(status) || current == nullptr) throw KernelFailure(op_name, what);
  if (current->lost.empty()) {
    current->lost = "the device is lost to this process: " + what + ", in " + current->recent_ops() +
                    "; start the process again, with NEEDLE_SYNC=1 to see which op it was";
  }
  throw KernelFailure(op_name, current->lost);
}

}  // namespace needle
