// binary_scalar: the scalar is a parameter of the kernel, so that it costs no memory and no upload.
#include "binary.cuh"

namespace needle {
namespace {

template <class F, class T> struct Bind {
  using Out = typename Combine<F, T>::Out;
  Wide<T> scalar;
  bool swapped;

  __device__ __forceinline__ Out operator()(T x) const {
    return swapped ? Combine<F, T>::of(scalar, widen(x)) : Combine<F, T>::of(widen(x), scalar);
  }
};

// As the element type holds it: rounded to a half, wrapped to a byte.
template <class T> Wide<T> rounded(const Scalar& scalar) {
  if constexpr (std::is_same_v<T, __half>) {
    return __half2float(__double2half(scalar.is_float ? scalar.real : static_cast<double>(scalar.integer)));
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(__double2bfloat16(scalar.is_float ? scalar.real : static_cast<double>(scalar.integer)));
  } else if constexpr (std::is_same_v<T, bool>) {
    return scalar.is_float ? scalar.real != 0 : scalar.integer != 0;
  } else {
    return static_cast<Wide<T>>(scalar.is_float ? static_cast<T>(scalar.real) : static_cast<T>(scalar.integer));
  }
}

}  // namespace

void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped) {
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch<Wide<T>>(kind, [&](auto f) {
      using F = Bind<decltype(f), T>;
      map<typename F::Out, T>(F{rounded<T>(scalar), swapped}, dst, x);
    });
  });
}

}  // namespace needle
