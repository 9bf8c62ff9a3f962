// What moments.cu, batch_norm.cu and batch_norm_grad.cu share: statistics and weights of each channel of x (..., C),
// and how x lies in memory: its channels side by side, in rows, or each in planes of its own.
#ifndef NEEDLE_CUDA_CHANNELS_CUH
#define NEEDLE_CUDA_CHANNELS_CUH

#include <optional>

#include "columns.cuh"
#include "ops.h"

namespace needle {

constexpr int64_t kLeastRows = 8;  // of a thread, where its sums must be joined with others'

// What is known of each channel.
template <class T> struct Channel {
  const T *weight, *bias, *mean, *var;
  Wide<T> eps;

  __device__ __forceinline__ Wide<T> scale(int64_t c) const { return Wide<T>(1) / sqrt(widen(var[c]) + eps); }
};

// Calls f(Type<T>(), elements a thread) with several neighbours where they divide n and the arrays are aligned to them.
template <class F, class... Views> void visit_channels(int64_t n, F f, const View& first, const Views&... views) {
  visit_floats(first.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int count = kColumnsPerThread<T>;
    const auto fits = [](const View& view) { return aligned(view.data, sizeof(T) * count); };
    if (n % count == 0 && fits(first) && (fits(views) && ...)) {
      f(type, std::integral_constant<int, count>());
    } else {
      f(type, std::integral_constant<int, 1>());
    }
  });
}

template <class T>
Channel<T> channel(const View& weight, const View& bias, const View& mean, const View& var, double eps) {
  return {weight.as<const T>(), bias.as<const T>(), mean.as<const T>(), var.as<const T>(), static_cast<Wide<T>>(eps)};
}

// Whether two arrays of one shape have their elements in one order of memory.
inline bool lie_alike(const ShapedView& a, const ShapedView& b) {
  if (a.contiguous || b.contiguous) return a.contiguous && b.contiguous;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a.shape[axis] > 1 && a.strides[axis] != b.strides[axis]) return false;
  }
  return true;
}

// Whether the elements of a view follow each other in memory, in whatever order of axes.
inline bool gapless(const ShapedView& view) {
  if (view.contiguous) return true;
  int axes[kMaxRank], rank = 0;
  for (int axis = 0; axis < view.rank; ++axis) {
    if (view.shape[axis] != 1) axes[rank++] = axis;
  }
  std::sort(axes, axes + rank, [&](int a, int b) { return view.strides[a] < view.strides[b]; });
  int64_t step = 1;
  for (int k = 0; k < rank; step *= view.shape[axes[k++]]) {
    if (view.strides[axes[k]] != step) return false;
  }
  return true;
}

// A view itself, or a copy of it that is contiguous, or that lies as another view of its shape.
class Laid {
 public:
  explicit Laid(const ShapedView& view) : view_(view) {
    if (view.contiguous) return;
    view_.contiguous = true;
    fill(view);
  }
  Laid(const ShapedView& view, const ShapedView& like) : view_(view) {
    if (lie_alike(view, like)) return;
    view_.contiguous = like.contiguous;
    std::copy(like.strides, like.strides + like.rank, view_.strides);
    fill(view);
  }
  const ShapedView& view() const { return view_; }

 private:
  void fill(const ShapedView& view) {
    space_.emplace(static_cast<size_t>(view.size * item_size(view.dtype)));
    view_.data = space_->as<void>();
    view_.owner = nullptr;
    copy(view_, view);
  }

  ShapedView view_;
  std::optional<Workspace> space_;
};

// A gapless array as it lies: (outer, n, inner), where rows of channels have an `inner` of 1.
struct Planes {
  int64_t outer = 0, n, inner = 1;

  explicit Planes(const ShapedView& x) : n(x.shape[x.rank - 1]) {
    if (x.size == 0) return;
    if (n == 1) inner = x.size;
    if (n > 1 && !x.contiguous) inner = x.strides[x.rank - 1];
    outer = x.size / (n * inner);
  }
};

// How blocks walk over the planes: blockIdx.x is the channel, blockIdx.y a chunk of its packs of `count` neighbours.
// The cuts depend on sizes and on the device alone, so that a sum is the same every time.
struct Walks {
  static constexpr int kTogether = 4;  // packs that a thread asks for before it uses one

  int64_t n, inner, packs, all, chunk;  // packs of a plane, of a channel, and of a chunk
  int64_t place, step, wrap;            // of a thread's next pack: in its plane, in memory, and past a plane's end
  int64_t elements, chunks;             // of a channel

  Walks(const Planes& planes, int count)
      : n(planes.n), inner(planes.inner), packs(inner / count), all(planes.outer * packs) {
    const int64_t wanted = ceil_div(8 * int64_t{multiprocessors()}, n);
    chunk = ceil_div(all, std::max<int64_t>(std::min(wanted, all / (kThreads * kTogether)), 1));
    chunks = ceil_div(all, chunk);
    elements = all * count;
    place = kThreads % packs;
    step = kThreads / packs * n * inner + place * count;
    wrap = n * inner - inner;
  }
  dim3 grid() const { return dim3(static_cast<unsigned>(n), static_cast<unsigned>(chunks)); }
};

// Where a thread is.
template <int count> struct Walk {
  int64_t left, place, at;  // packs before its chunk's end; of this one, the place in its plane and that in memory

  __device__ __forceinline__ explicit Walk(const Walks& w) {
    const int64_t first = blockIdx.y * w.chunk + threadIdx.x, end = (blockIdx.y + 1) * w.chunk;
    left = (end < w.all ? end : w.all) - first;
    const int64_t plane = w.all < (int64_t{1} << 31)
                              ? static_cast<int64_t>(static_cast<uint32_t>(first) / static_cast<uint32_t>(w.packs))
                              : first / w.packs;
    place = first - plane * w.packs;
    at = (plane * w.n + blockIdx.x) * w.inner + place * count;
  }
  __device__ __forceinline__ bool more() const { return left > 0; }
  __device__ __forceinline__ void next(const Walks& w) {
    left -= kThreads;
    place += w.place;
    at += w.step;
    if (place >= w.packs) place -= w.packs, at += w.wrap;
  }
};

}  // namespace needle

#endif  // NEEDLE_CUDA_CHANNELS_CUH
