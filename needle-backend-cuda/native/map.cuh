// dst[i] = f(x[i], ...) for operands of any strides: the loop that all elementwise kernels share.
#ifndef NEEDLE_CUDA_MAP_CUH
#define NEEDLE_CUDA_MAP_CUH

#include <utility>

#include "launch.cuh"

namespace needle {

template <class... T> constexpr int kSmallestPack = 16 / static_cast<int>(std::max({sizeof(T)...}));

// Contiguous operands, a few neighbouring elements a thread.
template <int count, class F, class Out, class... In>
__global__ void map_packed(F f, int64_t n, Out* dst, const In*... in) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * count;
  if (i + count <= n) {
    Pack<Out, count> result;
    [&](const Pack<In, count>&... x) {
#pragma unroll
      for (int j = 0; j < count; ++j) result.at[j] = f(x.at[j]...);
    }(load_pack<count>(in + i)...);
    store_pack(dst + i, result);
  } else {
    for (int64_t j = i; j < n; ++j) dst[j] = f(in[j]...);
  }
}

// Any strides, one element a thread. place[0] is dst's, place[1 + k] that of operand k.
template <class F, class Out, size_t... k, class... In>
__device__ __forceinline__ void map_at(F f, const int64_t* place, std::index_sequence<k...>, Out* dst,
                                       const In*... in) {
  dst[place[0]] = f(in[place[1 + k]]...);
}

template <class F, class Out, class... In>
__global__ void map_strided(F f, int64_t n, const Strided<1 + sizeof...(In)> strides, Out* dst, const In*... in) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int64_t place[1 + sizeof...(In)];
  strides.places(i, place);
  map_at(f, place, std::index_sequence_for<In...>(), dst, in...);
}

// The launcher: `In` are the stored types of the views x. Where an operand has one element, it stands for all.
template <class Out, class... In, class F, class... Views> void map(F f, const View& dst, const Views&... x) {
  static_assert(sizeof...(In) == sizeof...(Views), "a type for each operand");
  if (dst.size == 0) return;
  constexpr int count = kSmallestPack<Out, In...>;
  const bool packs = dst.contiguous && ((x.contiguous && x.size == dst.size) && ...) &&
                     aligned(dst.data, count * sizeof(Out)) && (aligned(x.data, count * sizeof(In)) && ...);
  if (packs) {
    launch(map_packed<count, F, Out, In...>, blocks_for(dst.size, int64_t{kThreads} * count), kThreads, 0, f, dst.size,
           dst.as<Out>(), x.template as<const In>()...);
  } else {
    launch(map_strided<F, Out, In...>, blocks_for(dst.size, kThreads), kThreads, 0, f, dst.size,
           strided<1 + sizeof...(In)>({&dst, &x...}), dst.as<Out>(), x.template as<const In>()...);
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_MAP_CUH
