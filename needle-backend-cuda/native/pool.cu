// pool2d and its gradient. Each element of the result is one thread's, which gathers what it needs: nothing is added
// into memory that threads share, so that sums are the same every time.
#include "launch.cuh"
#include "ops.h"

namespace needle {
namespace {

// Windows over an image (N, H, W, C), stored with any strides.
struct Windows {
  int height, width, rows, columns;  // of the image, and of the result
  int size_y, size_x, stride_y, stride_x, padding_y, padding_x;

  Windows(const ShapedView& image, const ShapedView& result, Pair size, Pair stride, Pair padding)
      : height(number(image.shape[1])),
        width(number(image.shape[2])),
        rows(number(result.shape[1])),
        columns(number(result.shape[2])),
        size_y(number(size.y)),
        size_x(number(size.x)),
        stride_y(number(stride.y)),
        stride_x(number(stride.x)),
        padding_y(number(padding.y)),
        padding_x(number(padding.x)) {}

  static int number(int64_t length) { return static_cast<int>(std::min<int64_t>(length, INT32_MAX / 4)); }
};

struct Image {
  int64_t strides[4];

  explicit Image(const ShapedView& view) { read_strides(view, 4, view.shape, strides); }
  __device__ __forceinline__ int64_t at(int64_t i, int64_t y, int64_t x, int64_t c) const {
    return i * strides[0] + y * strides[1] + x * strides[2] + c * strides[3];
  }
};

// From the number of an element of a contiguous (N, H, W, C) to its place.
struct Counter {
  int64_t shape[4];
  bool narrow;
  Divisor divisors[4];

  explicit Counter(const ShapedView& view) : narrow(view.size < (int64_t{1} << 31)) {
    for (int axis = 0; axis < 4; ++axis) {
      shape[axis] = view.shape[axis];
      if (narrow) divisors[axis] = Divisor(static_cast<uint32_t>(std::max<int64_t>(shape[axis], 1)));
    }
  }

  __device__ __forceinline__ void count(int64_t at, int (&place)[4]) const {
#pragma unroll
    for (int axis = 3; axis > 0; --axis) {
      const int64_t rest = narrow ? divisors[axis].divide(static_cast<uint32_t>(at)) : at / shape[axis];
      place[axis] = static_cast<int>(at - rest * shape[axis]);
      at = rest;
    }
    place[0] = static_cast<int>(at);
  }
};

template <Pool kind, class T>
__global__ void __launch_bounds__(kThreads)
    pool(int64_t size, const Windows w, const Counter counter, const Image image, const T* x, T* dst) {
  using V = Wide<T>;
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int place[4];
  counter.count(at, place);
  const int top = place[1] * w.stride_y - w.padding_y, left = place[2] * w.stride_x - w.padding_x;
  V found = kind == Pool::kMax ? static_cast<V>(-HUGE_VALF) : V(0);
  for (int k = 0; k < w.size_y; ++k) {
    if (top + k < 0 || top + k >= w.height) continue;
    for (int l = 0; l < w.size_x; ++l) {
      if (left + l < 0 || left + l >= w.width) continue;
      const V value = widen(x[image.at(place[0], top + k, left + l, place[3])]);
      if constexpr (kind == Pool::kMax) {
        found = value > found || value != value ? value : found;
      } else {
        found += value;
      }
    }
  }
  dst[at] = narrow<T>(kind == Pool::kMax ? found : found / static_cast<V>(w.size_y * w.size_x));
}

// Whether a window's maximum does not stand at one of its places before (k, l), row by row.
template <class T>
__device__ __forceinline__ bool is_first(const Windows& w, const Image& image, const T* x, Wide<T> most, int i, int c,
                                         int top, int left, int k, int l) {
  for (int y = 0; y <= k; ++y) {
    if (top + y < 0) continue;
    const int end = y < k ? w.size_x : l;
    for (int z = 0; z < end; ++z) {
      if (left + z < 0 || left + z >= w.width) continue;
      if (widen(x[image.at(i, top + y, left + z, c)]) == most) return false;
    }
  }
  return true;
}

template <class T> struct Gradients {
  const T *g, *x, *y;
  Image g_image, x_image, y_image;
};

template <Pool kind, class T>
__global__ void __launch_bounds__(kThreads)
    pool_grad(int64_t size, const Windows w, const Counter counter, const Gradients<T> in, T* dst) {
  using V = Wide<T>;
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int place[4];
  counter.count(at, place);
  const int i = place[0], c = place[3], down = place[1] + w.padding_y, right = place[2] + w.padding_x;
  const V mine = widen(in.x[in.x_image.at(i, place[1], place[2], c)]);
  V total = 0;
  // The windows that see this element: k and l are its place in them.
  for (int k = down % w.stride_y; k < w.size_y && k <= down; k += w.stride_y) {
    const int row = (down - k) / w.stride_y;
    if (row >= w.rows) continue;
    for (int l = right % w.stride_x; l < w.size_x && l <= right; l += w.stride_x) {
      const int column = (right - l) / w.stride_x;
      if (column >= w.columns) continue;
      if constexpr (kind == Pool::kMax) {
        const V most = widen(in.y[in.y_image.at(i, row, column, c)]);
        if (mine != most || !is_first(w, in.x_image, in.x, most, i, c, place[1] - k, place[2] - l, k, l)) continue;
      }
      total += widen(in.g[in.g_image.at(i, row, column, c)]);
    }
  }
  dst[at] = narrow<T>(kind == Pool::kMax ? total : total / static_cast<V>(w.size_y * w.size_x));
}

}  // namespace

void pool2d(Pool kind, const ShapedView& dst, const ShapedView& x, Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Windows windows(x, dst, size, stride, padding);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto kernel = kind == Pool::kMax ? pool<Pool::kMax, T> : pool<Pool::kMean, T>;
    launch(kernel, blocks_for(dst.size, kThreads), kThreads, 0, dst.size, windows, Counter(dst), Image(x),
           x.as<const T>(), dst.as<T>());
  });
}

void pool2d_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                 Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Windows windows(x, g, size, stride, padding);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Gradients<T> in{g.as<const T>(), x.as<const T>(), y.as<const T>(), Image(g), Image(x), Image(y)};
    const auto kernel = kind == Pool::kMax ? pool_grad<Pool::kMax, T> : pool_grad<Pool::kMean, T>;
    launch(kernel, blocks_for(dst.size, kThreads), kThreads, 0, dst.size, windows, Counter(dst), in, dst.as<T>());
  });
}

}  // namespace needle
