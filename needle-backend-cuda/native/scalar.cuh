// A Python number on its way to elements of some type.
#ifndef NEEDLE_CUDA_SCALAR_CUH
#define NEEDLE_CUDA_SCALAR_CUH

#include <needle/arguments.h>

#include <type_traits>

#include "dtype.cuh"

namespace needle {

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

}  // namespace needle

#endif  // NEEDLE_CUDA_SCALAR_CUH
