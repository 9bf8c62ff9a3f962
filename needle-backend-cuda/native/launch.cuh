// How kernels are launched, and what all of them share: types, packs of 16 bytes, strided indices, block reductions.
#ifndef NEEDLE_CUDA_LAUNCH_CUH
#define NEEDLE_CUDA_LAUNCH_CUH

#include <algorithm>

#include "block.cuh"
#include "dtype.cuh"
#include "pack.cuh"
#include "runtime.h"
#include "strided.cuh"

namespace needle {

struct Same {
  template <class T> __device__ __forceinline__ T operator()(T x) const { return x; }
};

constexpr int kThreads = 256;  // of a block, where nothing speaks for another number
constexpr size_t kSharedWithoutAsking = 48 << 10;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for n elements, `per_block` each; at most so many that a grid-stride loop does the rest.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  return static_cast<unsigned>(std::min<int64_t>(std::max<int64_t>(ceil_div(n, per_block), 1), 1 << 30));
}

// kernel<<<grid, block, shared_bytes, stream()>>>(args...), checked. Arguments are converted to the parameters' types.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes as many arguments as it is given");
  if (shared_bytes > kSharedWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)));
  }
  [&](Parameters... converted) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&converted))..., nullptr};
    check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream()));
  }(static_cast<Parameters>(std::forward<Arguments>(arguments))...);
}

}  // namespace needle

#endif  // NEEDLE_CUDA_LAUNCH_CUH
