// A vector register of the level, by the compilers' vector extensions: arithmetic and comparisons are elementwise.
#ifndef NEEDLE_CPU_VECTOR_H
#define NEEDLE_CPU_VECTOR_H

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

template <class T> struct Vector {
  typedef T type __attribute__((vector_size(NEEDLE_VECTOR_BYTES), aligned(alignof(T)), may_alias));  // at any address
  static constexpr int lanes = NEEDLE_VECTOR_BYTES / sizeof(T);

  static type load(const T* x) { return *reinterpret_cast<const type*>(x); }
  static void store(T* x, type v) { *reinterpret_cast<type*>(x) = v; }
  static type splat(T x) { return x - type{}; }
};

// The numbers 0 to n - 1 as a parameter pack, which is how a shuffle takes its indices.
template <int... kIndices> struct Indices {};
template <int kCount, int... kIndices> struct MakeIndices : MakeIndices<kCount - 1, kCount - 1, kIndices...> {};
template <int... kIndices> struct MakeIndices<0, kIndices...> {
  using type = Indices<kIndices...>;
};

template <int kBytes> struct IndexOf {
  using type = int32_t;
};
template <> struct IndexOf<8> {
  using type = int64_t;
};

// The elements that the indices name, of x followed by y.
template <class T, int... kIndices>
inline __attribute__((always_inline)) typename Vector<T>::type shuffle(typename Vector<T>::type x,
                                                                       typename Vector<T>::type y) {
#if defined(__clang__)
  return __builtin_shufflevector(x, y, kIndices...);
#else
  typedef typename IndexOf<sizeof(T)>::type Index __attribute__((vector_size(NEEDLE_VECTOR_BYTES)));
  return __builtin_shuffle(x, y, Index{kIndices...});
#endif
}

template <class T, int kFirst, int... kLane>
inline __attribute__((always_inline)) typename Vector<T>::type interleave_from(typename Vector<T>::type x,
                                                                               typename Vector<T>::type y,
                                                                               Indices<kLane...>) {
  return shuffle<T, (kFirst + kLane / 2 + (kLane % 2) * Vector<T>::lanes)...>(x, y);
}

// x and y element by element in turn: of their first halves, or of their second.
template <class T, bool second>
inline __attribute__((always_inline)) typename Vector<T>::type interleave(typename Vector<T>::type x,
                                                                          typename Vector<T>::type y) {
  constexpr int lanes = Vector<T>::lanes;
  return interleave_from<T, second ? lanes / 2 : 0>(x, y, typename MakeIndices<lanes>::type());
}

template <class T, int kBy, int... kLane>
inline __attribute__((always_inline)) typename Vector<T>::type rotate(typename Vector<T>::type x, Indices<kLane...>) {
  return shuffle<T, ((kLane + kBy) % Vector<T>::lanes)...>(x, x);
}

// f over all elements, in a tree.
template <class T, class F, int kWidth = Vector<T>::lanes / 2>
inline __attribute__((always_inline)) T fold(typename Vector<T>::type x, F f) {
  const typename Vector<T>::type y = f(x, rotate<T, kWidth>(x, typename MakeIndices<Vector<T>::lanes>::type()));
  if constexpr (kWidth == 1) {
    return y[0];
  } else {
    return fold<T, F, kWidth / 2>(y, f);
  }
}

// Element i of the result is f over all elements of x[i], in a tree.
template <class T, class F, int kCount = Vector<T>::lanes>
inline __attribute__((always_inline)) typename Vector<T>::type fold_all(typename Vector<T>::type* x, F f) {
  // Each step pairs x[i] with x[i + half]: their elements in turn, the first halves with the second ones. After all
  // steps the elements of one vector have met each other, and stand in order.
  if constexpr (kCount == 1) {
    return x[0];
  } else {
    constexpr int half = kCount / 2;
    for (int i = 0; i < half; ++i)
      x[i] = f(interleave<T, false>(x[i], x[i + half]), interleave<T, true>(x[i], x[i + half]));
    return fold_all<T, F, half>(x, f);
  }
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_VECTOR_H
