// argsort and cumsum.
//
// argsort turns each element into an unsigned key of the same order and sorts all rows at once, by key and then by row:
// as a radix sort is stable, each row stays in the order of its keys. So one row of millions and millions of short rows
// take the same few passes. A NaN is larger than all; the zeros are equal.
#include <cub/device/device_radix_sort.cuh>

#include "axes.cuh"
#include "ops.h"

namespace needle {
namespace {

// Unsigned integers in the order of the elements.
template <class Key, class Bits> __device__ __forceinline__ Key key_of_bits(Bits bits) {
  constexpr Bits sign = Bits(Bits(1) << (8 * sizeof(Bits) - 1));
  return (bits & sign) != 0 ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | sign);
}
__device__ __forceinline__ uint64_t key_of(double x) {
  return x != x ? UINT64_MAX : key_of_bits<uint64_t>(static_cast<uint64_t>(__double_as_longlong(x == 0 ? 0.0 : x)));
}
__device__ __forceinline__ uint32_t key_of(float x) {
  return x != x ? UINT32_MAX : key_of_bits<uint32_t>(__float_as_uint(x == 0 ? 0.0f : x));
}
// A half's upper bits, as a float's, say all: the key needs no more than 16.
__device__ __forceinline__ uint32_t key_of(__nv_bfloat16 x) { return key_of(__bfloat162float(x)) >> 16; }
__device__ __forceinline__ uint32_t key_of(__half x) {
  const float value = __half2float(x);
  return value != value ? UINT16_MAX
                        : key_of_bits<uint32_t>(value == 0 ? uint16_t{0} : static_cast<uint16_t>(__half_as_ushort(x)));
}
__device__ __forceinline__ uint64_t key_of(int64_t x) { return static_cast<uint64_t>(x) ^ (uint64_t{1} << 63); }
__device__ __forceinline__ uint32_t key_of(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }
__device__ __forceinline__ uint32_t key_of(int8_t x) { return static_cast<uint8_t>(x) ^ 0x80u; }
__device__ __forceinline__ uint32_t key_of(uint8_t x) { return x; }
__device__ __forceinline__ uint32_t key_of(bool x) { return x ? 1 : 0; }

template <class T, class Key>
__global__ void make_keys(int64_t size, int64_t n, const Axes axes, const T* x, bool descending, Key* keys,
                          uint32_t* places) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= size) return;
  constexpr Key all = static_cast<Key>(~Key(0)) >> (8 * (sizeof(Key) - sizeof(T)));
  const int64_t r = at / n;
  const Key key = key_of(x[axes.row(r) + axes.column(at - r * n)]);
  keys[at] = descending ? key ^ all : key;
  places[at] = static_cast<uint32_t>(at);
}

__global__ void rows_of_places(int64_t size, uint32_t n, const uint32_t* places, uint32_t* rows) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at < size) rows[at] = places[at] / n;
}

template <class I> __global__ void indices_of_places(int64_t size, uint32_t n, const uint32_t* places, I* dst) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at < size) dst[at] = static_cast<I>(places[at] % n);
}

int bits_of(int64_t count) {
  int bits = 0;
  while ((int64_t{1} << bits) < count) ++bits;
  return bits;
}

// Stable, by the lowest `bits` of the keys. The sorted keys and places are swapped into the first of each pair.
template <class Key>
void sort_by(cub::DoubleBuffer<Key>& keys, cub::DoubleBuffer<uint32_t>& places, int64_t size, int bits) {
  size_t nbytes = 0;
  check(cub::DeviceRadixSort::SortPairs(nullptr, nbytes, keys, places, size, 0, bits, stream()));
  const Workspace space(nbytes);
  check(cub::DeviceRadixSort::SortPairs(space.as<void>(), nbytes, keys, places, size, 0, bits, stream()));
}

template <class T> void argsort_as(const View& dst, const View& x, int64_t rows, int64_t n, bool descending) {
  static_cast<void>(cudaGetLastError());  // CUB takes what a library left behind for its own, and keeps it for ever
  using Key = decltype(key_of(T()));
  const int64_t size = rows * n;
  const unsigned blocks = blocks_for(size, kThreads);
  const Workspace space(static_cast<size_t>(size) * 2 * (sizeof(Key) + sizeof(uint32_t)));
  Key* const first_keys = space.as<Key>();
  uint32_t* const first_places = reinterpret_cast<uint32_t*>(first_keys + 2 * size);
  cub::DoubleBuffer<Key> keys(first_keys, first_keys + size);
  cub::DoubleBuffer<uint32_t> places(first_places, first_places + size);
  launch(make_keys<T, Key>, blocks, kThreads, 0, size, n, Axes(x, rows, n), x.as<const T>(), descending, first_keys,
         first_places);
  sort_by(keys, places, size, 8 * static_cast<int>(sizeof(T)));
  const uint32_t length = static_cast<uint32_t>(n);
  if (rows > 1) {  // the keys' memory is free for the rows
    uint32_t* const numbers = reinterpret_cast<uint32_t*>(first_keys);
    cub::DoubleBuffer<uint32_t> row_keys(numbers, numbers + size);
    launch(rows_of_places, blocks, kThreads, 0, size, length, places.Current(), numbers);
    sort_by(row_keys, places, size, bits_of(rows));
  }
  visit_index(dst.dtype, [&](auto type) {
    using I = typename decltype(type)::type;
    launch(indices_of_places<I>, blocks, kThreads, 0, size, length, places.Current(), dst.as<I>());
  });
}

// The sum of the threads before this one, and of all.
template <class W> struct Prefix {
  W before, all;
};
template <class W> __device__ __forceinline__ Prefix<W> prefix_of_block(W x) {
  __shared__ W of_warps[kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  W sum = x;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const W other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += other;
  }
  __syncthreads();  // an earlier prefix may still be read
  if (lane == kWarp - 1) of_warps[warp] = sum;
  __syncthreads();
  W before = 0, all = 0;
  for (int i = 0; i < warps; ++i) {
    if (i < warp) before += of_warps[i];
    all += of_warps[i];
  }
  const W in_warp = __shfl_up_sync(kAllLanes, sum, 1);
  return {before + (lane == 0 ? W(0) : in_warp), all};
}

constexpr int kRun = 4;  // neighbouring elements of a thread

// out[part] = the sum of chunk `part` of all rows' chunks.
template <class T>
__global__ void sum_chunks(int64_t n, int64_t chunk, int64_t chunks, const Axes axes, const T* x, Wide<T>* out) {
  const int64_t r = blockIdx.x / chunks, begin = blockIdx.x % chunks * chunk;
  const int64_t end = begin + chunk < n ? begin + chunk : n;
  x += axes.row(r);
  Wide<T> total = 0;
  for (int64_t j = begin + threadIdx.x; j < end; j += blockDim.x) total += widen(x[axes.column(j)]);
  total = block_reduce(total, Plus(), Wide<T>(0));
  if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// Running sums of a chunk, on top of those of the chunks before it.
template <class T>
__global__ void sum_running(int64_t n, int64_t chunk, int64_t chunks, const Axes axes, const T* x,
                            const Wide<T>* chunk_sums, T* dst) {
  using W = Wide<T>;
  const int64_t r = blockIdx.x / chunks, part = blockIdx.x % chunks, begin = part * chunk;
  const int64_t end = begin + chunk < n ? begin + chunk : n;
  W carried = 0;
  for (int64_t i = threadIdx.x; i < part; i += blockDim.x) carried += chunk_sums[r * chunks + i];
  carried = block_reduce(carried, Plus(), W(0));
  x += axes.row(r);
  dst += r * n;
  for (int64_t first = begin; first < end; first += int64_t{blockDim.x} * kRun) {
    const int64_t mine = first + threadIdx.x * kRun;
    W sums[kRun];
#pragma unroll
    for (int k = 0; k < kRun; ++k) {
      const W value = mine + k < end ? widen(x[axes.column(mine + k)]) : W(0);
      sums[k] = k == 0 ? value : sums[k - 1] + value;
    }
    const Prefix<W> prefix = prefix_of_block(sums[kRun - 1]);
#pragma unroll
    for (int k = 0; k < kRun; ++k) {
      if (mine + k < end) dst[mine + k] = narrow<T>(carried + prefix.before + sums[k]);
    }
    carried += prefix.all;
  }
}

// How rows are cut, where there are too few of them to fill the device.
struct Chunks {
  int64_t length, count;

  Chunks(int64_t rows, int64_t n) {
    const int64_t wanted = std::min(ceil_div(4 * multiprocessors(), rows), ceil_div(n, 4096));
    length = ceil_div(ceil_div(n, std::max<int64_t>(wanted, 1)), kWarp) * kWarp;  // of whole packs
    count = ceil_div(n, length);
  }
};

unsigned threads_for(int64_t length) { return length <= 1024 ? 4 * kWarp : 16 * kWarp; }

}  // namespace

void argsort(const View& dst, const View& x, int64_t rows, int64_t n, bool descending) {
  if (rows * n == 0) return;
  if (rows * n > int64_t{UINT32_MAX}) throw std::invalid_argument("argsort takes at most 2**32 - 1 elements");
  visit_dtype(x.dtype, [&](auto type) { argsort_as<typename decltype(type)::type>(dst, x, rows, n, descending); });
}

void cumsum(const View& dst, const View& x, int64_t rows, int64_t n) {
  if (rows * n == 0) return;
  const Chunks chunks(rows, n);
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Axes axes(x, rows, n);
    const Workspace space(static_cast<size_t>(rows * chunks.count) * sizeof(Wide<T>));
    auto* sums = space.as<Wide<T>>();
    const unsigned blocks = static_cast<unsigned>(rows * chunks.count), threads = threads_for(chunks.length);
    if (chunks.count > 1) {
      launch(sum_chunks<T>, blocks, threads, 0, n, chunks.length, chunks.count, axes, x.as<const T>(), sums);
    }
    launch(sum_running<T>, blocks, threads, 0, n, chunks.length, chunks.count, axes, x.as<const T>(), sums,
           dst.as<T>());
  });
}

}  // namespace needle
