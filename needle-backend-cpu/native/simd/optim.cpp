// One step of an optimizer over a piece of one parameter, all its arrays read and written once.
#include <needle/float_math.h>

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

template <class T> void sgd(const SgdStep& step, void* p, const void* g, void* velocity, int64_t n) {
  T* w = static_cast<T*>(p);
  const T* grad = static_cast<const T*>(g);
  T* v = static_cast<T*>(velocity);
  const T lr = T(step.lr), momentum = T(step.momentum), rest = T(1 - step.dampening), decay = T(step.weight_decay);
  if (v == nullptr) {
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) w[i] -= lr * (grad[i] + decay * w[i]);
    return;
  }
  const T ahead = step.nesterov ? momentum : T(1), own = step.nesterov ? T(1) : T(0);
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T d = grad[i] + decay * w[i];
    v[i] = momentum * v[i] + rest * d;
    w[i] -= lr * (own * d + ahead * v[i]);
  }
}

template <class T> void adam(const AdamStep& step, void* p, const void* g, void* mean, void* square, int64_t n) {
  T* w = static_cast<T*>(p);
  const T* grad = static_cast<const T*>(g);
  T* m = static_cast<T*>(mean);
  T* s = static_cast<T*>(square);
  const T beta1 = T(step.beta1), beta2 = T(step.beta2), rest1 = T(1 - step.beta1), rest2 = T(1 - step.beta2);
  const T size = T(step.step_size), eps = T(step.eps), decay = T(step.weight_decay), keep = T(step.keep);
  const T inverse_root = T(1 / step.root_correction);
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T d = grad[i] + decay * w[i];
    m[i] = beta1 * m[i] + rest1 * d;
    s[i] = beta2 * s[i] + rest2 * d * d;
    w[i] = keep * w[i] - size * m[i] / (math::sqrt(s[i]) * inverse_root + eps);
  }
}

}  // namespace

void fill_optim(Kernels& table) {
  table.sgd[0] = sgd<float>;
  table.sgd[1] = sgd<double>;
  table.adam[0] = adam<float>;
  table.adam[1] = adam<double>;
}

NEEDLE_END
