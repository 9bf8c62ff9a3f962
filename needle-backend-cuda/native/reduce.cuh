// Reductions over rows that are contiguous or consist of runs, over columns that lie side by side, or over elements
// found one by one: kernels and launcher. A file for each kind compiles them (reduce_sum.cu, ...), reduce.cu picks one.
//
// Where there are too few rows to fill the device, each is cut into chunks, and the last block to finish joins their
// results, in order. The cuts depend on sizes alone, so that a result is the same every time.
#ifndef NEEDLE_CUDA_REDUCE_CUH
#define NEEDLE_CUDA_REDUCE_CUH

#include "axes.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kChunk = 8192;  // elements of a row that are worth a block of their own
constexpr int kColumnLanes = 32;  // a block of 32 x 8 threads goes down its columns, or one of 256 x 1 down short ones
constexpr int kColumnRows = 8;
constexpr int64_t kShortColumns = 64;

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

// Where a long row or column is cut into chunks, the block that finishes last joins the results of all: it counts
// them here. The counts are zero between launches, and a device has one queue.
constexpr int kMostCuts = 4096;
__device__ unsigned arrived[kMostCuts];

// Whether this block is the last of `chunks` that share `cut`. Called by all threads, after the block's results are
// written; then those of the others can be read.
__device__ __forceinline__ bool is_last(int64_t cut, int64_t chunks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    last = atomicAdd(&arrived[cut], 1u) == static_cast<unsigned>(chunks - 1);
    if (last) arrived[cut] = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

// One row, or one chunk of it, by the `width` threads of a warp or a block: thread i takes packs i, i + width, ...
template <class F, class T, class Place>
__device__ __forceinline__ Wide<T> reduce_part(const T* x, Place place, int64_t begin, int64_t end, int i, int width) {
  const F f;
  Wide<T> total = F::template identity<Wide<T>>();
  for (int64_t j = begin + i; j < end; j += width) total = f(total, widen(x[place(j)]));
  return total;
}

// Each thread asks for kAhead packs before it uses the first: memory is far.
constexpr int kAhead = 8;

template <class F, class T, class Place>
__device__ __forceinline__ Wide<T> reduce_packs(const T* x, Place place, int64_t begin, int64_t end, int i, int width) {
  constexpr int count = kPerPack<T>;
  const F f;
  Wide<T> totals[count];
#pragma unroll
  for (int k = 0; k < count; ++k) totals[k] = F::template identity<Wide<T>>();
  const auto take = [&](const Pack<T, count>& pack) {
#pragma unroll
    for (int k = 0; k < count; ++k) totals[k] = f(totals[k], widen(pack.at[k]));
  };
  const int64_t step = static_cast<int64_t>(width) * count;
  int64_t j = begin + static_cast<int64_t>(i) * count;
  for (; j + (kAhead - 1) * step + count <= end; j += kAhead * step) {
    Pack<T, count> packs[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) packs[k] = load_pack<count>(x + place(j + k * step));
#pragma unroll
    for (int k = 0; k < kAhead; ++k) take(packs[k]);
  }
  for (; j + count <= end; j += step) take(load_pack<count>(x + place(j)));
  for (; j < end; ++j) totals[0] = f(totals[0], widen(x[place(j)]));  // of the one thread that is at the end
#pragma unroll
  for (int k = 1; k < count; ++k) totals[0] = f(totals[0], totals[k]);
  return totals[0];
}

enum class Access { kPacks, kRuns, kStrided };  // of a contiguous row, of one that consists of runs, of any

template <class F, class T, Access access>
__device__ __forceinline__ Wide<T> reduce_row(const Axes& axes, const T* row, int64_t begin, int64_t end, int i,
                                              int width) {
  const auto column = [&](int64_t j) { return axes.column(j); };
  if constexpr (access == Access::kPacks) {
    return reduce_packs<F>(row, [](int64_t j) { return j; }, begin, end, i, width);
  } else if constexpr (access == Access::kRuns) {
    return reduce_packs<F>(row, column, begin, end, i, width);
  } else {
    return reduce_part<F>(row, column, begin, end, i, width);
  }
}

// Chunk blockIdx.x % chunks of a row; `partial` (rows, chunks) is used where there are several.
template <class F, class T, Access access>
__global__ void reduce_rows(const Axes axes, int64_t n, int64_t chunk, int64_t chunks, const T* x, T* out,
                            Wide<T>* partial) {
  const int64_t r = blockIdx.x / chunks, part = blockIdx.x % chunks;
  const int64_t begin = part * chunk, end = begin + chunk < n ? begin + chunk : n;
  Wide<T> total = reduce_row<F, T, access>(axes, x + axes.row(r), begin, end, threadIdx.x, blockDim.x);
  total = block_reduce(total, F(), F::template identity<Wide<T>>());
  if (chunks > 1) {
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
    if (!is_last(r, chunks)) return;
    total = F::template identity<Wide<T>>();
    for (int64_t j = threadIdx.x; j < chunks; j += blockDim.x) {
      total = F()(total, *static_cast<volatile Wide<T>*>(partial + r * chunks + j));
    }
    total = block_reduce(total, F(), F::template identity<Wide<T>>());
  }
  if (threadIdx.x == 0) out[r] = narrow<T>(total);
}

// Short rows: a line of the block, of a warp's threads or fewer, for each.
template <class F, class T, Access access>
__global__ void reduce_short_rows(const Axes axes, int64_t rows, int64_t n, const T* x, T* out) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (r >= rows) return;
  const Wide<T> total =
      line_reduce(reduce_row<F, T, access>(axes, x + axes.row(r), 0, n, threadIdx.x, blockDim.x), F());
  if (threadIdx.x == 0) out[r] = narrow<T>(total);
}

// Neighbouring rows lie side by side: a thread goes down `count` of them, through the chunk of n that blockIdx.y
// names, and takes every `lines`th; `partial` (chunks, rows) is used where there are several chunks.
template <class F, class T, int count, int lines>
__global__ void reduce_columns(const Axes axes, int64_t rows, int64_t n, int64_t chunk, const T* x, T* out,
                               Wide<T>* partial) {
  using W = Wide<T>;
  __shared__ W parts[lines][kColumnLanes * count];
  const F f;
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * count;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < n ? begin + chunk : n;
  W totals[count];
  const auto reset = [&] {
#pragma unroll
    for (int k = 0; k < count; ++k) totals[k] = F::template identity<W>();
  };
  // Afterwards the threads of the first line hold what all lines found.
  const auto join_lines = [&] {
    if constexpr (lines > 1) {
#pragma unroll
      for (int k = 0; k < count; ++k) parts[threadIdx.y][threadIdx.x * count + k] = totals[k];
      __syncthreads();
      if (threadIdx.y > 0) return;
      for (int j = 1; j < lines; ++j) {
#pragma unroll
        for (int k = 0; k < count; ++k) totals[k] = f(totals[k], parts[j][threadIdx.x * count + k]);
      }
    }
  };
  reset();
  if (r < rows) {
    const T* top = x + axes.row(r);
    const auto take = [&](const Pack<T, count>& pack) {
#pragma unroll
      for (int k = 0; k < count; ++k) totals[k] = f(totals[k], widen(pack.at[k]));
    };
    int64_t j = begin + threadIdx.y;
    if (axes.columns_are_even()) {
      const int64_t stride = axes.column(1);
      for (; j + (kAhead - 1) * lines < end; j += kAhead * lines) {
        Pack<T, count> packs[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) packs[k] = load_pack<count>(top + (j + k * lines) * stride);
#pragma unroll
        for (int k = 0; k < kAhead; ++k) take(packs[k]);
      }
    }
    for (; j < end; j += lines) take(load_pack<count>(top + axes.column(j)));
  }
  join_lines();
  const bool writes = threadIdx.y == 0 && r < rows;
  if (gridDim.y > 1) {
    for (int k = 0; k < count && writes; ++k) partial[blockIdx.y * rows + r + k] = totals[k];
    if (!is_last(blockIdx.x, gridDim.y)) return;
    reset();
    for (int64_t j = threadIdx.y; j < gridDim.y && r < rows; j += lines) {
#pragma unroll
      for (int k = 0; k < count; ++k) {
        totals[k] = f(totals[k], *static_cast<volatile W*>(partial + j * rows + r + k));
      }
    }
    join_lines();
  }
  for (int k = 0; k < count && writes; ++k) out[r + k] = narrow<T>(totals[k]);
}

template <class F, class T> struct Reduction {
  using W = Wide<T>;
  const T* x;
  Axes axes;
  int64_t rows, n;

  void run_rows(T* out) const {
    const int64_t wanted = 4 * multiprocessors();  // blocks, which then all run at once
    const int64_t cuts = rows > kMostCuts ? 1 : std::max<int64_t>(std::min(ceil_div(n, kChunk), wanted / rows), 1);
    const int64_t chunk = cuts == 1 ? n : ceil_div(ceil_div(n, cuts), 64) * 64, chunks = ceil_div(n, chunk);
    const bool packs = axes.columns_are_packed() && axes.aligned_rows(x, kPerPack<T>);
    const bool runs = axes.columns_come_in_runs(kPerPack<T>) && axes.aligned_rows(x, kPerPack<T>);
    if (chunks == 1 && n <= 1024) {
      const auto kernel = packs  ? reduce_short_rows<F, T, Access::kPacks>
                          : runs ? reduce_short_rows<F, T, Access::kRuns>
                                 : reduce_short_rows<F, T, Access::kStrided>;
      unsigned lanes = 4;  // as many as have some packs each
      while (lanes < kWarp && lanes * 4 * kPerPack<T> < n) lanes *= 2;
      return launch(kernel, blocks_for(rows, kThreads / lanes), dim3(lanes, kThreads / lanes), 0, axes, rows, n, x,
                    out);
    }
    const auto kernel = packs  ? reduce_rows<F, T, Access::kPacks>
                        : runs ? reduce_rows<F, T, Access::kRuns>
                               : reduce_rows<F, T, Access::kStrided>;
    const Workspace partial(static_cast<size_t>(chunks > 1 ? rows * chunks : 1) * sizeof(W));
    const int64_t ahead = kAhead * kPerPack<T>;  // elements of a thread
    const unsigned threads = static_cast<unsigned>(std::min<int64_t>(ceil_div(chunk, ahead * kWarp) * kWarp, kThreads));
    launch(kernel, static_cast<unsigned>(rows * chunks), threads, 0, axes, n, chunk, chunks, x, out, partial.as<W>());
  }

  void run_columns(T* out) const {
    constexpr int wide = kPerPack<T> > 4 ? 4 : kPerPack<T>;
    const bool packs = rows >= kColumnLanes * wide && axes.aligned_columns(x, wide);
    const int64_t blocks = ceil_div(rows, kColumnLanes * (packs ? wide : 1)), wanted = 4 * multiprocessors();
    const int64_t cuts = blocks > kMostCuts ? 1 : std::max<int64_t>(std::min(ceil_div(n, 64), wanted / blocks), 1);
    const int64_t chunk = ceil_div(n, cuts), chunks = ceil_div(n, chunk);
    const Workspace partial(static_cast<size_t>(chunks > 1 ? rows * chunks : 1) * sizeof(W));
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(chunks));
    if (packs && n <= kShortColumns && blocks >= wanted * kColumnRows) {
      return launch(reduce_columns<F, T, wide, 1>, blocks_for(blocks, kColumnRows), kThreads, 0, axes, rows, n, chunk,
                    x, out, partial.as<W>());
    }
    launch(packs ? reduce_columns<F, T, wide, kColumnRows> : reduce_columns<F, T, 1, kColumnRows>, grid,
           dim3(kColumnLanes, kColumnRows), 0, axes, rows, n, chunk, x, out, partial.as<W>());
  }

  void run(T* out) const {
    const bool side_by_side = axes.rows_are_packed(kColumnLanes) && (!axes.columns_are_packed() || n == 1);
    side_by_side ? run_columns(out) : run_rows(out);
  }
};

template <class F> void reduce_by(const View& dst, const View& x, int64_t rows, int64_t n) {
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (n == 0) {
      launch(fill_identity<F, T>, blocks_for(rows, kThreads), kThreads, 0, dst.as<T>(), rows);
    } else {
      Reduction<F, T>{x.as<const T>(), Axes(x, rows, n), rows, n}.run(dst.as<T>());
    }
  });
}

}  // namespace
}  // namespace needle

#endif  // NEEDLE_CUDA_REDUCE_CUH
