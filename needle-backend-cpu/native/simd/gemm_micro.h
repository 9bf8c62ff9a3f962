// The innermost tile of the matrix product, and the transposition that packing needs, in vectors of any width.
#ifndef NEEDLE_CPU_GEMM_MICRO_H
#define NEEDLE_CPU_GEMM_MICRO_H

#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

// Rows of a tile: with two vectors of columns, as many accumulators as leave registers for two of b and one of a.
#if defined(__AVX512F__)
constexpr int kTileRows = 14;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
#elif defined(__aarch64__)
constexpr int kTileRows = 10;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVectors = 2;

// What happens to a tile of c after the product: added to what is there, then a row vector, then max(0, .).
template <class T> struct Epilogue {
  bool accumulate;
  const T* bias;
  bool relu;

  // Of one vector, whose first column is `column`.
  inline __attribute__((always_inline)) typename Vector<T>::type apply(typename Vector<T>::type y, const T* c,
                                                                       int64_t column) const {
    using V = Vector<T>;
    const typename V::type zero = V::splat(T(0));
    if (accumulate) y += V::load(c);
    if (bias != nullptr) y += V::load(bias + column);
    return relu ? (y < zero ? zero : y) : y;
  }
};

template <class T>
__attribute__((noinline)) void finish_row(const T* sums, T* c, int64_t columns, const Epilogue<T>& epilogue) {
  NEEDLE_INDEPENDENT
  for (int64_t j = 0; j < columns; ++j) {
    T y = sums[j];
    if (epilogue.accumulate) y += c[j];
    if (epilogue.bias != nullptr) y += epilogue.bias[j];
    c[j] = epilogue.relu && y < T(0) ? T(0) : y;
  }
}

// c (kRows, columns) = a b over k: a[p * a_step + i] is row i, b[p * b_step + j] column j. b has kVectors whole vectors
// of columns, of which c takes the first `columns`.
template <class T, int kRows, int kVectors>
void tile(int64_t k, const T* a, int64_t a_step, const T* b, int64_t b_step, T* c, int64_t ldc, int64_t columns,
          const Epilogue<T>& epilogue) {
  using V = Vector<T>;
  typename V::type sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[i][v] = V::splat(T(0));
  }
  for (int64_t p = 0; p < k; ++p) {
    typename V::type row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = V::load(b + v * V::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][v] += a[i] * row[v];
    }
    a += a_step;
    b += b_step;
  }
  if (columns == kVectors * V::lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        T* to = c + i * ldc + v * V::lanes;
        V::store(to, epilogue.apply(sums[i][v], to, v * V::lanes));
      }
    }
    return;
  }
  T finished[kRows][kVectors * V::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(finished[i] + v * V::lanes, sums[i][v]);
  }
#pragma GCC unroll 1
  for (int i = 0; i < kRows; ++i) finish_row(finished[i], c + i * ldc, columns, epilogue);
}

// In place: vector i becomes the i-th elements of all. Interleaving the halves log2(lanes) times is a transposition.
template <class T>
inline __attribute__((always_inline)) void transpose(typename Vector<T>::type (&rows)[Vector<T>::lanes]) {
  constexpr int lanes = Vector<T>::lanes;
#pragma GCC unroll 4
  for (int width = 1; width < lanes; width *= 2) {
    typename Vector<T>::type turned[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes / 2; ++i) {
      turned[2 * i] = interleave<T, false>(rows[i], rows[i + lanes / 2]);
      turned[2 * i + 1] = interleave<T, true>(rows[i], rows[i + lanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = turned[i];
  }
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_GEMM_MICRO_H
