// argsort of the rows of x (rows, n): blocks of BLOCK elements are put in order in threadgroup memory, then runs are
// merged two by two, each element finding its place by a search in the other run. Only indices move. All is stable; a
// NaN is larger than all.
#include <metal_stdlib>

#include "element.h"

using namespace needle;

constant constexpr int BLOCK = 256;

template <class C> inline bool before(C a, C b, bool descending) {
  const bool nan_a = a != a, nan_b = b != b;
  if (nan_a || nan_b) return descending ? nan_a && !nan_b : nan_b && !nan_a;
  return descending ? a > b : a < b;
}

template <class T, class I>
[[kernel]] void sort_blocks(device I* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                            constant Sort& s [[buffer(2)]], uint2 group [[threadgroup_position_in_grid]],
                            uint2 thread_in [[thread_position_in_threadgroup]]) {
  threadgroup compute<T> tile[BLOCK];
  const int block = int(group.x) * BLOCK, index = int(thread_in.x), count = metal::min(BLOCK, s.n - block);
  const int64_t start = int64_t(group.y) * s.n + block;
  if (index < count) tile[index] = load(x, start + index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (index >= count) return;
  const compute<T> mine = tile[index];
  int place = 0;  // how many come before
  for (int j = 0; j < count; ++j) {
    const compute<T> other = tile[j];
    if (before(other, mine, s.descending != 0) || (j < index && !before(mine, other, s.descending != 0))) ++place;
  }
  dst[start + place] = I(block + index);
}

template <class T, class I>
[[kernel]] void merge_runs(device I* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                           device const int32_t* order [[buffer(2)]], constant Sort& s [[buffer(3)]],
                           uint2 where [[thread_position_in_grid]]) {
  const int64_t row = int64_t(where.y) * s.n;
  const int place = int(where.x), start = place / (2 * s.run) * (2 * s.run);
  const int middle = metal::min(start + s.run, s.n), end = metal::min(start + 2 * s.run, s.n);
  const int index = order[row + place];
  const compute<T> mine = load(x, row + index);
  const bool first = place < middle;  // of the two runs: there an equal element comes before mine, else after
  int low = first ? middle : start, high = first ? end : middle;
  const int low0 = low;
  while (low < high) {
    const int at = (low + high) / 2;
    const compute<T> other = load(x, row + order[row + at]);
    const bool earlier = first ? before(other, mine, s.descending != 0) : !before(mine, other, s.descending != 0);
    if (earlier) {
      low = at + 1;
    } else {
      high = at;
    }
  }
  dst[row + (first ? place : start + place - middle) + low - low0] = I(index);
}

#define TYPED(name, T, index, I)                                                                                  \
  template [[host_name("sort_blocks_" name "_" index)]] [[kernel]] decltype(sort_blocks<T, I>) sort_blocks<T, I>; \
  template [[host_name("merge_runs_" name "_" index)]] [[kernel]] decltype(merge_runs<T, I>) merge_runs<T, I>;
#define KERNELS(name, T)           \
  TYPED(name, T, "int32", int32_t) \
  TYPED(name, T, "int64", int64_t)

KERNELS("bool", Bool8)
KERNELS("uint8", uchar)
KERNELS("int8", char)
KERNELS("int32", int32_t)
KERNELS("int64", int64_t)
KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
