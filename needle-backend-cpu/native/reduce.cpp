// reduce, argmax and cumsum: over contiguous rows, over columns that lie side by side, or after gathering.
//
// Long reductions are cut into chunks whose results are then reduced. The cuts depend on sizes alone, so that the
// result is the same for any number of threads.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "launch.h"
#include "ops.h"
#include "row_chunks.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kGrain = kReduceGrain;
constexpr int64_t kColumnChunk = 1024;  // rows down which one task sums columns

constexpr int64_t kAlong = 16;  // elements that lie side by side, worth a step of their own

// What nothing reduces to, in the stored type: the compute type's extreme, drawn into the range of smaller integers.
void fill_identity(Reduce kind, const View& dst) {
  int64_t wide = kind == Reduce::kProd ? 1 : 0;
  if (kind == Reduce::kMax || kind == Reduce::kMin) {
    const bool max = kind == Reduce::kMax;
    switch (dst.dtype) {
      case DType::kBool: wide = max ? 0 : 1; break;
      case DType::kUInt8: wide = max ? 0 : 255; break;
      case DType::kInt8: wide = max ? -128 : 127; break;
      case DType::kInt32: wide = max ? INT32_MIN : INT32_MAX; break;
      default: wide = max ? INT64_MIN : INT64_MAX; break;
    }
  }
  const bool is_float = compute_type(dst.dtype) == kF32 || compute_type(dst.dtype) == kF64;
  const double infinite = kind == Reduce::kMax ? -__builtin_inf() : __builtin_inf();
  const double real = kind == Reduce::kMax || kind == Reduce::kMin ? infinite : static_cast<double>(wide);
  View one;
  one.dtype = is_float ? DType::kFloat64 : DType::kInt64;
  one.data = is_float ? static_cast<void*>(&const_cast<double&>(real)) : &wide;
  cast(dst, one);
}

struct Reduction {
  Reduce kind;
  const View& x;
  int64_t rows, n;
  RowsAndColumns axes;
  ReduceLoops loops;
  int64_t item;  // bytes of the compute type

  unsigned char* element(int64_t offset) const { return bytes_at(x, offset); }

  // Each row is contiguous: out[r] = row(x[r, :]).
  void contiguous_rows(unsigned char* out) const {
    if (n <= 2 * kRowChunk) {
      const bool adjacent = rows == 1 || (axes.rows.rank == 1 && axes.rows.inner_stride() == n);
      parallel_for(rows, 1 + kGrain / n, [&](int64_t begin, int64_t end) {
        if (adjacent) return loops.rows(element(begin * n), n, end - begin, out + begin * item);
        for (int64_t r = begin; r < end; ++r) loops.row(element(axes.rows.offset_of(r)), n, out + r * item);
      });
      return;
    }
    const int64_t chunks = (n + kRowChunk - 1) / kRowChunk;
    const Workspace space(static_cast<size_t>(rows * chunks * item));
    unsigned char* partial = space.as<unsigned char>();
    parallel_tasks(rows * chunks, [&](int64_t task) {
      const int64_t r = task / chunks, begin = task % chunks * kRowChunk;
      loops.row(element(axes.rows.offset_of(r) + begin), std::min(kRowChunk, n - begin), partial + task * item);
    });
    for (int64_t r = 0; r < rows; ++r) loops.row(partial + r * chunks * item, chunks, out + r * item);
  }

  // Consecutive rows lie side by side: `width` columns at a time, down one axis of n elements.
  void columns(unsigned char* out) const {
    const int64_t width = axes.rows.inner_length(), stride = axes.columns.inner_stride();
    const int64_t tiles = (width + kColumnTile - 1) / kColumnTile, chunks = (n + kColumnChunk - 1) / kColumnChunk;
    const Workspace space(static_cast<size_t>(chunks > 1 ? rows * chunks * item : 1));
    unsigned char* partial = space.as<unsigned char>();
    const auto reduce_tile = [&](int64_t task) {
      const int64_t chunk = task % chunks, tile = task / chunks % tiles, first = task / chunks / tiles * width;
      const int64_t column = tile * kColumnTile, count = std::min(kColumnTile, width - column);
      const int64_t begin = chunk * kColumnChunk;
      unsigned char* to = chunks > 1 ? partial + (chunk * rows + first + column) * item : out + (first + column) * item;
      loops.columns(element(axes.rows.offset_of(first) + column + begin * stride), stride,
                    std::min(kColumnChunk, n - begin), count, to);
    };
    const int64_t tasks = rows / width * tiles * chunks;
    if (rows * n < 2 * kGrain) {
      for (int64_t task = 0; task < tasks; ++task) reduce_tile(task);
    } else {
      parallel_tasks(tasks, reduce_tile);
    }
    for (int64_t r = 0; chunks > 1 && r < rows; r += kColumnTile) {
      loops.columns(partial + r * item, rows, chunks, std::min(kColumnTile, rows - r), out + r * item);
    }
  }

  // The innermost of several axes first, for all places of the others in the order in which they lie in memory; then
  // the results.
  void in_two_steps(unsigned char* out) const {
    const int last = axes.columns.rank - 1;
    const int64_t length = axes.columns.n[last], places = rows * (n / length);
    const Workspace space(static_cast<size_t>(places * item));
    View partial;
    partial.data = space.as<void>();
    partial.dtype = x.dtype;
    partial.size = places;
    partial.contiguous = false;
    for (const Axes* some : {&axes.rows, &axes.columns}) {
      const int count = some->rank - (some == &axes.columns ? 1 : 0);
      for (int axis = 0; axis < count; ++axis) {
        partial.shape[partial.rank] = some->n[axis];
        partial.strides[partial.rank++] = some->stride[axis];
      }
    }
    RowsAndColumns first;
    first.rows = lay_out(partial);
    first.columns.append(length, axes.columns.stride[last]);
    const Reduction step{kind, x, places, length, first, loops, item};
    first.columns.inner_stride() == 1 ? step.contiguous_rows(space.as<unsigned char>())
    : first.rows.inner_stride() == 1  ? step.columns(space.as<unsigned char>())
                                      : step.gathered(space.as<unsigned char>());
    RowsAndColumns second;
    second.rows = merge_axes(partial, 0, axes.rows.rank);
    second.columns = merge_axes(partial, axes.rows.rank, partial.rank);
    Reduction{kind, partial, rows, n / length, second, loops, item}.run(out);
  }

  // Gives a view the strides of an array without gaps whose axes lie in the order of their strides; returns the axes in
  // that order, with the strides they had.
  static Axes lay_out(View& view) {
    int order[kMaxRank];
    for (int axis = 0; axis < view.rank; ++axis) order[axis] = axis;
    const auto step_of = [&](int axis) { return view.strides[axis] == 0 ? INT64_MAX : std::abs(view.strides[axis]); };
    std::stable_sort(order, order + view.rank, [&](int a, int b) { return step_of(a) > step_of(b); });
    Axes found;
    for (int i = 0; i < view.rank; ++i) found.append(view.shape[order[i]], view.strides[order[i]]);
    int64_t step = 1;
    for (int i = view.rank - 1; i >= 0; --i) {
      view.strides[order[i]] = step;
      step *= view.shape[order[i]];
    }
    return found;
  }

  // Whether some axis of the rows lies along memory, long enough to be worth following it.
  bool rows_along_memory() const {
    for (int axis = 0; axis < axes.rows.rank; ++axis) {
      if (axes.rows.stride[axis] == 1 && axes.rows.n[axis] >= kAlong) return true;
    }
    return false;
  }

  // Anything else: rows are gathered and widened, kRowChunk elements at a time.
  void gathered(unsigned char* out) const {
    const int64_t chunks = (n + kRowChunk - 1) / kRowChunk, length = std::min(n, kRowChunk);
    parallel_for(rows, 1 + kGrain / n, [&](int64_t begin, int64_t end) {
      const Workspace space(static_cast<size_t>((length + chunks) * item));
      unsigned char *row = space.as<unsigned char>(), *partial = row + length * item;
      Reader in(x, rows * n, begin * n);
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          const int64_t left = std::min(length, n - chunk * length);
          read_all(in, left, row);
          loops.row(row, left, partial + chunk * item);
        }
        loops.row(partial, chunks, out + r * item);
      }
    });
  }

  void read_all(Reader& in, int64_t count, unsigned char* to) const {
    for (int64_t i = 0; i < count; i += kBlock) {
      const int64_t block = std::min(kBlock, count - i);
      std::memcpy(to + i * item, in.read(block), static_cast<size_t>(block * item));
    }
  }

  void run(unsigned char* out) const {
    if (!is_stored_as_computed(x.dtype)) return gathered(out);
    if (axes.columns.rank <= 1 && axes.columns.inner_stride() == 1) return contiguous_rows(out);
    if (axes.columns.rank == 1 && axes.rows.rank > 0 && axes.rows.inner_stride() == 1) return columns(out);
    const bool along = axes.columns.inner_stride() == 1 && axes.columns.inner_length() >= kAlong;
    if (along || rows_along_memory()) return in_two_steps(out);
    gathered(out);
  }
};

// The axes in the order of their strides: which elements of a row come first does not matter to what it reduces to.
Axes by_stride(const Axes& axes) {
  View view;
  view.rank = axes.rank;
  std::copy_n(axes.n, axes.rank, view.shape);
  std::copy_n(axes.stride, axes.rank, view.strides);
  return Reduction::lay_out(view);
}

// Calls f(row, r) with each row of x as a contiguous array of its compute type.
template <class F> void for_each_row(const View& x, int64_t rows, int64_t n, F f) {
  const int64_t item = compute_size(x.dtype);
  parallel_for(rows, 1 + kGrain / (n + 1), [&](int64_t begin, int64_t end) {
    Reader in(x, rows * n, begin * n);
    const Workspace space(static_cast<size_t>(in.direct() ? 1 : n * item));
    for (int64_t r = begin; r < end; ++r) {
      if (in.direct()) {
        f(in.read(n), r);
        continue;
      }
      for (int64_t i = 0; i < n; i += kBlock) {
        const int64_t block = std::min(kBlock, n - i);
        std::memcpy(space.as<unsigned char>() + i * item, in.read(block), static_cast<size_t>(block * item));
      }
      f(static_cast<const void*>(space.as<unsigned char>()), r);
    }
  });
}

// Where the row's largest element stands first; it may be a NaN. The largest of each part tells in which part that is.
template <class T> int64_t place_of_max(const void* row, int64_t n, Compute type) {
  const ReduceLoops max = kernels().reduce[static_cast<int>(Reduce::kMax)][type];
  const T* x = static_cast<const T*>(row);
  const auto length = [=](int64_t begin) { return std::min(kPairwiseRow, n - begin); };
  T most;
  int64_t part = 0;
  max.row(x, length(0), &most);
  for (int64_t begin = kPairwiseRow; begin < n; begin += kPairwiseRow) {
    T here;
    max.row(x + begin, length(begin), &here);
    if (here > most || (here != here && most == most)) most = here, part = begin;
  }
  return part + kernels().find[type](x + part, length(part), &most);
}

}  // namespace

void reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n) {
  if (rows == 0) return;
  if (n == 0) return fill_identity(kind, dst);
  const int64_t item = compute_size(x.dtype);
  const ReduceLoops loops = kernels().reduce[static_cast<int>(kind)][compute_type(x.dtype)];
  RowsAndColumns axes = split_axes(x, rows, n);
  axes.columns = by_stride(axes.columns);
  const Reduction reduction{kind, x, rows, n, axes, loops, item};
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  if (narrow == nullptr) return reduction.run(dst.as<unsigned char>());
  const Workspace wide(static_cast<size_t>(rows * item));
  reduction.run(wide.as<unsigned char>());
  narrow(wide.as<void>(), dst.data, rows);
}

void argmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  const Compute type = compute_type(x.dtype);
  for_each_row(x, rows, n, [&](const void* row, int64_t r) {
    const int64_t at = type == kF32   ? place_of_max<float>(row, n, type)
                       : type == kF64 ? place_of_max<double>(row, n, type)
                       : type == kI32 ? place_of_max<int32_t>(row, n, type)
                                      : place_of_max<int64_t>(row, n, type);
    if (dst.dtype == DType::kInt64) {
      dst.as<int64_t>()[r] = at;
    } else {
      dst.as<int32_t>()[r] = static_cast<int32_t>(at);
    }
  });
}

void cumsum(const View& dst, const View& x, int64_t rows, int64_t n) {
  const auto running_sum = kernels().running_sum[compute_type(x.dtype)];
  const Store store = is_streamed(dst) ? Store::kCopiedPast : Store::kPlain;
  parallel_for(rows, 1 + kGrain / (n + 1), [&](int64_t begin, int64_t end) {
    Reader in(x, rows * n, begin * n);
    Writer out(dst, begin * n, true, store);
    for (int64_t r = begin; r < end; ++r) {
      unsigned char total[sizeof(int64_t)] = {};
      for (int64_t i = 0; i < n; i += out.block()) {
        const int64_t block = std::min(out.block(), n - i);
        running_sum(in.read(block), block, total, out.space());
        out.commit(block);
      }
    }
  });
}

}  // namespace needle
