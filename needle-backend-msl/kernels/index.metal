// gather and scatter_add along the middle axis of x (outer, n, inner), by an index (outer, m, inner).
#include <metal_stdlib>

#include "element.h"

using namespace needle;

template <class T, class I>
[[kernel]] void gather(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                       device const I* index [[buffer(2)]], constant Places& p [[buffer(3)]],
                       constant Strides& s [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  const int64_t outer = i / (uint(p.m) * uint(p.inner)), inner = i % uint(p.inner);
  const int64_t place = index[locate(s, 1, i)];
  if (place >= 0 && place < p.n) dst[i] = x[(outer * p.n + place) * p.inner + inner];
}

// Repeated indices are added in the order of the index: a thread owns one line along the middle axis, so that the sum
// is the same every time and no atomics of small types are needed.
template <class T, class I>
[[kernel]] void scatter_add(device T* dst [[buffer(0)]], device const I* index [[buffer(1)]],
                            device const T* src [[buffer(2)]], constant Places& p [[buffer(3)]],
                            constant Strides& s [[buffer(4)]], uint line [[thread_position_in_grid]]) {
  const int64_t outer = line / uint(p.inner), inner = line % uint(p.inner);
  for (int j = 0; j < p.m; ++j) {
    const int64_t i = (outer * p.m + j) * p.inner + inner, place = index[locate(s, 1, uint(i))];
    const int64_t at = (outer * p.n + place) * p.inner + inner;
    if (place >= 0 && place < p.n) store(dst, at, wrap_add(load(dst, at), load(src, i)));
  }
}

#define GATHER(name, T)                                                                                       \
  template [[host_name("gather_" name "_int32")]] [[kernel]] decltype(gather<T, int32_t>) gather<T, int32_t>; \
  template [[host_name("gather_" name "_int64")]] [[kernel]] decltype(gather<T, int64_t>) gather<T, int64_t>;
#define SCATTER(name, T)                                                                                 \
  template [[host_name("scatter_add_" name                                                               \
                       "_int32")]] [[kernel]] decltype(scatter_add<T, int32_t>) scatter_add<T, int32_t>; \
  template [[host_name("scatter_add_" name                                                               \
                       "_int64")]] [[kernel]] decltype(scatter_add<T, int64_t>) scatter_add<T, int64_t>;

GATHER("1", uchar)
GATHER("2", ushort)
GATHER("4", uint)
GATHER("8", ulong)
SCATTER("bool", Bool8)
SCATTER("uint8", uchar)
SCATTER("int8", char)
SCATTER("int32", int32_t)
SCATTER("int64", int64_t)
SCATTER("float16", half)
SCATTER("bfloat16", BFloat16)
SCATTER("float32", float)
