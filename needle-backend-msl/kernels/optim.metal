// One step of SGD or Adam for one parameter, in place: an element a thread, in float.
#include <metal_stdlib>

#include "element.h"

using namespace needle;

template <class T>
[[kernel]] void sgd(device T* parameter [[buffer(0)]], device const T* gradient [[buffer(1)]],
                    device T* velocity [[buffer(2)]], constant Sgd& s [[buffer(3)]],
                    uint i [[thread_position_in_grid]]) {
  const float p = load(parameter, i);
  float g = load(gradient, i) + s.weight_decay * p;
  if (s.has_velocity) {
    const float v = s.momentum * load(velocity, i) + (1.0f - s.dampening) * g;
    store(velocity, i, v);
    g = s.nesterov ? g + s.momentum * v : v;
  }
  store(parameter, i, p - s.lr * g);
}

template <class T>
[[kernel]] void adam(device T* parameter [[buffer(0)]], device const T* gradient [[buffer(1)]],
                     device T* mean [[buffer(2)]], device T* square [[buffer(3)]], constant Adam& s [[buffer(4)]],
                     uint i [[thread_position_in_grid]]) {
  float p = load(parameter, i), g = load(gradient, i);
  if (s.decoupled) {
    p *= 1.0f - s.lr * s.weight_decay;
  } else {
    g += s.weight_decay * p;
  }
  const float m = s.beta1 * load(mean, i) + (1.0f - s.beta1) * g;
  const float v = s.beta2 * load(square, i) + (1.0f - s.beta2) * g * g;
  store(mean, i, m);
  store(square, i, v);
  store(parameter, i, p - s.lr * (m / s.correction1) / (precise::sqrt(v / s.correction2) + s.eps));
}

#define KERNELS(name, T)                                                  \
  template [[host_name("sgd_" name)]] [[kernel]] decltype(sgd<T>) sgd<T>; \
  template [[host_name("adam_" name)]] [[kernel]] decltype(adam<T>) adam<T>;

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
