// Pooling of images (batch, h, w, c): a thread an element of the result, or of the image for the gradient, which is
// gathered from the windows over it, so that no atomics are needed.
#include <needle/functors.h>

#include <metal_stdlib>

#include "element.h"

using namespace needle;

struct Place {  // an element of an image of some height and width
  int batch, y, x, channel;
};

inline Place place(uint i, int height, int width, int channels) {
  Place at;
  at.channel = int(i % uint(channels));
  at.x = int(i / uint(channels) % uint(width));
  at.y = int(i / uint(channels) / uint(width) % uint(height));
  at.batch = int(i / uint(channels) / uint(width) / uint(height));
  return at;
}

inline int64_t index_of(Place at, int height, int width, int channels) {
  return ((int64_t(at.batch) * height + at.y) * width + at.x) * channels + at.channel;
}

// The element under tap (ky, kx) of the window `at`; y is -1 in the padding.
inline Place tap(Place at, constant Window& p, int ky, int kx) {
  at.y = at.y * p.stride_y + ky - p.padding_y;
  at.x = at.x * p.stride_x + kx - p.padding_x;
  if (at.y >= p.h || at.x < 0 || at.x >= p.w) at.y = -1;
  return at;
}

template <class T>
[[kernel]] void pool2d(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]], constant Window& p [[buffer(2)]],
                       uint i [[thread_position_in_grid]]) {
  const Place at = place(i, p.oh, p.ow, p.c);
  float value = p.mean ? 0.0f : -INFINITY;
  for (int ky = 0; ky < p.kh; ++ky) {
    for (int kx = 0; kx < p.kw; ++kx) {
      const Place under = tap(at, p, ky, kx);
      if (under.y < 0) continue;
      const float element = load(x, index_of(under, p.h, p.w, p.c));
      value = p.mean ? value + element : Maximum()(value, element);
    }
  }
  store(dst, i, p.mean ? value / float(p.kh * p.kw) : value);
}

// Is the element at tap (ky, kx) the first of its window that equals the window's largest?
template <class T>
inline bool first_largest(device const T* x, float largest, constant Window& p, Place window, int ky, int kx) {
  for (int y = 0; y <= ky; ++y) {
    for (int c = 0; c < (y == ky ? kx + 1 : p.kw); ++c) {
      const Place under = tap(window, p, y, c);
      if (under.y < 0) continue;
      const float element = load(x, index_of(under, p.h, p.w, p.c));
      if (element == largest || (element != element && largest != largest)) return y == ky && c == kx;
    }
  }
  return false;
}

template <class T>
[[kernel]] void pool2d_grad(device T* dst [[buffer(0)]], device const T* g [[buffer(1)]],
                            device const T* x [[buffer(2)]], device const T* y [[buffer(3)]],
                            constant Window& p [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  const Place at = place(i, p.h, p.w, p.c);
  float sum = 0;
  for (int ky = 0; ky < p.kh; ++ky) {
    for (int kx = 0; kx < p.kw; ++kx) {
      const int row = at.y + p.padding_y - ky, column = at.x + p.padding_x - kx;
      if (row < 0 || column < 0 || row % p.stride_y != 0 || column % p.stride_x != 0) continue;
      Place window = at;
      window.y = row / p.stride_y;
      window.x = column / p.stride_x;
      if (window.y >= p.oh || window.x >= p.ow) continue;
      const int64_t result = index_of(window, p.oh, p.ow, p.c);
      if (p.mean) {
        sum += load(g, result) / float(p.kh * p.kw);
      } else if (first_largest(x, load(y, result), p, window, ky, kx)) {
        sum += load(g, result);
      }
    }
  }
  store(dst, i, sum);
}

#define KERNELS(name, T)                                                           \
  template [[host_name("pool2d_" name)]] [[kernel]] decltype(pool2d<T>) pool2d<T>; \
  template [[host_name("pool2d_grad_" name)]] [[kernel]] decltype(pool2d_grad<T>) pool2d_grad<T>;

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
