// c (batch, m, n) = a (batch, m, k) @ b (batch, k, n), in three steps that are each other's tests.
//   naive      a thread an element of c, any type
//   tiled      16x16 elements of c a threadgroup, tiles of a and b in threadgroup memory, any type
//   simdgroup  64x64 elements a threadgroup of four simdgroups, each with 4x4 matrices of 8x8; floats
// Flags say that an operand is stored transposed; rows may lie further apart than their width. The last step of all
// three is the epilogue: a bias per column, then an activation.
#include <needle/functors.h>

#include <metal_simdgroup_matrix>
#include <metal_stdlib>

#include "block.h"
#include "element.h"

using namespace needle;

constant constexpr int TILE = 16;

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

template <class T> struct Operands {
  device T* c;
  device const T* a;
  device const T* b;
  device const T* bias;
  int64_t start_a, start_b, start_c;
};

template <class T> struct Stored {
  static bool along_a(constant Gemm& p) { return p.transpose_a == 0; }
  static bool along_b(constant Gemm& p) { return p.transpose_b != 0; }
  static float a(Operands<T> o, constant Gemm& p, int i, int x) { return float(at_a(o.a, p, o.start_a, i, x)); }
  static float b(Operands<T> o, constant Gemm& p, int x, int j) { return float(at_b(o.b, p, o.start_b, x, j)); }
  static void write(Operands<T> o, constant Gemm& p, int i, int j, float value) {
    finish(o.c, o.bias, p, o.start_c + int64_t(i) * p.ldc + j, j, compute<T>(value));
  }
};

template <class T>
[[kernel]] void simdgroups(device T* c [[buffer(0)]], device const T* a [[buffer(1)]], device const T* b [[buffer(2)]],
                           device const T* bias [[buffer(3)]], constant Gemm& p [[buffer(4)]],
                           uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[BLOCK * BLOCK];
  Operands<T> o;
  o.c = c;
  o.a = a;
  o.b = b;
  o.bias = bias;
  o.start_a = int64_t(group.z) * p.batch_a;
  o.start_b = int64_t(group.z) * p.batch_b;
  o.start_c = int64_t(group.z) * p.batch_c;
  block_product<Stored<T>>(o, p, p.m, p.n, p.k, shared, group, index, simdgroup);
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
