// Convolutions as matrix products whose operands are never laid out (implicit GEMM), one product for each group:
//   conv2d        result pixels (m) x outputs (n)        over taps and channels (k)
//   grad_input    image pixels (m) x channels (n)        over taps and outputs (k)
//   grad_weight   taps and channels (m) x outputs (n)    over result pixels (k)
#include <metal_stdlib>

#include "block.h"
#include "element.h"

using namespace needle;

constant int32_t biased [[function_constant(0)]];

template <class T> struct Images {
  device T* dst;
  device const T* left;
  device const T* right;
  device const T* bias;
  int group;
  bool biased;
};

// Row-major (batch, y, x) of the result, or -1 where no window of this pixel and tap lies.
struct Pixel {
  int batch, y, x;
};

inline Pixel pixel(int i, int height, int width) {
  Pixel at;
  at.x = i % width;
  at.y = i / width % height;
  at.batch = i / width / height;
  return at;
}

// Element of the image under tap (ky, kx) of the window whose result is `at`; zero in the padding.
template <class T>
inline float under(device const T* image, constant Window& p, Pixel at, int ky, int kx, int channel) {
  const int y = at.y * p.stride_y + ky * p.dilation_y - p.padding_y;
  const int x = at.x * p.stride_x + kx * p.dilation_x - p.padding_x;
  if (y < 0 || y >= p.h || x < 0 || x >= p.w) return 0.0f;
  return load(image, int64_t(at.batch) * p.step_batch + int64_t(y) * p.step_y + int64_t(x) * p.step_x +
                         int64_t(channel) * p.step_c);
}

template <class T> struct Forward {
  static bool along_a(constant Window&) { return true; }
  static bool along_b(constant Window&) { return false; }
  static float a(Images<T> s, constant Window& p, int i, int x) {
    const int c = p.c / p.groups, tap = x / c;
    return under(s.left, p, pixel(i, p.oh, p.ow), tap / p.kw, tap % p.kw, s.group * c + x % c);
  }
  static float b(Images<T> s, constant Window& p, int x, int j) {
    return load(s.right, int64_t(x) * p.o + s.group * (p.o / p.groups) + j);
  }
  static void write(Images<T> s, constant Window& p, int i, int j, float value) {
    const int output = s.group * (p.o / p.groups) + j;
    store(s.dst, int64_t(i) * p.o + output, s.biased ? value + load(s.bias, output) : value);
  }
};

template <class T> struct GradInput {
  static bool along_a(constant Window&) { return true; }
  static bool along_b(constant Window&) { return true; }
  static float a(Images<T> s, constant Window& p, int i, int x) {  // the gradient of the result that this tap made
    const int o = p.o / p.groups, tap = x / o;
    const Pixel at = pixel(i, p.h, p.w);
    const int y = at.y + p.padding_y - tap / p.kw * p.dilation_y,
              column = at.x + p.padding_x - tap % p.kw * p.dilation_x;
    if (y < 0 || column < 0 || y % p.stride_y != 0 || column % p.stride_x != 0) return 0.0f;
    const int oy = y / p.stride_y, ox = column / p.stride_x;
    if (oy >= p.oh || ox >= p.ow) return 0.0f;
    return load(s.left, ((int64_t(at.batch) * p.oh + oy) * p.ow + ox) * p.o + s.group * o + x % o);
  }
  static float b(Images<T> s, constant Window& p, int x, int j) {
    const int o = p.o / p.groups, tap = x / o;
    return load(s.right, (int64_t(tap) * (p.c / p.groups) + j) * p.o + s.group * o + x % o);
  }
  static void write(Images<T> s, constant Window& p, int i, int j, float value) {
    store(s.dst, int64_t(i) * p.c + s.group * (p.c / p.groups) + j, value);
  }
};

template <class T> struct GradWeight {
  static bool along_a(constant Window&) { return false; }
  static bool along_b(constant Window&) { return false; }
  static float a(Images<T> s, constant Window& p, int i, int x) {
    const int c = p.c / p.groups, tap = i / c;
    return under(s.left, p, pixel(x, p.oh, p.ow), tap / p.kw, tap % p.kw, s.group * c + i % c);
  }
  static float b(Images<T> s, constant Window& p, int x, int j) {
    return load(s.right, int64_t(x) * p.o + s.group * (p.o / p.groups) + j);
  }
  static void write(Images<T> s, constant Window& p, int i, int j, float value) {
    store(s.dst, int64_t(i) * p.o + s.group * (p.o / p.groups) + j, value);
  }
};

#define CONV(kernel_name, Source, m, n, k)                                                                           \
  template <class T>                                                                                                 \
  [[kernel]] void kernel_name(device T* dst [[buffer(0)]], device const T* left [[buffer(1)]],                       \
                              device const T* right [[buffer(2)]], constant Window& p [[buffer(3)]],                 \
                              device const T* bias [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],      \
                              uint index [[thread_index_in_threadgroup]],                                            \
                              uint simdgroup [[simdgroup_index_in_threadgroup]]) {                                   \
    threadgroup float shared[BLOCK * BLOCK];                                                                         \
    Images<T> s;                                                                                                     \
    s.dst = dst;                                                                                                     \
    s.left = left;                                                                                                   \
    s.right = right;                                                                                                 \
    s.bias = bias;                                                                                                   \
    s.group = int(group.z);                                                                                          \
    s.biased = biased != 0;                                                                                          \
    block_product<Source<T>>(s, p, m, n, k, shared, group, index, simdgroup);                                        \
  }                                                                                                                  \
  template [[host_name(#kernel_name "_float16")]] [[kernel]] decltype(kernel_name<half>) kernel_name<half>;          \
  template [[host_name(#kernel_name "_bfloat16")]] [[kernel]] decltype(kernel_name<BFloat16>) kernel_name<BFloat16>; \
  template [[host_name(#kernel_name "_float32")]] [[kernel]] decltype(kernel_name<float>) kernel_name<float>;

CONV(conv2d, Forward, p.batch* p.oh* p.ow, p.o / p.groups, p.kh* p.kw*(p.c / p.groups))
CONV(conv2d_grad_input, GradInput, p.batch* p.h* p.w, p.c / p.groups, p.kh* p.kw*(p.o / p.groups))
CONV(conv2d_grad_weight, GradWeight, p.kh* p.kw*(p.c / p.groups), p.o / p.groups, p.batch* p.oh* p.ow)
