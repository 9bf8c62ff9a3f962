// Along rows: running sums, and where an element stands.
#include <needle/functors.h>

#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

// x moved up by kBy lanes; zeros come in below.
template <class T, int kBy, int... kLane>
inline __attribute__((always_inline)) typename Vector<T>::type moved_up(typename Vector<T>::type x, Indices<kLane...>) {
  return shuffle<T, (kLane < kBy ? Vector<T>::lanes : kLane - kBy)...>(x, typename Vector<T>::type{});
}

template <class T, int... kLane>
inline __attribute__((always_inline)) typename Vector<T>::type last_everywhere(typename Vector<T>::type x,
                                                                               Indices<kLane...>) {
  return shuffle<T, (Vector<T>::lanes - 1 + 0 * kLane)...>(x, x);
}

// Lane i becomes the sum of the lanes up to i.
template <class T, int kBy = 1>
inline __attribute__((always_inline)) typename Vector<T>::type running(typename Vector<T>::type x) {
  if constexpr (kBy == Vector<T>::lanes) {
    return x;
  } else {
    return running<T, 2 * kBy>(x + moved_up<T, kBy>(x, typename MakeIndices<Vector<T>::lanes>::type()));
  }
}

// Integers are added up as unsigned numbers, which wrap.
template <class A> void running_sum(const void* x, int64_t n, void* total, void* out) {
  using V = Vector<A>;
  const A* from = static_cast<const A*>(x);
  A* to = static_cast<A*>(out);
  A* before = static_cast<A*>(total);
  typename V::type sum = V::splat(*before);
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) {
    const typename V::type within = running<A>(V::load(from + i));
    V::store(to + i, sum + within);
    sum += last_everywhere<A>(within, typename MakeIndices<V::lanes>::type());  // one addition from vector to vector
  }
  A rest = sum[0];
  for (; i < n; ++i) to[i] = rest += from[i];
  *before = rest;
}

// The first element that equals the value, or that is NaN if the value is; 0 if there is none.
template <class T, bool nan> int64_t first_equal(const T* x, int64_t n, T value) {
  using V = Vector<T>;
  constexpr int kTogether = 4;
  using Mask = decltype(typename V::type{} == typename V::type{});
  const typename V::type sought = V::splat(value);
  int64_t i = 0;
  for (; i + kTogether * V::lanes <= n; i += kTogether * V::lanes) {
    Mask hits = {};
    for (int k = 0; k < kTogether; ++k) {
      const typename V::type y = V::load(x + i + k * V::lanes);
      hits |= nan ? y != y : y == sought;
    }
    uint64_t words[NEEDLE_VECTOR_BYTES / sizeof(uint64_t)], any = 0;
    __builtin_memcpy(words, &hits, sizeof(hits));
    for (uint64_t word : words) any |= word;
    if (any != 0) break;
  }
  for (; i < n; ++i) {
    if (nan ? x[i] != x[i] : x[i] == value) return i;
  }
  return 0;
}

template <class T> int64_t find(const void* x, int64_t n, const void* value) {
  const T sought = *static_cast<const T*>(value);
  const T* from = static_cast<const T*>(x);
  return sought != sought ? first_equal<T, true>(from, n, sought) : first_equal<T, false>(from, n, sought);
}

template <class T> void fill(Kernels& table) {
  table.running_sum[ComputeOf<T>::value] = running_sum<unsigned_of<T>>;
  table.find[ComputeOf<T>::value] = find<T>;
}

}  // namespace

void fill_scan(Kernels& table) {
  fill<float>(table);
  fill<double>(table);
  fill<int32_t>(table);
  fill<int64_t>(table);
}

NEEDLE_END
