// sgd_step and adam_step: all parameters in few launches, each array read and written once.
#include <cmath>

#include "launch.cuh"
#include "ops.h"

namespace needle {
namespace {

constexpr int kArrays = 4;    // parameter, gradient, and two of state
constexpr int kTensors = 64;  // of one launch: what fits into a kernel's parameters
constexpr int kPiece = 4096;  // elements that a block updates

// Tensor t's pieces are blocks first[t] to first[t + 1].
struct Tensors {
  int count = 0;
  int first[kTensors + 1];
  int64_t size[kTensors];
  void* arrays[kTensors][kArrays];
};

struct Sgd {
  static constexpr int kStates = 1;
  double lr, momentum, rest, decay, ahead, own;

  template <class T> __device__ __forceinline__ void operator()(T& p, T g, T& v, T&) const {
    const T d = g + T(decay) * p;
    v = T(momentum) * v + T(rest) * d;
    p -= T(lr) * (T(own) * d + T(ahead) * v);
  }
};

struct PlainSgd {
  static constexpr int kStates = 0;
  double lr, decay;

  template <class T> __device__ __forceinline__ void operator()(T& p, T g, T&, T&) const {
    p -= T(lr) * (g + T(decay) * p);
  }
};

struct Adam {
  static constexpr int kStates = 2;
  double beta1, beta2, rest1, rest2, eps, size, inverse_root, decay, keep;

  template <class T> __device__ __forceinline__ void operator()(T& p, T g, T& m, T& s) const {
    const T d = g + T(decay) * p;
    m = T(beta1) * m + T(rest1) * d;
    s = T(beta2) * s + T(rest2) * d * d;
    p = T(keep) * p - T(size) * m / (math::sqrt(s) * T(inverse_root) + T(eps));
  }
};

template <class Update, class T> __global__ void update_tensors(const Update update, const Tensors tensors) {
  int low = 0, high = tensors.count;  // the last tensor that begins at this block or before it
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (tensors.first[middle] <= static_cast<int>(blockIdx.x) ? low : high) = middle;
  }
  T* const* arrays = reinterpret_cast<T* const*>(tensors.arrays[low]);
  const int64_t begin = static_cast<int64_t>(blockIdx.x - tensors.first[low]) * kPiece;
  const int64_t end = begin + kPiece < tensors.size[low] ? begin + kPiece : tensors.size[low];
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    Wide<T> p = widen(arrays[0][i]), state[2] = {};
#pragma unroll
    for (int k = 0; k < Update::kStates; ++k) state[k] = widen(arrays[2 + k][i]);
    update(p, widen(arrays[1][i]), state[0], state[1]);
    arrays[0][i] = narrow<T>(p);
#pragma unroll
    for (int k = 0; k < Update::kStates; ++k) arrays[2 + k][i] = narrow<T>(state[k]);
  }
}

template <class Update> void run(const Update& update, DType dtype, const Tensors& tensors) {
  if (tensors.count == 0) return;
  visit_floats(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch(update_tensors<Update, T>, static_cast<unsigned>(tensors.first[tensors.count]), kThreads, 0, update,
           tensors);
  });
}

// arrays[k][i] is array k of parameter i. A launch takes neighbours of one dtype.
template <class Update> void for_all(const Update& update, std::initializer_list<const std::vector<View>*> arrays) {
  const std::vector<View>& params = **arrays.begin();
  Tensors tensors;
  tensors.first[0] = 0;
  for (size_t i = 0; i < params.size(); ++i) {
    const int64_t pieces = ceil_div(params[i].size, kPiece);
    if (pieces == 0) continue;
    const bool full = tensors.count == kTensors || tensors.first[tensors.count] + pieces > INT32_MAX;
    if (full || (i > 0 && params[i].dtype != params[i - 1].dtype)) {
      run(update, params[i - 1].dtype, tensors);
      tensors.count = 0;
    }
    int k = 0;
    for (const std::vector<View>* array : arrays) tensors.arrays[tensors.count][k++] = (*array)[i].data;
    tensors.size[tensors.count] = params[i].size;
    tensors.first[tensors.count + 1] = tensors.first[tensors.count] + static_cast<int>(pieces);
    ++tensors.count;
  }
  if (!params.empty()) run(update, params.back().dtype, tensors);
}

}  // namespace

void sgd_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& velocities,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  if (velocities.empty()) return for_all(PlainSgd{lr, weight_decay}, {&params, &grads});
  const double ahead = nesterov ? momentum : 1.0, own = nesterov ? 1.0 : 0.0;
  for_all(Sgd{lr, momentum, 1 - dampening, weight_decay, ahead, own}, {&params, &grads, &velocities});
}

void adam_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& means,
               const std::vector<View>& squares, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, int64_t step) {
  const double t = static_cast<double>(step);
  Adam update{};
  update.beta1 = beta1;
  update.beta2 = beta2;
  update.rest1 = 1 - beta1;
  update.rest2 = 1 - beta2;
  update.eps = eps;
  update.size = lr / (1 - std::pow(beta1, t));
  update.inverse_root = 1 / std::sqrt(1 - std::pow(beta2, t));
  update.decay = decoupled ? 0 : weight_decay;
  update.keep = decoupled ? 1 - lr * weight_decay : 1;
  for_all(update, {&params, &grads, &means, &squares});
}

}  // namespace needle
