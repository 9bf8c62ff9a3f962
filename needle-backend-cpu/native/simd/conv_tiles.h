// The innermost tiles of convolutions. Nothing of an image is packed: a tile reads the runs that its windows see where
// they lie, one element of each row at a time, which vector units take from memory as fast as from a packed strip.
#ifndef NEEDLE_CPU_CONV_TILES_H
#define NEEDLE_CPU_CONV_TILES_H

#include "simd/gemm_micro.h"

NEEDLE_BEGIN
namespace {

constexpr int kSlots = (kTileRows + 7) / 8 * 8;  // rows of a strip, in whole vectors

// For each run, where the windows of up to kTileRows places see it, and the row of the kernel that its first element
// meets.
template <class T> struct Seen {
  const T** from;       // [run * kSlots + row]
  int64_t* kernel_row;  // [run]
  int64_t runs, length;
};

// The results of kRows places: result[i] has room for `columns` elements. The kernel is packed, kVectors vectors wide.
// A bias has `columns` elements, or is null.
template <class T, int kRows, int kVectors>
void window_tile(const Seen<T>& seen, const T* kernel, T* const* result, int64_t columns, const T* bias) {
  using V = Vector<T>;
  typename V::type sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[i][v] = V::splat(T(0));
  }
  for (int64_t run = 0; run < seen.runs; ++run) {
    const T* const* pointers = seen.from + run * kSlots;
    const T* from[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) from[i] = pointers[i];
    const T* weights = kernel + seen.kernel_row[run] * kVectors * V::lanes;
    for (int64_t q = 0; q < seen.length; ++q) {
      typename V::type row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row[v] = V::load(weights + v * V::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[i][v] += from[i][q] * row[v];
      }
      weights += kVectors * V::lanes;
    }
  }
  const bool whole = columns == kVectors * V::lanes;
  if (whole && bias != nullptr) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const typename V::type shift = V::load(bias + v * V::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) sums[i][v] += shift;
    }
  }
  T finished[kRows][kVectors * V::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    T* to = whole ? result[i] : finished[i];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(to + v * V::lanes, sums[i][v]);
  }
  if (whole) return;
#pragma GCC unroll 1
  for (int i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < columns; ++j) result[i][j] = bias == nullptr ? finished[i][j] : finished[i][j] + bias[j];
  }
}

// A line of places that see a run: the pixel of the first of them, their number, and their first row of g.
template <class T> struct Line {
  const T* from;
  int64_t count, first;
};

// Rows of the gradient of a kernel, for kRows elements that lie `shift` elements from a pixel on, added to what they
// hold unless it is the `first` part. Pixels lie `step` elements apart; g is packed, kVectors whole vectors wide.
template <class T, int kRows, int kVectors>
void grad_tile(const Line<T>* lines, int64_t line_count, int64_t shift, int64_t step, const T* g, T* dw,
               int64_t dw_step, int64_t columns, bool first) {
  using V = Vector<T>;
  typename V::type sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[i][v] = V::splat(T(0));
  }
  for (int64_t line = 0; line < line_count; ++line) {
    const T *from = lines[line].from + shift, *row_of_g = g + lines[line].first * kVectors * V::lanes;
    for (int64_t p = 0; p < lines[line].count; ++p) {
      typename V::type row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row[v] = V::load(row_of_g + v * V::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[i][v] += from[i] * row[v];
      }
      from += step;
      row_of_g += kVectors * V::lanes;
    }
  }
  const bool plain = columns == kVectors * V::lanes;
  T finished[kRows][kVectors * V::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    T* to = plain ? dw + i * dw_step : finished[i];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      V::store(to + v * V::lanes, plain && !first ? sums[i][v] + V::load(to + v * V::lanes) : sums[i][v]);
    }
  }
  if (plain) return;
#pragma GCC unroll 1
  for (int i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      T& to = dw[i * dw_step + j];
      to = first ? finished[i][j] : to + finished[i][j];
    }
  }
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_CONV_TILES_H
