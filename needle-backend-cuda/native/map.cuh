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
// That is spread out where it is used, not where it is read: a thread goes on to its other loads without it.
template <int count, class T> struct Neighbours {
  Pack<T, count> pack;
  bool repeated;

  __device__ __forceinline__ Neighbours(const T* data, int64_t place, bool repeated) : repeated(repeated) {
    if (repeated) {
      pack.at[0] = data[place];
    } else {
      pack = load_pack<count>(data + place);
    }
  }
  __device__ __forceinline__ T at(int j) const { return repeated ? pack.at[0] : pack.at[j]; }
};

template <int count, class F, class Out, class... In>
__device__ __forceinline__ void put_pack(F f, Out* dst, const Neighbours<count, In>&... x) {
  Pack<Out, count> result;
#pragma unroll
  for (int j = 0; j < count; ++j) result.at[j] = f(x.at(j)...);
  store_pack(dst, result);
}

template <int count, class F, class Out, size_t... k, class... In>
__device__ __forceinline__ void map_pack_at(F f, const int64_t* place, const bool* repeated, std::index_sequence<k...>,
                                            Out* dst, const In*... in) {
  put_pack<count>(f, dst + place[0], Neighbours<count, In>(in, place[1 + k], repeated[1 + k])...);
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

// Rows of many packs: a thread has two of a row, both asked for before either is used, and finds the row's place once.
// A block is lanes along a row x rows; a long row is cut into pieces of a block each.
struct RowCut {
  int64_t rows, packs;  // of each row
  Divisor pieces;
  dim3 block;
  int64_t blocks;

  static constexpr int64_t kLeast = kWarp;  // packs of a row

  RowCut(int64_t rows, int64_t packs) : rows(rows), packs(packs) {
    const int64_t count = ceil_div(packs, 2 * kThreads);
    const unsigned lanes = static_cast<unsigned>(ceil_div(packs, 2 * count * kWarp) * kWarp);
    pieces = Divisor(static_cast<uint32_t>(count));
    block = dim3(lanes, kThreads / lanes);
    blocks = ceil_div(rows, block.y) * count;
  }
  bool fits() const { return packs >= kLeast && blocks <= INT32_MAX; }
};

template <int count, class F, class Out, size_t... k, class... In>
__device__ __forceinline__ void map_two_packs(F f, const int64_t* place, const bool* repeated, int64_t apart, bool both,
                                              std::index_sequence<k...>, Out* dst, const In*... in) {
  [&](const Neighbours<count, In>&... x) {
    if (!both) return put_pack<count>(f, dst + place[0], x...);
    [&](const Neighbours<count, In>&... y) {
      put_pack<count>(f, dst + place[0], x...);
      put_pack<count>(f, dst + place[0] + apart, y...);
    }(Neighbours<count, In>(in, place[1 + k] + (repeated[1 + k] ? 0 : apart), repeated[1 + k])...);
  }(Neighbours<count, In>(in, place[1 + k], repeated[1 + k])...);
}

// `places` are those of the rows.
template <int count, class F, class Out, class... In>
__global__ void map_rows(F f, const RowCut cut, const Places<1 + sizeof...(In)> places, Out* dst, const In*... in) {
  const uint32_t group = cut.pieces.divide(blockIdx.x), piece = blockIdx.x - group * cut.pieces.divisor;
  const int64_t row = static_cast<int64_t>(group) * blockDim.y + threadIdx.y;
  const int64_t first = static_cast<int64_t>(piece) * 2 * blockDim.x + threadIdx.x;
  if (row >= cut.rows || first >= cut.packs) return;
  int64_t place[1 + sizeof...(In)];
  places.strides.places(row, place);
#pragma unroll
  for (int k = 0; k < 1 + sizeof...(In); ++k) place[k] += places.repeated[k] ? 0 : first * count;
  map_two_packs<count>(f, place, places.repeated, static_cast<int64_t>(blockDim.x) * count,
                       first + blockDim.x < cut.packs, std::index_sequence_for<In...>(), dst, in...);
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
    auto places = places_of(strided<N>({&dst, &x...}), count, aligned_data);
    if constexpr (sizeof...(In) > 1) {  // what is broadcast; few views of a single operand come here
      const int64_t length = places.strides.shape[places.strides.rank - 1];
      const RowCut cut(dst.size / (places.packs ? count * length : length), length);
      if (places.packs && cut.fits()) {
        --places.strides.rank;
        return launch(map_rows<count, F, Out, In...>, static_cast<unsigned>(cut.blocks), cut.block, 0, f, cut, places,
                      dst.as<Out>(), x.template as<const In>()...);
      }
    }
    const int64_t threads = places.packs ? dst.size / count : dst.size;
    launch(map_strided<count, F, Out, In...>, blocks_for(threads, kThreads), kThreads, 0, f, threads, places,
           dst.as<Out>(), x.template as<const In>()...);
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_MAP_CUH
