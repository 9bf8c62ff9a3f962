// What fused kernels are made of, read by NVRTC: element types as they are stored, and the steps of an expression.
// The same arithmetic as the kernels under native/, each step rounded to the type that it would be stored in.
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

#include "functors.h"

namespace needle {

struct half_t {
  uint16_t bits;
};
struct bfloat16_t {
  uint16_t bits;
};

// The type that a stored T is computed in.
template <class T> struct Widened {
  using type = T;
};
template <> struct Widened<half_t> {
  using type = float;
};
template <> struct Widened<bfloat16_t> {
  using type = float;
};
template <> struct Widened<bool> {
  using type = int32_t;
};
template <> struct Widened<uint8_t> {
  using type = int32_t;
};
template <> struct Widened<int8_t> {
  using type = int32_t;
};
template <class T> using Wide = typename Widened<T>::type;

template <class T> __device__ __forceinline__ Wide<T> widen(T x) { return static_cast<Wide<T>>(x); }
__device__ __forceinline__ float widen(half_t x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
}
__device__ __forceinline__ float widen(bfloat16_t x) { return float_of(static_cast<int32_t>(uint32_t{x.bits} << 16)); }

// Rounds to nearest even, wraps, or tests for != 0.
template <class T> __device__ __forceinline__ T narrow(Wide<T> x) { return static_cast<T>(x); }
template <> __device__ __forceinline__ half_t narrow<half_t>(float x) {
  half_t narrowed;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrowed.bits) : "f"(x));
  return narrowed;
}
template <> __device__ __forceinline__ bfloat16_t narrow<bfloat16_t>(float x) {
  bfloat16_t narrowed;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrowed.bits) : "f"(x));
  return narrowed;
}
template <> __device__ __forceinline__ bool narrow<bool>(int32_t x) { return x != 0; }

// A functor as a step. A product and the sum after it are two steps, each of which is rounded: the compiler would make
// one operation of them, with another result than that of the two kernels.
template <class F> struct Exactly : F {};
template <> struct Exactly<Add> : Add {
  using Add::operator();
  __device__ __forceinline__ float operator()(float a, float b) const { return __fadd_rn(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return __dadd_rn(a, b); }
};
template <> struct Exactly<Sub> : Sub {
  using Sub::operator();
  __device__ __forceinline__ float operator()(float a, float b) const { return __fsub_rn(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return __dsub_rn(a, b); }
};
template <> struct Exactly<Mul> : Mul {
  using Mul::operator();
  __device__ __forceinline__ float operator()(float a, float b) const { return __fmul_rn(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return __dmul_rn(a, b); }
};
template <> struct Exactly<Square> : Square {
  using Square::operator();
  __device__ __forceinline__ float operator()(float x) const { return __fmul_rn(x, x); }
  __device__ __forceinline__ double operator()(double x) const { return __dmul_rn(x, x); }
};

// A result of a step as it is stored: predicates and comparisons give bool as it is.
template <class T> struct Stored {
  static __device__ __forceinline__ bool of(bool x) { return x; }
  static __device__ __forceinline__ T of(Wide<T> x) { return narrow<T>(x); }
};
template <> struct Stored<bool> {
  static __device__ __forceinline__ bool of(bool x) { return x; }
  static __device__ __forceinline__ bool of(int32_t x) { return x != 0; }
};

template <class F, class T> __device__ __forceinline__ auto apply(T x) { return Stored<T>::of(Exactly<F>()(widen(x))); }
template <class F, class T> __device__ __forceinline__ auto combine(T a, T b) {
  return Stored<T>::of(Exactly<F>()(widen(a), widen(b)));
}
template <class F, class T> __device__ __forceinline__ auto combine_scalar(T x, Wide<T> scalar) {
  return Stored<T>::of(Exactly<F>()(widen(x), scalar));
}
template <class F, class T> __device__ __forceinline__ auto combine_scalar_first(T x, Wide<T> scalar) {
  return Stored<T>::of(Exactly<F>()(scalar, widen(x)));
}

template <class To, class From> struct Convert {
  static __device__ __forceinline__ To of(From x) { return narrow<To>(static_cast<Wide<To>>(widen(x))); }
};
template <class From> struct Convert<bool, From> {
  static __device__ __forceinline__ bool of(From x) { return widen(x) != Wide<From>(0); }
};

// A parameter: the lowest bits of a word.
template <class T> __device__ __forceinline__ T scalar(uint64_t word) { return static_cast<T>(word); }
template <> __device__ __forceinline__ float scalar(uint64_t word) { return float_of(static_cast<int32_t>(word)); }
template <> __device__ __forceinline__ double scalar(uint64_t word) {
  return __longlong_as_double(static_cast<int64_t>(word));
}

// The quotient by a number that the host knows: see Divisor in native/strided.cuh.
__device__ __forceinline__ uint32_t quotient(uint32_t n, uint64_t divisor, uint64_t shift) {
  return (__umulhi(n, static_cast<uint32_t>(divisor >> 32)) + n) >> static_cast<uint32_t>(shift);
}

template <class T, int count> struct alignas(sizeof(T) * count) Pack {
  T at[count];
};

}  // namespace needle
