// reduce, argmax and cumsum over the rows of x (rows, n): a threadgroup a row, its threads striding along it.
#include <metal_stdlib>

#include "group.h"

using namespace needle;

constant int32_t kind [[function_constant(0)]];
constant int32_t strided [[function_constant(1)]];

template <class T> struct ReduceRow {
  device T* dst;
  device const T* x;
  threadgroup compute<T>* shared;
  int32_t n;
  uint row, index, size;
  constant Strides* strides;  // null if x is contiguous

  compute<T> at(int32_t i) const {
    const int64_t place = int64_t(row) * n + i;
    return load(x, strides != nullptr ? locate(*strides, 0, uint(place)) : place);
  }

  template <class F> void operator()(F f) {
    const compute<T> identity = clamped(x, F::template identity<compute<T>>());
    compute<T> value = identity;
    for (int32_t i = int32_t(index); i < n; i += int32_t(size)) value = f(value, at(i));
    value = group_reduce(f, value, identity, shared, index, size / 32);
    if (index == 0) store(dst, row, value);
  }
};

template <class T>
[[kernel]] void reduce(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]], constant Rows& rows [[buffer(2)]],
                       constant Strides& s [[buffer(3)]], uint row [[threadgroup_position_in_grid]],
                       uint index [[thread_index_in_threadgroup]], uint size [[threads_per_threadgroup]]) {
  threadgroup compute<T> shared[32];
  ReduceRow<T> apply;
  apply.dst = dst;
  apply.x = x;
  apply.shared = shared;
  apply.n = rows.n;
  apply.row = row;
  apply.index = index;
  apply.size = size;
  apply.strides = strided ? &s : nullptr;
  dispatch<compute<T>>(Reduce(kind), apply);
}

// Is a, at position i, before b at j in the search for the largest? NaN is larger than all; of equals the first wins.
template <class C> inline bool better(C a, int32_t i, C b, int32_t j) {
  const bool nan_a = a != a, nan_b = b != b;
  if (nan_a != nan_b) return nan_a;
  return a > b || ((a == b || nan_a) && i < j);
}

template <class X, class I>
[[kernel]] void argmax(device I* dst [[buffer(0)]], device const X* x [[buffer(1)]], constant Rows& rows [[buffer(2)]],
                       uint row [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]],
                       uint size [[threads_per_threadgroup]]) {
  threadgroup compute<X> values[256];
  threadgroup int32_t places[256];
  const int64_t start = int64_t(row) * rows.n;
  int32_t place = min(int32_t(index), rows.n - 1);
  compute<X> value = load(x, start + place);
  for (int32_t i = place + int32_t(size); i < rows.n; i += int32_t(size)) {
    const compute<X> other = load(x, start + i);
    if (better(other, i, value, place)) {
      value = other;
      place = i;
    }
  }
  values[index] = value;
  places[index] = place;
  for (uint half_size = size / 2; half_size > 0; half_size /= 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (index < half_size &&
        better(values[index + half_size], places[index + half_size], values[index], places[index])) {
      values[index] = values[index + half_size];
      places[index] = places[index + half_size];
    }
  }
  if (index == 0) dst[row] = places[0];
}

// One thread a row: the naive way, right for any type.
template <class T>
[[kernel]] void cumsum(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]], constant Rows& rows [[buffer(2)]],
                       uint row [[thread_position_in_grid]]) {
  compute<T> sum = 0;
  for (int32_t i = 0; i < rows.n; ++i) {
    sum = wrap_add(sum, load(x, int64_t(row) * rows.n + i));
    store(dst, int64_t(row) * rows.n + i, sum);
  }
}

#define KERNELS(name, T)                                                                                      \
  template [[host_name("reduce_" name)]] [[kernel]] decltype(reduce<T>) reduce<T>;                            \
  template [[host_name("argmax_" name "_int32")]] [[kernel]] decltype(argmax<T, int32_t>) argmax<T, int32_t>; \
  template [[host_name("argmax_" name "_int64")]] [[kernel]] decltype(argmax<T, int64_t>) argmax<T, int64_t>; \
  template [[host_name("cumsum_" name)]] [[kernel]] decltype(cumsum<T>) cumsum<T>;

KERNELS("bool", Bool8)
KERNELS("uint8", uchar)
KERNELS("int8", char)
KERNELS("int32", int32_t)
KERNELS("int64", int64_t)
KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
