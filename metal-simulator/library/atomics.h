// Atomics: relaxed only, as in Metal.
#pragma once
#include "types.h"
namespace metal {
template <class T> struct atomic {
  T __v;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
typedef atomic<bool> atomic_bool;
#define MSL_ATOM(AS)                                                                                             \
  template <class T> inline T atomic_load_explicit(const volatile AS atomic<T>* o, memory_order) {               \
    T r;                                                                                                         \
    __atomic_load((AS T*)&o->__v, &r, 0);                                                                        \
    return r;                                                                                                    \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline void atomic_store_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {     \
    __atomic_store((AS T*)&o->__v, &v, 0);                                                                       \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_exchange_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {     \
    T r;                                                                                                         \
    __atomic_exchange((AS T*)&o->__v, &v, &r, 0);                                                                \
    return r;                                                                                                    \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline bool atomic_compare_exchange_weak_explicit(volatile AS atomic<T>* o, thread T* e,                       \
                                                    typename __msl::unref<T>::t v, memory_order, memory_order) { \
    return __atomic_compare_exchange((AS T*)&o->__v, e, &v, false, 0, 0);                                        \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_add_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {    \
    return __atomic_fetch_add((AS T*)&o->__v, v, 0);                                                             \
  }                                                                                                              \
  inline float atomic_fetch_add_explicit(volatile AS atomic<float>* o, float v, memory_order) {                  \
    uint a, b;                                                                                                   \
    do {                                                                                                         \
      a = __atomic_load_n((AS uint*)&o->__v, 0);                                                                 \
      b = __builtin_bit_cast(uint, __builtin_bit_cast(float, a) + v);                                            \
    } while (!__atomic_compare_exchange_n((AS uint*)&o->__v, &a, b, false, 0, 0));                               \
    return __builtin_bit_cast(float, a);                                                                         \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_sub_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {    \
    return __atomic_fetch_sub((AS T*)&o->__v, v, 0);                                                             \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_or_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {     \
    return __atomic_fetch_or((AS T*)&o->__v, v, 0);                                                              \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_and_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {    \
    return __atomic_fetch_and((AS T*)&o->__v, v, 0);                                                             \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_max_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {    \
    return __atomic_fetch_max((AS T*)&o->__v, v, 0);                                                             \
  }                                                                                                              \
  template <class T>                                                                                             \
  inline T atomic_fetch_min_explicit(volatile AS atomic<T>* o, typename __msl::unref<T>::t v, memory_order) {    \
    return __atomic_fetch_min((AS T*)&o->__v, v, 0);                                                             \
  }
MSL_OBJ_AS(MSL_ATOM)

}  // namespace metal
