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

// `count` neighbours along the last axis: of an operand that is contiguous there, or one element that stands for all.
template <int count, class T>
__device__ __forceinline__ Pack<T, count> neighbours(const T* data, int64_t place, bool repeated) {
  if (!repeated) return load_pack<count>(data + place);
  Pack<T, count> pack;
  const T one = data[place];
#pragma unroll
  for (int j = 0; j < count; ++j) pack.at[j] = one;
  return pack;
}

template <int count, class F, class Out, size_t... k, class... In>
__device__ __forceinline__ void map_pack_at(F f, const int64_t* place, const bool* repeated, std::index_sequence<k...>,
                                            Out* dst, const In*... in) {
  Pack<Out, count> result;
  [&](const Pack<In, count>&... x) {
#pragma unroll
    for (int j = 0; j < count; ++j) result.at[j] = f(x.at[j]...);
  }(neighbours<count>(in, place[1 + k], repeated[1 + k])...);
  store_pack(dst + place[0], result);
}

template <int N> struct Places {
  Strided<N> strides;  // of packs, where elements are taken so
  bool packs;
  bool repeated[N];
};

template <int count, class F, class Out, class... In>
__global__ void map_strided(F f, int64_t n, const Places<1 + sizeof...(In)> places, Out* dst, const In*... in) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int64_t place[1 + sizeof...(In)];
  places.strides.places(i, place);
  if (places.packs) {
    map_pack_at<count>(f, place, places.repeated, std::index_sequence_for<In...>(), dst, in...);
  } else {
    map_at(f, place, std::index_sequence_for<In...>(), dst, in...);
  }
}

// Packs along the last axis, where every operand is contiguous or the same there and all rows are aligned.
template <int N> Places<N> places_of(const Strided<N>& all, int count, const bool (&aligned_data)[N]) {
  Places<N> result{all, true, {}};
  const int last = all.rank - 1;
  result.packs = count > 1 && all.shape[last] % count == 0 && all.strides[0][last] == 1;
  for (int k = 0; k < N; ++k) {
    result.repeated[k] = all.strides[k][last] == 0;
    if (result.repeated[k]) continue;
    result.packs = result.packs && all.strides[k][last] == 1 && aligned_data[k];
    for (int axis = 0; axis < last; ++axis) result.packs = result.packs && all.strides[k][axis] % count == 0;
  }
  if (!result.packs) return result;
  result.strides.shape[last] /= count;
  if (all.narrow) result.strides.divisors[last] = Divisor(static_cast<uint32_t>(result.strides.shape[last]));
  for (int k = 0; k < N; ++k) result.strides.strides[k][last] *= count;
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
    constexpr int N = 1 + sizeof...(In);
    const bool aligned_data[N] = {aligned(dst.data, count * sizeof(Out)), aligned(x.data, count * sizeof(In))...};
    const auto places = places_of(strided<N>({&dst, &x...}), count, aligned_data);
    const int64_t threads = places.packs ? dst.size / count : dst.size;
    launch(map_strided<count, F, Out, In...>, blocks_for(threads, kThreads), kThreads, 0, f, threads, places,
           dst.as<Out>(), x.template as<const In>()...);
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_MAP_CUH
