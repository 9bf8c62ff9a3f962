// Operands as contiguous arrays of their compute type, and results that are narrowed at the end.
#ifndef NEEDLE_CPU_COMPACT_H
#define NEEDLE_CPU_COMPACT_H

#include <optional>

#include "ops.h"
#include "strided.h"
#include "workspace.h"

namespace needle {

// `count` elements of a contiguous view in its compute type: its own memory, or a copy in `space`.
inline const void* widened(const View& view, int64_t first, int64_t count, void* space) {
  const auto widen = kernels().widen[static_cast<int>(view.dtype)];
  if (widen == nullptr) return bytes_at(view, first);
  widen(bytes_at(view, first), space, count);
  return space;
}

// A contiguous view of other memory in the shape of `like`.
inline ShapedView contiguous_like(const ShapedView& like, void* data) {
  ShapedView view = like;
  view.data = data;
  view.owner = nullptr;
  view.contiguous = true;
  for (int64_t axis = like.rank - 1, step = 1; axis >= 0; step *= like.shape[axis--]) view.strides[axis] = step;
  return view;
}

// An operand in row-major order and its compute type: its own memory, or a copy for the time of a scope.
class Compact {
 public:
  explicit Compact(const ShapedView& view) : data_(view.data) {
    if (!view.contiguous) {
      stored_.emplace(static_cast<size_t>(view.size * item_size(view.dtype)));
      copy(contiguous_like(view, stored_->as<void>()), view);
      data_ = stored_->as<void>();
    }
    if (is_stored_as_computed(view.dtype)) return;
    wide_.emplace(static_cast<size_t>(view.size * compute_size(view.dtype)));
    kernels().widen[static_cast<int>(view.dtype)](data_, wide_->as<void>(), view.size);
    data_ = wide_->as<void>();
  }

  template <class T = unsigned char> const T* as() const { return static_cast<const T*>(data_); }

 private:
  std::optional<Workspace> stored_, wide_;  // borrowed only if needed: a thread keeps few
  const void* data_;
};

// Space for a contiguous result in its compute type; `commit` stores it.
class Result {
 public:
  explicit Result(const View& view) : view_(view) {
    if (!is_stored_as_computed(view.dtype)) wide_.emplace(static_cast<size_t>(view.size * compute_size(view.dtype)));
  }

  template <class T = unsigned char> T* as() const { return static_cast<T*>(wide_ ? wide_->as<void>() : view_.data); }
  void commit() const {
    if (wide_) kernels().narrow[static_cast<int>(view_.dtype)](wide_->as<void>(), view_.data, view_.size);
  }

 private:
  const View& view_;
  std::optional<Workspace> wide_;
};

}  // namespace needle

#endif  // NEEDLE_CPU_COMPACT_H
