// The types that functors compute in: float, double, int32_t and int64_t; what they have in common, and their extremes.
#ifndef NEEDLE_TYPES_H
#define NEEDLE_TYPES_H

#include "compiler.h"
#include "float_math.h"

NEEDLE_BEGIN

// Facts about types, without <type_traits>, which Metal and NVRTC lack, and as types: Metal has no static members.
template <bool value> struct Bool {};

template <class T> struct IsFloat {
  using type = Bool<false>;
  using opposite = Bool<true>;
};
template <> struct IsFloat<float> {
  using type = Bool<true>;
  using opposite = Bool<false>;
};
#if defined(NEEDLE_HAS_DOUBLE)
template <> struct IsFloat<double> : IsFloat<float> {};
#endif

template <class T> struct UnsignedOf {  // floats stand for themselves, so that wrapping arithmetic is one template
  using type = T;
};
template <> struct UnsignedOf<int32_t> {
  using type = uint32_t;
};
template <> struct UnsignedOf<int64_t> {
  using type = uint64_t;
};
template <class T> using unsigned_of = typename UnsignedOf<T>::type;

// The types that a functor computes in: one of these is its base.
struct Numbers {
  template <class T> using accepts = Bool<true>;
};
struct Floats {
  template <class T> using accepts = typename IsFloat<T>::type;
};
struct Integers {  // and bool
  template <class T> using accepts = typename IsFloat<T>::opposite;
};

// What `+`, `-` and `*` mean for floats, and for integers with wrap-around.
template <class T> NEEDLE_HD T wrap_add(T a, T b) {
  return static_cast<T>(static_cast<unsigned_of<T>>(a) + static_cast<unsigned_of<T>>(b));
}
template <class T> NEEDLE_HD T wrap_sub(T a, T b) {
  return static_cast<T>(static_cast<unsigned_of<T>>(a) - static_cast<unsigned_of<T>>(b));
}
template <class T> NEEDLE_HD T wrap_mul(T a, T b) {
  return static_cast<T>(static_cast<unsigned_of<T>>(a) * static_cast<unsigned_of<T>>(b));
}

// The smallest and the largest number of a type.
template <class T> struct Extremes;
template <> struct Extremes<float> {
  static NEEDLE_HD float lowest() { return -NEEDLE_INFINITY; }
  static NEEDLE_HD float highest() { return NEEDLE_INFINITY; }
};
#if defined(NEEDLE_HAS_DOUBLE)
template <> struct Extremes<double> {
  static NEEDLE_HD double lowest() { return -NEEDLE_INFINITY; }
  static NEEDLE_HD double highest() { return NEEDLE_INFINITY; }
};
#endif
template <> struct Extremes<int32_t> {
  static NEEDLE_HD int32_t lowest() { return static_cast<int32_t>(0x80000000u); }
  static NEEDLE_HD int32_t highest() { return 0x7FFFFFFF; }
};
template <> struct Extremes<int64_t> {
  static NEEDLE_HD int64_t lowest() { return static_cast<int64_t>(1ull << 63); }
  static NEEDLE_HD int64_t highest() { return static_cast<int64_t>(~(1ull << 63)); }
};

NEEDLE_END

#endif  // NEEDLE_TYPES_H
