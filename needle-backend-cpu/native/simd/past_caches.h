// Stores that go past the caches, where the processor has such.
#ifndef NEEDLE_CPU_PAST_CACHES_H
#define NEEDLE_CPU_PAST_CACHES_H

#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

typedef float Line __attribute__((vector_size(NEEDLE_VECTOR_BYTES), may_alias));

#if defined(__SSE2__)
constexpr bool kPastCaches = true;
#else
constexpr bool kPastCaches = false;
#endif

// `to` is aligned to the vector. Elsewhere than on x86 an ordinary store.
inline __attribute__((always_inline)) void store_past(Line* to, Line v) {
#if defined(__clang__)
  __builtin_nontemporal_store(v, to);
#elif defined(__SSE2__) && NEEDLE_VECTOR_BYTES == 64
  __builtin_ia32_movntps512(reinterpret_cast<float*>(to), v);
#elif defined(__SSE2__) && NEEDLE_VECTOR_BYTES == 32
  __builtin_ia32_movntps256(reinterpret_cast<float*>(to), v);
#elif defined(__SSE2__)
  __builtin_ia32_movntps(reinterpret_cast<float*>(to), v);
#else
  *to = v;
#endif
}

}  // namespace
NEEDLE_END

#endif  // NEEDLE_CPU_PAST_CACHES_H
