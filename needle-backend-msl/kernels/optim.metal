// One step of SGD or Adam for several parameters at once, in place and in float. A dispatch takes as many arrays as it
// can bind buffers; a threadgroup works on a stretch of CHUNK elements of one parameter.
#include <metal_stdlib>

#include "element.h"

using namespace needle;

template <class T>
inline void sgd_element(device T* parameter, device T* gradient, device T* velocity, constant Sgd& s, int i) {
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
inline void adam_element(device T* parameter, device T* gradient, device T* mean, device T* square, constant Adam& s,
                         int i) {
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

// The arrays of parameter 0, then those of parameter 1, and so on.
#define ARRAYS                                                                                                        \
  device T *t0 [[buffer(0)]], device T *t1 [[buffer(1)]], device T *t2 [[buffer(2)]], device T *t3 [[buffer(3)]],     \
      device T *t4 [[buffer(4)]], device T *t5 [[buffer(5)]], device T *t6 [[buffer(6)]], device T *t7 [[buffer(7)]], \
      device T *t8 [[buffer(8)]], device T *t9 [[buffer(9)]], device T *t10 [[buffer(10)]],                           \
      device T *t11 [[buffer(11)]], device T *t12 [[buffer(12)]], device T *t13 [[buffer(13)]],                       \
      device T *t14 [[buffer(14)]], device T *t15 [[buffer(15)]], device T *t16 [[buffer(16)]],                       \
      device T *t17 [[buffer(17)]], device T *t18 [[buffer(18)]], device T *t19 [[buffer(19)]],                       \
      device T *t20 [[buffer(20)]], device T *t21 [[buffer(21)]], device T *t22 [[buffer(22)]],                       \
      device T *t23 [[buffer(23)]], device T *t24 [[buffer(24)]], device T *t25 [[buffer(25)]],                       \
      device T *t26 [[buffer(26)]], device T *t27 [[buffer(27)]]
#define GROUP                                                                              \
  uint group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]], \
      uint size [[threads_per_threadgroup]]

// Which parameter this threadgroup works on, and on which of its elements.
struct Stretch {
  int which, begin, end;
};

inline Stretch stretch(constant Parts& parts, uint group) {
  Stretch s;
  s.which = 0;
  while (s.which + 1 < parts.count && int(group) >= parts.first[s.which + 1]) ++s.which;
  s.begin = (int(group) - parts.first[s.which]) * CHUNK;
  s.end = metal::min(s.begin + CHUNK, parts.n[s.which]);
  return s;
}

template <class T>
[[kernel]] void sgd(ARRAYS, constant Sgd& s [[buffer(28)]], constant Parts& parts [[buffer(29)]], GROUP) {
  device T* const t[MOST_ARRAYS] = {t0,  t1,  t2,  t3,  t4,  t5,  t6,  t7,  t8,  t9,  t10, t11, t12, t13,
                                    t14, t15, t16, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27};
  const Stretch at = stretch(parts, group);
  const int first = at.which * (s.has_velocity ? 3 : 2);
  for (int i = at.begin + int(index); i < at.end; i += int(size)) {
    sgd_element(t[first], t[first + 1], t[first + (s.has_velocity ? 2 : 0)], s, i);
  }
}

template <class T>
[[kernel]] void adam(ARRAYS, constant Adam& s [[buffer(28)]], constant Parts& parts [[buffer(29)]], GROUP) {
  device T* const t[MOST_ARRAYS] = {t0,  t1,  t2,  t3,  t4,  t5,  t6,  t7,  t8,  t9,  t10, t11, t12, t13,
                                    t14, t15, t16, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27};
  const Stretch at = stretch(parts, group);
  const int first = at.which * 4;
  for (int i = at.begin + int(index); i < at.end; i += int(size)) {
    adam_element(t[first], t[first + 1], t[first + 2], t[first + 3], s, i);
  }
}

#define KERNELS(name, T)                                                  \
  template [[host_name("sgd_" name)]] [[kernel]] decltype(sgd<T>) sgd<T>; \
  template [[host_name("adam_" name)]] [[kernel]] decltype(adam<T>) adam<T>;

KERNELS("float16", half)
KERNELS("bfloat16", BFloat16)
KERNELS("float32", float)
