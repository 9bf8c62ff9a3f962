// A GPU thread is a fiber: it runs until it waits at a barrier or in a simdgroup function. Also what kernels call.
#include <sys/mman.h>

#include <cstring>

#include "state.h"

#if !defined(__x86_64__)
#error "the Metal simulator switches fibers on x86-64 only"
#endif

extern "C" void msl_swap(void** from, void* to);
asm(R"(
.text
.globl msl_swap
.hidden msl_swap
.type msl_swap,@function
msl_swap:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size msl_swap,.-msl_swap
)");

namespace msl {

Sim S;

void to_scheduler() {
  ++msl_switches;
  S.accesses = 0;
  Fiber* me = S.cur;
  msl_swap(&me->sp, S.sched);
}

static void block(State state, uint32_t line, uint32_t flags) {
  S.cur->st = state;
  S.cur->line = line;
  S.cur->flags = flags;
  to_scheduler();
  if (S.failed) {
    S.cur->st = DONE;
    to_scheduler();
  }
}

static void entry() {
  S.k->run(&S.cur->c);
  S.cur->st = DONE;
  to_scheduler();
  __builtin_unreachable();
}

void run_fiber(Fiber& fiber, std::vector<char*>& free_stacks) {
  if (fiber.stack == nullptr) {
    fiber.stack = free_stacks.back();
    free_stacks.pop_back();
    void** sp = reinterpret_cast<void**>(fiber.stack + STACK);
    *--sp = nullptr;  // keeps the stack 16-byte aligned at entry
    *--sp = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--sp = nullptr;
    fiber.sp = sp;
  }
  S.cur = &fiber;
  msl_swap(&S.sched, fiber.sp);
  if (fiber.st == DONE) free_stacks.push_back(fiber.stack);
}

void reserve_stacks(size_t count) {
  while (S.stacks.size() < count) {
    void* p = mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(p, 4096, PROT_NONE);
    S.stacks.push_back(static_cast<char*>(p) + 4096);
  }
}

}  // namespace msl

extern "C" {
using namespace msl;
uint64_t msl_switches = 0;

void* __msl_rt_tg(const void* key, size_t size, size_t align) {
  for (auto& v : S.vars)
    if (v.key == key) return S.arena + v.off;
  size_t off = (S.arena_top + align - 1) & ~(align - 1);
  S.tg_bytes += (size + 15) & ~size_t(15);
  if (S.tg_bytes > TG_LIMIT) {
    fail("threadgroup memory of %zu bytes is over the limit of 32768", S.tg_bytes);
    if (S.cur == nullptr) return S.arena;
    S.cur->st = DONE;
    to_scheduler();
  }
  memset(S.arena + off, 0xfb, size);  // poison: a NaN, nothing zeroes it on a GPU
  memset(S.arena_ok + off, 1, size);
  memset((void*)(S.arena_sh + off), 0, size * sizeof(Shadow));
  S.arena_top = off + size + REDZONE;
  S.vars.push_back({key, off, size});
  return S.arena + off;
}

void __msl_rt_barrier(unsigned flags, unsigned line) { block(AT_BARRIER, line, flags); }
void __msl_rt_simd_barrier(unsigned flags, unsigned line) { block(AT_SIMD_BARRIER, line, flags); }
unsigned __msl_rt_lane() { return S.cur->lane; }

unsigned __msl_rt_simd(const void* v, unsigned size, unsigned line, const unsigned char** slots) {
  Sg& g = S.sg[S.cur->sg];
  memcpy(g.in[S.cur->lane], v, size);
  block(AT_SIMD, line, size);
  *slots = g.out[0];  // stays until every released lane waits again
  return g.mask;
}
}
