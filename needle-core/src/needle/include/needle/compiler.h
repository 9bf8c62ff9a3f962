// What differs between the compilers that read these headers: C++ for the host, CUDA (NVRTC too) and Metal.
// The headers are C++14, and free of standard headers beyond the fixed-width integers.
#ifndef NEEDLE_COMPILER_H
#define NEEDLE_COMPILER_H

#if defined(__METAL_VERSION__)
#include <metal_stdlib>
using namespace metal;  // for as_type
#define NEEDLE_HD inline
#elif defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define NEEDLE_CUDA 1
#define NEEDLE_HAS_DOUBLE 1
#define NEEDLE_HD __host__ __device__ __forceinline__
#if !defined(__CUDACC_RTC__)
#include <math.h>
#include <stdint.h>
#endif
#else
#include <stdint.h>
#define NEEDLE_HOST 1
#define NEEDLE_HAS_DOUBLE 1
#define NEEDLE_HD inline
#endif

// A host file that is compiled once per instruction set defines NEEDLE_VARIANT (avx2, ...). The name becomes part of
// every symbol, so that the linker cannot merge a function built for AVX with its baseline twin.
#if defined(NEEDLE_VARIANT)
#define NEEDLE_BEGIN \
  namespace needle { \
  inline namespace NEEDLE_VARIANT {
#define NEEDLE_END \
  }                \
  }
#else
#define NEEDLE_BEGIN namespace needle {
#define NEEDLE_END }
#endif

NEEDLE_BEGIN

NEEDLE_HD int32_t bits_of(float x) {
#if defined(__METAL_VERSION__)
  return as_type<int32_t>(x);
#elif defined(__CUDA_ARCH__)
  return __float_as_int(x);
#else
  int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
#endif
}

NEEDLE_HD float float_of(int32_t bits) {
#if defined(__METAL_VERSION__)
  return as_type<float>(bits);
#elif defined(__CUDA_ARCH__)
  return __int_as_float(bits);
#else
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
#endif
}

NEEDLE_END

#endif  // NEEDLE_COMPILER_H
