// Runs the grid of a dispatch: one threadgroup after the other, its threads as fibers.
#include "executor.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "state.h"

namespace msl {
namespace {

uint64_t barriers = 0;  // of this threadgroup
int jitter = 0;         // the most units in the last place that a mathematical function is off

// What Metal wants of a buffer's offset: the alignment of the element, and 4 bytes for constants.
size_t offset_alignment(const ArgI& a) {
  const size_t natural = std::min<size_t>(a.elem & (~a.elem + 1), 16);
  return std::max<size_t>(natural, (a.flags & 3) == 3 ? 4 : 1);
}

void bind_buffer(const ArgI& a, const msl_buf& b) {
  if (!b.base) return fail("buffer %d (%s) is not bound", a.index, a.name);
  if (b.offset + a.elem > b.length && (a.flags & 1)) {
    return fail("buffer %d (%s) has %zu bytes after the offset, the argument needs %u", a.index, a.name,
                b.length - b.offset, a.elem);
  }
  if (b.offset % offset_alignment(a) != 0) {
    return fail("buffer %d (%s) has the offset %zu, which is no multiple of %zu", a.index, a.name, b.offset,
                offset_alignment(a));
  }
  Region& r = S.reg[a.index];
  r.lo = (char*)b.base;
  r.hi = (char*)b.base + b.length;
  r.bound = true;
  r.constant = (a.flags & 3) == 3;
  if (S.check) r.sh.assign(b.length, Shadow{});
}

void bind(const msl_fn& f, const msl_buf bufs[31], const uint32_t tgmem[31]) {
  memset(S.tgp, 0, sizeof S.tgp);
  S.reg.assign(31, {});
  for (int i = 0; i < 31; ++i) S.ptr[i] = bufs[i].base ? (char*)bufs[i].base + bufs[i].offset : nullptr;
  for (int i = 0; i < f.k->nargs && !S.failed; ++i) {
    const ArgI& a = f.k->args[i];
    if (a.kind == 0) bind_buffer(a, bufs[a.index]);
    if (a.kind != 1) continue;
    if (!tgmem[a.index]) fail("threadgroup memory %d (%s) has no length", a.index, a.name);
    if (tgmem[a.index] % 16) fail("threadgroup memory length %u is not a multiple of 16", tgmem[a.index]);
  }
  for (int i = 0; i < 31; ++i)  // the same buffer bound twice is one region: the first shadow counts
    for (int j = 0; j < i; ++j)
      if (S.reg[i].bound && S.reg[j].bound && S.reg[i].lo == S.reg[j].lo) {
        S.reg[j].hi = std::max(S.reg[i].hi, S.reg[j].hi);
        S.reg[i].bound = false;
        S.reg[j].constant &= S.reg[i].constant;
      }
  int i = 0;
  for (auto* c = f.lib->fc; c->name; ++c, ++i)
    if (!f.consts[i].empty()) memcpy(c->at, f.consts[i].data(), c->size);
}

struct Grid {
  msl_dim group, groups, threads;
  bool exact;  // dispatchThreads: threadgroups at the edge are smaller
};

// Fills in the threads of one threadgroup and their built-in values; returns how many.
uint32_t start_group(const Grid& g, const msl_fn& f, const uint32_t tgmem[31], uint64_t index) {
  const uint32_t gx = index % g.groups.x, gy = index / g.groups.x % g.groups.y, gz = index / g.groups.x / g.groups.y;
  msl_dim d = g.group;
  if (g.exact) {
    d = {std::min(d.x, g.threads.x - gx * d.x), std::min(d.y, g.threads.y - gy * d.y),
         std::min(d.z, g.threads.z - gz * d.z)};
  }
  const uint32_t t = d.x * d.y * d.z, nsg = (t + 31) / 32;
  S.tgi = index;
  S.ep_dev = S.ep_tg = 1;
  barriers = 0;
  if (!S.vars.empty() || S.arena_top == 0) memset(S.arena_ok, 0, sizeof S.arena_ok);
  S.arena_top = REDZONE;
  S.vars.clear();
  S.tg_bytes = 0;
  for (int i = 0; i < f.k->nargs; ++i) {
    const ArgI& a = f.k->args[i];
    if (a.kind == 1) S.tgp[a.index] = __msl_rt_tg(&a, tgmem[a.index], 16);
  }
  for (uint32_t i = 0; i < nsg; ++i) S.sg[i].epoch = 1;
  for (uint32_t i = 0; i < t; ++i) {
    Fiber& x = S.f[i];
    x.tid = i;
    x.lane = i % 32;
    x.sg = i / 32;
    x.st = READY;
    x.sp = nullptr;
    x.stack = nullptr;
    const uint32_t px = i % d.x, py = i / d.x % d.y, pz = i / d.x / d.y;
    const uint32_t b[12][3] = {{gx * g.group.x + px, gy * g.group.y + py, gz * g.group.z + pz},
                               {px, py, pz},
                               {gx, gy, gz},
                               {d.x, d.y, d.z},
                               {g.threads.x, g.threads.y, g.threads.z},
                               {g.groups.x, g.groups.y, g.groups.z},
                               {i},
                               {i % 32},
                               {i / 32},
                               {32},
                               {nsg},
                               {g.group.x, g.group.y, g.group.z}};
    memcpy(x.c.b, b, sizeof b);
    x.c.buf = S.ptr;
    x.c.tg = S.tgp;
  }
  return t;
}

// Lets the threads of a simdgroup go on which wait at the first of its lines; false if none waits.
bool release_simdgroup(uint32_t g, uint32_t t) {
  uint32_t line = ~0u;
  State st = DONE;
  bool mixed = false, barrier = false;
  const uint32_t end = std::min(t, g * 32 + 32);
  for (uint32_t i = g * 32; i < end; ++i) {
    Fiber& x = S.f[i];
    if (x.st == AT_BARRIER) barrier = true;
    if (x.st != AT_SIMD && x.st != AT_SIMD_BARRIER) continue;
    if (line != ~0u && (x.line != line || x.st != st)) mixed = true;
    if (x.line < line) line = x.line, st = x.st;
  }
  if (line == ~0u) return false;
  if (st == AT_SIMD_BARRIER && (mixed || barrier)) {
    fail("simdgroup_barrier at line %u is not reached by all threads of the simdgroup", line);
    return false;
  }
  uint32_t mask = 0;
  for (uint32_t i = g * 32; i < end; ++i) {
    Fiber& x = S.f[i];
    if (x.st != st || x.line != line) continue;
    mask |= 1u << x.lane;
    x.st = READY;
    if (st == AT_SIMD) memcpy(S.sg[g].out[x.lane], S.sg[g].in[x.lane], x.flags);
  }
  if (st == AT_SIMD) S.sg[g].mask = mask;
  if (st == AT_SIMD_BARRIER) ++S.sg[g].epoch;
  return true;
}

// Lets the threadgroup pass its barrier, if all of its threads have come to the same one.
void release_barrier(uint32_t t) {
  uint32_t line = 0, at = 0, flags = 0;
  for (uint32_t i = 0; i < t; ++i) {
    Fiber& x = S.f[i];
    if (x.st != AT_BARRIER) continue;
    ++at;
    if (line && x.line != line) {
      return fail("threads of one threadgroup wait at different barriers, lines %u and %u", line, x.line);
    }
    line = x.line;
    flags = x.flags;
  }
  if (at != t) {
    return fail("threadgroup_barrier at line %u is reached by %u threads of %u: the others have returned", line, at, t);
  }
  if (++barriers > SPIN_LIMIT / 1000) return fail("a threadgroup spins: it passed %lu barriers", barriers);
  if (flags & 1) ++S.ep_dev;
  if (flags & 2) ++S.ep_tg;
  for (uint32_t i = 0; i < t; ++i) S.f[i].st = READY;
}

void run_group(uint32_t t, const std::vector<uint32_t>& order) {
  std::vector<char*> free_stacks(S.stacks.begin(), S.stacks.end());
  uint32_t live = t;
  while (!S.failed) {
    for (uint32_t i : order) {
      if (S.f[i].st != READY) continue;
      run_fiber(S.f[i], free_stacks);
      if (S.f[i].st == DONE) --live;
      if (S.failed) return;
    }
    if (live == 0) return;
    bool released = false;  // simdgroups first, then the barrier of the threadgroup
    for (uint32_t g = 0; g < (t + 31) / 32 && !S.failed; ++g) released |= release_simdgroup(g, t);
    if (!released && !S.failed) release_barrier(t);
  }
}

// Results too small for normal floats become 0 while this lives, operands too: GPUs may do that, hosts do not.
class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

void run_grid(const msl_fn& f, const uint32_t tgmem[31], const Grid& g) {
  const uint64_t count = uint64_t(g.groups.x) * g.groups.y * g.groups.z;
  if (S.f.size() < 1024) S.f.resize(1024), S.sg.resize(32);
  reserve_stacks(g.group.x * g.group.y * g.group.z);
  unsigned random = S.seed;
  std::vector<uint32_t> order;
  for (uint64_t i = 0; i < count && !S.failed; ++i) {
    const uint32_t t = start_group(g, f, tgmem, S.seed ? count - 1 - i : i);
    order.resize(t);
    for (uint32_t j = 0; j < t; ++j) order[j] = j;
    for (uint32_t j = S.seed ? t : 0; j > 1; --j) {
      random ^= random << 13;
      random ^= random >> 17;
      random ^= random << 5;
      std::swap(order[j - 1], order[random % j]);
    }
    if (!S.failed) run_group(t, order);
    S.cur = nullptr;
  }
}

}  // namespace
}  // namespace msl

// A function's result, some units in the last place off: how many depends on the number alone.
extern "C" float __msl_rt_jitter(float x) {
  if (msl::jitter == 0) return x;
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t exponent = bits >> 23 & 255;
  if (exponent == 0 || exponent == 255 || (bits << 1) == 0x7F000000u) return x;  // 0, tiny, infinite, NaN, 1: exact
  const int off = static_cast<int>(bits * 2654435761u >> 16) % (2 * msl::jitter + 1) - msl::jitter;
  if (((bits + static_cast<uint32_t>(off)) >> 23 & 255) == 255) return x;
  bits += static_cast<uint32_t>(off);
  memcpy(&x, &bits, sizeof x);
  return x;
}

// What clang calls to make a bfloat of a float, where the compiler's library does not have it.
extern "C" __bf16 __truncsfbf2(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return __builtin_bit_cast(__bf16, static_cast<uint16_t>(x != x ? 0x7FC0 : nearest));
}

extern "C" int msl_dispatch(msl_fn* f, const msl_buf bufs[31], const uint32_t tgmem[31], msl_dim grid, msl_dim tg,
                            int exact, char* err, size_t n) {
  using namespace msl;
  S.k = f->k;
  S.failed = false;
  S.cur = nullptr;
  S.mod_lo = f->lib->lo;
  S.mod_hi = f->lib->hi;
  const uint32_t threads = tg.x * tg.y * tg.z, limit = msl_max_threads(f);
  if (!threads || !grid.x || !grid.y || !grid.z) fail("a dimension is 0");
  if (threads > limit) fail("%u threads in a threadgroup, the limit is %u", threads, limit);
  if (!S.failed) bind(*f, bufs, tgmem);
  if (!S.failed) {
    const msl_dim whole = {(grid.x + tg.x - 1) / tg.x, (grid.y + tg.y - 1) / tg.y, (grid.z + tg.z - 1) / tg.z};
    const msl_dim all = {grid.x * tg.x, grid.y * tg.y, grid.z * tg.z};
    record_before(*f, bufs, grid, tg, exact);
    std::optional<FlushDenormals> flush;
    if (getenv("METALSIM_FLUSH")) flush.emplace();
    jitter = getenv("METALSIM_JITTER") ? atoi(getenv("METALSIM_JITTER")) : 0;
    run_grid(*f, tgmem, exact ? Grid{tg, whole, grid, true} : Grid{tg, grid, all, false});
  }
  if (!S.failed) record_after(*f, bufs);
  if (S.failed) snprintf(err, n, "%s", S.err);
  S.cur = nullptr;
  return S.failed ? 1 : 0;
}
