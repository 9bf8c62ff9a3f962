// A copy whose stores go past the caches.
#include <stddef.h>

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

#if defined(__SSE2__)
typedef float Line __attribute__((vector_size(NEEDLE_VECTOR_BYTES), may_alias));

inline __attribute__((always_inline)) void store_past(Line* to, Line v) {
#if defined(__clang__)
  __builtin_nontemporal_store(v, to);
#elif NEEDLE_VECTOR_BYTES == 64
  __builtin_ia32_movntps512(reinterpret_cast<float*>(to), v);
#elif NEEDLE_VECTOR_BYTES == 32
  __builtin_ia32_movntps256(reinterpret_cast<float*>(to), v);
#else
  __builtin_ia32_movntps(reinterpret_cast<float*>(to), v);
#endif
}

constexpr int64_t kLine = 64;     // bytes that a processor writes to memory at once, if it has them together
constexpr int64_t kAhead = 1024;  // bytes; what is read from memory is asked for so far ahead

void stream(const void* src, void* dst, int64_t nbytes) {
  const unsigned char* from = static_cast<const unsigned char*>(src);
  unsigned char* to = static_cast<unsigned char*>(dst);
  const int64_t misaligned = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(to) % kLine);
  const int64_t head = misaligned < nbytes ? misaligned : nbytes, end = head + (nbytes - head) / kLine * kLine;
  __builtin_memcpy(to, from, static_cast<size_t>(head));
  for (int64_t i = head; i < end; i += kLine) {
    __builtin_prefetch(from + i + kAhead);
    Line line[kLine / NEEDLE_VECTOR_BYTES];
    __builtin_memcpy(line, from + i, kLine);
    for (int k = 0; k < kLine / NEEDLE_VECTOR_BYTES; ++k) store_past(reinterpret_cast<Line*>(to + i) + k, line[k]);
  }
  __builtin_memcpy(to + end, from + end, static_cast<size_t>(nbytes - end));
}

void stream_end() { __builtin_ia32_sfence(); }
#endif

}  // namespace

void fill_stream(Kernels& table) {
#if defined(__SSE2__)
  table.stream = stream;
  table.stream_end = stream_end;
#else
  table.stream = nullptr;
#endif
}

NEEDLE_END
