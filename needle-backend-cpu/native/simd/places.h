// Walks over the places of windows, and over the pixels that a window sees: see Windows in kernels.h.
#ifndef NEEDLE_CPU_PLACES_H
#define NEEDLE_CPU_PLACES_H

#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

// One place of a window: its image, and the pixel that offsets count from.
struct Place {
  const Windows& windows;
  int64_t column, row, image;

  Place(const Windows& w, int64_t i)
      : windows(w), column(i % w.columns), row(i / w.columns % w.rows), image(i / w.columns / w.rows) {}

  void next() {
    if (++column < windows.columns) return;
    column = 0;
    if (++row < windows.rows) return;
    row = 0;
    ++image;
  }

  int64_t y() const { return row * windows.step_y; }
  int64_t x() const { return column * windows.step_x; }

  // Of the first element of a pixel, which lies inside.
  int64_t offset(int64_t at_y, int64_t at_x) const {
    return ((image * windows.height + at_y) * windows.width + at_x) * windows.channels;
  }
};

// Calls f(tap, offset of its pixel) for the taps that lie inside.
template <class F> void for_taps(const Place& place, F f) {
  const Windows& w = place.windows;
  for (int64_t k = 0; k < w.taps_y; ++k) {
    const int64_t y = place.y() + w.offsets_y[k];
    if (y < 0 || y >= w.height) continue;
    for (int64_t l = 0; l < w.taps_x; ++l) {
      const int64_t x = place.x() + w.offsets_x[l];
      if (x >= 0 && x < w.width) f(k * w.taps_x + l, place.offset(y, x));
    }
  }
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_PLACES_H
