// A loop that computes a tile of results before it stores any of them, plainly or past the caches.
#ifndef NEEDLE_CPU_BY_TILES_H
#define NEEDLE_CPU_BY_TILES_H

#include <stddef.h>

#include "simd/past_caches.h"

NEEDLE_BEGIN
namespace {

// Stores a tile from its end to its begin. Where a result lies a little further than an operand, counted modulo 4096
// bytes, the processor takes the next load for one of what was just stored; so what is stored last is what is read
// latest.
template <bool past, class Out, int64_t kItems>
inline __attribute__((always_inline)) void store_tile(const Out (&tile)[kItems], Out* out) {
  typedef float Anywhere __attribute__((vector_size(NEEDLE_VECTOR_BYTES), aligned(1), may_alias));
  constexpr int64_t vectors = sizeof(tile) / NEEDLE_VECTOR_BYTES;
  const Line* from = reinterpret_cast<const Line*>(tile);
#pragma GCC unroll 16
  for (int64_t k = vectors - 1; k >= 0; --k) {
    if constexpr (past) {
      store_past(reinterpret_cast<Line*>(out) + k, from[k]);
    } else {
      reinterpret_cast<Anywhere*>(out)[k] = from[k];
    }
  }
}

// Elements of a tile: kTileVectors vectors of T. Or a line or two of results, where loads and stores are all that takes
// time and stores go past the caches: then memory is read and written most evenly. (Of 16 elements and fewer g++
// unrolls the loop before it looks for vectors, and finds none.)
template <class T> constexpr int64_t kTileItems = kTileVectors * NEEDLE_VECTOR_BYTES / sizeof(T);
template <class Out> constexpr int64_t kLineItems = sizeof(Out) == 1 ? 64 : 32;

// out[i] for i < n by f(i, tile, count), which computes `count` of them from the i-th on into `tile`. For results past
// the caches `out` is aligned to a line.
template <int64_t kItems, bool past, class Out, class F> void by_tiles(Out* out, int64_t n, F f) {
  alignas(64) Out tile[kItems];
  int64_t i = 0;
  for (; i + kItems <= n; i += kItems) {
    f(i, tile, kItems);
    store_tile<past>(tile, out + i);
  }
  if (i == n) return;
  f(i, tile, n - i);
  __builtin_memcpy(out + i, tile, static_cast<size_t>(n - i) * sizeof(Out));
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_BY_TILES_H
