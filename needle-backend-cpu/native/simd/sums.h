// Sums of contiguous floats or doubles that are short enough to be added up in a few chains.
#ifndef NEEDLE_CPU_SUMS_H
#define NEEDLE_CPU_SUMS_H

#include <needle/functors.h>

#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

template <class T> T sum_of(const T* x, int64_t n) {
  using V = Vector<T>;
  typename V::type sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    sums[0] += V::load(x + i);
    sums[1] += V::load(x + i + V::lanes);
  }
  for (; i + V::lanes <= n; i += V::lanes) sums[0] += V::load(x + i);
  T total = fold<T>(sums[0] + sums[1], Add());
  for (; i < n; ++i) total += x[i];
  return total;
}

template <class T> T dot(const T* x, const T* y, int64_t n) {
  using V = Vector<T>;
  typename V::type sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    sums[0] += V::load(x + i) * V::load(y + i);
    sums[1] += V::load(x + i + V::lanes) * V::load(y + i + V::lanes);
  }
  T total = fold<T>(sums[0] + sums[1], Add());
  for (; i < n; ++i) total += x[i] * y[i];
  return total;
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_SUMS_H
