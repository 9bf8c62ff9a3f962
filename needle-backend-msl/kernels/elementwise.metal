// unary, binary and where: the functors of needle/functors.h over operands of one shape, one element a thread.
// Which functor, and whether strides are read, are constants of the pipeline: the switch costs nothing when it runs.
#include <needle/functors.h>

#include <metal_stdlib>

#include "element.h"

using namespace needle;

constant int32_t kind [[function_constant(0)]];
constant int32_t strided [[function_constant(1)]];
constant int32_t swapped [[function_constant(2)]];

template <class X, class Y> struct ApplyUnary {
  device Y* dst;
  device const X* x;
  int64_t i, at;
  template <class F> void operator()(F f) { store(dst, i, f(load(x, at))); }
};

template <class Y, class C> struct ApplyBinary {
  device Y* dst;
  int64_t i;
  C a, b;
  template <class F> void operator()(F f) { store(dst, i, f(a, b)); }
};

template <class X, class Y>
[[kernel]] void unary(device Y* dst [[buffer(0)]], device const X* x [[buffer(1)]], constant Steps& steps [[buffer(2)]],
                      constant Strides& s [[buffer(3)]], uint i [[thread_position_in_grid]]) {
  ApplyUnary<X, Y> apply;
  apply.dst = dst;
  apply.x = x;
  apply.i = i;
  apply.at = strided ? locate(s, 1, i) : int64_t(i) * steps.a;
  dispatch<compute<X>>(Unary(kind), apply);
}

template <class X, class Y>
[[kernel]] void binary(device Y* dst [[buffer(0)]], device const X* a [[buffer(1)]], device const X* b [[buffer(2)]],
                       constant Steps& steps [[buffer(3)]], constant Strides& s [[buffer(4)]],
                       uint i [[thread_position_in_grid]]) {
  ApplyBinary<Y, compute<X>> apply;
  apply.dst = dst;
  apply.i = i;
  apply.a = load(a, strided ? locate(s, 1, i) : int64_t(i) * steps.a);
  apply.b = load(b, strided ? locate(s, 2, i) : int64_t(i) * steps.b);
  dispatch<compute<X>>(Binary(kind), apply);
}

template <class X, class Y>
[[kernel]] void binary_scalar(device Y* dst [[buffer(0)]], device const X* x [[buffer(1)]],
                              constant compute<X>& scalar [[buffer(2)]], constant Steps& steps [[buffer(3)]],
                              constant Strides& s [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  const compute<X> value = load(x, strided ? locate(s, 1, i) : int64_t(i) * steps.a), given = rounded(x, scalar);
  ApplyBinary<Y, compute<X>> apply;
  apply.dst = dst;
  apply.i = i;
  apply.a = swapped ? given : value;
  apply.b = swapped ? value : given;
  dispatch<compute<X>>(Binary(kind), apply);
}

template <class T>
[[kernel]] void where(device T* dst [[buffer(0)]], device const uchar* condition [[buffer(1)]],
                      device const T* a [[buffer(2)]], device const T* b [[buffer(3)]],
                      constant Steps& steps [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  dst[i] = condition[int64_t(i) * steps.a] != 0 ? a[int64_t(i) * steps.b] : b[int64_t(i) * steps.c];
}

#define WHERE(size, T) template [[host_name("where_" size)]] [[kernel]] decltype(where<T>) where<T>;
WHERE("1", uchar)
WHERE("2", ushort)
WHERE("4", uint)
WHERE("8", ulong)

#define KERNELS(name, X, Y)                                                              \
  template [[host_name("unary_" name)]] [[kernel]] decltype(unary<X, Y>) unary<X, Y>;    \
  template [[host_name("binary_" name)]] [[kernel]] decltype(binary<X, Y>) binary<X, Y>; \
  template [[host_name("binary_scalar_" name)]] [[kernel]] decltype(binary_scalar<X, Y>) binary_scalar<X, Y>;

#define TYPE(name, X)          \
  KERNELS(name "_" name, X, X) \
  KERNELS(name "_bool", X, Bool8)

KERNELS("bool_bool", Bool8, Bool8)
TYPE("uint8", uchar)
TYPE("int8", char)
TYPE("int32", int32_t)
TYPE("int64", int64_t)
TYPE("float16", half)
TYPE("bfloat16", BFloat16)
TYPE("float32", float)
