// Walks over rows that take more time to compute than to read, or the other way round.
//
// Rows are taken in units: some short ones together, or one long one, so that a unit stays in the nearest cache from
// pass to pass. Within a pass they are taken in pieces of a few vectors. That is short enough for a processor to begin
// the next while stores of the last one wait for memory, and long enough for the compiler to unroll it.
#ifndef NEEDLE_CPU_UNITS_H
#define NEEDLE_CPU_UNITS_H

#include <needle/functors.h>

#include "simd/past_caches.h"

#define NEEDLE_INLINE __attribute__((always_inline))

NEEDLE_BEGIN
namespace {

constexpr int64_t kUnit = 2048;  // elements of the short rows that are taken together

template <class T> constexpr int64_t kPiece = 4 * Vector<T>::lanes;

// Rows of a unit, at most one for each lane of a vector: what is found for each of them is then one vector.
template <class T> int64_t rows_together(int64_t n) {
  const int64_t fitting = n < kUnit ? kUnit / (n > 0 ? n : 1) : 1;
  return fitting < Vector<T>::lanes ? fitting : Vector<T>::lanes;
}

// f(i, length) for the pieces of a row; the length of all but the last is known where f is compiled.
template <class T, class F> inline NEEDLE_INLINE void by_pieces(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kPiece<T> <= n; i += kPiece<T>) f(i, kPiece<T>);
  if (i < n) f(i, n - i);
}

// Asks for memory that is read soon, but not into the nearest cache, which the unit needs that is computed now.
template <class T> inline NEEDLE_INLINE void ask_for(const T* x, int64_t length) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t k = 0; k < length; k += line) __builtin_prefetch(x + k, 0, 2);
}

// to[k] = value(k) for a piece. Past the caches `to` is aligned to a vector, and `length` to its lanes.
template <class T, class F> inline NEEDLE_INLINE void put(T* to, int64_t length, bool past, F value) {
  if (!past) {
    NEEDLE_INDEPENDENT
    for (int64_t k = 0; k < length; ++k) to[k] = value(k);
    return;
  }
  T piece[kPiece<T>];
  NEEDLE_INDEPENDENT
  for (int64_t k = 0; k < length; ++k) piece[k] = value(k);
  for (int64_t k = 0; k < length; k += Vector<T>::lanes) {
    Line line;
    __builtin_memcpy(&line, piece + k, sizeof(line));
    store_past(reinterpret_cast<Line*>(to + k), line);
  }
}

// f over the vectors load(i), in four chains, for a row of whole vectors.
template <class T, class Load, class F>
inline NEEDLE_INLINE typename Vector<T>::type fold_vectors(int64_t n, typename Vector<T>::type none, Load load, F f) {
  using V = Vector<T>;
  typename V::type chains[4] = {none, none, none, none};
  int64_t i = 0;
  for (; i + 4 * V::lanes <= n; i += 4 * V::lanes) {
    for (int c = 0; c < 4; ++c) chains[c] = f(chains[c], load(i + c * V::lanes));
  }
  for (; i < n; i += V::lanes) chains[0] = f(chains[0], load(i));
  return f(f(chains[0], chains[1]), f(chains[2], chains[3]));
}

// found[r] = f over row r. `load(r, at)` is the vector of elements from `at` on, `one(r, at)` the element there, both
// counted from the first row; `none` changes nothing in f. Each row is folded in the same way, wherever it stands.
template <class T, class Load, class One, class F>
inline NEEDLE_INLINE void fold_rows(int64_t rows, int64_t n, T none, T* found, Load load, One one, F f) {
  using V = Vector<T>;
  typename V::type each[V::lanes];
  const int64_t whole = n / V::lanes * V::lanes;
  for (int64_t r = 0; r < rows; ++r) {
    each[r] = fold_vectors<T>(whole, V::splat(none), [=](int64_t i) NEEDLE_INLINE { return load(r, r * n + i); }, f);
  }
  T all[V::lanes];
  if (rows < V::lanes / 2) {
    for (int64_t r = 0; r < rows; ++r) all[r] = fold<T>(each[r], f);  // the same tree
  } else {
    for (int64_t r = rows; r < V::lanes; ++r) each[r] = V::splat(none);
    V::store(all, fold_all<T>(each, f));
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = r * n + whole; i < (r + 1) * n; ++i) all[r] = f(all[r], one(r, i));
    found[r] = all[r];
  }
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_UNITS_H
