// One Runtime per device: its queue, its memory, its errors. Kernels see of it what launch.cuh shows.
#ifndef NEEDLE_CUDA_RUNTIME_H
#define NEEDLE_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

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

// The device whose method is being called: the bindings set it from the operands' buffers.
cudaStream_t stream();
int multiprocessors();
int shared_bytes_per_block();  // the most that a kernel may ask for
const char* current_op();      // the method being run, for errors

void check(cudaError_t status);  // throws KernelFailure

// Device memory for the time of a scope. It comes from the cache, in stream order: kernels that were launched within
// the scope may still run when it ends, those launched later come after them.
class Workspace {
 public:
  explicit Workspace(size_t nbytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  void* data_;
};

}  // namespace needle

#endif  // NEEDLE_CUDA_RUNTIME_H
