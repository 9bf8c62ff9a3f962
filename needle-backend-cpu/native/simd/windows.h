// Packing of the windows of images for the matrix product, straight from the images: see Windows in kernels.h.
#ifndef NEEDLE_CPU_WINDOWS_H
#define NEEDLE_CPU_WINDOWS_H

#include "simd/gemm_micro.h"
#include "simd/places.h"

NEEDLE_BEGIN
namespace {

template <class T> struct WindowPacker {
  using V = Vector<T>;
  static constexpr int64_t kStaged = 64;  // elements of a short run, at most

  const Windows& w;
  const T* image = static_cast<const T*>(w.image);

  static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

  // Pixels of few channels are taken together, if a row of taps is one run in memory.
  bool merges() const {
    return w.depth == w.channels && w.depth < V::lanes && w.taps_x * w.depth <= kStaged && w.taps_x > 1 &&
           w.offsets_x[1] == w.offsets_x[0] + 1;
  }

  // The elements [from, to) of a row of taps, of which some may lie outside.
  const T* staged(const Place& place, int64_t at_y, int64_t from, int64_t to, T* space) const {
    const int64_t x = place.x() + w.offsets_x[0], last = x + w.taps_x;
    const bool outside = at_y < 0 || at_y >= w.height;
    if (!outside && x >= 0 && last <= w.width) return image + place.offset(at_y, x) + from;
    for (int64_t i = from; i < to; ++i) {
      const int64_t at_x = x + i / w.depth;
      const bool seen = !outside && at_x >= 0 && at_x < w.width;
      space[i - from] = seen ? image[place.offset(at_y, at_x) + i % w.depth] : T(0);
    }
    return space;
  }

  // Elements [p, p + depth) of the windows at places i to i + count, as out[p * count + i]. Writes up to one vector
  // past the end.
  void rows(int64_t i, int count, int64_t p, int64_t depth, T* out) const {
    const bool merged = merges();
    const int64_t run = merged ? w.taps_x * w.depth : w.depth, runs = merged ? 1 : w.taps_x;
    T staging[kTileRows][kStaged];
    T zeros[V::lanes] = {};
    const T* from[kTileRows];
    int64_t step[kTileRows];  // 0 where the run lies outside
    int64_t y[kTileRows], x[kTileRows], base[kTileRows];
    Place place(w, i);
    for (int r = 0; r < count; ++r, place.next()) {
      y[r] = place.y();
      x[r] = place.x();
      base[r] = place.offset(y[r], x[r]);
    }
    for (int64_t q = 0; q < depth;) {
      const int64_t tap = (p + q) / run, begin = (p + q) % run, length = least(run - begin, depth - q);
      const int64_t dy = w.offsets_y[tap / runs], dx = w.offsets_x[merged ? 0 : tap % runs];
      for (int r = 0; r < count; ++r) {
        const int64_t at_y = y[r] + dy, at_x = x[r] + dx;
        const bool inside = at_y >= 0 && at_y < w.height && at_x >= 0 && at_x + (merged ? w.taps_x : 1) <= w.width;
        from[r] = inside ? image + base[r] + (dy * w.width + dx) * w.channels + begin : zeros;
        step[r] = inside ? 1 : 0;
        if (merged && !inside) {
          from[r] = staged(Place(w, i + r), at_y, begin, begin + length, staging[r]);
          step[r] = 1;
        }
      }
      transposed(from, step, count, length, out + q * count);
      q += length;
    }
  }

  // out[q * count + r] = from[r][q], a square of vectors at a time; the last square of a run overlaps the one before.
  static void transposed(const T* const* from, const int64_t* step, int count, int64_t length, T* out) {
    if (length < V::lanes) {
      for (int64_t q = 0; q < length; ++q) {
        for (int r = 0; r < count; ++r) out[q * count + r] = from[r][q * step[r]];
      }
      return;
    }
    for (int64_t q = 0; q < length; q += V::lanes) {
      const int64_t at = least(q, length - V::lanes);
      for (int first = 0; first < count; first += V::lanes) {
        const int top = count >= V::lanes ? static_cast<int>(least(first, count - V::lanes)) : 0;
        typename V::type square[V::lanes];
#pragma GCC unroll 16
        for (int r = 0; r < V::lanes; ++r) {
          const int row = top + r < count ? top + r : top;
          square[r] = V::load(from[row] + at * step[row]);
        }
        transpose<T>(square);
        for (int r = 0; r < V::lanes; ++r) V::store(out + (at + r) * count + top, square[r]);
      }
    }
  }

  // Elements [i, i + count) of the windows at places p to p + depth, as out[p * count + i]. Writes up to one vector
  // past the end.
  void columns(int64_t i, int count, int64_t p, int64_t depth, T* out) const {
    struct Piece {
      int64_t dy, dx, offset, length;
    };
    Piece pieces[kTileRows];
    int found = 0;
    for (int64_t r = 0; r < count; ++found) {
      const int64_t tap = (i + r) / w.depth, begin = (i + r) % w.depth, length = least(w.depth - begin, count - r);
      const int64_t dy = w.offsets_y[tap / w.taps_x], dx = w.offsets_x[tap % w.taps_x];
      pieces[found] = {dy, dx, (dy * w.width + dx) * w.channels + begin, length};
      r += length;
    }
    const int64_t places = w.rows * w.columns;
    const int64_t last_image = (p + depth - 1) / places;
    const T* end = image + (last_image + 1) * w.height * w.width * w.channels - w.channels;  // vectors end before it
    Place place(w, p);
    for (int64_t q = 0; q < depth; ++q, place.next()) {
      const int64_t y = place.y(), x = place.x(), base = place.offset(y, x);
      for (int k = 0; k < found; ++k) {
        const Piece& piece = pieces[k];
        const int64_t at_y = y + piece.dy, at_x = x + piece.dx;
        const T* from = image + base + piece.offset;
        if (at_y < 0 || at_y >= w.height || at_x < 0 || at_x >= w.width) {
          for (int64_t r = 0; r < piece.length; r += V::lanes) V::store(out + r, V::splat(T(0)));
        } else if (from + kTileRows + V::lanes <= end) {
          for (int64_t r = 0; r < piece.length; r += V::lanes) V::store(out + r, V::load(from + r));
        } else {
          for (int64_t r = 0; r < piece.length; ++r) out[r] = from[r];
        }
        out += piece.length;
      }
    }
  }
};

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_WINDOWS_H
