#include "strided.h"

#include <algorithm>
#include <cstring>

namespace needle {
namespace {

template <class T> void gather_as(const View& view, const Axes& axes, int64_t i, int64_t n, T* out) {
  if (axes.rank == 0) {
    *out = *view.as<T>();
    return;
  }
  const int last = axes.rank - 1;
  int64_t index[kMaxRank];
  int64_t offset = 0;
  for (int axis = last; axis >= 0; --axis) {
    index[axis] = i % axes.n[axis];
    i /= axes.n[axis];
    offset += index[axis] * axes.stride[axis];
  }
  const int64_t step = axes.stride[last];
  for (;;) {
    const int64_t length = std::min(n, axes.n[last] - index[last]);
    const T* from = view.as<T>() + offset;
    if (step == 1) {
      std::memcpy(out, from, static_cast<size_t>(length) * sizeof(T));
    } else if (step == 0) {
      std::fill_n(out, length, *from);
    } else {
      for (int64_t j = 0; j < length; ++j) out[j] = from[j * step];
    }
    n -= length;
    if (n == 0) return;
    out += length;
    offset -= index[last] * step;
    index[last] = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      offset += axes.stride[axis];
      if (++index[axis] < axes.n[axis]) break;
      offset -= axes.n[axis] * axes.stride[axis];
      index[axis] = 0;
    }
  }
}

template <class T> void repeat_as(void* block, int64_t n) {
  T* items = static_cast<T*>(block);
  std::fill_n(items + 1, n - 1, items[0]);
}

}  // namespace

void Axes::append(int64_t length, int64_t step) {
  if (length == 1) return;
  if (rank > 0 && stride[rank - 1] == length * step) {
    n[rank - 1] *= length;
    stride[rank - 1] = step;
    return;
  }
  n[rank] = length;
  stride[rank] = step;
  ++rank;
}

int64_t Axes::offset_of(int64_t i) const {
  int64_t offset = 0;
  for (int axis = rank - 1; axis >= 0; --axis) {
    offset += i % n[axis] * stride[axis];
    i /= n[axis];
  }
  return offset;
}

Axes merge_axes(const View& view) {
  if (!view.contiguous) return merge_axes(view, 0, view.rank);
  Axes axes;
  axes.append(view.size, 1);
  return axes;
}

Axes merge_axes(const View& view, int begin, int end) {
  Axes axes;
  for (int axis = begin; axis < end; ++axis) axes.append(view.shape[axis], view.strides[axis]);
  return axes;
}

RowsAndColumns split_axes(const View& x, int64_t rows, int64_t n) {
  RowsAndColumns split;
  if (x.contiguous) {
    split.rows.append(rows, n);
    split.columns.append(n, 1);
    return split;
  }
  int axis = 0;
  for (int64_t counted = 1; counted < rows; ++axis) counted *= x.shape[axis];
  split.rows = merge_axes(x, 0, axis);
  split.columns = merge_axes(x, axis, x.rank);
  return split;
}

void gather_elements(const View& view, const Axes& axes, int64_t i, int64_t n, void* out) {
  if (n <= 0) return;
  switch (item_size(view.dtype)) {
    case 1: return gather_as(view, axes, i, n, static_cast<uint8_t*>(out));
    case 2: return gather_as(view, axes, i, n, static_cast<uint16_t*>(out));
    case 4: return gather_as(view, axes, i, n, static_cast<uint32_t*>(out));
    default: return gather_as(view, axes, i, n, static_cast<uint64_t*>(out));
  }
}

Reader::Reader(const View& view, int64_t total, int64_t begin, bool widened)
    : view_(view),
      widen_(widened ? kernels().widen[static_cast<int>(view.dtype)] : nullptr),
      item_(item_size(view.dtype)),
      next_(begin) {
  if (view.size == 1 && total != 1) {
    mode_ = kRepeat;
    repeat(std::min(total, kBlock));
  } else if (view.contiguous) {
    mode_ = widen_ == nullptr ? kDirect : kWiden;
  } else {
    mode_ = kGather;
    axes_ = merge_axes(view);
  }
}

void Reader::repeat(int64_t n) {
  int64_t item = item_;
  if (widen_ == nullptr) {
    std::memcpy(wide_.bytes, view_.data, static_cast<size_t>(item));
  } else {
    widen_(view_.data, wide_.bytes, 1);
    item = compute_size(view_.dtype);
  }
  switch (item) {
    case 1: return repeat_as<uint8_t>(wide_.bytes, n);
    case 2: return repeat_as<uint16_t>(wide_.bytes, n);
    case 4: return repeat_as<uint32_t>(wide_.bytes, n);
    default: return repeat_as<uint64_t>(wide_.bytes, n);
  }
}

bool Reader::recurs(int64_t n) const {
  if (n > gathered_) return false;
  const int64_t length = axes_.inner_length(), in_row = next_ % length;
  if (axes_.inner_stride() == 0 && next_ - in_row <= gathered_at_ && in_row + n <= length) return true;
  return axes_.rank == 2 && axes_.stride[0] == 0 && (next_ - gathered_at_) % length == 0;
}

const void* Reader::read(int64_t n) {
  if (mode_ == kRepeat) return wide_.bytes;
  const unsigned char* block = view_.as<unsigned char>();
  if (mode_ != kGather) {
    block += next_ * item_;
  } else if (axes_.inner_stride() == 1 && next_ % axes_.inner_length() + n <= axes_.inner_length()) {
    block += axes_.offset_of(next_) * item_;  // within one contiguous row
  } else if (recurs(n)) {
    next_ += n;
    return widen_ == nullptr ? stored_.bytes : wide_.bytes;
  } else {
    gather_elements(view_, axes_, next_, n, stored_.bytes);
    block = stored_.bytes;
    gathered_ = n;
    gathered_at_ = next_;
  }
  next_ += n;
  if (widen_ == nullptr) return block;
  widen_(block, wide_.bytes, n);
  return wide_.bytes;
}

bool is_streamed(const View& dst) {
  // More than a core's share of the last cache, with room for the operands. What the system says of that cache is of no
  // use: a virtual machine may report the host's.
  constexpr int64_t kLarge = int64_t{8} << 20;
  return kernels().stream != nullptr && dst.contiguous && dst.size * item_size(dst.dtype) >= kLarge;
}

Store row_store(const View& dst, int64_t n) {
  constexpr int64_t kLine = 64;
  if (kernels().narrow[static_cast<int>(dst.dtype)] != nullptr || !is_streamed(dst)) return Store::kPlain;
  const bool aligned = reinterpret_cast<uintptr_t>(dst.data) % kLine == 0 && n * item_size(dst.dtype) % kLine == 0;
  return aligned ? Store::kPast : Store::kCopiedPast;
}

Writer::Writer(const View& view, int64_t begin, bool narrowed, Store store)
    : next_(bytes_at(view, begin)),
      item_(item_size(view.dtype)),
      store_(store),
      narrow_(narrowed ? kernels().narrow[static_cast<int>(view.dtype)] : nullptr) {}

Writer::~Writer() {
  if (store_ != Store::kPlain) kernels().stream_end();
}

void* Writer::space() { return direct() ? next_ : wide_.bytes; }

void Writer::commit(int64_t n) {
  const bool copied = store_ == Store::kCopiedPast;
  if (narrow_ != nullptr) narrow_(wide_.bytes, copied ? stored_.bytes : next_, n);
  if (copied) kernels().stream(narrow_ != nullptr ? stored_.bytes : wide_.bytes, next_, n * item_);
  next_ += n * item_;
}

}  // namespace needle
