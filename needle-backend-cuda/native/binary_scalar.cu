// binary_scalar: the scalar is a parameter of the kernel, so that it costs no memory and no upload.
#include "binary.cuh"
#include "scalar.cuh"

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

}  // namespace

void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped) {
  if (kind == Binary::kPow && !swapped && (scalar.is_float ? scalar.real == 2 : scalar.integer == 2)) {
    return unary(Unary::kSquare, dst, x);  // a memory's speed; the general power is bound by its arithmetic
  }
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch<Wide<T>>(kind, [&](auto f) {
      using F = Bind<decltype(f), T>;
      map<typename F::Out, T>(F{rounded<T>(scalar), swapped}, dst, x);
    });
  });
}

}  // namespace needle
