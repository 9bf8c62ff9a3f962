// gather and scatter_add along the middle axis of (outer, n, inner). Every index is checked before it is used.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "launch.h"
#include "ops.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth another thread

// The index array (outer, count, inner), of any strides; all zeros in `inner` where an index holds for a whole row.
struct Index {
  const View& view;
  int64_t count, inner, strides[3];
  bool whole_rows;

  explicit Index(const ShapedView& index) : view(index), count(index.shape[1]), inner(index.shape[2]) {
    const int64_t compact[3] = {count * inner, inner, 1};
    for (int axis = 0; axis < 3; ++axis) strides[axis] = index.contiguous ? compact[axis] : index.strides[axis];
    whole_rows = inner == 1 || strides[2] == 0;
  }

  int64_t at(int64_t i, int64_t j, int64_t k) const {
    const int64_t offset = i * strides[0] + j * strides[1] + k * strides[2];
    return view.dtype == DType::kInt64 ? view.as<int64_t>()[offset] : view.as<int32_t>()[offset];
  }
};

// Remembers one index out of range, from any thread; it is raised when all have finished.
class RangeCheck {
 public:
  RangeCheck(const char* op, int64_t n) : op_(op), n_(n) {}

  bool holds(int64_t index) {
    if (index >= 0 && index < n_) return true;
    bad_ = index;
    failed_ = true;
    return false;
  }
  void raise() const {
    if (failed_) throw IndexOutOfRange(op_, bad_, n_);
  }

 private:
  const char* op_;
  int64_t n_;
  std::atomic<int64_t> bad_{0};
  std::atomic<bool> failed_{false};
};

template <class T>
void gather_as(const View& dst, const ShapedView& x, const Index& index, int64_t n, RangeCheck& check) {
  const int64_t inner = index.inner, rows = dst.size / inner;
  const int64_t compact[3] = {n * inner, inner, 1};
  const int64_t* step = x.contiguous ? compact : x.strides;
  const bool copies_rows = index.whole_rows && step[2] == 1;
  parallel_for(rows, 1 + kGrain / inner, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t i = row / index.count, j = row % index.count;
      const T* from = x.as<T>() + i * step[0];
      T* to = dst.as<T>() + row * inner;
      if (copies_rows) {
        const int64_t at = index.at(i, j, 0);
        if (check.holds(at)) std::memcpy(to, from + at * step[1], static_cast<size_t>(inner) * sizeof(T));
        continue;
      }
      for (int64_t k = 0; k < inner; ++k) {
        const int64_t at = index.at(i, j, k);
        if (check.holds(at)) to[k] = from[at * step[1] + k * step[2]];
      }
    }
  });
}

// A thread owns some outer slices, or some inner columns of the only one, and adds to them in the order of the index.
template <class T>
void scatter_as(T* dst, const T* src, const Index& index, int64_t outer, int64_t n, RangeCheck& check) {
  const int64_t inner = index.inner, count = index.count;
  const auto add = [&](int64_t i, int64_t begin, int64_t end) {
    T* to = dst + i * n * inner;
    for (int64_t j = 0; j < count; ++j) {
      const T* from = src + (i * count + j) * inner;
      if (index.whole_rows) {
        const int64_t at = index.at(i, j, 0);
        if (!check.holds(at)) continue;
        T* row = to + at * inner;
        for (int64_t k = begin; k < end; ++k) row[k] = wrap_add(row[k], from[k]);
        continue;
      }
      for (int64_t k = begin; k < end; ++k) {
        const int64_t at = index.at(i, j, k);
        if (check.holds(at)) to[at * inner + k] = wrap_add(to[at * inner + k], from[k]);
      }
    }
  };
  if (outer == 1) {
    const int64_t grain = std::max<int64_t>(64, kGrain / (count + 1));
    return parallel_for(inner, grain, [&](int64_t begin, int64_t end) { add(0, begin, end); });
  }
  parallel_for(outer, 1 + kGrain / (count * inner + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) add(i, 0, inner);
  });
}

// src in its compute type, contiguous.
const void* widened(const View& view, void* space) {
  Reader in(view, view.size, 0);
  if (in.direct()) return view.data;
  const int64_t item = compute_size(view.dtype);
  for (int64_t i = 0; i < view.size; i += kBlock) {
    const int64_t block = std::min(kBlock, view.size - i);
    std::memcpy(static_cast<unsigned char*>(space) + i * item, in.read(block), static_cast<size_t>(block * item));
  }
  return space;
}

}  // namespace

void gather(const ShapedView& dst, const ShapedView& x, const ShapedView& index) {
  if (dst.size == 0) return;
  const int64_t n = x.shape[1];
  RangeCheck check("gather", n);
  const Index indices(index);
  switch (item_size(dst.dtype)) {
    case 1: gather_as<uint8_t>(dst, x, indices, n, check); break;
    case 2: gather_as<uint16_t>(dst, x, indices, n, check); break;
    case 4: gather_as<uint32_t>(dst, x, indices, n, check); break;
    default: gather_as<uint64_t>(dst, x, indices, n, check); break;
  }
  check.raise();
}

void scatter_add(const ShapedView& dst, const ShapedView& index, const View& src) {
  if (src.size == 0) return;
  const int64_t outer = dst.shape[0], n = dst.shape[1];
  RangeCheck check("scatter_add", n);
  const Index indices(index);
  const auto narrow = kernels().narrow[static_cast<int>(dst.dtype)];
  const size_t item = static_cast<size_t>(compute_size(dst.dtype));
  const bool src_direct = narrow == nullptr && src.contiguous;
  const Workspace src_space(src_direct ? 1 : item * static_cast<size_t>(src.size));
  const Workspace dst_space(narrow == nullptr ? 1 : item * static_cast<size_t>(dst.size));
  const void* from = widened(src, src_space.as<void>());
  void* to = narrow == nullptr ? dst.data : dst_space.as<void>();
  if (narrow != nullptr) kernels().widen[static_cast<int>(dst.dtype)](dst.data, to, dst.size);
  switch (compute_type(dst.dtype)) {
    case kF32: scatter_as(static_cast<float*>(to), static_cast<const float*>(from), indices, outer, n, check); break;
    case kF64: scatter_as(static_cast<double*>(to), static_cast<const double*>(from), indices, outer, n, check); break;
    case kI32:
      scatter_as(static_cast<int32_t*>(to), static_cast<const int32_t*>(from), indices, outer, n, check);
      break;
    default: scatter_as(static_cast<int64_t*>(to), static_cast<const int64_t*>(from), indices, outer, n, check); break;
  }
  if (narrow != nullptr) narrow(to, dst.data, dst.size);
  check.raise();
}

}  // namespace needle
