// argmax: where the largest element of each row stands, the first of equals; a NaN is larger than all.
//
// A thread keeps the largest value that it saw and the first pack that had it, which is one comparison a pack; where
// in the pack it stands is looked up once, at the end. Rows are of a few threads, a warp or a block each, and long ones
// are cut into chunks, where there are too few to fill the device; rows that lie side by side are gone down like
// columns.
#include <cstdint>
#include <limits>

#include "axes.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int kAhead = 8;                             // packs or elements asked for before the first is used
constexpr int64_t kLongest = int64_t{1} << 30;        // chunk: positions in it are of 32 bits
constexpr int kColumnLanes = kWarp, kColumnRows = 8;  // a block of 32 x 8 threads goes down its columns
constexpr int32_t kNowhere = std::numeric_limits<int32_t>::max();

template <class W> __device__ __forceinline__ W lowest() {
  using Limits = std::numeric_limits<W>;
  return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
}

template <class W> __device__ __forceinline__ bool exceeds(W a, W b) { return a > b || (a != a && b == b); }

template <class W> __device__ __forceinline__ W larger(W a, W b) { return exceeds(b, a) ? b : a; }
template <> __device__ __forceinline__ float larger(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

// An element and where it stands in its chunk, or, at kNowhere, none.
template <class W> struct Candidate {
  W value;
  int32_t at;

  // Of what a thread sees in order: an equal one does not win.
  __device__ __forceinline__ void see(W next, int32_t place) {
    if (exceeds(next, value)) value = next, at = place;
  }
  __device__ __forceinline__ bool beats(const Candidate& other) const {
    return exceeds(value, other.value) || (!exceeds(other.value, value) && at < other.at);
  }
};

// Among `lanes` neighbouring threads of a warp, which are those of the mask.
template <class W>
__device__ __forceinline__ Candidate<W> best_of_lanes(Candidate<W> best, int lanes, unsigned mask = kAllLanes) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    if (distance >= lanes) continue;
    const Candidate<W> other{__shfl_xor_sync(mask, best.value, distance), __shfl_xor_sync(mask, best.at, distance)};
    if (other.beats(best)) best = other;
  }
  return best;
}

template <class W> __device__ __forceinline__ Candidate<W> best_of_warp(Candidate<W> best) {
  return best_of_lanes(best, kWarp);
}

// Within each line of a block of (blockDim.x, blockDim.y) threads, of 1, 2, 4, ... or 32: lines that share a warp may
// have ended.
template <class W> __device__ __forceinline__ Candidate<W> best_of_line(Candidate<W> best) {
  const unsigned lanes = blockDim.x;
  return best_of_lanes(best, static_cast<int>(lanes), (kAllLanes >> (kWarp - lanes)) << (threadIdx.y * lanes % kWarp));
}

// For the first warp of the block.
template <class W> __device__ __forceinline__ Candidate<W> best_of_block(Candidate<W> best) {
  __shared__ Candidate<W> partial[kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  best = best_of_warp(best);
  if (lane == 0) partial[warp] = best;
  __syncthreads();
  if (warp > 0) return best;
  return best_of_warp(lane < warps ? partial[lane] : Candidate<W>{lowest<W>(), kNowhere});
}

// Results: int32 or int64.
struct Positions {
  void* data;
  bool is_long;

  explicit Positions(const View& dst) : data(dst.data), is_long(dst.dtype == DType::kInt64) {}
  __device__ __forceinline__ void put(int64_t r, int64_t at) const {
    if (is_long) {
      static_cast<int64_t*>(data)[r] = at;
    } else {
      static_cast<int32_t*>(data)[r] = static_cast<int32_t>(at);
    }
  }
};

// Of a contiguous, aligned chunk: thread i of `width` takes packs i, i + width, ..., and the last one what is left
// over. The result stands at the start of its pack.
template <class T>
__device__ __forceinline__ Candidate<Wide<T>> best_of_packs(const T* x, int32_t length, int32_t i, int32_t width) {
  constexpr int count = kPerPack<T>;
  const int32_t step = width * count;
  int32_t j = i * count;
  Candidate<Wide<T>> best{lowest<Wide<T>>(), j < length ? j : kNowhere};
  const auto see = [&](const Pack<T, count>& pack, int32_t at) {
    Wide<T> most = widen(pack.at[0]);
#pragma unroll
    for (int k = 1; k < count; ++k) most = larger(most, widen(pack.at[k]));
    best.see(most, at);
  };
  for (; j + (kAhead - 1) * step + count <= length; j += kAhead * step) {
    Pack<T, count> ahead[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) ahead[k] = load_pack<count>(x + j + k * step);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) see(ahead[k], j + k * step);
  }
  for (; j + count <= length; j += step) see(load_pack<count>(x + j), j);
  for (; j < length; ++j) best.see(widen(x[j]), j);  // left over: these stand where they are said to
  return best;
}

template <class T>
__device__ __forceinline__ int32_t first_in_pack(const T* x, int32_t length, const Candidate<Wide<T>>& best) {
  constexpr int count = kPerPack<T>;
  if (best.at + count > length) return best.at;
  const Pack<T, count> pack = load_pack<count>(x + best.at);
  int first = count - 1;
#pragma unroll
  for (int k = count - 2; k >= 0; --k) first = exceeds(best.value, widen(pack.at[k])) ? first : k;
  return best.at + first;
}

// Of elements anywhere.
template <class T, class Place>
__device__ __forceinline__ Candidate<Wide<T>> best_of_elements(const T* x, Place place, int32_t length, int32_t i,
                                                               int32_t width) {
  int32_t j = i;
  Candidate<Wide<T>> best{lowest<Wide<T>>(), j < length ? j : kNowhere};
  for (; j + (kAhead - 1) * width < length; j += kAhead * width) {
    T ahead[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) ahead[k] = x[place(j + k * width)];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) best.see(widen(ahead[k]), j + k * width);
  }
  for (; j < length; j += width) best.see(widen(x[place(j)]), j);
  return best;
}

// The best of each chunk of a row, by blockDim.x threads, of a warp or a block: into `out` (rows, chunks), or where
// there is one chunk into `dst`.
template <class T, bool packs>
__global__ void best_of_chunks(int64_t rows, int64_t n, int64_t chunk, int64_t chunks, const Axes axes, const T* x,
                               Candidate<Wide<T>>* out, const Positions dst) {
  const int64_t item = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (item >= rows * chunks) return;
  const int64_t r = item / chunks, begin = item % chunks * chunk;
  const int32_t length = static_cast<int32_t>(begin + chunk < n ? chunk : n - begin);
  x += axes.row(r);
  Candidate<Wide<T>> best;
  if constexpr (packs) {
    best = best_of_packs(x + begin, length, threadIdx.x, blockDim.x);
  } else {
    best = best_of_elements(x, [&](int32_t j) { return axes.column(begin + j); }, length, threadIdx.x, blockDim.x);
  }
  best = blockDim.x > kWarp ? best_of_block(best) : best_of_line(best);
  if (threadIdx.x > 0) return;
  if constexpr (packs) best.at = first_in_pack(x + begin, length, best);
  if (chunks > 1) {
    out[item] = best;
  } else {
    dst.put(r, best.at);
  }
}

// Neighbouring rows lie side by side: a thread goes down `count` of them, through the chunk that blockIdx.y names:
// into `out` (chunks, rows), or where there is one chunk into `dst`.
template <class T, int count>
__global__ void best_of_columns(int64_t rows, int64_t n, int64_t chunk, const Axes axes, const T* x,
                                Candidate<Wide<T>>* out, const Positions dst) {
  using W = Wide<T>;
  __shared__ Candidate<W> lines[kColumnRows][kColumnLanes * count];
  const int64_t r = (int64_t{blockIdx.x} * kColumnLanes + threadIdx.x) * count, begin = blockIdx.y * chunk;
  const int32_t length = static_cast<int32_t>(begin + chunk < n ? chunk : n - begin);
  int32_t j = threadIdx.y;
  Candidate<W> best[count];
#pragma unroll
  for (int k = 0; k < count; ++k) best[k] = {lowest<W>(), j < length ? j : kNowhere};
  if (r < rows) {
    const T* top = x + axes.row(r);
    const auto see = [&](const Pack<T, count>& pack, int32_t at) {
#pragma unroll
      for (int k = 0; k < count; ++k) best[k].see(widen(pack.at[k]), at);
    };
    if (axes.columns_are_even()) {
      const int64_t stride = axes.column(1);
      const T* first = top + begin * stride;
      for (; j + (kAhead - 1) * kColumnRows < length; j += kAhead * kColumnRows) {
        Pack<T, count> ahead[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) ahead[k] = load_pack<count>(first + (j + k * kColumnRows) * stride);
#pragma unroll
        for (int k = 0; k < kAhead; ++k) see(ahead[k], j + k * kColumnRows);
      }
    }
    for (; j < length; j += kColumnRows) see(load_pack<count>(top + axes.column(begin + j)), j);
  }
#pragma unroll
  for (int k = 0; k < count; ++k) lines[threadIdx.y][threadIdx.x * count + k] = best[k];
  __syncthreads();
  if (threadIdx.y > 0 || r >= rows) return;
  for (int line = 1; line < kColumnRows; ++line) {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const Candidate<W> other = lines[line][threadIdx.x * count + k];
      if (other.beats(best[k])) best[k] = other;
    }
  }
#pragma unroll
  for (int k = 0; k < count; ++k) {
    if (gridDim.y > 1) {
      out[blockIdx.y * rows + r + k] = best[k];
    } else {
      dst.put(r + k, best[k].at);
    }
  }
}

// Joins the chunks of each row, by a warp. They are `apart` from one to the next; rows are `stride` apart.
template <class W>
__global__ void best_of_rows(int64_t rows, int64_t chunk, int32_t chunks, int64_t stride, int64_t apart,
                             const Candidate<W>* of_chunks, const Positions dst) {
  const int64_t r = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  if (r >= rows) return;
  of_chunks += r * stride;
  const int32_t lane = threadIdx.x % kWarp;
  Candidate<W> best{lowest<W>(), lane < chunks ? lane : kNowhere};  // and the chunk that it is in
  for (int32_t i = lane; i < chunks; i += kWarp) best.see(of_chunks[i * apart].value, i);
  best = best_of_warp(best);
  if (lane == 0) dst.put(r, best.at * chunk + of_chunks[best.at * apart].at);
}

template <class T> struct ArgMax {
  using Best = Candidate<Wide<T>>;
  const T* x;
  Axes axes;
  int64_t rows, n;
  Positions dst;

  void run_rows() const {
    const int64_t wanted = std::min(ceil_div(4 * multiprocessors(), rows), ceil_div(n, 4096));
    const int64_t chunk = ceil_div(ceil_div(n, std::max(wanted, ceil_div(n, kLongest))), kWarp) * kWarp;
    const int64_t chunks = ceil_div(n, chunk);  // of whole packs
    const Workspace space(static_cast<size_t>(chunks > 1 ? rows * chunks : 1) * sizeof(Best));
    const bool packs = axes.columns_are_packed() && axes.aligned_rows(x, kPerPack<T>);
    const dim3 block = block_for(chunk);
    launch(packs ? best_of_chunks<T, true> : best_of_chunks<T, false>, blocks_for(rows * chunks, block.y), block, 0,
           rows, n, chunk, chunks, axes, x, space.as<Best>(), dst);
    if (chunks > 1) join(chunk, chunks, chunks, 1, space.as<Best>());
  }

  // A line for each chunk: of as many lanes of a warp as have some packs each, or of whole warps.
  static dim3 block_for(int64_t chunk) {
    if (chunk > 1024) return dim3(chunk <= 4096 ? 4 * kWarp : 16 * kWarp);
    unsigned lanes = 4;
    while (lanes < kWarp && lanes * 4 * kPerPack<T> < chunk) lanes *= 2;
    return dim3(lanes, kThreads / lanes);
  }

  void run_columns() const {
    constexpr int wide = kPerPack<T> > 4 ? 4 : kPerPack<T>;
    const bool packs = rows >= kColumnLanes * wide && axes.aligned_columns(x, wide);
    const int64_t blocks = ceil_div(rows, kColumnLanes * (packs ? wide : 1));
    const int64_t wanted = std::min(4 * multiprocessors() / blocks, ceil_div(n, 64));  // which then all run at once
    const int64_t chunk = ceil_div(n, std::max(wanted, ceil_div(n, kLongest))), chunks = ceil_div(n, chunk);
    const Workspace space(static_cast<size_t>(chunks > 1 ? rows * chunks : 1) * sizeof(Best));
    launch(packs ? best_of_columns<T, wide> : best_of_columns<T, 1>,
           dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(chunks)), dim3(kColumnLanes, kColumnRows), 0, rows,
           n, chunk, axes, x, space.as<Best>(), dst);
    if (chunks > 1) join(chunk, chunks, 1, rows, space.as<Best>());
  }

  void join(int64_t chunk, int64_t chunks, int64_t stride, int64_t apart, const Best* of_chunks) const {
    launch(best_of_rows<Wide<T>>, blocks_for(rows, kThreads / kWarp), kThreads, 0, rows, chunk, chunks, stride, apart,
           of_chunks, dst);
  }
};

}  // namespace

void argmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  if (rows * n == 0) return;
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const ArgMax<T> run{x.as<const T>(), Axes(x, rows, n), rows, n, Positions(dst)};
    run.axes.columns_are_packed() || !run.axes.rows_are_packed(kColumnLanes) ? run.run_rows() : run.run_columns();
  });
}

}  // namespace needle
