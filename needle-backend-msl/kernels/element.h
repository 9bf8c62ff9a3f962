// Elements in memory and in registers. Kernels compute in float, int32_t or int64_t; smaller types are widened when
// they are read and narrowed when they are written. bfloat16 is two bytes of a float, so that every GPU has it.
#ifndef NEEDLE_MSL_ELEMENT_H
#define NEEDLE_MSL_ELEMENT_H

#include <needle/types.h>

#include "params.h"

namespace needle {

// uint8 and bool have the same bits; bfloat16 and uint16 too. The names keep them apart.
struct Bool8 {
  uchar bits;
};
struct BFloat16 {
  ushort bits;
};

template <class T> struct Compute {
  using type = int32_t;
};
template <> struct Compute<int64_t> {
  using type = int64_t;
};
template <> struct Compute<float> {
  using type = float;
};
template <> struct Compute<half> {
  using type = float;
};
template <> struct Compute<BFloat16> {
  using type = float;
};
template <class T> using compute = typename Compute<T>::type;

inline float load(device const float* p, int64_t i) { return p[i]; }
inline float load(device const half* p, int64_t i) { return float(p[i]); }
inline float load(device const BFloat16* p, int64_t i) { return float_of(int32_t(uint32_t(p[i].bits) << 16)); }
inline int32_t load(device const Bool8* p, int64_t i) { return p[i].bits; }
inline int32_t load(device const uchar* p, int64_t i) { return p[i]; }
inline int32_t load(device const char* p, int64_t i) { return p[i]; }
inline int32_t load(device const int32_t* p, int64_t i) { return p[i]; }
inline int64_t load(device const int64_t* p, int64_t i) { return p[i]; }

inline ushort bfloat16_bits(float x) {  // to the nearest, ties to even; NaN stays NaN
  const uint32_t bits = uint32_t(bits_of(x));
  return x != x ? ushort(0x7FC0) : ushort((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

inline void store(device float* p, int64_t i, float x) { p[i] = x; }
inline void store(device half* p, int64_t i, float x) { p[i] = half(x); }
inline void store(device BFloat16* p, int64_t i, float x) { p[i].bits = bfloat16_bits(x); }
template <class T> inline void store(device Bool8* p, int64_t i, T x) { p[i].bits = x != T(0); }
inline void store(device uchar* p, int64_t i, int32_t x) { p[i] = uchar(x); }
inline void store(device char* p, int64_t i, int32_t x) { p[i] = char(x); }
inline void store(device int32_t* p, int64_t i, int32_t x) { p[i] = x; }
inline void store(device int64_t* p, int64_t i, int64_t x) { p[i] = x; }

// The number as it would be after a visit to memory. The pointer says only which type.
inline float rounded(device const float*, float x) { return x; }
inline float rounded(device const half*, float x) { return float(half(x)); }
inline float rounded(device const BFloat16*, float x) { return float_of(int32_t(uint32_t(bfloat16_bits(x)) << 16)); }
inline int32_t rounded(device const Bool8*, int32_t x) { return x != 0; }
inline int32_t rounded(device const uchar*, int32_t x) { return uchar(x); }
inline int32_t rounded(device const char*, int32_t x) { return char(x); }
inline int32_t rounded(device const int32_t*, int32_t x) { return x; }
inline int64_t rounded(device const int64_t*, int64_t x) { return x; }

// The nearest number that the type can hold.
template <class T, class C> inline C clamped(device const T*, C x) { return x; }
inline int32_t clamped(device const Bool8*, int32_t x) { return metal::clamp(x, 0, 1); }
inline int32_t clamped(device const uchar*, int32_t x) { return metal::clamp(x, 0, 255); }
inline int32_t clamped(device const char*, int32_t x) { return metal::clamp(x, -128, 127); }

// Elements before element i of operand `which`, in row-major order.
inline int64_t locate(constant Strides& s, int which, uint i) {
  int64_t at = 0;
  for (int d = s.rank - 1; d >= 0; --d) {
    const uint size = uint(s.shape[d]);
    at += int64_t(i % size) * s.strides[which][d];
    i /= size;
  }
  return at;
}

}  // namespace needle

#endif  // NEEDLE_MSL_ELEMENT_H
