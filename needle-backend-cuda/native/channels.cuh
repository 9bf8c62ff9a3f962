// What batch_norm.cu and batch_norm_grad.cu share: statistics and weights of each channel of x (..., C).
#ifndef NEEDLE_CUDA_CHANNELS_CUH
#define NEEDLE_CUDA_CHANNELS_CUH

#include "columns.cuh"

namespace needle {

// What is known of each channel.
template <class T> struct Channel {
  const T *weight, *bias, *mean, *var;
  Wide<T> eps;

  __device__ __forceinline__ Wide<T> scale(int64_t c) const { return Wide<T>(1) / sqrt(widen(var[c]) + eps); }
};

// Calls f(Type<T>(), columns a thread) with several columns where they divide n and the arrays are aligned to them.
template <class F, class... Views> void visit_channels(int64_t n, F f, const View& first, const Views&... views) {
  visit_floats(first.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int count = kColumnsPerThread<T>;
    const auto fits = [](const View& view) { return aligned(view.data, sizeof(T) * count); };
    if (n % count == 0 && fits(first) && (fits(views) && ...)) {
      f(type, std::integral_constant<int, count>());
    } else {
      f(type, std::integral_constant<int, 1>());
    }
  });
}

template <class T>
Channel<T> channel(const View& weight, const View& bias, const View& mean, const View& var, double eps) {
  return {weight.as<const T>(), bias.as<const T>(), mean.as<const T>(), var.as<const T>(), static_cast<Wide<T>>(eps)};
}

}  // namespace needle

#endif  // NEEDLE_CUDA_CHANNELS_CUH
