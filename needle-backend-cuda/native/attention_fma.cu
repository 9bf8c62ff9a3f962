// Attention by multiply-adds, in the operands' own precision: a thread has R x C elements of each tile of scores.
//
// Both products read shared memory in packs along the summed axis or along the columns, where no two lanes meet in one
// bank; the weights pass through shared memory too, but only from lanes of a warp to others of the same warp. The next
// tiles are on their way while the last ones are worked on: each is asked for as soon as nobody reads its place.
#include "attention.cuh"

namespace needle {
namespace {

constexpr int kLanes = 8;                          // threads that share a row
constexpr int kRows = kAttentionThreads / kLanes;  // rows of a block are ty, ty + 16, ...; columns tx, tx + 8, ...

constexpr size_t kSharedOfTwo = 224 << 10;  // what two blocks have of Hopper's shared memory

template <class W> constexpr int kVector = 16 / static_cast<int>(sizeof(W));

// D columns at most; tiles of 16 R rows and 8 C columns.
template <class W, int D, int R, int C> struct Tiles {
  static constexpr int kTall = kRows * R, kWide = kLanes * C;
  static constexpr int kStride = D + kVector<W>, kScoreStride = kWide + kLanes;
  static constexpr int kOut = D / kLanes;  // columns of the result that a thread has, in packs tx, tx + 8, ...
  static constexpr size_t bytes(int tall, int wide) {
    return sizeof(W) * static_cast<size_t>((tall * kTall + wide * kWide) * kStride + kTall * kScoreStride);
  }
  // The gradients' kernels read one of their two tiles of columns last: the next gets a place of its own where two
  // blocks still fit into a multiprocessor.
  static constexpr int kPlaces = bytes(2, 3) <= (kSharedOfTwo / 2) ? 2 : 1;

  static __device__ __forceinline__ int ty() { return static_cast<int>(threadIdx.x) / kLanes; }
  static __device__ __forceinline__ int tx() { return static_cast<int>(threadIdx.x) % kLanes; }
  static __device__ __forceinline__ int row(int i) { return ty() + i * kRows; }
  static __device__ __forceinline__ int column(int j) { return tx() + j * kLanes; }
  static __device__ __forceinline__ int out(int pack) { return (tx() + pack * kLanes) * kVector<W>; }

  // s = a (rows) @ b (columns) transposed
  static __device__ __forceinline__ void score(W (&s)[R][C], const W* a, const W* b) {
    constexpr int V = kVector<W>;
#pragma unroll
    for (int i = 0; i < R; ++i) {
#pragma unroll
      for (int j = 0; j < C; ++j) s[i][j] = 0;
    }
#pragma unroll 4
    for (int d = 0; d < D; d += V) {
      Pack<W, V> x[R];
#pragma unroll
      for (int i = 0; i < R; ++i) x[i] = load_pack<V>(a + row(i) * kStride + d);
#pragma unroll
      for (int j = 0; j < C; ++j) {
        const Pack<W, V> y = load_pack<V>(b + column(j) * kStride + d);
#pragma unroll
        for (int i = 0; i < R; ++i) {
#pragma unroll
          for (int k = 0; k < V; ++k) s[i][j] += x[i].at[k] * y.at[k];
        }
      }
    }
  }

  // o += weights (rows, columns) @ b (columns, D). The weights go through `shared`.
  static __device__ __forceinline__ void gather(W (&o)[R][kOut], const W (&weights)[R][C], W* shared, const W* b) {
    constexpr int V = kVector<W>;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < R; ++i) {
#pragma unroll
      for (int j = 0; j < C; ++j) shared[row(i) * kScoreStride + column(j)] = weights[i][j];
    }
    __syncwarp();
#pragma unroll 2
    for (int j = 0; j < kWide; j += V) {
      Pack<W, V> x[R];
#pragma unroll
      for (int i = 0; i < R; ++i) x[i] = load_pack<V>(shared + row(i) * kScoreStride + j);
#pragma unroll
      for (int k = 0; k < V; ++k) {
#pragma unroll
        for (int p = 0; p < kOut / V; ++p) {
          const Pack<W, V> y = load_pack<V>(b + (j + k) * kStride + out(p));
#pragma unroll
          for (int i = 0; i < R; ++i) {
#pragma unroll
            for (int l = 0; l < V; ++l) o[i][p * V + l] += x[i].at[k] * y.at[l];
          }
        }
      }
    }
  }

  // Rows from `first` of a head = o * factor, row by row.
  template <class T>
  static __device__ __forceinline__ void store(const Heads<T>& heads, T* head, int first, const W (&o)[R][kOut],
                                               const W (&factor)[R]) {
    constexpr int V = kVector<W>;
#pragma unroll
    for (int i = 0; i < R; ++i) {
      if (first + row(i) >= heads.rows) continue;
#pragma unroll
      for (int p = 0; p < kOut / V; ++p) {
        T* const at = head + (first + row(i)) * heads.row_stride + out(p);
        Pack<T, V> to;
#pragma unroll
        for (int l = 0; l < V; ++l) to.at[l] = narrow<T>(o[i][p * V + l] * factor[i]);
        if (heads.packs && out(p) < heads.columns) {
          store_pack(at, to);
        } else {
#pragma unroll
          for (int l = 0; l < V; ++l) {
            if (out(p) + l < heads.columns) at[l] = to.at[l];
          }
        }
      }
    }
  }
};

// Turns scores into weights relative to the largest of their row so far, and scales `o` accordingly.
template <class W, int R, int C, int N>
__device__ __forceinline__ void weigh(const AttentionShape& shape, W unit, int first, int column, W (&s)[R][C],
                                      Seen<W> (&seen)[R], W (&o)[R][N]) {
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const int query = first + static_cast<int>(threadIdx.x) / kLanes + i * kRows;
    W most = static_cast<W>(-HUGE_VALF);
#pragma unroll
    for (int j = 0; j < C; ++j) {
      const int key = column + static_cast<int>(threadIdx.x) % kLanes + j * kLanes;
      s[i][j] = shape.sees(query, key) ? s[i][j] * unit : static_cast<W>(-HUGE_VALF);
      most = s[i][j] > most ? s[i][j] : most;
    }
    const W factor = seen[i].rise(max_of_lanes<kLanes>(most)), base = seen[i].base();
#pragma unroll
    for (int j = 0; j < C; ++j) {
      s[i][j] = power_of_two(s[i][j] - base);
      seen[i].sum += s[i][j];
    }
#pragma unroll
    for (int j = 0; j < N; ++j) o[i][j] *= factor;
  }
}

// load_tile, in the background where nothing is to be converted.
template <int count, int depth, int stride, class T, class W>
__device__ __forceinline__ void fetch_tile(W* tile, const Heads<const T>& heads, const T* head, int first) {
  if constexpr (std::is_same_v<T, W>) {
    start_tile<count, depth, stride>(tile, heads, head, first);
  } else {
    load_tile<count, depth, stride>(tile, heads, head, first);
  }
}

template <class T, int D, int R, int C>
__global__ void __launch_bounds__(kAttentionThreads)
    attend(const AttentionShape shape, Wide<T> unit, const Heads<T> dst, const Heads<const T> q, const Heads<const T> k,
           const Heads<const T> v) {
  using W = Wide<T>;
  using X = Tiles<W, D, R, C>;
  extern __shared__ __align__(16) unsigned char memory[];
  W *const q_tile = reinterpret_cast<W*>(memory), *const k_tile = q_tile + X::kTall * X::kStride;
  W *const v_tile = k_tile + X::kWide * X::kStride, *const weights = v_tile + X::kWide * X::kStride;
  const BlockOfHead block(shape.batch, shape.queries, X::kTall, shape.causal);
  const T *const k_head = k.head(block.head), *const v_head = v.head(block.head);
  load_tile<X::kTall, D, X::kStride>(q_tile, q, q.head(block.head), block.first);

  const int end = shape.causal ? min(shape.keys, block.first + X::kTall) : shape.keys;
  Seen<W> seen[R];
  W o[R][X::kOut] = {}, s[R][C];
  fetch_tile<X::kWide, D, X::kStride>(k_tile, k, k_head, 0);
  for (int column = 0; column < end; column += X::kWide) {
    wait_for_all_copies();
    __syncthreads();
    fetch_tile<X::kWide, D, X::kStride>(v_tile, v, v_head, column);
    X::score(s, q_tile, k_tile);
    weigh(shape, unit, block.first, column, s, seen, o);
    wait_for_all_copies();
    __syncthreads();
    if (column + X::kWide < end) fetch_tile<X::kWide, D, X::kStride>(k_tile, k, k_head, column + X::kWide);
    X::gather(o, s, weights, v_tile);
  }
  W factor[R];
#pragma unroll
  for (int i = 0; i < R; ++i) factor[i] = W(1) / sum_of_lanes<kLanes>(seen[i].sum);
  X::store(dst, dst.head(block.head), block.first, o, factor);
}

template <class W> __device__ __forceinline__ void swap_places(W*& a, W*& b) {
  W* const before = a;
  a = b;
  b = before;
}

template <class T, int D, int R, int C>
__global__ void __launch_bounds__(kAttentionThreads)
    attend_grad_queries(const AttentionShape shape, Wide<T> unit, Wide<T> scale, const AttentionGrad<T> a) {
  using W = Wide<T>;
  using X = Tiles<W, D, R, C>;
  extern __shared__ __align__(16) unsigned char memory[];
  W *const q_tile = reinterpret_cast<W*>(memory), *const g_tile = q_tile + X::kTall * X::kStride;
  constexpr int tile = X::kWide * X::kStride;
  W *const k_tiles = g_tile + X::kTall * X::kStride, *const v_tile = k_tiles + X::kPlaces * tile;
  W* const weights = v_tile + tile;
  const BlockOfHead block(shape.batch, shape.queries, X::kTall, shape.causal);
  const T *const k_head = a.k.head(block.head), *const v_head = a.v.head(block.head);
  load_tile<X::kTall, D, X::kStride>(q_tile, a.q, a.q.head(block.head), block.first);
  load_tile<X::kTall, D, X::kStride>(g_tile, a.g, a.g.head(block.head), block.first);
  __syncthreads();

  W delta[R];  // sum(g * y)
  const T* const y_head = a.y.head(block.head);
#pragma unroll
  for (int i = 0; i < R; ++i) {
    delta[i] = 0;
    const int query = block.first + X::row(i);
    for (int e = X::tx(); query < shape.queries && e < shape.width; e += kLanes) {
      delta[i] += g_tile[X::row(i) * X::kStride + e] * widen(y_head[query * a.y.row_stride + e * a.y.column_stride]);
    }
    delta[i] = sum_of_lanes<kLanes>(delta[i]);
  }

  const int end = shape.causal ? min(shape.keys, block.first + X::kTall) : shape.keys;
  Seen<W> seen[R];
  W o[R][X::kOut] = {}, s[R][C], of_weights[R][C], *k_tile = k_tiles, *next_k = k_tiles + (X::kPlaces - 1) * tile;
  fetch_tile<X::kWide, D, X::kStride>(k_tile, a.k, k_head, 0);
  fetch_tile<X::kWide, D, X::kStride>(v_tile, a.v, v_head, 0);
  for (int column = 0; column < end; column += X::kWide) {
    const int next = column + X::kWide;
    wait_for_all_copies();
    __syncthreads();
    if (X::kPlaces == 2 && next < end) fetch_tile<X::kWide, D, X::kStride>(next_k, a.k, k_head, next);
    X::score(s, q_tile, k_tile);
    weigh(shape, unit, block.first, column, s, seen, o);
    X::score(of_weights, g_tile, v_tile);
    __syncthreads();
    if (next < end) fetch_tile<X::kWide, D, X::kStride>(v_tile, a.v, v_head, next);
#pragma unroll
    for (int i = 0; i < R; ++i) {
#pragma unroll
      for (int j = 0; j < C; ++j) s[i][j] *= of_weights[i][j] - delta[i];
    }
    X::gather(o, s, weights, k_tile);
    if (X::kPlaces == 1) {
      __syncthreads();
      if (next < end) fetch_tile<X::kWide, D, X::kStride>(k_tile, a.k, k_head, next);
    }
    swap_places(k_tile, next_k);
  }
  W factor[R];
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const W sum = sum_of_lanes<kLanes>(seen[i].sum);
    factor[i] = scale / sum;
    const int query = block.first + X::row(i);
    if (X::tx() > 0 || query >= shape.queries) continue;
    a.logs[block.head * shape.queries + query] = seen[i].base() + log2(sum);
    a.deltas[block.head * shape.queries + query] = delta[i];
  }
  X::store(a.dq, a.dq.head(block.head), block.first, o, factor);
}

template <class T, int D, int R, int C>
__global__ void __launch_bounds__(kAttentionThreads)
    attend_grad_keys(const AttentionShape shape, Wide<T> unit, Wide<T> scale, const AttentionGrad<T> a) {
  using W = Wide<T>;
  using X = Tiles<W, D, R, C>;
  extern __shared__ __align__(16) unsigned char memory[];
  W *const k_tile = reinterpret_cast<W*>(memory), *const v_tile = k_tile + X::kTall * X::kStride;
  constexpr int tile = X::kWide * X::kStride;
  W *const q_tiles = v_tile + X::kTall * X::kStride, *const g_tile = q_tiles + X::kPlaces * tile;
  W* const weights = g_tile + tile;
  const BlockOfHead block(shape.batch, shape.keys, X::kTall, false);
  const T *const q_head = a.q.head(block.head), *const g_head = a.g.head(block.head);
  load_tile<X::kTall, D, X::kStride>(k_tile, a.k, a.k.head(block.head), block.first);
  load_tile<X::kTall, D, X::kStride>(v_tile, a.v, a.v.head(block.head), block.first);

  W to_k[R][X::kOut] = {}, to_v[R][X::kOut] = {}, s[R][C], of_weights[R][C];
  W *q_tile = q_tiles, *next_q = q_tiles + (X::kPlaces - 1) * tile;
  const int start = shape.causal ? block.first / X::kWide * X::kWide : 0;
  fetch_tile<X::kWide, D, X::kStride>(q_tile, a.q, q_head, start);
  fetch_tile<X::kWide, D, X::kStride>(g_tile, a.g, g_head, start);
  for (int column = start; column < shape.queries; column += X::kWide) {
    const int next = column + X::kWide;
    wait_for_all_copies();
    __syncthreads();
    if (X::kPlaces == 2 && next < shape.queries) fetch_tile<X::kWide, D, X::kStride>(next_q, a.q, q_head, next);
    X::score(s, k_tile, q_tile);
    W delta[C];
#pragma unroll
    for (int j = 0; j < C; ++j) {
      const int query = column + X::column(j);
      const int64_t at = block.head * shape.queries + query;
      const W log = query < shape.queries ? a.logs[at] : W(0);
      delta[j] = query < shape.queries ? a.deltas[at] : W(0);
#pragma unroll
      for (int i = 0; i < R; ++i) {
        s[i][j] = shape.sees(query, block.first + X::row(i)) ? power_of_two(s[i][j] * unit - log) : W(0);
      }
    }
    X::gather(to_v, s, weights, g_tile);
    X::score(of_weights, v_tile, g_tile);
    __syncthreads();
    if (next < shape.queries) fetch_tile<X::kWide, D, X::kStride>(g_tile, a.g, g_head, next);
#pragma unroll
    for (int i = 0; i < R; ++i) {
#pragma unroll
      for (int j = 0; j < C; ++j) s[i][j] *= of_weights[i][j] - delta[j];
    }
    X::gather(to_k, s, weights, q_tile);
    if (X::kPlaces == 1) {
      __syncthreads();
      if (next < shape.queries) fetch_tile<X::kWide, D, X::kStride>(q_tile, a.q, q_head, next);
    }
    swap_places(q_tile, next_q);
  }
  W factor[R], one[R];
#pragma unroll
  for (int i = 0; i < R; ++i) factor[i] = scale, one[i] = 1;
  X::store(a.dk, a.dk.head(block.head), block.first, to_k, factor);
  X::store(a.dv, a.dv.head(block.head), block.first, to_v, one);
}

constexpr double kLog2E = 1.4426950408889634;

// f(the columns there is room for, R and C forward, R and C backward), so chosen that tiles fit into shared memory and
// sums into registers.
template <int value> using Constant = std::integral_constant<int, value>;
template <class T, class F> void visit_tiles(const AttentionShape& shape, F f) {
  const int columns = std::max(shape.depth, shape.width);
  if constexpr (sizeof(T) == 8) {
    if (columns <= 64) return f(Constant<64>(), Constant<4>(), Constant<4>(), Constant<2>(), Constant<4>());
    if (columns <= 128) return f(Constant<128>(), Constant<4>(), Constant<4>(), Constant<2>(), Constant<4>());
    return f(Constant<256>(), Constant<2>(), Constant<4>(), Constant<1>(), Constant<4>());
  } else {
    if constexpr (sizeof(T) == 4) {
      if (columns <= 64) return f(Constant<64>(), Constant<4>(), Constant<8>(), Constant<4>(), Constant<4>());
      if (columns <= 128) return f(Constant<128>(), Constant<4>(), Constant<4>(), Constant<4>(), Constant<4>());
    }
    return f(Constant<256>(), Constant<4>(), Constant<4>(), Constant<2>(), Constant<4>());
  }
}

unsigned blocks_of(const AttentionShape& shape, int rows, int tile) {
  return static_cast<unsigned>(shape.batch * ceil_div(rows, tile));
}

}  // namespace

template <class T>
void attention_fma(const AttentionShape& shape, const Heads<T>& dst, const Heads<const T>& q, const Heads<const T>& k,
                   const Heads<const T>& v) {
  visit_tiles<T>(shape, [&](auto d, auto r, auto c, auto, auto) {
    constexpr int D = decltype(d)::value, R = decltype(r)::value, C = decltype(c)::value;
    using X = Tiles<Wide<T>, D, R, C>;
    launch(attend<T, D, R, C>, blocks_of(shape, shape.queries, X::kTall), kAttentionThreads, X::bytes(1, 2), shape,
           shape.scale * kLog2E, dst, q, k, v);
  });
}

template <class T> void attention_grad_fma(const AttentionShape& shape, const AttentionGrad<T>& grad) {
  visit_tiles<T>(shape, [&](auto d, auto, auto, auto r, auto c) {
    constexpr int D = decltype(d)::value, R = decltype(r)::value, C = decltype(c)::value;
    using X = Tiles<Wide<T>, D, R, C>;
    const double unit = shape.scale * kLog2E;
    launch(attend_grad_queries<T, D, R, C>, blocks_of(shape, shape.queries, X::kTall), kAttentionThreads,
           X::bytes(2, 1 + X::kPlaces), shape, unit, shape.scale, grad);
    launch(attend_grad_keys<T, D, R, C>, blocks_of(shape, shape.keys, X::kTall), kAttentionThreads,
           X::bytes(2, 1 + X::kPlaces), shape, unit, shape.scale, grad);
  });
}

template void attention_fma<float>(const AttentionShape&, const Heads<float>&, const Heads<const float>&,
                                   const Heads<const float>&, const Heads<const float>&);
template void attention_fma<double>(const AttentionShape&, const Heads<double>&, const Heads<const double>&,
                                    const Heads<const double>&, const Heads<const double>&);
template void attention_fma<__half>(const AttentionShape&, const Heads<__half>&, const Heads<const __half>&,
                                    const Heads<const __half>&, const Heads<const __half>&);
template void attention_fma<__nv_bfloat16>(const AttentionShape&, const Heads<__nv_bfloat16>&,
                                           const Heads<const __nv_bfloat16>&, const Heads<const __nv_bfloat16>&,
                                           const Heads<const __nv_bfloat16>&);
template void attention_grad_fma<float>(const AttentionShape&, const AttentionGrad<float>&);
template void attention_grad_fma<double>(const AttentionShape&, const AttentionGrad<double>&);
template void attention_grad_fma<__half>(const AttentionShape&, const AttentionGrad<__half>&);
template void attention_grad_fma<__nv_bfloat16>(const AttentionShape&, const AttentionGrad<__nv_bfloat16>&);

}  // namespace needle
