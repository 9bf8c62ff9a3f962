// Two stored values into one, by a functor of functors.h.
#ifndef NEEDLE_CUDA_BINARY_CUH
#define NEEDLE_CUDA_BINARY_CUH

#include "map.cuh"
#include "ops.h"

namespace needle {

template <class F, class T> struct Combine {
  using Result = decltype(F()(Wide<T>(), Wide<T>()));
  static constexpr bool to_bool = std::is_same_v<Result, bool>;
  using Out = std::conditional_t<to_bool, bool, T>;

  static __device__ __forceinline__ Out of(Wide<T> a, Wide<T> b) {
    if constexpr (to_bool) {
      return F()(a, b);
    } else {
      return narrow<T>(F()(a, b));
    }
  }
  __device__ __forceinline__ Out operator()(T a, T b) const { return of(widen(a), widen(b)); }
};

}  // namespace needle

#endif  // NEEDLE_CUDA_BINARY_CUH
