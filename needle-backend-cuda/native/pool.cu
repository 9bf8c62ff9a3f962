// pool2d and its gradient. Each element of the result is one thread's, which gathers what it needs: nothing is added
// into memory that threads share, so that sums are the same every time. For the gradient of maxima a kernel before
// writes down which place of each window is its first largest.
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
  bool square(int size, int stride) const {
    return size_y == size && size_x == size && stride_y == stride && stride_x == stride;
  }
};

// The usual windows, whose walks are unrolled and whose divisions are shifts; a size of 0 stands for all others.
template <int size, int stride> struct Sized {
  static __device__ __forceinline__ Windows of(Windows w) {
    if constexpr (size > 0) {
      w.size_y = w.size_x = size;
      w.stride_y = w.stride_x = stride;
    }
    return w;
  }
};

template <class F> void visit_windows(const Windows& windows, F f) {
  if (windows.square(2, 2)) return f(Sized<2, 2>());
  if (windows.square(3, 2)) return f(Sized<3, 2>());
  f(Sized<0, 0>());
}

template <class I> struct Image {
  I strides[4];

  explicit Image(const ShapedView& view) {
    int64_t wide[4];
    read_strides(view, 4, view.shape, wide);
    for (int axis = 0; axis < 4; ++axis) strides[axis] = static_cast<I>(wide[axis]);
  }
  __device__ __forceinline__ I at(int i, int y, int x, int c) const {
    return i * strides[0] + y * strides[1] + x * strides[2] + c * strides[3];
  }
};

// Whether 32 bits are enough for each place in a view.
bool narrow_places(const ShapedView& view) {
  int64_t strides[4], reach = view.size;
  read_strides(view, 4, view.shape, strides);
  for (int axis = 0; axis < 4; ++axis) reach += (view.shape[axis] - 1) * std::abs(strides[axis]);
  return reach < (int64_t{1} << 31);
}

// The axes of an image in the order of its memory, which has no gaps.
struct Order {
  int axes[4] = {0, 1, 2, 3};

  explicit Order(const ShapedView& image) {
    int64_t strides[4];
    read_strides(image, 4, image.shape, strides);
    std::stable_sort(axes, axes + 4, [&](int a, int b) { return strides[a] > strides[b]; });
  }
  // Another image that lies in this order.
  ShapedView lay(const ShapedView& like) const {
    ShapedView result = like;
    result.contiguous = false;
    int64_t product = 1;
    for (int k = 3; k >= 0; --k) {
      result.strides[axes[k]] = product;
      product *= like.shape[axes[k]];
    }
    return result;
  }
};

// From where an element lies in the memory of an image, which has no gaps, to its place: neighbouring threads write
// neighbouring elements, and read such, of images that lie alike.
template <class I> struct Counter {
  I shape[4];   // in the order of memory
  int rank[4];  // of each axis in that order
  Divisor divisors[4];

  Counter(const ShapedView& view, const Order& order) {
    for (int k = 0; k < 4; ++k) {
      rank[order.axes[k]] = k;
      shape[k] = static_cast<I>(view.shape[order.axes[k]]);
      if (sizeof(I) == 4) divisors[k] = Divisor(static_cast<uint32_t>(std::max<I>(shape[k], 1)));
    }
  }

  __device__ __forceinline__ void count(I at, int (&place)[4]) const {
    int found[4];
#pragma unroll
    for (int k = 3; k > 0; --k) {
      I rest;
      if constexpr (sizeof(I) == 4) {
        rest = static_cast<I>(divisors[k].divide(static_cast<uint32_t>(at)));
      } else {
        rest = at / shape[k];
      }
      found[k] = static_cast<int>(at - rest * shape[k]);
      at = rest;
    }
    found[0] = static_cast<int>(at);
#pragma unroll
    for (int axis = 0; axis < 4; ++axis) {  // chosen, for registers cannot be indexed
      const int k = rank[axis];
      place[axis] = k < 2 ? (k == 0 ? found[0] : found[1]) : (k == 2 ? found[2] : found[3]);
    }
  }
};

template <class I> __device__ __forceinline__ I number_of_thread() {
  return static_cast<I>(blockIdx.x) * static_cast<I>(blockDim.x) + static_cast<I>(threadIdx.x);
}

template <Pool kind, class S, class T, class I>
__global__ void __launch_bounds__(kThreads)
    pool(I size, const Windows windows, const Counter<I> counter, const Image<I> image, const T* x, T* dst) {
  using V = Wide<T>;
  const Windows w = S::of(windows);
  const I at = number_of_thread<I>();
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

// The first place of each window, row by row, that holds its maximum; -1 where none does, as with NaN.
template <class S, class T, class I>
__global__ void __launch_bounds__(kThreads)
    find_first(I size, const Windows windows, const Counter<I> counter, const Image<I> x_image, const Image<I> y_image,
               const T* x, const T* y, int32_t* first) {
  const Windows w = S::of(windows);
  const I at = number_of_thread<I>();
  if (at >= size) return;
  int place[4];
  counter.count(at, place);
  const Wide<T> most = widen(y[y_image.at(place[0], place[1], place[2], place[3])]);
  const int top = place[1] * w.stride_y - w.padding_y, left = place[2] * w.stride_x - w.padding_x;
  int32_t found = -1;
  for (int k = w.size_y - 1; k >= 0; --k) {  // backwards, so that loads need not wait for what was found before
    if (top + k < 0 || top + k >= w.height) continue;
    for (int l = w.size_x - 1; l >= 0; --l) {
      if (left + l < 0 || left + l >= w.width) continue;
      if (widen(x[x_image.at(place[0], top + k, left + l, place[3])]) == most) found = k * w.size_x + l;
    }
  }
  first[at] = found;
}

template <Pool kind, class S, class T, class I>
__global__ void __launch_bounds__(kThreads)
    pool_grad(I size, const Windows windows, const Counter<I> counter, const Image<I> g_image,
              const Image<I> first_image, const T* g, const int32_t* first, T* dst) {
  using V = Wide<T>;
  const Windows w = S::of(windows);
  const I at = number_of_thread<I>();
  if (at >= size) return;
  int place[4];
  counter.count(at, place);
  const int i = place[0], c = place[3], down = place[1] + w.padding_y, right = place[2] + w.padding_x;
  V total = 0;
  // The windows that see this element, from the last: k and l are its place in them.
  const int last_row = down / w.stride_y, last_column = right / w.stride_x;
  const int spans_y = (w.size_y + w.stride_y - 1) / w.stride_y, spans_x = (w.size_x + w.stride_x - 1) / w.stride_x;
#pragma unroll
  for (int m = 0; m < spans_y; ++m) {
    const int row = last_row - m, k = down - row * w.stride_y;
    if (k >= w.size_y || row < 0 || row >= w.rows) continue;
#pragma unroll
    for (int n = 0; n < spans_x; ++n) {
      const int column = last_column - n, l = right - column * w.stride_x;
      if (l >= w.size_x || column < 0 || column >= w.columns) continue;
      if constexpr (kind == Pool::kMax) {
        if (first[first_image.at(i, row, column, c)] != k * w.size_x + l) continue;
      }
      total += widen(g[g_image.at(i, row, column, c)]);
    }
  }
  dst[at] = narrow<T>(kind == Pool::kMax ? total : total / static_cast<V>(w.size_y * w.size_x));
}

template <class T, class I>
void run_pool(Pool kind, const ShapedView& dst, const ShapedView& x, const Windows& windows) {
  visit_windows(windows, [&](auto sized) {
    using S = decltype(sized);
    const auto kernel = kind == Pool::kMax ? pool<Pool::kMax, S, T, I> : pool<Pool::kMean, S, T, I>;
    launch(kernel, blocks_for(dst.size, kThreads), kThreads, 0, dst.size, windows, Counter<I>(dst, Order(dst)),
           Image<I>(x), x.as<const T>(), dst.as<T>());
  });
}

template <class T, class I>
void run_pool_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                   const Windows& windows) {
  const Order order(dst);
  const Counter<I> counter(dst, order);
  const Workspace space(kind == Pool::kMax ? static_cast<size_t>(g.size) * sizeof(int32_t) : 0);
  int32_t* const first = space.as<int32_t>();
  visit_windows(windows, [&](auto sized) {
    using S = decltype(sized);
    if (kind == Pool::kMax && g.size > 0) {
      launch(find_first<S, T, I>, blocks_for(g.size, kThreads), kThreads, 0, g.size, windows, Counter<I>(g, order),
             Image<I>(x), Image<I>(y), x.as<const T>(), y.as<const T>(), first);
    }
    const auto kernel = kind == Pool::kMax ? pool_grad<Pool::kMax, S, T, I> : pool_grad<Pool::kMean, S, T, I>;
    launch(kernel, blocks_for(dst.size, kThreads), kThreads, 0, dst.size, windows, counter, Image<I>(g),
           Image<I>(order.lay(g)), g.as<const T>(), first, dst.as<T>());
  });
}

}  // namespace

void pool2d(Pool kind, const ShapedView& dst, const ShapedView& x, Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Windows windows(x, dst, size, stride, padding);
  const bool narrow = narrow_places(dst) && narrow_places(x);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    narrow ? run_pool<T, int32_t>(kind, dst, x, windows) : run_pool<T, int64_t>(kind, dst, x, windows);
  });
}

void pool2d_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                 Pair size, Pair stride, Pair padding) {
  if (dst.size == 0) return;
  const Windows windows(x, g, size, stride, padding);
  const bool narrow = narrow_places(dst) && narrow_places(g) && narrow_places(x) && narrow_places(y);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    narrow ? run_pool_grad<T, int32_t>(kind, dst, g, x, y, windows)
           : run_pool_grad<T, int64_t>(kind, dst, g, x, y, windows);
  });
}

}  // namespace needle
