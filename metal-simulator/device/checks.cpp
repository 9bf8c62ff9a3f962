// Checks of every access, as compiled in by -fsanitize=thread: bounds, memory that nobody wrote, data races.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "state.h"

namespace msl {

void fail(const char* fmt, ...) {
  if (S.failed) return;
  va_list a;
  va_start(a, fmt);
  int n = snprintf(S.err, sizeof S.err, "%s: ", S.k ? S.k->name : "?");
  vsnprintf(S.err + n, sizeof S.err - n, fmt, a);
  va_end(a);
  S.failed = true;
}
const char* where(const void* p, char* b, size_t n) {
  if ((char*)p >= S.arena && (char*)p < S.arena + sizeof S.arena) {
    snprintf(b, n, "threadgroup memory, byte %ld", long((char*)p - S.arena));
    return b;
  }
  for (auto& r : S.reg)
    if ((char*)p >= r.lo - 4096 && (char*)p < r.hi + 4096) {
      snprintf(b, n, "buffer %d, byte %ld of %ld", int(&r - &S.reg[0]), long((char*)p - r.lo), long(r.hi - r.lo));
      return b;
    }
  snprintf(b, n, "address %p", p);
  return b;
}
void race(const char* what, uint32_t other, const void* p) {
  char b[128];
  uint32_t me = S.tgi * 1024 + S.cur->tid;
  fail(
      "race: %s by thread %u of threadgroup %u with thread %u of threadgroup %u, no barrier between them orders it "
      "(%s)",
      what, me % 1024, me / 1024, other % 1024, other / 1024, where(p, b, sizeof b));
}
inline bool ordered(uint32_t other, uint16_t otg, uint16_t osg, uint16_t ep) {
  uint32_t me = S.tgi * 1024 + S.cur->tid;
  if (other == me) return true;
  if (other / 1024 != S.tgi) return false;
  if (otg < ep) return true;
  return (other % 1024) / 32 == S.cur->sg && osg < S.sg[S.cur->sg].epoch;
}
void touch(Shadow* s, const void* p, size_t n, bool wr, bool atomic, uint16_t ep) {
  uint32_t me = S.tgi * 1024 + S.cur->tid + 1;
  uint16_t se = S.sg[S.cur->sg].epoch;
  for (size_t i = 0; i < n; ++i, ++s) {
    if (s->w && !(atomic && s->watomic) && !ordered(s->w - 1, s->wtg, s->wsg, ep))
      return race(wr ? "write after write" : "read after write", s->w - 1, (const char*)p + i);
    if (wr && s->r && !(atomic && s->ratomic)) {
      if (s->rmultitg) return race("write after reads by several threadgroups", s->r - 1, (const char*)p + i);
      if (!ordered(s->r - 1, s->rtg, s->rsg, ep) || (s->rmulti && s->rtg == ep && s->rsg == se))
        return race("write after read", s->r - 1, (const char*)p + i);
    }
    if (wr) {
      s->w = me;
      s->wtg = ep;
      s->wsg = se;
      s->watomic = atomic;
      s->init = 1;
      if (!s->rmultitg) s->r = 0, s->rmulti = 0;
    }
    if (!wr || atomic) {
      if (s->r && s->r != me) {
        if ((s->r - 1) / 1024 != S.tgi) s->rmultitg = 1;
        s->rmulti = s->rtg == ep && s->rsg == se ? 1 : s->rmulti;
      }
      s->r = me;
      s->rtg = ep;
      s->rsg = se;
      s->ratomic = atomic;
    }
  }
}
void access(void* p, size_t n, bool wr, bool atomic) {
  if (!S.cur || !S.check || S.failed) return;
  if (++S.accesses > SPIN_LIMIT) fail("a thread spins: it waits for something that no other thread does");
  char* a = (char*)p;
  if (a >= S.cur->stack && a < S.cur->stack + STACK) return;
  if (!wr && ((a >= (char*)&S.f[0] && a < (char*)(&S.f[0] + S.f.size())) || (a >= (char*)S.ptr && a < S.err) ||
              (a >= (char*)&S.sg[0] && a < (char*)(&S.sg[0] + S.sg.size()))))
    return;  // the argument table, the lanes' slots
  char b[128];
  if (a >= S.arena && a < S.arena + sizeof S.arena) {
    size_t o = a - S.arena;
    for (size_t i = 0; i < n; ++i)
      if (!S.arena_ok[o + i]) {
        fail("%s outside of threadgroup variables (%s)", wr ? "write" : "read", where(a, b, sizeof b));
        break;
      }
    if (!wr && !S.failed)
      for (size_t i = 0; i < n; ++i)
        if (!S.arena_sh[o + i].init) {
          fail("read of threadgroup memory that no thread has written (%s)", where(a, b, sizeof b));
          break;
        }
    if (!S.failed) touch(S.arena_sh + o, a, n, wr, atomic, S.ep_tg);
  } else {
    Region* r = nullptr;
    for (auto& x : S.reg)
      if (a >= x.lo && a < x.hi && x.bound) {
        r = &x;
        break;
      }
    if (r && a + n <= r->hi) {
      if (wr && r->constant)
        fail("write to a constant buffer (%s)", where(a, b, sizeof b));
      else
        touch(&r->sh[a - r->lo], a, n, wr, atomic, S.ep_dev);
    } else if (!(a >= S.mod_lo && a + n <= S.mod_hi && !wr))
      fail("%s of %zu bytes out of bounds (%s)", wr ? "write" : "read", n, where(a, b, sizeof b));
  }
  if (S.failed) {
    S.cur->st = DONE;
    to_scheduler();
  }
}
}  // namespace msl

extern "C" {
using msl::access;
// clang -fsanitize=thread calls these; no runtime of a sanitizer is linked.
void __tsan_init() {}
#define RW(n)                                                            \
  void __tsan_read##n(void* p) { access(p, n, false, false); }           \
  void __tsan_write##n(void* p) { access(p, n, true, false); }           \
  void __tsan_unaligned_read##n(void* p) { access(p, n, false, false); } \
  void __tsan_unaligned_write##n(void* p) { access(p, n, true, false); } \
  void __tsan_read_write##n(void* p) {                                   \
    access(p, n, false, false);                                          \
    access(p, n, true, false);                                           \
  }                                                                      \
  void __tsan_unaligned_read_write##n(void* p) {                         \
    access(p, n, false, false);                                          \
    access(p, n, true, false);                                           \
  }
RW(1)
RW(2)
RW(4)
RW(8)
RW(16)
void* __tsan_memcpy(void* d, const void* s, size_t n) {
  access((void*)s, n, false, false);
  access(d, n, true, false);
  return memcpy(d, s, n);
}
void* __tsan_memmove(void* d, const void* s, size_t n) {
  access((void*)s, n, false, false);
  access(d, n, true, false);
  return memmove(d, s, n);
}
void* __tsan_memset(void* d, int c, size_t n) {
  access(d, n, true, false);
  return memset(d, c, n);
}
#define AT(bits, T)                                                        \
  T __tsan_atomic##bits##_load(const T* p, int) {                          \
    access((void*)p, sizeof(T), false, true);                              \
    return *p;                                                             \
  }                                                                        \
  void __tsan_atomic##bits##_store(T* p, T v, int) {                       \
    access(p, sizeof(T), true, true);                                      \
    *p = v;                                                                \
  }                                                                        \
  T __tsan_atomic##bits##_exchange(T* p, T v, int) {                       \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = v;                                                                \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_fetch_add(T* p, T v, int) {                      \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = o + v;                                                            \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_fetch_sub(T* p, T v, int) {                      \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = o - v;                                                            \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_fetch_and(T* p, T v, int) {                      \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = o & v;                                                            \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_fetch_or(T* p, T v, int) {                       \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = o | v;                                                            \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_fetch_xor(T* p, T v, int) {                      \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    *p = o ^ v;                                                            \
    return o;                                                              \
  }                                                                        \
  T __tsan_atomic##bits##_compare_exchange_val(T* p, T c, T v, int, int) { \
    access(p, sizeof(T), true, true);                                      \
    T o = *p;                                                              \
    if (o == c) *p = v;                                                    \
    return o;                                                              \
  }
AT(8, uint8_t) AT(16, uint16_t) AT(32, uint32_t) AT(64, uint64_t)
}
