// c (batch, m, n) = a (batch, m, k) @ b (batch, k, n), in three steps that are each other's tests.
//   naive      a thread an element of c, any type
//   tiled      16x16 elements of c a threadgroup, tiles of a and b in threadgroup memory, any type
//   simdgroup  64x64 elements a threadgroup of four simdgroups, each with 4x4 matrices of 8x8; floats
// Flags say that an operand is stored transposed; rows may lie further apart than their width. The last step of all
// three is the epilogue: a bias per column, then an activation.
#include <needle/functors.h>

#include <metal_simdgroup_matrix>
#include <metal_stdlib>

#include "element.h"

using namespace needle;

constant constexpr int TILE = 16;
constant constexpr int BLOCK = 64;  // rows and columns of c that a threadgroup makes
constant constexpr int DEPTH = 16;  // of the tiles that it makes them from

// The visitor is passed by value: what it finds goes where this points.
template <class C> struct Activate {
  thread C* value;
  template <class F> void operator()(F f) { *value = C(f(*value)); }
};

// Writes element (i, j) of c.
template <class T>
inline void finish(device T* c, device const T* bias, constant Gemm& p, int64_t at, int j, compute<T> value) {
  if (p.has_bias) value = wrap_add(value, load(bias, j));
  if (p.activation >= 0) {
    Activate<compute<T>> activate;
    activate.value = &value;
    dispatch<compute<T>>(Unary(p.activation), activate);
  }
  store(c, at, value);
}

template <class T> inline compute<T> at_a(device const T* a, constant Gemm& p, int64_t start, int i, int x) {
  return load(a, start + (p.transpose_a ? int64_t(x) * p.lda + i : int64_t(i) * p.lda + x));
}

template <class T> inline compute<T> at_b(device const T* b, constant Gemm& p, int64_t start, int x, int j) {
  return load(b, start + (p.transpose_b ? int64_t(j) * p.ldb + x : int64_t(x) * p.ldb + j));
}

template <class T>
[[kernel]] void naive(device T* c [[buffer(0)]], device const T* a [[buffer(1)]], device const T* b [[buffer(2)]],
                      device const T* bias [[buffer(3)]], constant Gemm& p [[buffer(4)]],
                      uint3 where [[thread_position_in_grid]]) {
  const int i = int(where.y), j = int(where.x);
  const int64_t start_a = int64_t(where.z) * p.batch_a, start_b = int64_t(where.z) * p.batch_b;
  compute<T> sum = 0;
  for (int x = 0; x < p.k; ++x) sum = wrap_add(sum, wrap_mul(at_a(a, p, start_a, i, x), at_b(b, p, start_b, x, j)));
  finish(c, bias, p, int64_t(where.z) * p.batch_c + int64_t(i) * p.ldc + j, j, sum);
}

template <class T>
[[kernel]] void tiled(device T* c [[buffer(0)]], device const T* a [[buffer(1)]], device const T* b [[buffer(2)]],
                      device const T* bias [[buffer(3)]], constant Gemm& p [[buffer(4)]],
                      uint3 group [[threadgroup_position_in_grid]],
                      uint3 thread_in [[thread_position_in_threadgroup]]) {
  threadgroup compute<T> tile_a[TILE][TILE], tile_b[TILE][TILE];
  const int row = int(thread_in.y), column = int(thread_in.x);
  const int i = int(group.y) * TILE + row, j = int(group.x) * TILE + column;
  const int64_t start_a = int64_t(group.z) * p.batch_a, start_b = int64_t(group.z) * p.batch_b;
  compute<T> sum = 0;
  for (int x = 0; x < p.k; x += TILE) {
    tile_a[row][column] = i < p.m && x + column < p.k ? at_a(a, p, start_a, i, x + column) : compute<T>(0);
    tile_b[row][column] = x + row < p.k && j < p.n ? at_b(b, p, start_b, x + row, j) : compute<T>(0);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int y = 0; y < TILE; ++y) sum = wrap_add(sum, wrap_mul(tile_a[row][y], tile_b[y][column]));
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (i < p.m && j < p.n) finish(c, bias, p, int64_t(group.z) * p.batch_c + int64_t(i) * p.ldc + j, j, sum);
}

// Copies a tile of a (BLOCK, DEPTH) and one of b (DEPTH, BLOCK) into threadgroup memory, zeros beyond the edges.
// Neighbouring threads read neighbouring addresses, whichever way the operand is stored.
template <class T>
inline void stage(threadgroup float* tile_a, threadgroup float* tile_b, device const T* a, device const T* b,
                  constant Gemm& p, int64_t start_a, int64_t start_b, int i0, int j0, int x0, uint index) {
  for (int e = int(index); e < BLOCK * DEPTH; e += 128) {
    const int i = p.transpose_a ? e % BLOCK : e / DEPTH, x = p.transpose_a ? e / BLOCK : e % DEPTH;
    tile_a[i * DEPTH + x] = i0 + i < p.m && x0 + x < p.k ? float(at_a(a, p, start_a, i0 + i, x0 + x)) : 0.0f;
    const int j = p.transpose_b ? e / DEPTH : e % BLOCK, y = p.transpose_b ? e % DEPTH : e / BLOCK;
    tile_b[y * BLOCK + j] = x0 + y < p.k && j0 + j < p.n ? float(at_b(b, p, start_b, x0 + y, j0 + j)) : 0.0f;
  }
}

template <class T>
[[kernel]] void simdgroups(device T* c [[buffer(0)]], device const T* a [[buffer(1)]], device const T* b [[buffer(2)]],
                           device const T* bias [[buffer(3)]], constant Gemm& p [[buffer(4)]],
                           uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  // Two pairs of tiles, so that one is filled while the other is read; at the end the same memory holds the result.
  threadgroup float shared[BLOCK * BLOCK];
  const int i0 = int(group.y) * BLOCK, j0 = int(group.x) * BLOCK;
  const int row = int(simdgroup / 2) * 32, column = int(simdgroup % 2) * 32;  // this simdgroup's part of the block
  const int64_t start_a = int64_t(group.z) * p.batch_a, start_b = int64_t(group.z) * p.batch_b;
  simdgroup_float8x8 sums[4][4];
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) sums[r][s] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  stage(shared, shared + BLOCK * DEPTH, a, b, p, start_a, start_b, i0, j0, 0, index);
  for (int x0 = 0, turn = 0; x0 < p.k; x0 += DEPTH, turn ^= 1) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup float* tile_a = shared + turn * 2 * BLOCK * DEPTH;
    threadgroup float* tile_b = tile_a + BLOCK * DEPTH;
    threadgroup float* next = shared + (turn ^ 1) * 2 * BLOCK * DEPTH;
    if (x0 + DEPTH < p.k) {
      stage(next, next + BLOCK * DEPTH, a, b, p, start_a, start_b, i0, j0, x0 + DEPTH, index);
    }
    for (int y = 0; y < DEPTH; y += 8) {
      simdgroup_float8x8 left[4], right[4];
      for (int r = 0; r < 4; ++r) simdgroup_load(left[r], tile_a + (row + 8 * r) * DEPTH + y, DEPTH);
      for (int s = 0; s < 4; ++s) simdgroup_load(right[s], tile_b + y * BLOCK + column + 8 * s, BLOCK);
      for (int r = 0; r < 4; ++r) {
        for (int s = 0; s < 4; ++s) simdgroup_multiply_accumulate(sums[r][s], left[r], right[s], sums[r][s]);
      }
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) {
      simdgroup_store(sums[r][s], shared + (row + 8 * r) * BLOCK + column + 8 * s, BLOCK);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int e = int(index); e < BLOCK * BLOCK; e += 128) {
    const int i = i0 + e / BLOCK, j = j0 + e % BLOCK;
    if (i < p.m && j < p.n) finish(c, bias, p, int64_t(group.z) * p.batch_c + int64_t(i) * p.ldc + j, j, shared[e]);
  }
}

#define KERNELS(name, T)                                                        \
  template [[host_name("naive_" name)]] [[kernel]] decltype(naive<T>) naive<T>; \
  template [[host_name("tiled_" name)]] [[kernel]] decltype(tiled<T>) tiled<T>;
#define FLOATS(name, T) \
  KERNELS(name, T)      \
  template [[host_name("simdgroups_" name)]] [[kernel]] decltype(simdgroups<T>) simdgroups<T>;

KERNELS("bool", Bool8)
KERNELS("uint8", uchar)
KERNELS("int8", char)
KERNELS("int32", int32_t)
KERNELS("int64", int64_t)
FLOATS("float16", half)
FLOATS("bfloat16", BFloat16)
FLOATS("float32", float)
