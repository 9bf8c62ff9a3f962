// simdgroup_matrix of 8 by 8: two elements a lane, in the layout that Apple GPUs are known to have.
#pragma once
#include "types.h"
namespace metal {
template <class T, int R, int C> struct simdgroup_matrix {
  static_assert(R == 8 && C == 8, "MSL has 8x8 simdgroup matrices only");
  vec<T, 2> __e;
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T d) {
    uint r, c;
    __rc(r, c);
    __e[0] = r == c ? d : T(0);
    __e[1] = r == c + 1 ? d : T(0);
  }
  thread vec<T, 2>& thread_elements() { return __e; }
#if defined(MSL_STRICT)
  static void __rc(uint& r, uint& c) { r = c = 0; }
#else
#ifdef MSL_PTX
  static uint __l() { return __msl_lane(); }
#else
  static uint __l() { return __msl_rt_lane(); }
#endif
  static void __rc(uint& r, uint& c) {
    uint l = __l(), q = l / 4;
    r = (q & 4) + (l / 2) % 4;
    c = (q & 2) * 2 + (l % 2) * 2;
  }
#endif
  static constexpr uint __at(uint r, uint c) {
    return (r & 4) * 4 + (c & 4) * 2 + (r & 3) * 2 + (c >> 1 & 1);
  }  // lane that holds (r, c)
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
template <class T, int R, int C> inline simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) {
  simdgroup_matrix<T, R, C> m;
  m.__e = vec<T, 2>(v);
  return m;
}
#define MSL_SGM(AS)                                                                                 \
  template <class T>                                                                                \
  inline void simdgroup_load(thread simdgroup_matrix<T, 8, 8>& m, const AS T* p, ulong stride = 8,  \
                             ulong2 org = ulong2(0), bool tr = false) {                             \
    uint r, c;                                                                                      \
    m.__rc(r, c);                                                                                   \
    for (int i = 0; i < 2; ++i) {                                                                   \
      uint rr = tr ? c + i : r, cc = tr ? r : c + i;                                                \
      m.__e[i] = p[(org.y + rr) * stride + org.x + cc];                                             \
    }                                                                                               \
  }                                                                                                 \
  template <class T>                                                                                \
  inline void simdgroup_store(thread const simdgroup_matrix<T, 8, 8>& m, AS T* p, ulong stride = 8, \
                              ulong2 org = ulong2(0), bool tr = false) {                            \
    uint r, c;                                                                                      \
    m.__rc(r, c);                                                                                   \
    for (int i = 0; i < 2; ++i) {                                                                   \
      uint rr = tr ? c + i : r, cc = tr ? r : c + i;                                                \
      p[(org.y + rr) * stride + org.x + cc] = m.__e[i];                                             \
    }                                                                                               \
  }
MSL_OBJ_AS(MSL_SGM)
#if defined(MSL_STRICT)
template <class T, class A, class B, class C>
inline void simdgroup_multiply_accumulate(thread simdgroup_matrix<T, 8, 8>& d, A a, B b, C c) {}
template <class T>
inline void simdgroup_multiply(thread simdgroup_matrix<T, 8, 8>& d, simdgroup_matrix<T, 8, 8> a,
                               simdgroup_matrix<T, 8, 8> b) {}
#else
template <class D, class A, class B, class C>
inline void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8>& d,
                                          thread const simdgroup_matrix<A, 8, 8>& a,
                                          thread const simdgroup_matrix<B, 8, 8>& b,
                                          thread const simdgroup_matrix<C, 8, 8>& c
#ifndef MSL_PTX
                                          ,
                                          uint line = __builtin_LINE()
#endif
) {
  uint r, q;
  d.__rc(r, q);
  float s0 = float(c.__e[0]), s1 = float(c.__e[1]);
  using M = simdgroup_matrix<D, 8, 8>;
#ifdef MSL_PTX
#pragma clang loop unroll(full)
  for (uint k = 0; k < 8; ++k) {
    uint la = M::__at(r, k), l0 = M::__at(k, q), l1 = M::__at(k, q + 1);
    float a0 = __shfl(float(a.__e[0]), la), a1 = __shfl(float(a.__e[1]), la), av = k & 1 ? a1 : a0;
    float b00 = __shfl(float(b.__e[0]), l0), b11 = __shfl(float(b.__e[1]), l1);
    s0 = __builtin_fmaf(av, b00, s0);
    s1 = __builtin_fmaf(av, b11, s1);
  }
#else
  struct P {
    A a[2];
    B b[2];
  } p = {{a.__e[0], a.__e[1]}, {b.__e[0], b.__e[1]}};
  __sg<P> g(p, line);
  for (uint k = 0; k < 8; ++k) {
    float av = float(g.at(M::__at(r, k)).a[k & 1]);
    s0 = __builtin_fmaf(av, float(g.at(M::__at(k, q)).b[0]), s0);
    s1 = __builtin_fmaf(av, float(g.at(M::__at(k, q + 1)).b[1]), s1);
  }
#endif
  d.__e[0] = D(s0);
  d.__e[1] = D(s1);
}
#endif
}  // namespace metal
