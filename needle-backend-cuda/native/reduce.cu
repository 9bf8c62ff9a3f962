// reduce: over contiguous rows, over columns that lie side by side, or over elements found one by one.
//
// Where there are too few rows to fill the device, each is cut into chunks whose results are reduced in turn. The cuts
// depend on sizes alone, so that a result is the same every time.
#include "axes.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kChunk = 8192;  // elements of a row that are worth a block of their own
constexpr int kColumnLanes = 32;  // a block of 32 x 8 threads goes down its columns
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

// Where results go: as they are stored, or, as parts of a larger sum, in the type that they are computed in.
struct Results {
  void* data;
  bool partial;

  template <class T> __device__ __forceinline__ void set(int64_t i, Wide<T> x) const {
    if (partial) {
      static_cast<Wide<T>*>(data)[i] = x;
    } else {
      static_cast<T*>(data)[i] = narrow<T>(x);
    }
  }
};

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
#pragma unroll 4
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

template <class F, class T, Access access>
__global__ void reduce_rows(const Axes axes, int64_t n, int64_t chunk, int64_t chunks, const T* x, const Results out) {
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
  if (threadIdx.x == 0) out.set<T>(blockIdx.x, total);
}

// Short rows: a warp for each.
template <class F, class T, Access access>
__global__ void reduce_short_rows(const Axes axes, int64_t rows, int64_t n, const T* x, const Results out) {
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
  if (lane == 0) out.set<T>(r, total);
}

// Neighbouring rows lie side by side: a thread goes down `count` of them. The chunk of n that blockIdx.y names is
// written to out[chunk, row].
template <class F, class T, int count>
__global__ void reduce_columns(const Axes axes, int64_t rows, int64_t n, int64_t chunk, const T* x, const Results out) {
  __shared__ Wide<T> partial[kColumnRows][kColumnLanes * count];
  const F f;
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x) * count;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < n ? begin + chunk : n;
  Wide<T> totals[count];
#pragma unroll
  for (int k = 0; k < count; ++k) totals[k] = F::template identity<Wide<T>>();
  if (r < rows) {
    const T* top = x + axes.row(r);
#pragma unroll 8
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
    out.set<T>(blockIdx.y * rows + r + k, totals[k]);
  }
}

template <class T> __global__ void narrow_all(int64_t n, T* dst, const Wide<T>* src) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) dst[i] = narrow<T>(src[i]);
}

template <class F, class T> struct Reduction {
  using W = Wide<T>;
  const T* x;
  Axes axes;
  int64_t rows, n;

  void run_rows(int64_t chunk, int64_t chunks, Results out) const {
    const bool packs = axes.columns_are_packed() && chunk % kPerPack<T> == 0 && axes.aligned_rows(x, kPerPack<T>);
    if (chunks == 1 && n <= 1024) {
      const auto kernel = packs ? reduce_short_rows<F, T, Access::kPacks> : reduce_short_rows<F, T, Access::kStrided>;
      launch(kernel, blocks_for(rows, kThreads / kWarp), kThreads, 0, axes, rows, n, x, out);
    } else {
      const auto kernel = packs ? reduce_rows<F, T, Access::kPacks> : reduce_rows<F, T, Access::kStrided>;
      launch(kernel, static_cast<unsigned>(rows * chunks), chunk >= 2048 ? 256 : 128, 0, axes, n, chunk, chunks, x,
             out);
    }
  }

  void run_columns(int64_t chunk, int64_t chunks, Results out) const {
    constexpr int wide = kPerPack<T> > 4 ? 4 : kPerPack<T>;
    const bool packs = rows % wide == 0 && rows >= kColumnLanes * wide && axes.aligned_columns(x, wide);
    const dim3 grid(blocks_for(rows, kColumnLanes * (packs ? wide : 1)), static_cast<unsigned>(chunks));
    launch(packs ? reduce_columns<F, T, wide> : reduce_columns<F, T, 1>, grid, dim3(kColumnLanes, kColumnRows), 0, axes,
           rows, n, chunk, x, out);
  }

  // The second pass, over the results of the first: W stands for itself.
  void join(const Reduction<F, W>& parts, bool in_columns, T* dst) const {
    if constexpr (std::is_same_v<T, W>) {
      parts.run_in(in_columns, Results{dst, false});
    } else {
      const Workspace wide(static_cast<size_t>(rows) * sizeof(W));
      parts.run_in(in_columns, Results{wide.as<W>(), false});
      launch(narrow_all<T>, blocks_for(rows, kThreads), kThreads, 0, rows, dst, wide.as<const W>());
    }
  }
  void run_in(bool in_columns, Results out) const { in_columns ? run_columns(n, 1, out) : run_rows(n, 1, out); }

  void run(T* dst) const {
    const int64_t wanted = 8 * multiprocessors();  // blocks
    if (axes.rows_are_packed() && (!axes.columns_are_packed() || n == 1)) {
      const int64_t blocks = ceil_div(rows, kColumnLanes * 4);
      const int64_t chunk =
          ceil_div(n, std::max<int64_t>(std::min({ceil_div(n, 64), ceil_div(wanted, blocks), int64_t{512}}), 1));
      const int64_t chunks = ceil_div(n, chunk);
      if (chunks == 1) return run_columns(n, 1, Results{dst, false});
      const Workspace partial(static_cast<size_t>(chunks * rows) * sizeof(W));
      run_columns(chunk, chunks, Results{partial.as<W>(), true});
      return join({partial.as<const W>(), Axes::side_by_side(rows, chunks), rows, chunks}, true, dst);
    }
    const int64_t cuts = std::max<int64_t>(std::min(ceil_div(n, kChunk), ceil_div(wanted, rows)), 1);
    if (cuts == 1) return run_rows(n, 1, Results{dst, false});
    const int64_t chunk = ceil_div(ceil_div(n, cuts), 64) * 64, chunks = ceil_div(n, chunk);
    const Workspace partial(static_cast<size_t>(chunks * rows) * sizeof(W));
    run_rows(chunk, chunks, Results{partial.as<W>(), true});
    join({partial.as<const W>(), Axes::one_after_another(rows, chunks), rows, chunks}, false, dst);
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
        Reduction<F, T>{x.as<const T>(), Axes(x, rows, n), rows, n}.run(dst.as<T>());
      }
    });
  });
}

}  // namespace needle
