// unary: one kernel for each functor of functors.h and each stored type.
#include "map.cuh"
#include "ops.h"

namespace needle {
namespace {

template <class F, class T> struct Apply {
  using Result = decltype(F()(Wide<T>()));
  static constexpr bool to_bool = std::is_same_v<Result, bool>;
  using Out = std::conditional_t<to_bool, bool, T>;

  __device__ __forceinline__ Out operator()(T x) const {
    if constexpr (to_bool) {
      return F()(widen(x));
    } else {
      return narrow<T>(F()(widen(x)));
    }
  }
};

Unary kind_for(Unary kind, DType dtype) { return dtype == DType::kBool ? kind_for_bool(kind) : kind; }

}  // namespace

bool has_unary(Unary kind, DType dtype) {
  bool found = false;
  visit_dtype(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    found = dispatch<Wide<T>>(kind_for(kind, dtype), [](auto) {});
  });
  return found;
}

void unary(Unary kind, const View& dst, const View& x) {
  visit_dtype(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch<Wide<T>>(kind_for(kind, x.dtype), [&](auto f) {
      using F = Apply<decltype(f), T>;
      map<typename F::Out, T>(F(), dst, x);
    });
  });
}

}  // namespace needle
