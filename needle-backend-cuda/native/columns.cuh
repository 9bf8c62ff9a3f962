// Down the columns of a contiguous array (rows, n): a block of threads has some neighbouring columns and a chunk of the
// rows. The cuts depend on sizes and on the device alone, so that a sum is the same every time.
#ifndef NEEDLE_CUDA_COLUMNS_CUH
#define NEEDLE_CUDA_COLUMNS_CUH

#include "launch.cuh"

namespace needle {

// A thread's pack of columns: 16 bytes, or 8 of halves, whose sums would need too many registers.
template <class T> constexpr int kColumnsPerThread = sizeof(T) == 8 ? 2 : 4;

struct Columns {
  int64_t rows, n, chunk, chunks;
  dim3 block, grid;

  // `count` columns a thread. A thread goes down at least `least` rows.
  Columns(int64_t rows, int64_t n, int count, int64_t least) : rows(rows), n(n) {
    unsigned lanes = 1;
    while (lanes < kWarp && static_cast<int64_t>(lanes) * count < n) lanes *= 2;
    block = dim3(lanes, kThreads / lanes);
    const int64_t tiles = ceil_div(n, static_cast<int64_t>(lanes) * count);
    const int64_t wanted = ceil_div(8 * int64_t{multiprocessors()}, tiles);
    chunk = ceil_div(rows, std::max<int64_t>(std::min(wanted, ceil_div(rows, least * block.y)), 1));
    chunks = std::max<int64_t>(ceil_div(rows, std::max<int64_t>(chunk, 1)), 1);
    grid = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(chunks));
  }
};

// What a thread has of them.
template <int count> struct ColumnsOfThread {
  int64_t first, begin, end;

  __device__ __forceinline__ ColumnsOfThread(int64_t rows, int64_t n, int64_t chunk)
      : first((int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * count),
        begin(blockIdx.y * chunk + threadIdx.y),
        end(blockIdx.y * chunk + chunk < rows ? blockIdx.y * chunk + chunk : rows) {
    if (first >= n) end = begin;
  }
};

// The sum over the threads of a block that have the same columns, for those with threadIdx.y == 0.
template <int count, class W> __device__ __forceinline__ void sum_down(W (&x)[count]) {
  __shared__ W partial[kThreads][count];
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();  // another sum may still be read
#pragma unroll
  for (int k = 0; k < count; ++k) partial[me][k] = x[k];
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
#pragma unroll
    for (int k = 0; k < count; ++k) partial[me][k] = x[k] += partial[me + half * blockDim.x][k];
  }
}

// out[j] = the sum of x[:, j], as T and, where it is wanted, as it was computed.
template <class T, class W>
__global__ void __launch_bounds__(kThreads) sum_columns(int64_t rows, int64_t n, const W* x, T* out, W* wide) {
  const ColumnsOfThread<1> mine(rows, n, rows);
  W total[1] = {};
#pragma unroll 8
  for (int64_t r = mine.begin; r < mine.end; r += blockDim.y) total[0] += x[r * n + mine.first];
  sum_down(total);
  if (threadIdx.y > 0 || mine.first >= n) return;
  out[mine.first] = narrow<T>(total[0]);
  if (wide != nullptr) wide[mine.first] = total[0];
}

template <class T, class W> void sum_partials(int64_t rows, int64_t n, const W* x, T* out, W* wide = nullptr) {
  const dim3 block(8, kThreads / 8);  // few columns a block: their sums are short of blocks
  launch(sum_columns<T, W>, blocks_for(n, 8), block, 0, rows, n, x, out, wide);
}

}  // namespace needle

#endif  // NEEDLE_CUDA_COLUMNS_CUH
