// Attention of halves on tensor cores. Each of four warps has 16 rows of a tile; scores and sums are float and stay in
// registers, where a tile of weights already lies as the next product wants its operand.
#include <cfloat>

#include "attention.cuh"
#include "tensor_cores.cuh"

namespace needle {
namespace {

constexpr int kLanes = 4;  // that share a row
constexpr int kTall = 16 * kAttentionThreads / kWarp;
constexpr float kNever = HUGE_VALF;

// D columns at most, tiles of 64 rows and kWide columns.
template <class T, int D, int wide> struct Tiles {
  static constexpr int kWide = wide, kStride = D + 8, kScores = wide / 8, kOut = D / 8;
  static constexpr int kTile = kWide * kStride;  // elements; there are two slots for each
  static constexpr size_t bytes(int tall, int wide_tiles) {
    return sizeof(T) * static_cast<size_t>((tall * kTall + wide_tiles * kWide) * kStride);
  }
  static __device__ __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / kWarp * 16; }
  // Of the block's rows, half 0 or 1; of a tile's columns, the first of two.
  static __device__ __forceinline__ int row(int half) {
    return warp_row() + static_cast<int>(threadIdx.x) % kWarp / 4 + half * 8;
  }
  static __device__ __forceinline__ int column(int tile) { return tile * 8 + static_cast<int>(threadIdx.x) % 4 * 2; }

  // s = a (64 rows) @ b (kWide rows) transposed, a in shared memory or held by the lanes.
  static __device__ __forceinline__ void score(TileOfFloats (&s)[kScores], const T* a, const T* b) {
    clear(s);
    multiply_rows<kScores, D, kStride>(s, [&](int d) { return load_rows<kStride>(a + warp_row() * kStride, d); }, b);
  }
  static __device__ __forceinline__ void score(TileOfFloats (&s)[kScores], const FourMatrices (&a)[D / 16],
                                               const T* b) {
    clear(s);
    multiply_rows<kScores, D, kStride>(s, [&](int d) { return a[d / 16]; }, b);
  }
  static __device__ __forceinline__ void clear(TileOfFloats (&s)[kScores]) {
#pragma unroll
    for (TileOfFloats& tile : s) tile = {};
  }
  static __device__ __forceinline__ void gather(TileOfFloats (&o)[kOut], const TileOfFloats (&s)[kScores], const T* b) {
    multiply_held<kOut, kScores, kStride>(o, s, b);
  }

  static __device__ __forceinline__ void store(const Heads<T>& heads, T* head, int first, const TileOfFloats (&o)[kOut],
                                               float upper, float lower) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (first + row(half) >= heads.rows) continue;
      const float factor = half == 0 ? upper : lower;
      T* const at = head + (first + row(half)) * heads.row_stride;
#pragma unroll
      for (int j = 0; j < kOut; ++j) {
        const int c = column(j);
        const Pack<T, 2> to{{narrow<T>(o[j].at[2 * half] * factor), narrow<T>(o[j].at[2 * half + 1] * factor)}};
        if (heads.packs && c < heads.columns) {
          store_pack(at + c, to);
        } else {
          if (c < heads.columns) at[c] = to.at[0];
          if (c + 1 < heads.columns) at[c + 1] = to.at[1];
        }
      }
    }
  }
};

// Turns scores into weights relative to the largest of their row so far, and scales `o` accordingly.
template <class X>
__device__ __forceinline__ void weigh(const AttentionShape& shape, float unit, int first, int column,
                                      TileOfFloats (&s)[X::kScores], Seen<float> (&seen)[2],
                                      TileOfFloats (&o)[X::kOut]) {
  if (unit < 0) {  // the largest is then the least
#pragma unroll
    for (TileOfFloats& tile : s) {
#pragma unroll
      for (float& score : tile.at) score = -score;
    }
  }
  const float positive = fmaxf(fabsf(unit), FLT_MIN);  // of minus infinity it makes no NaN
  // Most tiles lie wholly in sight.
  const int last = column + X::kWide - 1;
  if (last >= shape.keys || (shape.causal && last > first + X::warp_row())) {
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (!shape.sees(first + X::row(k / 2), column + X::column(j) + k % 2)) s[j].at[k] = -HUGE_VALF;
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = -HUGE_VALF;
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) most = fmaxf(most, fmaxf(s[j].at[2 * half], s[j].at[2 * half + 1]));
    const float factor = seen[half].rise(max_of_lanes<kLanes>(most) * positive), base = seen[half].base();
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float& score = s[j].at[2 * half + k];
        score = power_of_two(fmaf(score, positive, -base));
        seen[half].sum += score;
      }
    }
#pragma unroll
    for (int j = 0; j < X::kOut; ++j) {
      o[j].at[2 * half] *= factor;
      o[j].at[2 * half + 1] *= factor;
    }
  }
}

// Goes over the tiles of two matrices, each being fetched while the one before it is worked on: start(column, slot)
// begins to fetch a tile into one of two slots, f(column, slot) works on it.
template <int wide, class Start, class F>
__device__ __forceinline__ void each_tile(int begin, int end, Start start, F f) {
  int slot = 0;
  if (begin < end) start(begin, 0);
  close_group_of_copies();
  for (int column = begin; column < end; column += wide) {
    if (column + wide < end) start(column + wide, 1 - slot);
    close_group_of_copies();
    wait_for_copies<1>();
    __syncthreads();
    f(column, slot);
    __syncthreads();
    slot = 1 - slot;
  }
}

template <class T, int D, int wide>
__global__ void __launch_bounds__(kAttentionThreads)
    attend(const AttentionShape shape, float unit, const Heads<T> dst, const Heads<const T> q, const Heads<const T> k,
           const Heads<const T> v) {
  using X = Tiles<T, D, wide>;
  extern __shared__ __align__(16) unsigned char memory[];
  T *const q_tile = reinterpret_cast<T*>(memory), *const k_tile = q_tile + kTall * X::kStride;
  T* const v_tile = k_tile + 2 * X::kTile;
  const BlockOfHead block(shape.batch, shape.queries, kTall, shape.causal);
  const T *const k_head = k.head(block.head), *const v_head = v.head(block.head);
  load_tile<kTall, D, X::kStride>(q_tile, q, q.head(block.head), block.first);
  __syncthreads();
  FourMatrices query[D / 16];
#pragma unroll
  for (int d = 0; d < D; d += 16) query[d / 16] = load_rows<X::kStride>(q_tile + X::warp_row() * X::kStride, d);

  const int end = shape.causal ? min(shape.keys, block.first + kTall) : shape.keys;
  Seen<float> seen[2];
  TileOfFloats o[X::kOut] = {}, s[X::kScores];
  const auto start = [&](int column, int slot) {
    start_tile<wide, D, X::kStride>(k_tile + slot * X::kTile, k, k_head, column);
    start_tile<wide, D, X::kStride>(v_tile + slot * X::kTile, v, v_head, column);
  };
  each_tile<wide>(0, end, start, [&](int column, int slot) {
    X::score(s, query, k_tile + slot * X::kTile);
    weigh<X>(shape, unit, block.first, column, s, seen, o);
    X::gather(o, s, v_tile + slot * X::kTile);
  });
  X::store(dst, dst.head(block.head), block.first, o, 1 / sum_of_lanes<kLanes>(seen[0].sum),
           1 / sum_of_lanes<kLanes>(seen[1].sum));
}

template <class T, int D, int wide>
__global__ void __launch_bounds__(kAttentionThreads)
    attend_grad_queries(const AttentionShape shape, float unit, float scale, const AttentionGrad<T> a) {
  using X = Tiles<T, D, wide>;
  extern __shared__ __align__(16) unsigned char memory[];
  T *const q_tile = reinterpret_cast<T*>(memory), *const g_tile = q_tile + kTall * X::kStride;
  T *const k_tile = g_tile + kTall * X::kStride, *const v_tile = k_tile + 2 * X::kTile;
  const BlockOfHead block(shape.batch, shape.queries, kTall, shape.causal);
  const T *const k_head = a.k.head(block.head), *const v_head = a.v.head(block.head);
  load_tile<kTall, D, X::kStride>(q_tile, a.q, a.q.head(block.head), block.first);
  load_tile<kTall, D, X::kStride>(g_tile, a.g, a.g.head(block.head), block.first);
  __syncthreads();

  float delta[2];  // sum(g * y)
  const T* const y_head = a.y.head(block.head);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    delta[half] = 0;
    const int query = block.first + X::row(half);
    for (int e = static_cast<int>(threadIdx.x) % kLanes; query < shape.queries && e < shape.width; e += kLanes) {
      delta[half] +=
          widen(g_tile[X::row(half) * X::kStride + e]) * widen(y_head[query * a.y.row_stride + e * a.y.column_stride]);
    }
    delta[half] = sum_of_lanes<kLanes>(delta[half]);
  }

  const int end = shape.causal ? min(shape.keys, block.first + kTall) : shape.keys;
  Seen<float> seen[2];
  TileOfFloats o[X::kOut] = {}, s[X::kScores], of_weights[X::kScores];
  const auto start = [&](int column, int slot) {
    start_tile<wide, D, X::kStride>(k_tile + slot * X::kTile, a.k, k_head, column);
    start_tile<wide, D, X::kStride>(v_tile + slot * X::kTile, a.v, v_head, column);
  };
  each_tile<wide>(0, end, start, [&](int column, int slot) {
    X::score(s, q_tile, k_tile + slot * X::kTile);
    weigh<X>(shape, unit, block.first, column, s, seen, o);
    X::score(of_weights, g_tile, v_tile + slot * X::kTile);
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) s[j].at[k] *= of_weights[j].at[k] - delta[k / 2];
    }
    X::gather(o, s, k_tile + slot * X::kTile);
  });
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_of_lanes<kLanes>(seen[half].sum);
    factor[half] = scale / sum;
    const int query = block.first + X::row(half);
    if (threadIdx.x % kLanes > 0 || query >= shape.queries) continue;
    a.logs[block.head * shape.queries + query] = seen[half].base() + log2f(sum);
    a.deltas[block.head * shape.queries + query] = delta[half];
  }
  X::store(a.dq, a.dq.head(block.head), block.first, o, factor[0], factor[1]);
}

template <class T, int D, int wide>
__global__ void __launch_bounds__(kAttentionThreads)
    attend_grad_keys(const AttentionShape shape, float unit, float scale, const AttentionGrad<T> a) {
  using X = Tiles<T, D, wide>;
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ float logs[2][wide], deltas[2][wide];
  T *const k_tile = reinterpret_cast<T*>(memory), *const v_tile = k_tile + kTall * X::kStride;
  T *const q_tile = v_tile + kTall * X::kStride, *const g_tile = q_tile + 2 * X::kTile;
  const BlockOfHead block(shape.batch, shape.keys, kTall, false);
  const T *const q_head = a.q.head(block.head), *const g_head = a.g.head(block.head);
  load_tile<kTall, D, X::kStride>(k_tile, a.k, a.k.head(block.head), block.first);
  load_tile<kTall, D, X::kStride>(v_tile, a.v, a.v.head(block.head), block.first);

  TileOfFloats to_k[X::kOut] = {}, to_v[X::kOut] = {}, s[X::kScores], of_weights[X::kScores];
  const auto start = [&](int column, int slot) {
    start_tile<wide, D, X::kStride>(q_tile + slot * X::kTile, a.q, q_head, column);
    start_tile<wide, D, X::kStride>(g_tile + slot * X::kTile, a.g, g_head, column);
    if (threadIdx.x < wide) {
      const int query = column + static_cast<int>(threadIdx.x);
      const int64_t at = block.head * shape.queries + query;
      logs[slot][threadIdx.x] = query < shape.queries ? a.logs[at] : kNever;  // beyond the last, all weights are 0
      deltas[slot][threadIdx.x] = query < shape.queries ? a.deltas[at] : 0;
    }
  };
  each_tile<wide>(shape.causal ? block.first / wide * wide : 0, shape.queries, start, [&](int column, int slot) {
    X::score(s, k_tile, q_tile + slot * X::kTile);
    const bool all_seen = !shape.causal || column >= block.first + X::warp_row() + 15;
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        s[j].at[k] = power_of_two(fmaf(s[j].at[k], unit, -logs[slot][X::column(j) + k % 2]));
      }
    }
    if (!all_seen) {
#pragma unroll
      for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (column + X::column(j) + k % 2 < block.first + X::row(k / 2)) s[j].at[k] = 0;
        }
      }
    }
    X::gather(to_v, s, g_tile + slot * X::kTile);
    X::score(of_weights, v_tile, g_tile + slot * X::kTile);
#pragma unroll
    for (int j = 0; j < X::kScores; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) s[j].at[k] *= of_weights[j].at[k] - deltas[slot][X::column(j) + k % 2];
    }
    X::gather(to_k, s, q_tile + slot * X::kTile);
  });
  X::store(a.dk, a.dk.head(block.head), block.first, to_k, scale, scale);
  X::store(a.dv, a.dv.head(block.head), block.first, to_v, 1, 1);
}

constexpr double kLog2E = 1.4426950408889634;

unsigned blocks_of(const AttentionShape& shape, int rows) {
  return static_cast<unsigned>(shape.batch * ceil_div(rows, kTall));
}

template <class T, int D, int wide>
void run(const AttentionShape& shape, const Heads<T>& dst, const Heads<const T>& q, const Heads<const T>& k,
         const Heads<const T>& v) {
  launch(attend<T, D, wide>, blocks_of(shape, shape.queries), kAttentionThreads, Tiles<T, D, wide>::bytes(1, 4), shape,
         shape.scale * kLog2E, dst, q, k, v);
}

template <class T, int D, int wide> void run_grad(const AttentionShape& shape, const AttentionGrad<T>& grad) {
  constexpr size_t nbytes = Tiles<T, D, wide>::bytes(2, 4);
  const double unit = shape.scale * kLog2E;
  launch(attend_grad_queries<T, D, wide>, blocks_of(shape, shape.queries), kAttentionThreads, nbytes, shape, unit,
         shape.scale, grad);
  launch(attend_grad_keys<T, D, wide>, blocks_of(shape, shape.keys), kAttentionThreads, nbytes, shape, unit,
         shape.scale, grad);
}

bool fits(const AttentionShape& shape, int columns) { return std::max(shape.depth, shape.width) <= columns; }

}  // namespace

template <class T>
void attention_mma(const AttentionShape& shape, const Heads<T>& dst, const Heads<const T>& q, const Heads<const T>& k,
                   const Heads<const T>& v) {
  fits(shape, 64) ? run<T, 64, 64>(shape, dst, q, k, v) : run<T, 128, 64>(shape, dst, q, k, v);
}

template <class T> void attention_grad_mma(const AttentionShape& shape, const AttentionGrad<T>& grad) {
  fits(shape, 64) ? run_grad<T, 64, 64>(shape, grad) : run_grad<T, 128, 32>(shape, grad);
}

template void attention_mma<__half>(const AttentionShape&, const Heads<__half>&, const Heads<const __half>&,
                                    const Heads<const __half>&, const Heads<const __half>&);
template void attention_mma<__nv_bfloat16>(const AttentionShape&, const Heads<__nv_bfloat16>&,
                                           const Heads<const __nv_bfloat16>&, const Heads<const __nv_bfloat16>&,
                                           const Heads<const __nv_bfloat16>&);
template void attention_grad_mma<__half>(const AttentionShape&, const AttentionGrad<__half>&);
template void attention_grad_mma<__nv_bfloat16>(const AttentionShape&, const AttentionGrad<__nv_bfloat16>&);

}  // namespace needle
