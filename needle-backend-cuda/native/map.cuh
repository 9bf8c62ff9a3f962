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

// Any strides. A thread does `group` neighbours along the last axis, whose places are `step` apart in each operand;
// place[0] is dst's, place[1 + k] that of operand k.
template <class F, class Out, size_t... k, class... In>
__device__ __forceinline__ void map_at(F f, const int64_t* place, std::index_sequence<k...>, Out* dst,
                                       const In*... in) {
  dst[place[0]] = f(in[place[1 + k]]...);
}

template <int N> struct Grouped {
  Strided<N> groups;
  int group;
  int64_t step[N];
};

template <class F, class Out, class... In>
__global__ void map_strided(F f, int64_t n, const Grouped<1 + sizeof...(In)> places, Out* dst, const In*... in) {
  constexpr int N = 1 + sizeof...(In);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int64_t place[N];
  places.groups.places(i, place);
  for (int j = 0; j < places.group; ++j) {
    map_at(f, place, std::index_sequence_for<In...>(), dst, in...);
#pragma unroll
    for (int k = 0; k < N; ++k) place[k] += places.step[k];
  }
}

// Groups of four, where there is work enough for fewer threads and the last axis can be cut so.
template <int N> Grouped<N> grouped(const Strided<N>& all, int64_t n) {
  constexpr int64_t kLittle = 1 << 18;
  Grouped<N> result{all, 1, {}};
  const int last = all.rank - 1;
  if (n < kLittle || all.shape[last] % 4 != 0) return result;
  result.group = 4;
  result.groups.shape[last] /= 4;
  if (all.narrow) result.groups.divisors[last] = Divisor(static_cast<uint32_t>(result.groups.shape[last]));
  for (int k = 0; k < N; ++k) {
    result.step[k] = all.strides[k][last];
    result.groups.strides[k][last] *= 4;
  }
  return result;
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
    const auto places = grouped(strided<1 + sizeof...(In)>({&dst, &x...}), dst.size);
    const int64_t groups = dst.size / places.group;
    launch(map_strided<F, Out, In...>, blocks_for(groups, kThreads), kThreads, 0, f, groups, places, dst.as<Out>(),
           x.template as<const In>()...);
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_MAP_CUH
