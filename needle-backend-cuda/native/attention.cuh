// Attention without the matrix of all weights, after FlashAttention (Dao and others, 2022): what its kernels share.
//
// A block owns a tile of rows and goes over the columns tile by tile. Weights are kept relative to the largest score so
// far; when a larger one comes, what was summed is scaled down. Queries are rows for the result and for dq, whose
// kernel leaves each row's log-sum-exp and sum(g * y) behind; keys are rows for dk and dv. So each element has one
// writer, and results are the same every time. Scores are in units of log(2), so that exp2 serves.
#ifndef NEEDLE_CUDA_ATTENTION_CUH
#define NEEDLE_CUDA_ATTENTION_CUH

#include "launch.cuh"
#include "ops.h"

namespace needle {

constexpr int kAttentionThreads = 128;

struct AttentionShape {
  int64_t batch;
  int32_t queries, keys, depth, width;  // (T, D), (S, D), (S, E)
  bool causal;
  double scale;

  AttentionShape(const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal, double scale)
      : batch(1), causal(causal), scale(scale) {
    const int last = q.rank - 1;
    for (int axis = 0; axis < last - 1; ++axis) batch *= q.shape[axis];
    queries = static_cast<int32_t>(q.shape[last - 1]), depth = static_cast<int32_t>(q.shape[last]);
    keys = static_cast<int32_t>(k.shape[last - 1]), width = static_cast<int32_t>(v.shape[last]);
  }

  // Whether row `query` sees a key, both perhaps beyond the last.
  __device__ __forceinline__ bool sees(int query, int key) const {
    return key < keys && query < queries && (!causal || key <= query);
  }
};

// The matrices (batch, rows, columns) of an operand of any strides.
template <class T> struct Heads {
  T* data;
  Strided<1> batch;
  int64_t row_stride, column_stride;
  int32_t rows, columns;
  bool packs;  // of kPack elements can be read along each row

  static constexpr int kPack = sizeof(T) == 8 ? 2 : sizeof(T) == 4 ? 4 : 8;

  explicit Heads(const ShapedView& view) : data(view.as<T>()) {
    const int last = view.rank - 1;
    View leading;
    leading.rank = last - 1;
    leading.contiguous = false;
    int64_t strides[kMaxRank];
    read_strides(view, view.rank, view.shape, strides);
    for (int axis = 0; axis < last - 1; ++axis) {
      leading.shape[axis] = view.shape[axis];
      leading.strides[axis] = strides[axis];
      leading.size *= view.shape[axis];
    }
    batch = strided<1>({&leading});
    row_stride = strides[last - 1], column_stride = strides[last];
    rows = static_cast<int32_t>(view.shape[last - 1]), columns = static_cast<int32_t>(view.shape[last]);
    packs = aligned(data, kPack * sizeof(T)) && columns % kPack == 0 && (column_stride == 1 || columns == 1) &&
            row_stride % kPack == 0;
    for (int axis = 0; axis < batch.rank; ++axis) packs = packs && batch.strides[0][axis] % kPack == 0;
  }

  __device__ __forceinline__ T* head(int64_t index) const {
    int64_t place[1];
    batch.places(index, place);
    return data + place[0];
  }
};

// Sixteen bytes from global to shared memory, or as many zeros, in the background.
__device__ __forceinline__ void copy_in_background(void* to, const void* from, bool exists) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int nbytes = exists ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(nbytes) : "memory");
}
__device__ __forceinline__ void close_group_of_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `pending` groups of this thread's copies are under way.
template <int pending> __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
// Until none is, of no group either.
__device__ __forceinline__ void wait_for_all_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Rows [first, first + count) of a head into shared memory, as W, `stride` elements from one to the next; zeros beyond
// the head's rows and columns, up to `depth` columns.
template <int count, int depth, int stride, class T, class W>
__device__ __forceinline__ void load_tile(W* tile, const Heads<const T>& heads, const T* head, int first) {
  constexpr int pack = Heads<T>::kPack, along = depth / pack;
  static_assert(count * along % kAttentionThreads == 0 || count * along < kAttentionThreads, "whole rounds");
#pragma unroll 4
  for (int i = threadIdx.x; i < count * along; i += kAttentionThreads) {
    const int r = first + i / along, c = i % along * pack;
    Pack<T, pack> from;
#pragma unroll
    for (int k = 0; k < pack; ++k) from.at[k] = T(0.0f);
    if (r < heads.rows && c < heads.columns) {
      const T* at = head + r * heads.row_stride + c * heads.column_stride;
      if (heads.packs) {
        from = load_pack<pack>(at);
      } else {
#pragma unroll
        for (int k = 0; k < pack; ++k) {
          if (c + k < heads.columns) from.at[k] = at[k * heads.column_stride];
        }
      }
    }
    W* const to = tile + i / along * stride + c;
    if constexpr (std::is_same_v<T, W>) {
      store_pack(to, from);
    } else {
      constexpr int part = 16 / sizeof(W);
#pragma unroll
      for (int k = 0; k < pack; k += part) {
        Pack<W, part> wide;
#pragma unroll
        for (int l = 0; l < part; ++l) wide.at[l] = widen(from.at[k + l]);
        store_pack(to + k, wide);
      }
    }
  }
}

// The same in the background, where packs can be read and are stored as they are.
template <int count, int depth, int stride, class T>
__device__ __forceinline__ void start_tile(T* tile, const Heads<const T>& heads, const T* head, int first) {
  constexpr int pack = Heads<T>::kPack, along = depth / pack;
  if (!heads.packs) return load_tile<count, depth, stride>(tile, heads, head, first);
#pragma unroll
  for (int i = threadIdx.x; i < count * along; i += kAttentionThreads) {
    const int r = first + i / along, c = i % along * pack;
    const bool exists = r < heads.rows && c < heads.columns;
    copy_in_background(tile + i / along * stride + c, exists ? head + r * heads.row_stride + c : head, exists);
  }
}

// 2 to the x: of floats by the special function unit, which takes results below 2^-126 for 0.
__device__ __forceinline__ double power_of_two(double x) { return exp2(x); }
__device__ __forceinline__ float power_of_two(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// What a row has seen so far. `sum` is this thread's part of it.
template <class W> struct Seen {
  W max = static_cast<W>(-HUGE_VALF), sum = 0;

  // Where exponentials count from: no row counts from minus infinity.
  __device__ __forceinline__ W base() const { return max == static_cast<W>(-HUGE_VALF) ? W(0) : max; }

  // Takes in scores whose largest is `larger`; returns what the sums so far are to be multiplied by.
  __device__ __forceinline__ W rise(W larger) {
    const W before = max;
    if (larger > max) max = larger;
    const W factor = power_of_two(before - base());
    sum *= factor;
    return factor;
  }
};

// The sum, or the largest, over `lanes` neighbouring lanes: those that share a row.
template <int lanes, class W> __device__ __forceinline__ W sum_of_lanes(W x) {
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}
template <int lanes, class W> __device__ __forceinline__ W max_of_lanes(W x) {
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    const W other = __shfl_xor_sync(kAllLanes, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// Which head and which tile of rows a block has. Blocks start in order of their number: with causal weights those
// with the most to do come first.
struct BlockOfHead {
  int64_t head;
  int first;

  // `late`: later rows have more to do.
  __device__ __forceinline__ BlockOfHead(int64_t batch, int rows, int tile, bool late) {
    const int tiles = (rows + tile - 1) / tile, rank = static_cast<int>(blockIdx.x / batch);
    head = blockIdx.x % batch;
    first = (late ? tiles - 1 - rank : rank) * tile;
  }
};

// The arguments of the gradient's kernels. `logs` and `deltas` are (batch, queries): log2 of the sum of a row's
// exponentials, and sum(g * y).
template <class T> struct AttentionGrad {
  Heads<const T> g, q, k, v, y;
  Heads<T> dq, dk, dv;
  Wide<T>*logs, *deltas;
};

// By tensor cores (halves of up to 128 columns), or by the other cores (anything of up to 256).
template <class T>
void attention_mma(const AttentionShape& shape, const Heads<T>& dst, const Heads<const T>& q, const Heads<const T>& k,
                   const Heads<const T>& v);
template <class T>
void attention_fma(const AttentionShape& shape, const Heads<T>& dst, const Heads<const T>& q, const Heads<const T>& k,
                   const Heads<const T>& v);
template <class T> void attention_grad_mma(const AttentionShape& shape, const AttentionGrad<T>& grad);
template <class T> void attention_grad_fma(const AttentionShape& shape, const AttentionGrad<T>& grad);

}  // namespace needle

#endif  // NEEDLE_CUDA_ATTENTION_CUH
