// Barriers and simdgroup functions. `line` is the line of the call, which tells barriers apart.
#pragma once
#include "types.h"
namespace metal {
#if defined(MSL_STRICT)
void threadgroup_barrier(mem_flags f);
void simdgroup_barrier(mem_flags f);
template <class T> T __simd_any(T v);
#define MSL_SIMD1(name) \
  template <class T> T name(T v) { return v; }
#define MSL_SIMD2(name) \
  template <class T> T name(T v, ushort k) { return v; }
MSL_SIMD2(simd_shuffle);
MSL_SIMD2(simd_shuffle_down);
MSL_SIMD2(simd_shuffle_up);
MSL_SIMD2(simd_shuffle_xor);
MSL_SIMD2(simd_broadcast);
bool simd_any(bool);
bool simd_all(bool);
#elif defined(MSL_PTX)
inline void threadgroup_barrier(mem_flags) { __nvvm_bar_sync(0); }
inline void simdgroup_barrier(mem_flags) { __nvvm_bar_warp_sync(-1u); }
inline uint __msl_lane() { return __nvvm_read_ptx_sreg_laneid(); }
// All lanes take part, as they do in our kernels: who comes early waits.
template <class T> inline T __shfl(T v, uint k) {
  static_assert(sizeof(T) <= 4, "");
  int x = 0;
  __builtin_memcpy(&x, &v, sizeof(T));
  x = __nvvm_shfl_sync_idx_i32(-1u, x, k, 0x1f);
  __builtin_memcpy(&v, &x, sizeof(T));
  return v;
}
template <class T> inline T simd_shuffle(T v, ushort k) { return __shfl(v, k); }
template <class T> inline T simd_broadcast(T v, ushort k) { return __shfl(v, k); }
template <class T> inline T simd_shuffle_down(T v, ushort d) {
  uint l = __msl_lane() + d;
  return __shfl(v, l < 32 ? l : __msl_lane());
}
template <class T> inline T simd_shuffle_up(T v, ushort d) {
  uint l = __msl_lane();
  return __shfl(v, l >= d ? l - d : l);
}
template <class T> inline T simd_shuffle_xor(T v, ushort d) { return __shfl(v, __msl_lane() ^ d); }
#define MSL_RED(name, e)                  \
  template <class T> inline T name(T v) { \
    for (uint d = 16; d; d >>= 1) {       \
      T o = __shfl(v, __msl_lane() ^ d);  \
      v = e;                              \
    }                                     \
    return v;                             \
  }
MSL_RED(simd_sum, v + o);
MSL_RED(simd_product, v* o);
MSL_RED(simd_max, o > v ? o : v);
MSL_RED(simd_min, o < v ? o : v);

#else
inline void threadgroup_barrier(mem_flags f, uint line = __builtin_LINE()) { __msl_rt_barrier(uint(f), line); }
inline void simdgroup_barrier(mem_flags f, uint line = __builtin_LINE()) { __msl_rt_simd_barrier(uint(f), line); }
template <class T> struct __sg {
  const unsigned char* s;
  uint mask;
  __sg(T v, uint line) {
    static_assert(sizeof(T) <= 64, "");
    mask = __msl_rt_simd(&v, sizeof(T), line, &s);
  }
  T at(uint k) const {
    T r;
    __builtin_memcpy(&r, s + 64 * (k & 31), sizeof(T));
    return r;
  }
  bool on(uint k) const { return k < 32 && (mask >> k & 1); }
};
// a shuffle that reads an inactive lane is undefined in MSL: the executor hands back poison there
template <class T> inline T __poison() {
  T r;
  __builtin_memset(&r, 0xfb, sizeof(T));
  return r;
}
#define MSL_SHUF(name, e)                                                         \
  template <class T> inline T name(T v, ushort k, uint line = __builtin_LINE()) { \
    __sg<T> g(v, line);                                                           \
    uint l = __msl_rt_lane(), j = e;                                              \
    (void)l;                                                                      \
    return g.on(j) ? g.at(j) : __poison<T>();                                     \
  }
MSL_SHUF(simd_shuffle, k);
MSL_SHUF(simd_broadcast, k);
MSL_SHUF(simd_shuffle_xor, l ^ k);
MSL_SHUF(simd_shuffle_down, l + k < 32 ? l + k : l);
MSL_SHUF(simd_shuffle_up, l >= k ? l - k : l);

#define MSL_RED(name, e)                                                \
  template <class T> inline T name(T v, uint line = __builtin_LINE()) { \
    __sg<T> g(v, line);                                                 \
    bool f = true;                                                      \
    T r = v;                                                            \
    for (uint k = 0; k < 32; ++k)                                       \
      if (g.on(k)) {                                                    \
        T o = g.at(k);                                                  \
        if (f)                                                          \
          r = o, f = false;                                             \
        else {                                                          \
          T v = r;                                                      \
          r = e;                                                        \
        }                                                               \
      }                                                                 \
    return r;                                                           \
  }
MSL_RED(simd_sum, v + o);
MSL_RED(simd_product, v* o);
MSL_RED(simd_max, o > v ? o : v);
MSL_RED(simd_min, o < v ? o : v);
MSL_RED(simd_and, v& o);
MSL_RED(simd_or, v | o);
MSL_RED(simd_xor, v ^ o);

#define MSL_SCAN(name, lim, z)                                          \
  template <class T> inline T name(T v, uint line = __builtin_LINE()) { \
    __sg<T> g(v, line);                                                 \
    uint l = __msl_rt_lane();                                           \
    T r = T(z);                                                         \
    for (uint k = 0; k lim l; ++k)                                      \
      if (g.on(k)) r = r + g.at(k);                                     \
    return r;                                                           \
  }
MSL_SCAN(simd_prefix_inclusive_sum, <=, 0);
MSL_SCAN(simd_prefix_exclusive_sum, <, 0);
inline bool simd_any(bool b, uint line = __builtin_LINE()) {
  __sg<bool> g(b, line);
  for (uint k = 0; k < 32; ++k)
    if (g.on(k) && g.at(k)) return true;
  return false;
}
inline bool simd_all(bool b, uint line = __builtin_LINE()) {
  __sg<bool> g(b, line);
  for (uint k = 0; k < 32; ++k)
    if (g.on(k) && !g.at(k)) return false;
  return true;
}
#endif
#if defined(MSL_STRICT)
MSL_SIMD1(simd_sum);
MSL_SIMD1(simd_product);
MSL_SIMD1(simd_max);
MSL_SIMD1(simd_min);
MSL_SIMD1(simd_prefix_inclusive_sum);
MSL_SIMD1(simd_prefix_exclusive_sum);

#endif
}  // namespace metal
