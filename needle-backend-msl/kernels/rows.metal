// Softmax, cross-entropy and normalization of the rows of x (rows, n): a threadgroup a row, all in float.
#include <metal_stdlib>

#include "group.h"

using namespace needle;

// Where in its row a thread works: elements index, index + size, ... of n, the row's first element at `start`.
struct Span {
  int64_t start;
  int32_t n;
  uint index, size;
};

inline Span span_of(constant Rows& rows, uint row, uint index, uint size) {
  Span span;
  span.start = int64_t(row) * rows.n;
  span.n = rows.n;
  span.index = index;
  span.size = size;
  return span;
}

inline float group_sum(float value, Span s, threadgroup float* shared) {
  return group_reduce(Add(), value, 0.0f, shared, s.index, s.size / 32);
}

template <class T> inline float largest(device const T* x, Span s, threadgroup float* shared) {
  float value = -INFINITY;
  for (int32_t i = int32_t(s.index); i < s.n; i += int32_t(s.size)) value = Maximum()(value, load(x, s.start + i));
  return group_reduce(Maximum(), value, -INFINITY, shared, s.index, s.size / 32);
}

// The sum of exp(x - top).
template <class T> inline float sum_of_exp(device const T* x, float top, Span s, threadgroup float* shared) {
  float sum = 0;
  for (int32_t i = int32_t(s.index); i < s.n; i += int32_t(s.size)) sum += precise::exp(load(x, s.start + i) - top);
  return group_sum(sum, s, shared);
}

#define ROW                                                                              \
  uint row [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]], \
      uint size [[threads_per_threadgroup]]
#define EACH(i) for (int64_t i = s.start + s.index; i < s.start + s.n; i += s.size)

template <class T>
[[kernel]] void softmax(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]], constant Rows& rows [[buffer(2)]],
                        ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  const float top = largest(x, s, shared), sum = sum_of_exp(x, top, s, shared);
  EACH(i) store(dst, i, precise::exp(load(x, i) - top) / sum);
}

template <class T>
[[kernel]] void log_softmax(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                            constant Rows& rows [[buffer(2)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  const float top = largest(x, s, shared), log_sum = precise::log(sum_of_exp(x, top, s, shared));
  EACH(i) store(dst, i, load(x, i) - top - log_sum);
}

template <class T>
[[kernel]] void softmax_grad(device T* dst [[buffer(0)]], device const T* g [[buffer(1)]],
                             device const T* y [[buffer(2)]], constant Rows& rows [[buffer(3)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  float sum = 0;
  EACH(i) sum += load(g, i) * load(y, i);
  sum = group_sum(sum, s, shared);
  EACH(i) store(dst, i, load(y, i) * (load(g, i) - sum));
}

template <class T>
[[kernel]] void log_softmax_grad(device T* dst [[buffer(0)]], device const T* g [[buffer(1)]],
                                 device const T* y [[buffer(2)]], constant Rows& rows [[buffer(3)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  float sum = 0;
  EACH(i) sum += load(g, i);
  sum = group_sum(sum, s, shared);
  EACH(i) store(dst, i, load(g, i) - precise::exp(load(y, i)) * sum);
}

template <class T, class I>
[[kernel]] void cross_entropy(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                              device const I* labels [[buffer(2)]], constant Rows& rows [[buffer(3)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  const float top = largest(x, s, shared), log_sum = precise::log(sum_of_exp(x, top, s, shared));
  const int64_t label = labels[row];
  if (index == 0) store(dst, row, label < 0 || label >= s.n ? NAN : log_sum + top - load(x, s.start + label));
}

template <class T, class I>
[[kernel]] void cross_entropy_grad(device T* dst [[buffer(0)]], device const T* g [[buffer(1)]],
                                   device const T* x [[buffer(2)]], device const I* labels [[buffer(3)]],
                                   constant Rows& rows [[buffer(4)]], constant Steps& steps [[buffer(5)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  const float top = largest(x, s, shared), sum = sum_of_exp(x, top, s, shared);
  const float scale = load(g, int64_t(row) * steps.a);
  const int64_t label = s.start + labels[row];
  EACH(i) store(dst, i, scale * (precise::exp(load(x, i) - top) / sum - (i == label ? 1.0f : 0.0f)));
}

template <class T>
[[kernel]] void layer_norm(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                           device const T* weight [[buffer(2)]], device const T* bias [[buffer(3)]],
                           constant Rows& rows [[buffer(4)]], constant float& eps [[buffer(5)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  float sum = 0, squares = 0;
  EACH(i) sum += load(x, i);
  const float mean = group_sum(sum, s, shared) / float(s.n);
  EACH(i) squares += (load(x, i) - mean) * (load(x, i) - mean);
  const float scale = 1.0f / precise::sqrt(group_sum(squares, s, shared) / float(s.n) + eps);
  EACH(i) store(dst, i, (load(x, i) - mean) * scale * load(weight, i - s.start) + load(bias, i - s.start));
}

template <class T>
[[kernel]] void rms_norm(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                         device const T* weight [[buffer(2)]], constant Rows& rows [[buffer(3)]],
                         constant float& eps [[buffer(4)]], ROW) {
  threadgroup float shared[32];
  const Span s = span_of(rows, row, index, size);
  float squares = 0;
  EACH(i) squares += load(x, i) * load(x, i);
  const float scale = 1.0f / precise::sqrt(group_sum(squares, s, shared) / float(s.n) + eps);
  EACH(i) store(dst, i, load(x, i) * scale * load(weight, i - s.start));
}

#define ONE(kernel_name, name, T) \
  template [[host_name(#kernel_name "_" name)]] [[kernel]] decltype(kernel_name<T>) kernel_name<T>;
#define TWO(kernel_name, name, T)                                                                                     \
  template [[host_name(#kernel_name "_" name                                                                          \
                                    "_int32")]] [[kernel]] decltype(kernel_name<T, int32_t>) kernel_name<T, int32_t>; \
  template [[host_name(#kernel_name "_" name                                                                          \
                                    "_int64")]] [[kernel]] decltype(kernel_name<T, int64_t>) kernel_name<T, int64_t>;
#define KERNELS(name, T)           \
  ONE(softmax, name, T)            \
  ONE(log_softmax, name, T)        \
  ONE(softmax_grad, name, T)       \
  ONE(log_softmax_grad, name, T)   \
  TWO(cross_entropy, name, T)      \
  TWO(cross_entropy_grad, name, T) \
  ONE(layer_norm, name, T)         \
  ONE(rms_norm, name, T)

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
