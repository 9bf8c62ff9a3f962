// Reductions within a warp and a block. `f` combines two values; all threads must take part, and all get the result.
#ifndef NEEDLE_CUDA_BLOCK_CUH
#define NEEDLE_CUDA_BLOCK_CUH

namespace needle {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

template <class T, class F> __device__ __forceinline__ T warp_reduce(T x, F f) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x = f(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}

// Within each line of a block of (blockDim.x, blockDim.y) threads, of 1, 2, 4, ... or 32: lines that share a warp may
// have ended.
template <class T, class F> __device__ __forceinline__ T line_reduce(T x, F f) {
  const unsigned lanes = blockDim.x, lane = (threadIdx.y * lanes + threadIdx.x) % kWarp;
  const unsigned line = (kAllLanes >> (kWarp - lanes)) << (lane - threadIdx.x);
  for (unsigned distance = lanes / 2; distance > 0; distance /= 2) {
    x = f(x, __shfl_xor_sync(line, x, static_cast<int>(distance)));
  }
  return x;
}

// A block of whole warps, one-dimensional, at most 1024 threads. Call it as often as you like.
template <class T, class F> __device__ __forceinline__ T block_reduce(T x, F f, T identity) {
  __shared__ T partial[kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  x = warp_reduce(x, f);
  if (warps == 1) return x;
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  x = warp_reduce(lane < warps ? partial[lane] : identity, f);
  __syncthreads();  // before `partial` is written again
  return x;
}

struct Plus {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};

}  // namespace needle

#endif  // NEEDLE_CUDA_BLOCK_CUH
