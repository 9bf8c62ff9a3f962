// Gradients of layer and RMS normalization, and batch normalization of x (rows, channels). Rows are worked on by a
// threadgroup each, columns (channels) too, their threads striding down the rows. All in float.
#include <metal_stdlib>

#include "group.h"

using namespace needle;

constant int32_t centered [[function_constant(0)]];  // layer_norm, else rms_norm
constant int32_t training [[function_constant(1)]];
constant int32_t rectified [[function_constant(2)]];  // relu of batch_norm's result

#define GROUP                                                                           \
  uint at [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]], \
      uint size [[threads_per_threadgroup]]

inline float total(float value, threadgroup float* shared, uint index, uint size) {
  return group_reduce(Add(), value, 0.0f, shared, index, size / 32);
}

// dx of one row, and the row's mean and scale, which the gradients of the parameters need.
template <class T>
[[kernel]] void norm_grad_rows(device T* dx [[buffer(0)]], device const T* g [[buffer(1)]],
                               device const T* x [[buffer(2)]], device const T* weight [[buffer(3)]],
                               device float* statistics [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                               constant float& eps [[buffer(6)]], GROUP) {
  threadgroup float shared[32];
  const int64_t start = int64_t(at) * rows.n;
  const float n = float(rows.n);
  float sum = 0, squares = 0, direct = 0, along = 0;
  if (centered) {
    for (int32_t i = int32_t(index); i < rows.n; i += int32_t(size)) sum += load(x, start + i);
    sum = total(sum, shared, index, size);
  }
  const float mean = sum / n;
  for (int32_t i = int32_t(index); i < rows.n; i += int32_t(size)) {
    const float c = load(x, start + i) - mean, d = load(g, start + i) * load(weight, i);
    squares += c * c;
    direct += d;
    along += d * c;
  }
  squares = total(squares, shared, index, size);
  along = total(along, shared, index, size);
  direct = centered ? total(direct, shared, index, size) : 0.0f;
  const float scale = 1.0f / precise::sqrt(squares / n + eps);
  for (int32_t i = int32_t(index); i < rows.n; i += int32_t(size)) {
    const float c = load(x, start + i) - mean, d = load(g, start + i) * load(weight, i);
    store(dx, start + i, scale * (d - direct / n - c * scale * scale * (along / n)));
  }
  if (index == 0) {
    statistics[2 * at] = mean;
    statistics[2 * at + 1] = scale;
  }
}

// dw and db of one column.
template <class T>
[[kernel]] void norm_grad_columns(device T* dw [[buffer(0)]], device T* db [[buffer(1)]],
                                  device const T* g [[buffer(2)]], device const T* x [[buffer(3)]],
                                  device const float* statistics [[buffer(4)]], constant Rows& rows [[buffer(5)]],
                                  GROUP) {
  threadgroup float shared[32];
  float along = 0, direct = 0;
  for (int32_t r = int32_t(index); r < rows.rows; r += int32_t(size)) {
    const int64_t i = int64_t(r) * rows.n + at;
    along += load(g, i) * (load(x, i) - statistics[2 * r]) * statistics[2 * r + 1];
    direct += load(g, i);
  }
  along = total(along, shared, index, size);
  direct = total(direct, shared, index, size);
  if (index == 0) store(dw, at, along);
  if (index == 0 && centered) store(db, at, direct);
}

template <class T>
[[kernel]] void moments(device T* mean [[buffer(0)]], device T* variance [[buffer(1)]], device const T* x [[buffer(2)]],
                        constant Rows& rows [[buffer(3)]], GROUP) {
  threadgroup float shared[32];
  float sum = 0, squares = 0;
  for (int32_t r = int32_t(index); r < rows.rows; r += int32_t(size)) sum += load(x, int64_t(r) * rows.n + at);
  const float middle = total(sum, shared, index, size) / float(rows.rows);
  for (int32_t r = int32_t(index); r < rows.rows; r += int32_t(size)) {
    const float c = load(x, int64_t(r) * rows.n + at) - middle;
    squares += c * c;
  }
  squares = total(squares, shared, index, size) / float(rows.rows);
  if (index == 0) {
    store(mean, at, middle);
    store(variance, at, squares);
  }
}

template <class T>
[[kernel]] void batch_norm(device T* dst [[buffer(0)]], device const T* x [[buffer(1)]],
                           device const T* weight [[buffer(2)]], device const T* bias [[buffer(3)]],
                           device const T* mean [[buffer(4)]], device const T* variance [[buffer(5)]],
                           constant Rows& rows [[buffer(6)]], constant float& eps [[buffer(7)]],
                           uint i [[thread_position_in_grid]]) {
  const uint c = i % uint(rows.n);
  const float root = precise::sqrt(load(variance, c) + eps);
  const float value = (load(x, i) - load(mean, c)) / root * load(weight, c) + load(bias, c);
  store(dst, i, rectified ? Relu()(value) : value);
}

template <class T>
[[kernel]] void batch_norm_grad(device T* dx [[buffer(0)]], device T* dw [[buffer(1)]], device T* db [[buffer(2)]],
                                device const T* g [[buffer(3)]], device const T* x [[buffer(4)]],
                                device const T* weight [[buffer(5)]], device const T* mean [[buffer(6)]],
                                device const T* variance [[buffer(7)]], constant Rows& rows [[buffer(8)]],
                                constant float& eps [[buffer(9)]], GROUP) {
  threadgroup float shared[32];
  const float middle = load(mean, at), scale = 1.0f / precise::sqrt(load(variance, at) + eps);
  float direct = 0, along = 0;
  for (int32_t r = int32_t(index); r < rows.rows; r += int32_t(size)) {
    const int64_t i = int64_t(r) * rows.n + at;
    direct += load(g, i);
    along += load(g, i) * (load(x, i) - middle);
  }
  direct = total(direct, shared, index, size);
  along = total(along, shared, index, size);
  const float n = float(rows.rows), w = load(weight, at);
  for (int32_t r = int32_t(index); r < rows.rows; r += int32_t(size)) {
    const int64_t i = int64_t(r) * rows.n + at;
    float d = load(g, i);
    if (training) d -= direct / n + (load(x, i) - middle) * scale * scale * (along / n);
    store(dx, i, d * w * scale);
  }
  if (index == 0) {
    store(dw, at, along * scale);
    store(db, at, direct);
  }
}

#define ONE(kernel_name, name, T) \
  template [[host_name(#kernel_name "_" name)]] [[kernel]] decltype(kernel_name<T>) kernel_name<T>;
#define KERNELS(name, T)          \
  ONE(norm_grad_rows, name, T)    \
  ONE(norm_grad_columns, name, T) \
  ONE(moments, name, T)           \
  ONE(batch_norm, name, T)        \
  ONE(batch_norm_grad, name, T)

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
