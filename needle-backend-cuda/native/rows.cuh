// The rows of one or more arrays (rows, n), each in the hands of a few threads of a warp, of a warp, or of a block.
//
// A row of up to 16 elements a thread is read once and then held in registers; a longer one, or one that no pack of 16
// bytes fits, is read again from memory (mostly from a cache) in each pass. A kernel is written once for both.
#ifndef NEEDLE_CUDA_ROWS_CUH
#define NEEDLE_CUDA_ROWS_CUH

#include <functional>
#include <type_traits>

#include "launch.cuh"

namespace needle {

template <class T> constexpr int kMostThreads = sizeof(T) == 8 ? 512 : 1024;            // of a row
template <class T> constexpr int kHeldPacks = (sizeof(T) == 8 ? 8 : 16) / kPerPack<T>;  // of a thread
template <class T> constexpr int kHeld = kHeldPacks<T> * kPerPack<T>;                   // elements of the same

// Of `inputs` arrays, row r. Threads along x share it; each line of them along y has a row of its own.
// each(f, w...) calls f(slot, j, v, w[j]...) for this thread's elements j of the row: v[i] is that of array i, and the
// slot counts them, so that f may keep something for each in registers. write(out, f, w...) stores what f returns at
// out[j].
template <class T, int inputs, int packs> struct HeldRow {
  using W = Wide<T>;
  static constexpr bool kIsHeld = true;
  static constexpr int kCount = kPerPack<T>, kSlots = packs * kCount;
  int n;
  W values[kSlots][inputs];

  __device__ __forceinline__ HeldRow(const T* const (&x)[inputs], int64_t r, int64_t length)
      : n(static_cast<int>(length)) {
#pragma unroll
    for (int i = 0; i < inputs; ++i) {
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        if (first(p) >= n) continue;
        const Pack<T, kCount> pack = load_pack<kCount>(x[i] + r * length + first(p));
#pragma unroll
        for (int k = 0; k < kCount; ++k) values[p * kCount + k][i] = widen(pack.at[k]);
      }
    }
  }

  static __device__ __forceinline__ int first(int pack) {
    return (pack * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * kCount;
  }

  template <class F, class... Along> __device__ __forceinline__ void each(F f, const Along*... along) const {
    each_pack(
        [&](int p, const auto&... w) {
#pragma unroll
          for (int k = 0; k < kCount; ++k) {
            f(p * kCount + k, first(p) + k, values[p * kCount + k], widen(w.at[k])...);
          }
        },
        along...);
  }

  template <class F, class... Along> __device__ __forceinline__ void write(T* out, F f, const Along*... along) const {
    each_pack(
        [&](int p, const auto&... w) {
          Pack<T, kCount> pack;
#pragma unroll
          for (int k = 0; k < kCount; ++k) {
            pack.at[k] = narrow<T>(f(p * kCount + k, first(p) + k, values[p * kCount + k], widen(w.at[k])...));
          }
          store_pack(out + first(p), pack);
        },
        along...);
  }

 private:
  template <class F, class... Along> __device__ __forceinline__ void each_pack(F f, const Along*... along) const {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (first(p) < n) f(p, load_pack<kCount>(along + first(p))...);
    }
  }
};

template <class T, int inputs, int count> struct ReadRow {
  using W = Wide<T>;
  static constexpr bool kIsHeld = false;
  static constexpr int kSlots = 1;
  int64_t n;
  const T* x[inputs];

  __device__ __forceinline__ ReadRow(const T* const (&arrays)[inputs], int64_t r, int64_t length) : n(length) {
#pragma unroll
    for (int i = 0; i < inputs; ++i) x[i] = arrays[i] + r * length;
  }

  template <class F, class... Along> __device__ __forceinline__ void each(F f, const Along*... along) const {
    each_pack(
        [&](int64_t j, const W(&v)[count][inputs], const auto&... w) {
#pragma unroll
          for (int k = 0; k < count; ++k) f(0, j + k, v[k], widen(w.at[k])...);
        },
        along...);
  }

  template <class F, class... Along> __device__ __forceinline__ void write(T* out, F f, const Along*... along) const {
    each_pack(
        [&](int64_t j, const W(&v)[count][inputs], const auto&... w) {
          Pack<T, count> pack;
#pragma unroll
          for (int k = 0; k < count; ++k) pack.at[k] = narrow<T>(f(0, j + k, v[k], widen(w.at[k])...));
          store_pack(out + j, pack);
        },
        along...);
  }

 private:
  template <class F, class... Along> __device__ __forceinline__ void each_pack(F f, const Along*... along) const {
#pragma unroll 4
    for (int64_t j = int64_t{threadIdx.x} * count; j < n; j += int64_t{blockDim.x} * count) {
      W v[count][inputs];
#pragma unroll
      for (int i = 0; i < inputs; ++i) {
        const Pack<T, count> pack = load_pack<count>(x[i] + j);
#pragma unroll
        for (int k = 0; k < count; ++k) v[k][i] = widen(pack.at[k]);
      }
      f(j, v, load_pack<count>(along + j)...);
    }
  }
};

// Which of them a kernel is compiled for.
template <class T, int inputs> using Held = HeldRow<T, inputs, kHeldPacks<T>>;
template <class T, int inputs> using ReadPacks = ReadRow<T, inputs, kPerPack<T>>;
template <class T, int inputs> using ReadSingly = ReadRow<T, inputs, 1>;

// Calls visit(Type<Row>()) with the way that n and the arrays' alignment allow, for at most `most` threads a row.
template <class T, int inputs, int most = kMostThreads<T>, class Visitor, class... Data>
void visit_rows(int64_t n, Visitor visit, const Data*... arrays) {
  if (n % kPerPack<T> != 0 || !(aligned(arrays) && ...)) return visit(Type<ReadSingly<T, inputs>>());
  if (n > int64_t{kHeld<T>} * most) return visit(Type<ReadPacks<T, inputs>>());
  return visit(Type<Held<T, inputs>>());
}

// The threads along x that share a row, and along y the rows of a block. Where a kernel allows `least` of fewer than a
// warp, several short rows share one.
template <class T, int most = kMostThreads<T>, int least = kWarp> dim3 row_block(int64_t n) {
  const int64_t wanted = ceil_div(n, kHeld<T>);
  unsigned lanes = least;
  while (lanes < kWarp && lanes < wanted) lanes *= 2;
  if (wanted <= kWarp) return dim3(lanes, kThreads / lanes);
  return dim3(static_cast<unsigned>(std::min<int64_t>(ceil_div(wanted, kWarp) * kWarp, most)));
}
constexpr int kFewestLanes = 4;

inline __device__ int64_t row_of_thread() { return int64_t{blockIdx.x} * blockDim.y + threadIdx.y; }

// Over a row's threads.
template <class W, class F> __device__ __forceinline__ W row_reduce(W x, F f, W identity) {
  return blockDim.x < kWarp ? line_reduce(x, f) : block_reduce(x, f, identity);
}
template <class W> __device__ __forceinline__ W row_sum(W x) { return row_reduce(x, Plus(), W(0)); }

struct Larger {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <class W> __device__ __forceinline__ W minus_infinity() { return static_cast<W>(-HUGE_VALF); }

}  // namespace needle

#endif  // NEEDLE_CUDA_ROWS_CUH
