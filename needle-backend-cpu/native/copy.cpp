// dst[...] = src[...] for any strides on both sides: contiguous runs, fills, and transpositions in tiles.
#include <algorithm>
#include <cstring>
#include <utility>

#include "launch.h"
#include "ops.h"
#include "strided.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 65536;  // elements that are worth another thread
constexpr int64_t kTile = 16;      // a tile of 4-byte elements fills whole cache lines on both sides

// The axes of a copy: lengths, and the strides of both sides. Merged where both sides allow it.
struct CopyAxes {
  int rank = 0;
  int64_t n[kMaxRank], to[kMaxRank], from[kMaxRank];

  void append(int64_t length, int64_t to_step, int64_t from_step) {
    if (length == 1) return;
    if (rank > 0 && to[rank - 1] == length * to_step && from[rank - 1] == length * from_step) {
      n[rank - 1] *= length;
      to[rank - 1] = to_step;
      from[rank - 1] = from_step;
      return;
    }
    n[rank] = length;
    to[rank] = to_step;
    from[rank] = from_step;
    ++rank;
  }

  void swap(int i, int j) {
    std::swap(n[i], n[j]);
    std::swap(to[i], to[j]);
    std::swap(from[i], from[j]);
  }
};

void row_major_strides(const View& view, const View& shaped, int64_t* strides) {
  int64_t step = 1;
  for (int axis = shaped.rank - 1; axis >= 0; --axis) {
    strides[axis] = view.contiguous ? step : view.strides[axis];
    step *= shaped.shape[axis];
  }
}

CopyAxes copy_axes(const View& dst, const View& src) {
  const View& shaped = dst.contiguous ? src : dst;
  int64_t to[kMaxRank], from[kMaxRank];
  row_major_strides(dst, shaped, to);
  row_major_strides(src, shaped, from);
  CopyAxes axes;
  for (int axis = 0; axis < shaped.rank; ++axis) axes.append(shaped.shape[axis], to[axis], from[axis]);
  // Of the two innermost axes the last runs along dst, the other along src, if they are contiguous there.
  const int last = axes.rank - 1;
  for (int axis = 0; axis < last; ++axis) {
    if (axes.to[axis] == 1 && axes.to[last] != 1) axes.swap(axis, last);
  }
  for (int axis = 0; axis < last - 1; ++axis) {
    if (axes.from[axis] == 1 && axes.from[last] != 1) axes.swap(axis, last - 1);
  }
  return axes;
}

template <class T>
void copy_tile(T* to, int64_t to_step, const T* from, int64_t from_step, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[i * to_step + j] = from[i + j * from_step];
  }
}

// The two innermost axes: (rows, columns).
template <class T> void copy_plane(const CopyAxes& axes, T* to, const T* from, int64_t row_begin, int64_t row_end) {
  const int last = axes.rank - 1;
  const int64_t columns = axes.n[last], to_step = axes.to[last], from_step = axes.from[last];
  const int64_t to_row = last > 0 ? axes.to[last - 1] : 0, from_row = last > 0 ? axes.from[last - 1] : 0;
  if (to_step == 1 && from_row == 1 && from_step != 1) {
    for (int64_t j = 0; j < columns; j += kTile) {
      for (int64_t i = row_begin; i < row_end; i += kTile) {
        const int64_t height = std::min(kTile, row_end - i), width = std::min(kTile, columns - j);
        T* corner = to + i * to_row + j;
        const T* source = from + i + j * from_step;
        if (height == kTile && width == kTile) {
          copy_tile(corner, to_row, source, from_step, kTile, kTile);
        } else {
          copy_tile(corner, to_row, source, from_step, height, width);
        }
      }
    }
    return;
  }
  for (int64_t i = row_begin; i < row_end; ++i) {
    T* row = to + i * to_row;
    const T* source = from + i * from_row;
    if (to_step == 1 && from_step == 1) {
      std::memcpy(row, source, static_cast<size_t>(columns) * sizeof(T));
    } else if (to_step == 1 && from_step == 0) {
      std::fill_n(row, columns, *source);
    } else {
      for (int64_t j = 0; j < columns; ++j) row[j * to_step] = source[j * from_step];
    }
  }
}

// The rows of all planes are numbered through; a thread takes a range of them.
template <class T> void copy_as(const View& dst, const View& src, const CopyAxes& axes) {
  const int last = axes.rank - 1;
  const int64_t columns = last >= 0 ? axes.n[last] : 1, rows = last >= 1 ? axes.n[last - 1] : 1;
  if (last < 0) {
    *dst.as<T>() = *src.as<T>();
    return;
  }
  const auto copy_rows = [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t plane = begin / rows, row = begin % rows, row_end = std::min(rows, row + end - begin);
      int64_t to = 0, from = 0, rest = plane;
      for (int axis = last - 2; axis >= 0; --axis) {
        to += rest % axes.n[axis] * axes.to[axis];
        from += rest % axes.n[axis] * axes.from[axis];
        rest /= axes.n[axis];
      }
      copy_plane(axes, dst.as<T>() + to, src.as<T>() + from, row, row_end);
      begin += row_end - row;
    }
  };
  parallel_for(dst.size / columns, std::max<int64_t>(kGrain / columns, kTile), copy_rows);
}

bool overlap(const View& dst, const View& src) {
  const auto* to = dst.as<const unsigned char>();
  const auto* from = src.as<const unsigned char>();
  const int64_t nbytes = dst.size * item_size(dst.dtype);
  return to < from + nbytes && from < to + nbytes;
}

}  // namespace

void copy(const View& dst, const View& src) {
  if (dst.size == 0) return;
  if (dst.contiguous && src.contiguous) {
    const bool streamed = is_streamed(dst) && !overlap(dst, src);
    parallel_for(dst.size, 4 * kGrain, [&](int64_t begin, int64_t end) {
      const int64_t nbytes = (end - begin) * item_size(dst.dtype);
      if (!streamed) {
        std::memmove(bytes_at(dst, begin), bytes_at(src, begin), static_cast<size_t>(nbytes));
        return;
      }
      kernels().stream(bytes_at(src, begin), bytes_at(dst, begin), nbytes);
      kernels().stream_end();
    });
    return;
  }
  const CopyAxes axes = copy_axes(dst, src);
  switch (item_size(dst.dtype)) {
    case 1: return copy_as<uint8_t>(dst, src, axes);
    case 2: return copy_as<uint16_t>(dst, src, axes);
    case 4: return copy_as<uint32_t>(dst, src, axes);
    default: return copy_as<uint64_t>(dst, src, axes);
  }
}

}  // namespace needle
