// copy: any strides to any strides, by the size of an element; cast: from one type to another. One element a thread.
#include <metal_stdlib>

#include "element.h"

using namespace needle;

template <class T>
[[kernel]] void copy(device T* dst [[buffer(0)]], device const T* src [[buffer(1)]], constant Strides& s [[buffer(2)]],
                     uint i [[thread_position_in_grid]]) {
  dst[locate(s, 0, i)] = src[locate(s, 1, i)];
}

template <class X, class Y>
[[kernel]] void cast(device Y* dst [[buffer(0)]], device const X* src [[buffer(1)]], constant Strides& s [[buffer(2)]],
                     uint i [[thread_position_in_grid]]) {
  store(dst, i, compute<Y>(load(src, locate(s, 1, i))));
}

// To bool, whatever is not 0 is true: a fraction too.
template <class X>
[[kernel]] void to_bool(device Bool8* dst [[buffer(0)]], device const X* src [[buffer(1)]],
                        constant Strides& s [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  store(dst, i, load(src, locate(s, 1, i)));
}

template [[host_name("copy_1")]] [[kernel]] decltype(copy<uchar>) copy<uchar>;
template [[host_name("copy_2")]] [[kernel]] decltype(copy<ushort>) copy<ushort>;
template [[host_name("copy_4")]] [[kernel]] decltype(copy<uint>) copy<uint>;
template [[host_name("copy_8")]] [[kernel]] decltype(copy<ulong>) copy<ulong>;

#define CASTS(name, X)                                                                                       \
  template [[host_name("cast_" name "_bool")]] [[kernel]] decltype(to_bool<X>) to_bool<X>;                   \
  template [[host_name("cast_" name "_uint8")]] [[kernel]] decltype(cast<X, uchar>) cast<X, uchar>;          \
  template [[host_name("cast_" name "_int8")]] [[kernel]] decltype(cast<X, char>) cast<X, char>;             \
  template [[host_name("cast_" name "_int32")]] [[kernel]] decltype(cast<X, int32_t>) cast<X, int32_t>;      \
  template [[host_name("cast_" name "_int64")]] [[kernel]] decltype(cast<X, int64_t>) cast<X, int64_t>;      \
  template [[host_name("cast_" name "_float16")]] [[kernel]] decltype(cast<X, half>) cast<X, half>;          \
  template [[host_name("cast_" name "_bfloat16")]] [[kernel]] decltype(cast<X, BFloat16>) cast<X, BFloat16>; \
  template [[host_name("cast_" name "_float32")]] [[kernel]] decltype(cast<X, float>) cast<X, float>;

CASTS("bool", Bool8)
CASTS("uint8", uchar)
CASTS("int8", char)
CASTS("int32", int32_t)
CASTS("int64", int64_t)
CASTS("float16", half)
CASTS("bfloat16", BFloat16)
CASTS("float32", float)
