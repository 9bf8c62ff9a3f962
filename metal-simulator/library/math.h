// Mathematical functions: overloads and no templates, so that a call which is ambiguous in Metal is so here.
#pragma once
#include "types.h"
namespace metal {
#ifdef MSL_PTX
inline float __m_exp2(float x) {
  float r;
  asm("ex2.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
inline float __m_log2(float x) {
  float r;
  asm("lg2.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
inline float __m_exp(float x) { return __m_exp2(x * M_LOG2E_F); }
inline float __m_log(float x) { return __m_log2(x) * M_LN2_F; }
inline float __m_tanh(float x) {
  float e = __m_exp(-2.0f * __builtin_fabsf(x));
  return __builtin_copysignf((1.0f - e) / (1.0f + e), x);
}
inline float __m_sin(float x) {
  float r;
  asm("sin.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
inline float __m_cos(float x) {
  float r;
  asm("cos.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
inline float __m_pow(float x, float y) {  // of a negative number: real for whole exponents alone
  const float r = __m_exp2(y * __m_log2(__builtin_fabsf(x)));
  if (y == 0 || x == 1) return 1;
  if (x >= 0 || x != x || y != y) return r;
  if (__builtin_truncf(y) != y) return __builtin_nanf("");
  return __builtin_truncf(y * 0.5f) * 2 == y ? r : -r;
}
inline float __m_fmod(float x, float y) {  // long division, exact
  float rest = __builtin_fabsf(x), step = __builtin_fabsf(y);
  const float least = step;
  if (!(step > 0) || !(rest < __builtin_inff())) return __builtin_nanf("");
  if (step == __builtin_inff()) return x;
  while (step <= rest * 0.5f) step *= 2;
  for (; step >= least; step *= 0.5f) rest = rest >= step ? rest - step : rest;
  return __builtin_copysignf(rest, x);
}
inline float __m_atan2(float y, float x) {  // the angle is halved twice, then a short series is exact enough
  const float a = __builtin_fabsf(x), b = __builtin_fabsf(y);
  if (a != a || b != b) return a + b;
  const bool steep = b > a;
  float t = steep ? a / b : b == a ? (a == 0 ? 0.0f : 1.0f) : b / a;
  for (int i = 0; i < 2; ++i) t = t / (1.0f + __builtin_sqrtf(1.0f + t * t));
  const float z = t * t;
  float angle = 4.0f * t * (1.0f + z * (-1.0f / 3 + z * (1.0f / 5 + z * (-1.0f / 7 + z * (1.0f / 9)))));
  if (steep) angle = M_PI_2_F - angle;
  if (__builtin_copysignf(1.0f, x) < 0) angle = M_PI_F - angle;
  return __builtin_copysignf(angle, y);
}
#else
#ifdef MSL_STRICT
#define MSL_OFF(x) x
#else
#define MSL_OFF(x) __msl_rt_jitter(x)  // no GPU's functions are exact to the last place
#endif
#define MSL_LIBM(F) \
  inline float __m_##F(float x) { return MSL_OFF(__builtin_##F##f(x)); }
MSL_LIBM(exp);
MSL_LIBM(exp2);
MSL_LIBM(log);
MSL_LIBM(log2);
MSL_LIBM(tanh);
MSL_LIBM(sin);
MSL_LIBM(cos);
MSL_LIBM(log10);
MSL_LIBM(tan);
MSL_LIBM(asin);
MSL_LIBM(acos);
MSL_LIBM(atan);
MSL_LIBM(sinh);
MSL_LIBM(cosh);
MSL_LIBM(asinh);
MSL_LIBM(acosh);
MSL_LIBM(atanh);
inline float __m_pow(float x, float y) { return MSL_OFF(__builtin_powf(x, y)); }
inline float __m_exp10(float x) { return MSL_OFF(__builtin_exp2f(x * 3.32192809488736234787f)); }
inline float __m_atan2(float x, float y) { return MSL_OFF(__builtin_atan2f(x, y)); }
inline float __m_fmod(float x, float y) { return __builtin_fmodf(x, y); }
#endif
inline float __m_sqrt(float x) { return __builtin_sqrtf(x); }
inline float __m_rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float __m_floor(float x) { return __builtin_floorf(x); }
inline float __m_ceil(float x) { return __builtin_ceilf(x); }
inline float __m_trunc(float x) { return __builtin_truncf(x); }
inline float __m_rint(float x) { return __builtin_rintf(x); }
inline float __m_round(float x) { return __builtin_roundf(x); }
inline float __m_fabs(float x) { return __builtin_fabsf(x); }
inline float __m_sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x * 0.0f; }
inline float __m_fmin(float a, float b) { return __builtin_fminf(a, b); }
inline float __m_fmax(float a, float b) { return __builtin_fmaxf(a, b); }
inline float __m_step(float e, float x) { return x < e ? 0.0f : 1.0f; }
inline float __m_copysign(float a, float b) { return __builtin_copysignf(a, b); }
inline float __m_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __m_clamp(float x, float a, float b) { return __builtin_fminf(__builtin_fmaxf(x, a), b); }
inline float __m_mix(float a, float b, float t) { return a + (b - a) * t; }
#ifdef MSL_PTX
#define MSL_BFLOAT(X, f)
#else
#define MSL_BFLOAT(X, f) X(f, bfloat, 1)
#endif
#define MSL_ALLF(X, f) \
  X(f, float, 1)       \
  X(f, half, 1)        \
  MSL_BFLOAT(X, f) X(f, float2, 2) X(f, float3, 3) X(f, float4, 4) X(f, half2, 2) X(f, half3, 3) X(f, half4, 4)
#define MSL_F1(f, T, N) \
  inline T f(T x) { return __msl::map(__m_##f, x); }
#define MSL_F2(f, T, N) \
  inline T f(T x, T y) { return __msl::map(__m_##f, x, y); }
#define MSL_F3(f, T, N) \
  inline T f(T x, T y, T z) { return __msl::map(__m_##f, x, y, z); }
#define MSL_IN()           \
  MSL_ALLF(MSL_F1, exp);   \
  MSL_ALLF(MSL_F1, exp2);  \
  MSL_ALLF(MSL_F1, log);   \
  MSL_ALLF(MSL_F1, log2);  \
  MSL_ALLF(MSL_F1, tanh);  \
  MSL_ALLF(MSL_F1, sin);   \
  MSL_ALLF(MSL_F1, cos);   \
  MSL_ALLF(MSL_F1, sqrt);  \
  MSL_ALLF(MSL_F1, rsqrt); \
  MSL_ALLF(MSL_F1, floor); \
  MSL_ALLF(MSL_F1, ceil);  \
  MSL_ALLF(MSL_F1, trunc); \
  MSL_ALLF(MSL_F1, rint);  \
  MSL_ALLF(MSL_F1, round); \
  MSL_ALLF(MSL_F1, fabs);  \
  MSL_ALLF(MSL_F2, pow);   \
  MSL_ALLF(MSL_F2, atan2); \
  MSL_ALLF(MSL_F2, fmod);  \
  MSL_ALLF(MSL_F2, fmin);  \
  MSL_ALLF(MSL_F2, fmax);
MSL_IN();
namespace precise {
MSL_IN();
}
namespace fast {
MSL_IN();
}
#ifndef MSL_PTX
#define MSL_IN2()          \
  MSL_ALLF(MSL_F1, log10); \
  MSL_ALLF(MSL_F1, tan);   \
  MSL_ALLF(MSL_F1, asin);  \
  MSL_ALLF(MSL_F1, acos);  \
  MSL_ALLF(MSL_F1, atan);  \
  MSL_ALLF(MSL_F1, sinh);  \
  MSL_ALLF(MSL_F1, cosh);  \
  MSL_ALLF(MSL_F1, asinh); \
  MSL_ALLF(MSL_F1, acosh); \
  MSL_ALLF(MSL_F1, atanh); \
  MSL_ALLF(MSL_F1, exp10);
MSL_IN2();
namespace precise {
MSL_IN2();
}
namespace fast {
MSL_IN2();
}
#endif
MSL_ALLF(MSL_F1, sign);
MSL_ALLF(MSL_F2, step);
MSL_ALLF(MSL_F2, copysign);
MSL_ALLF(MSL_F3, fma);
MSL_ALLF(MSL_F3, clamp);
MSL_ALLF(MSL_F3, mix);

#define MSL_MM(f, T, N) \
  inline T f(T x, T y) { return __builtin_elementwise_##f(x, y); }
#define MSL_ALLI(X, f) \
  X(f, char, 1)        \
  X(f, uchar, 1)       \
  X(f, short, 1)       \
  X(f, ushort, 1)      \
  X(f, int, 1) X(f, uint, 1) X(f, long, 1) X(f, ulong, 1) X(f, int2, 2) X(f, int4, 4) X(f, uint2, 2) X(f, uint4, 4)
inline float __m_min(float a, float b) { return __builtin_fminf(a, b); }
inline float __m_max(float a, float b) { return __builtin_fmaxf(a, b); }
inline float __m_abs(float a) { return __builtin_fabsf(a); }
MSL_ALLF(MSL_F2, min);
MSL_ALLF(MSL_F2, max);
MSL_ALLF(MSL_F1, abs);
MSL_ALLI(MSL_MM, min);
MSL_ALLI(MSL_MM, max);
inline int abs(int x) { return x < 0 ? -x : x; }
#define MSL_CLI(f, T, N) \
  inline T f(T x, T a, T b) { return __builtin_elementwise_min(__builtin_elementwise_max(x, a), b); }
MSL_ALLI(MSL_CLI, clamp);

inline uint popcount(uint x) { return __builtin_popcount(x); }
inline uint clz(uint x) { return x ? __builtin_clz(x) : 32; }
inline uint ctz(uint x) { return x ? __builtin_ctz(x) : 32; }
inline uint mulhi(uint a, uint b) { return uint((ulong(a) * b) >> 32); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(half x) { return __builtin_isnan(float(x)); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(half x) { return __builtin_isinf(float(x)); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
template <class T> inline T select(T a, T b, bool c) { return c ? b : a; }
template <class T, int N> inline T dot(vec<T, N> a, vec<T, N> b) {
  T s = a[0] * b[0];
  for (int i = 1; i < N; ++i) s += a[i] * b[i];
  return s;
}
}  // namespace metal
