// One Runtime per device: its queue, its memory, its errors. Kernels see of it what stands at the end.
#ifndef NEEDLE_CUDA_RUNTIME_H
#define NEEDLE_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "allocator.h"
#include "staging.h"

namespace needle {

// A launch, or work queued before it, failed. `op` is the method that was running, or those that may have been.
struct KernelFailure : std::runtime_error {
  KernelFailure(std::string op, const std::string& what) : std::runtime_error(what), op(std::move(op)) {}
  std::string op;
};

struct OutOfMemory : std::runtime_error {
  OutOfMemory(size_t requested, size_t held, size_t free)
      : std::runtime_error("out of memory"), requested(requested), held(held), free(free) {}
  size_t requested;
  size_t held;  // by this process's cache, live blocks included
  size_t free;  // on the card
};

// A library's function said no. `unsupported` where another way may do.
struct LibraryFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Runtime {
 public:
  static Runtime& of(int index);  // made on first use
  static int count();

  // To be called before anything is done on the device: makes it this thread's, refuses a lost device and a forked
  // process, and remembers the method's name.
  void begin(const char* op);
  void wait();  // for all work; throws what went wrong before it. Holds no lock: release the GIL around it.
  std::string recent_ops() const;

  const int index;
  cudaStream_t stream = nullptr;
  cudaDeviceProp properties;
  Allocator memory;
  Staging staging;
  std::string lost;  // why, once the device is of no more use to this process

 private:
  static constexpr uint64_t kRemembered = 16;
  explicit Runtime(int index);
  const char* ops_[kRemembered] = {};
  uint64_t begun_ = 0, waited_ = 0;  // methods, and those of them that are known to be done
};

Runtime& runtime();  // the device whose method is being called: the bindings set it from the operands' buffers
void set_runtime(Runtime& runtime);

// What kernels ask for, of that device.
inline cudaStream_t stream() { return runtime().stream; }
inline int multiprocessors() { return runtime().properties.multiProcessorCount; }
inline int shared_bytes_per_block() { return static_cast<int>(runtime().properties.sharedMemPerBlockOptin); }
const char* current_op();        // the method being run, for errors
void check(cudaError_t status);  // throws KernelFailure

// Device memory for the time of a scope. It comes from the cache, in stream order: kernels that were launched within
// the scope may still run when it ends, those launched later come after them.
class Workspace {
 public:
  explicit Workspace(size_t nbytes) : runtime_(runtime()), block_(runtime_.memory.allocate(nbytes)) {}
  ~Workspace() { runtime_.memory.release(block_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T> T* as() const { return reinterpret_cast<T*>(block_->data); }

 private:
  Runtime& runtime_;
  Block* block_;
};

}  // namespace needle

#endif  // NEEDLE_CUDA_RUNTIME_H
