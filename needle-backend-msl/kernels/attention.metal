// Attention in the FlashAttention way (Dao et al., 2022): no matrix of scores is ever stored. q (batch, t, d),
// k (batch, s, d), v (batch, s, e); one product for each of the batch.
//
// A threadgroup of eight simdgroups takes 32 rows, each simdgroup four of them, and meets the other side 32 at a time:
// a lane holds the scores of its rows with one of these. Sums of the other side's vectors, weighted by scores, are made
// for WIDTH columns; wider results take further threadgroups.
//   attention        rows are queries, they meet keys; weights are softmax, scaled anew when a larger score comes
//   statistics       the log of each query's sum of exp, and g . y
//   attention_grad   part 0: dq, queries meet keys; 1: dk and 2: dv, keys meet queries
#include <metal_stdlib>

#include "element.h"

using namespace needle;

constant int32_t part [[function_constant(0)]];

constant constexpr int ROWS = 4;              // of a simdgroup
constant constexpr int BLOCK = 32;            // rows of a threadgroup, and of the other side at a time
constant constexpr int DEPTH = 32;            // columns of the vectors whose products are taken at a time
constant constexpr int WIDTH = 128;           // columns of the result
constant constexpr int COLUMNS = WIDTH / 32;  // of a lane
constant constexpr int THREADS = 256;

template <class T> struct Matrix {
  device const T* first;
  int rows, width;
  float at(int i, int x) const { return i < rows && x < width ? load(first, int64_t(i) * width + x) : 0.0f; }
};

template <class T> inline Matrix<T> matrix(device const T* all, uint which, int rows, int width) {
  Matrix<T> m;
  m.first = all + int64_t(which) * rows * width;
  m.rows = rows;
  m.width = width;
  return m;
}

// Who a thread is, and the memory of its threadgroup: a tile, and the weights of each row with each of the other side.
struct Here {
  threadgroup float* tile;
  threadgroup float* weights;
  int row0;  // of the threadgroup
  int mine;  // the first of the simdgroup's rows, counted from row0
  int index, lane;
};

inline Here here(threadgroup float* tile, threadgroup float* weights, uint group, uint index) {
  Here h;
  h.tile = tile;
  h.weights = weights;
  h.row0 = int(group) * BLOCK;
  h.mine = int(index / 32) * ROWS;
  h.index = int(index);
  h.lane = int(index % 32);
  return h;
}

inline void sync() { metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup); }

// The products of this simdgroup's rows with the lane's row of the other side.
template <class T> inline void dots(thread float* out, Matrix<T> rows, Matrix<T> others, int other0, Here h) {
  threadgroup float* row_tile = h.tile;
  threadgroup float* other_tile = h.tile + BLOCK * DEPTH;  // rows one apart more, so that lanes read different banks
  for (int r = 0; r < ROWS; ++r) out[r] = 0;
  for (int x0 = 0; x0 < rows.width; x0 += DEPTH) {
    sync();
    for (int e = h.index; e < BLOCK * DEPTH; e += THREADS) {
      const int i = e / DEPTH, x = e % DEPTH;
      row_tile[e] = rows.at(h.row0 + i, x0 + x);
      other_tile[i * (DEPTH + 1) + x] = others.at(other0 + i, x0 + x);
    }
    sync();
    for (int x = 0; x < DEPTH; ++x) {
      const float other = other_tile[h.lane * (DEPTH + 1) + x];
      for (int r = 0; r < ROWS; ++r) out[r] += row_tile[(h.mine + r) * DEPTH + x] * other;
    }
  }
}

// Adds to `sums` the vectors of the other side, from column0 on, times this simdgroup's weights for them.
template <class T>
inline void combine(thread float* sums, thread const float* weights, Matrix<T> others, int other0, int column0,
                    Here h) {
  sync();
  for (int r = 0; r < ROWS; ++r) h.weights[(h.mine + r) * BLOCK + h.lane] = weights[r];
  for (int e = h.index; e < BLOCK * WIDTH; e += THREADS) {
    h.tile[e] = others.at(other0 + e / WIDTH, column0 + e % WIDTH);
  }
  sync();
  for (int j = 0; j < BLOCK; ++j) {
    for (int r = 0; r < ROWS; ++r) {
      const float weight = h.weights[(h.mine + r) * BLOCK + j];
      for (int c = 0; c < COLUMNS; ++c) sums[r * COLUMNS + c] += weight * h.tile[j * WIDTH + h.lane + 32 * c];
    }
  }
}

template <class T>
inline void write(device T* dst, uint which, int rows, int width, int column0, thread const float* sums, Here h) {
  for (int r = 0; r < ROWS; ++r) {
    for (int c = 0; c < COLUMNS; ++c) {
      const int i = h.row0 + h.mine + r, x = column0 + h.lane + 32 * c;
      if (i < rows && x < width) store(dst, (int64_t(which) * rows + i) * width + x, sums[r * COLUMNS + c]);
    }
  }
}

inline bool visible(constant Attention& p, int query, int key) {
  return query < p.t && key < p.s && (p.causal == 0 || key <= query);
}

// The end of the keys that any of the threadgroup's queries sees.
inline int end_of_keys(constant Attention& p, int row0) { return p.causal ? metal::min(p.s, row0 + BLOCK) : p.s; }

// The largest score that a row has met, and the sum of exp(score - top).
struct Running {
  float top, sum;
};

// Takes note of one more score for each lane; gives the lane's weight, and by what earlier ones shrink.
inline float take(thread Running& row, float score, thread float& shrink) {
  const float top = metal::max(row.top, metal::simd_max(score));
  const float base = top == -INFINITY ? 0.0f : top;  // nothing seen yet: exp(-inf - base) is 0
  shrink = precise::exp(row.top - base);
  const float weight = precise::exp(score - base);
  row.top = top;
  row.sum = row.sum * shrink + metal::simd_sum(weight);
  return weight;
}

#define PLACE uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]]

template <class T>
[[kernel]] void attention(device T* dst [[buffer(0)]], device const T* q [[buffer(1)]], device const T* k [[buffer(2)]],
                          device const T* v [[buffer(3)]], constant Attention& p [[buffer(4)]], PLACE) {
  threadgroup float tile[BLOCK * WIDTH], shared_weights[BLOCK * BLOCK];
  const Here h = here(tile, shared_weights, group.x, index);
  const Matrix<T> queries = matrix(q, group.z, p.t, p.d), keys = matrix(k, group.z, p.s, p.d),
                  values = matrix(v, group.z, p.s, p.e);
  const int column0 = int(group.y) * WIDTH, end = end_of_keys(p, h.row0);
  Running rows[ROWS];
  float sums[ROWS * COLUMNS], scores[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    rows[r].top = -INFINITY;
    rows[r].sum = 0;
    for (int c = 0; c < COLUMNS; ++c) sums[r * COLUMNS + c] = 0;
  }
  for (int key0 = 0; key0 < end; key0 += BLOCK) {
    dots(scores, queries, keys, key0, h);
    for (int r = 0; r < ROWS; ++r) {
      const bool seen = visible(p, h.row0 + h.mine + r, key0 + h.lane);
      float shrink;
      scores[r] = take(rows[r], seen ? scores[r] * p.scale : -INFINITY, shrink);
      for (int c = 0; c < COLUMNS; ++c) sums[r * COLUMNS + c] *= shrink;
    }
    combine(sums, scores, values, key0, column0, h);
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int c = 0; c < COLUMNS; ++c)
      sums[r * COLUMNS + c] = rows[r].sum == 0 ? 0.0f : sums[r * COLUMNS + c] / rows[r].sum;
  }
  write(dst, group.z, p.t, p.e, column0, sums, h);
}

// statistics (batch, t, 2): the log of the sum of exp(score) over the keys, and the product of g and y.
template <class T>
[[kernel]] void statistics(device float* dst [[buffer(0)]], device const T* q [[buffer(1)]],
                           device const T* k [[buffer(2)]], device const T* g [[buffer(3)]],
                           device const T* y [[buffer(4)]], constant Attention& p [[buffer(5)]], PLACE) {
  threadgroup float tile[BLOCK * (2 * DEPTH + 1)];
  const Here h = here(tile, tile, group.x, index);
  const Matrix<T> queries = matrix(q, group.z, p.t, p.d), keys = matrix(k, group.z, p.s, p.d),
                  gradients = matrix(g, group.z, p.t, p.e), results = matrix(y, group.z, p.t, p.e);
  const int end = end_of_keys(p, h.row0);
  Running rows[ROWS];
  float scores[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    rows[r].top = -INFINITY;
    rows[r].sum = 0;
  }
  for (int key0 = 0; key0 < end; key0 += BLOCK) {
    dots(scores, queries, keys, key0, h);
    for (int r = 0; r < ROWS; ++r) {
      const bool seen = visible(p, h.row0 + h.mine + r, key0 + h.lane);
      float shrink;
      take(rows[r], seen ? scores[r] * p.scale : -INFINITY, shrink);
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    const int i = h.row0 + h.mine + r;
    float product = 0;
    for (int x = h.lane; x < p.e; x += 32) product += gradients.at(i, x) * results.at(i, x);
    product = metal::simd_sum(product);
    if (h.lane == 0 && i < p.t) {
      const int64_t at = (int64_t(group.z) * p.t + i) * 2;
      dst[at] = rows[r].sum == 0 ? INFINITY : rows[r].top + precise::log(rows[r].sum);
      dst[at + 1] = product;
    }
  }
}

template <class T>
[[kernel]] void attention_grad(device T* dst [[buffer(0)]], device const T* g [[buffer(1)]],
                               device const T* q [[buffer(2)]], device const T* k [[buffer(3)]],
                               device const T* v [[buffer(4)]], device const float* rows_of_q [[buffer(5)]],
                               constant Attention& p [[buffer(6)]], PLACE) {
  threadgroup float tile[BLOCK * WIDTH], shared_weights[BLOCK * BLOCK];
  const Here h = here(tile, shared_weights, group.x, index);
  const Matrix<T> queries = matrix(q, group.z, p.t, p.d), keys = matrix(k, group.z, p.s, p.d),
                  values = matrix(v, group.z, p.s, p.e), gradients = matrix(g, group.z, p.t, p.e);
  device const float* statistics = rows_of_q + int64_t(group.z) * p.t * 2;
  const bool by_query = part == 0, of_values = part == 2;
  const int column0 = int(group.y) * WIDTH;
  const int begin = by_query || p.causal == 0 ? 0 : h.row0;  // a key is seen by queries from its own place on
  const int end = by_query ? end_of_keys(p, h.row0) : p.t;
  float sums[ROWS * COLUMNS], scores[ROWS], products[ROWS];
  for (int i = 0; i < ROWS * COLUMNS; ++i) sums[i] = 0;
  for (int other0 = begin; other0 < end; other0 += BLOCK) {
    dots(scores, by_query ? queries : keys, by_query ? keys : queries, other0, h);
    if (!of_values) dots(products, by_query ? gradients : values, by_query ? values : gradients, other0, h);
    for (int r = 0; r < ROWS; ++r) {
      const int row = h.row0 + h.mine + r, other = other0 + h.lane;
      const int query = by_query ? row : other, key = by_query ? other : row;
      float weight = 0;
      if (visible(p, query, key)) {
        weight = precise::exp(scores[r] * p.scale - statistics[2 * query]);
        if (!of_values) weight *= (products[r] - statistics[2 * query + 1]) * p.scale;
      }
      scores[r] = weight;
    }
    combine(sums, scores, by_query ? keys : of_values ? gradients : queries, other0, column0, h);
  }
  write(dst, group.z, by_query ? p.t : p.s, of_values ? p.e : p.d, column0, sums, h);
}

#define KERNELS(name, T)                                                                                 \
  template [[host_name("attention_" name)]] [[kernel]] decltype(attention<T>) attention<T>;              \
  template [[host_name("attention_statistics_" name)]] [[kernel]] decltype(statistics<T>) statistics<T>; \
  template [[host_name("attention_grad_" name)]] [[kernel]] decltype(attention_grad<T>) attention_grad<T>;

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
