// Element types on the device: what a kernel stores, what it computes in, and how a DType picks a template.
#ifndef NEEDLE_CUDA_DTYPE_CUH
#define NEEDLE_CUDA_DTYPE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <needle/view.h>

#include <stdexcept>

namespace needle {

// The type that a stored T is computed in: halves in float, bool and the bytes in int32.
template <class T> struct Widened {
  using type = T;
};
template <> struct Widened<__half> {
  using type = float;
};
template <> struct Widened<__nv_bfloat16> {
  using type = float;
};
template <> struct Widened<bool> {
  using type = int32_t;
};
template <> struct Widened<uint8_t> {
  using type = int32_t;
};
template <> struct Widened<int8_t> {
  using type = int32_t;
};
template <class T> using Wide = typename Widened<T>::type;

template <class T> __device__ __forceinline__ Wide<T> widen(T x) { return static_cast<Wide<T>>(x); }
template <> __device__ __forceinline__ float widen(__half x) { return __half2float(x); }
template <> __device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

// Rounds to nearest even, wraps, or tests for != 0.
template <class T> __device__ __forceinline__ T narrow(Wide<T> x) { return static_cast<T>(x); }
template <> __device__ __forceinline__ __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ bool narrow<bool>(int32_t x) { return x != 0; }

template <class T> struct Type {
  using type = T;
};

[[noreturn]] inline void refuse(DType) { throw std::invalid_argument("a dtype that supports() declines"); }

// visit(Type<T>()) for the type of a DType. Among floats, integers (bool included), indices, or all.
template <class Visitor> void visit_floats(DType dtype, Visitor visit) {
  switch (dtype) {
    case DType::kFloat16: return visit(Type<__half>());
    case DType::kBFloat16: return visit(Type<__nv_bfloat16>());
    case DType::kFloat32: return visit(Type<float>());
    case DType::kFloat64: return visit(Type<double>());
    default: refuse(dtype);
  }
}

template <class Visitor> void visit_dtype(DType dtype, Visitor visit) {
  switch (dtype) {
    case DType::kBool: return visit(Type<bool>());
    case DType::kUInt8: return visit(Type<uint8_t>());
    case DType::kInt8: return visit(Type<int8_t>());
    case DType::kInt32: return visit(Type<int32_t>());
    case DType::kInt64: return visit(Type<int64_t>());
    default: visit_floats(dtype, visit);
  }
}

template <class Visitor> void visit_index(DType dtype, Visitor visit) {
  if (dtype == DType::kInt32) return visit(Type<int32_t>());
  if (dtype == DType::kInt64) return visit(Type<int64_t>());
  refuse(dtype);
}

// For kernels that only move elements: an unsigned integer of their size.
template <class Visitor> void visit_size(DType dtype, Visitor visit) {
  switch (item_size(dtype)) {
    case 1: return visit(Type<uint8_t>());
    case 2: return visit(Type<uint16_t>());
    case 4: return visit(Type<uint32_t>());
    default: return visit(Type<uint64_t>());
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_DTYPE_CUH
