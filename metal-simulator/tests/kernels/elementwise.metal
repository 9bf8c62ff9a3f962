// Needle MSL kernels: elementwise and strided copy. Ships as is to macOS.
#include <metal_stdlib>
using namespace metal;

#define NDL_MAX_DIMS 8

struct CopyParams {
  uint ndim;
  uint n;
  uint offset;
  uint pad;
  uint shape[NDL_MAX_DIMS];
  int strides[NDL_MAX_DIMS];
};

struct Add {
  template <typename T> T operator()(T a, T b) { return a + b; }
};
struct Mul {
  template <typename T> T operator()(T a, T b) { return a * b; }
};
struct Max {
  template <typename T> T operator()(T a, T b) { return max(a, b); }
};
struct Exp {
  template <typename T> T operator()(T a) { return exp(a); }
};
struct Tanh {
  template <typename T> T operator()(T a) { return T(precise::tanh(float(a))); }
};

template <typename T, typename Op>
[[kernel]] void ew_binary(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]], device T* out [[buffer(2)]],
                          constant uint& n [[buffer(3)]], uint gid [[thread_position_in_grid]]) {
  if (gid < n) out[gid] = Op()(a[gid], b[gid]);
}

template <typename T, typename Op>
[[kernel]] void ew_unary(device const T* a [[buffer(0)]], device T* out [[buffer(1)]],
                         uint gid [[thread_position_in_grid]]) {
  out[gid] = Op()(a[gid]);
}

#define INST_BINARY(name, T, Op)                                                                                \
  template [[host_name("ew_" #name "_" #T)]] [[kernel]] void ew_binary<T, Op>(device const T*, device const T*, \
                                                                              device T*, constant uint&, uint);
#define INST_UNARY(name, T, Op) \
  template [[host_name("ew_" #name "_" #T)]] [[kernel]] decltype(ew_unary<T, Op>) ew_unary<T, Op>;

INST_BINARY(add, float, Add)
INST_BINARY(add, half, Add)
INST_BINARY(add, int, Add)
INST_BINARY(mul, float, Mul)
INST_BINARY(max, float, Max)
INST_UNARY(exp, float, Exp)
INST_UNARY(exp, half, Exp)
INST_UNARY(tanh, float, Tanh)

// fused scale + shift, four at a time; function constants pick the variant
constant bool use_relu [[function_constant(0)]];
constant float slope [[function_constant(1)]];

kernel void scale_shift4(device const float4* a [[buffer(0)]], device float4* out [[buffer(1)]],
                         constant float2& ss [[buffer(2)]], uint gid [[thread_position_in_grid]]) {
  float4 v = fma(a[gid], float4(ss.x), float4(ss.yy, ss.y, ss.y));
  if (use_relu) v = max(v, slope * v);
  out[gid] = v;
  out[gid].w = v.w;
}

kernel void half4_swizzle(device const half4* a [[buffer(0)]], device half4* out [[buffer(1)]],
                          uint gid [[thread_position_in_grid]]) {
  half4 v = a[gid];
  half2 lo = v.xy;
  out[gid] = half4(v.wz, lo.yx) * 2.0h + half4(half3(0.5h), 1.0h);
}

inline uint elem_to_loc(uint i, constant uint* shape, constant int* strides, uint ndim) {
  int loc = 0;
  for (int d = int(ndim) - 1; d >= 0; --d) {
    loc += int(i % shape[d]) * strides[d];
    i /= shape[d];
  }
  return uint(loc);
}

template <typename T>
[[kernel]] void compact(device const T* a [[buffer(0)]], device T* out [[buffer(1)]],
                        constant CopyParams& p [[buffer(2)]], uint gid [[thread_position_in_grid]]) {
  if (gid >= p.n) return;
  out[gid] = a[p.offset + elem_to_loc(gid, p.shape, p.strides, p.ndim)];
}
template [[host_name("compact_float")]] [[kernel]] decltype(compact<float>) compact<float>;
template [[host_name("compact_half")]] [[kernel]] decltype(compact<half>) compact<half>;
