// reduce: over contiguous rows, over columns that lie side by side, or over elements found one by one.
//
// Where there are too few rows to fill the device, each is cut into chunks whose results are reduced in turn. The cuts
// depend on sizes alone, so that a result is the same every time.
#include "axes.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kChunk = 8192;       // elements of a row that are worth a block of their own
constexpr int kColumnLanes = 32;       // a block of 32 x 8 threads goes down its columns
constexpr int kColumnRows = 8;

// What nothing reduces to, in the stored type.
template <class F, class T> __device__ __forceinline__ T identity_of() {
  return narrow<T>(F::template identity<Wide<T>>());
}
template <> __device__ __forceinline__ uint8_t identity_of<Max, uint8_t>() { return 0; }
template <> __device__ __forceinline__ uint8_t identity_of<Min, uint8_t>() { return 255; }
template <> __device__ __forceinline__ int8_t identity_of<Max, int8_t>() { return -128; }
template <> __device__ __forceinline__ int8_t identity_of<Min, int8_t>() { return 127; }
template <> __device__ __forceinline__ bool identity_of<Max, bool>() { return false; }
template <> __device__ __forceinline__ bool identity_of<Min, bool>() { return true; }

template <class F, class T> __global__ void fill_identity(T* dst, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) dst[i] = identity_of<F, T>();
}

template <class To, class W> __device__ __forceinline__ To stored(W x) {
  if constexpr (std::is_same_v<To, W>) {
    return x;
  } else {
    return narrow<To>(x);
  }
}

// One row, or one chunk of it, by the `width` threads of a warp or a block: thread i takes packs i, i + width, ...
template <class F, class T, class Place>
__device__ __forceinline__ Wide<T> reduce_part(const T* x, Place place, int64_t begin, int64_t end, int i, int width) {
  const F f;
  Wide<T> total = F::template identity<Wide<T>>();
  for (int64_t j = begin + i; j < end; j += width) total = f(total, widen(x[place(j)]));
  return total;
}

template <class F, class T>
__device__ __forceinline__ Wide<T> reduce_packs(const T* x, int64_t begin, int64_t end, int i, int width) {
  constexpr int count = kPerPack<T>;
  const F f;
  Wide<T> totals[count];
#pragma unroll
  for (int k = 0; k < count; ++k) totals[k] = F::template identity<Wide<T>>();
  for (int64_t j = begin + static_cast<int64_t>(i) * count; j < end; j += static_cast<int64_t>(width) * count) {
    if (j + count <= end) {
      const Pack<T, count> pack = load_pack<count>(x + j);
#pragma unroll
      for (int k = 0; k < count; ++k) totals[k] = f(totals[k], widen(pack.at[k]));
    } else {
      for (int64_t last = j; last < end; ++last) totals[0] = f(totals[0], widen(x[last]));
    }
  }
#pragma unroll
  for (int k = 1; k < count; ++k) totals[0] = f(totals[0], totals[k]);
  return totals[0];
}

enum class Access { kPacks, kStrided };

template <class F, class T, class To, Access access>
__global__ void reduce_rows(const Axes axes, int64_t n, int64_t chunk, int64_t chunks, const T* x, To* out) {
  const int64_t r = blockIdx.x / chunks, part = blockIdx.x % chunks;
  const int64_t begin = part * chunk, end = begin + chunk < n ? begin + chunk : n;
  const T* row = x + axes.row(r);
  Wide<T> total;
  if constexpr (access == Access::kPacks) {
    total = reduce_packs<F>(row, begin, end, threadIdx.x, blockDim.x);
  } else {
    total = reduce_part<F>(row, [&](int64_t j) { return axes.column(j); }, begin, end, threadIdx.x, blockDim.x);
  }
  total = block_reduce(total, F(), F::template identity<Wide<T>>());
  if (threadIdx.x == 0) out[blockIdx.x] = stored<To>(total);
}

// Short rows: a warp for each.
template <class F, class T, class To, Access access>
__global__ void reduce_short_rows(const Axes axes, int64_t rows, int64_t n, const T* x, To* out) {
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (r >= rows) return;
  const int lane = threadIdx.x % kWarp;
  const T* row = x + axes.row(r);
  Wide<T> total;
  if constexpr (access == Access::kPacks) {
    total = reduce_packs<F>(row, 0, n, lane, kWarp);
  } else {
    total = reduce_part<F>(row, [&](int64_t j) { return axes.column(j); }, 0, n, lane, kWarp);
  }
  total = warp_reduce(total, F());
  if (lane == 0) out[r] = stored<To>(total);
}

// Neighbouring rows lie side by side: a thread goes down `count` of them. The chunk of n that blockIdx.y names is
// written to out[chunk, row].
template <class F, class T, class To, int count>
__global__ void reduce_columns(const Axes axes, int64_t rows, int64_t n, int64_t chunk, const T* x, To* out) {
  __shared__ Wide<T> partial[kColumnRows][kColumnLanes * count];
  const F f;
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x) * count;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < n ? begin + chunk : n;
  Wide<T> totals[count];
#pragma unroll
  for (int k = 0; k < count; ++k) totals[k] = F::template identity<Wide<T>>();
  if (r < rows) {
    const T* top = x + axes.row(r);
#pragma unroll 4
    for (int64_t j = begin + threadIdx.y; j < end; j += kColumnRows) {
      const Pack<T, count> pack = load_pack<count>(top + axes.column(j));
#pragma unroll
      for (int k = 0; k < count; ++k) totals[k] = f(totals[k], widen(pack.at[k]));
    }
  }
#pragma unroll
  for (int k = 0; k < count; ++k) partial[threadIdx.y][threadIdx.x * count + k] = totals[k];
  __syncthreads();
  if (threadIdx.y > 0 || r >= rows) return;
  for (int k = 0; k < count; ++k) {
    for (int j = 1; j < kColumnRows; ++j) totals[k] = f(totals[k], partial[j][threadIdx.x * count + k]);
    out[blockIdx.y * rows + r + k] = stored<To>(totals[k]);
  }
}

// `x` may be of the stored or (in the second pass) of the wide type.
template <class F, class T, class To> struct Reduction {
  using W = Wide<T>;
  const T* x;
  To* out;
  Axes axes;
  int64_t rows, n;

  template <class Out> void run_rows(int64_t chunk, int64_t chunks, Out* to) const {
    const bool packs = axes.columns_are_packed() && chunk % kPerPack<T> == 0 && axes.aligned_rows(x, kPerPack<T>);
    const int64_t threads = chunk >= 2048 ? 512 : 128;
    if (chunks == 1 && n <= 1024) {
      const unsigned blocks = blocks_for(rows, kThreads / kWarp);
      packs ? launch(reduce_short_rows<F, T, Out, Access::kPacks>, blocks, kThreads, 0, axes, rows, n, x, to)
            : launch(reduce_short_rows<F, T, Out, Access::kStrided>, blocks, kThreads, 0, axes, rows, n, x, to);
    } else {
      const unsigned blocks = static_cast<unsigned>(rows * chunks), width = static_cast<unsigned>(threads);
      packs ? launch(reduce_rows<F, T, Out, Access::kPacks>, blocks, width, 0, axes, n, chunk, chunks, x, to)
            : launch(reduce_rows<F, T, Out, Access::kStrided>, blocks, width, 0, axes, n, chunk, chunks, x, to);
    }
  }

  template <class Out> void run_columns(int64_t chunk, int64_t chunks, Out* to) const {
    constexpr int wide = kPerPack<T> > 4 ? 4 : kPerPack<T>;
    const dim3 block(kColumnLanes, kColumnRows);
    if (rows % wide == 0 && axes.aligned_columns(x, wide) && rows >= kColumnLanes * wide) {
      const dim3 grid(blocks_for(rows, kColumnLanes * wide), static_cast<unsigned>(chunks));
      launch(reduce_columns<F, T, Out, wide>, grid, block, 0, axes, rows, n, chunk, x, to);
    } else {
      const dim3 grid(blocks_for(rows, kColumnLanes), static_cast<unsigned>(chunks));
      launch(reduce_columns<F, T, Out, 1>, grid, block, 0, axes, rows, n, chunk, x, to);
    }
  }

  void run() const {
    const int64_t wanted = 4 * multiprocessors();  // blocks
    if (axes.rows_are_packed() && (!axes.columns_are_packed() || n == 1)) {
      const int64_t blocks = ceil_div(rows, kColumnLanes * 4);
      const int64_t chunks = std::max<int64_t>(std::min({ceil_div(n, 64), ceil_div(wanted, blocks), int64_t{512}}), 1);
      const int64_t chunk = ceil_div(n, chunks);
      if (chunks == 1) return run_columns(n, 1, out);
      const Workspace partial(static_cast<size_t>(chunks * rows) * sizeof(W));
      run_columns(chunk, chunks, partial.as<W>());
      return Reduction<F, W, To>{partial.as<W>(), out, Axes::side_by_side(rows, chunks), rows, chunks}.run_columns(
          chunks, 1, out);
    }
    const int64_t chunks = std::max<int64_t>(std::min(ceil_div(n, kChunk), ceil_div(2 * wanted, rows)), 1);
    if (chunks == 1) return run_rows(n, 1, out);
    const int64_t chunk = ceil_div(ceil_div(n, chunks), 64) * 64;
    const int64_t parts = ceil_div(n, chunk);
    const Workspace partial(static_cast<size_t>(parts * rows) * sizeof(W));
    run_rows(chunk, parts, partial.as<W>());
    Reduction<F, W, To>{partial.as<W>(), out, Axes::one_after_another(rows, parts), rows, parts}.run_rows(parts, 1,
                                                                                                             out);
  }
};

}  // namespace

void reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n) {
  if (rows == 0) return;
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch<Wide<T>>(kind, [&](auto f) {
      using F = decltype(f);
      if (n == 0) {
        launch(fill_identity<F, T>, blocks_for(rows, kThreads), kThreads, 0, dst.as<T>(), rows);
      } else {
        Reduction<F, T, T>{x.as<const T>(), dst.as<T>(), Axes(x, rows, n), rows, n}.run();
      }
    });
  });
}

}  // namespace needle
