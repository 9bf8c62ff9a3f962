// What the executor's parts share: threads as fibers, simdgroups, shadow memory, and the state of the dispatch that
// runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "executor.h"

namespace msl {
struct Ctx {
  void* const* buf;
  void* const* tg;
  uint32_t b[16][3];
};
struct ArgI {
  int kind, index;
  unsigned elem, flags;
  const char* name;
};
struct Kern {
  const char* name;
  void (*run)(const Ctx*);
  const ArgI* args;
  int nargs;
  unsigned long fconsts;
};
struct FConst {
  const char* name;
  int index;
  unsigned size;
  void* at;
  char* defined;
};

enum State : uint8_t { READY, AT_BARRIER, AT_SIMD, AT_SIMD_BARRIER, DONE };
struct Fiber {
  void* sp;
  char* stack;
  State st;
  uint32_t line, flags, lane, sg, tid;
  Ctx c;
};
constexpr uint64_t SPIN_LIMIT = 400000000;  // accesses without a barrier, or barriers
constexpr size_t STACK = 64 << 10, TG_LIMIT = 32768, REDZONE = 32;

struct Sg {
  alignas(16) unsigned char in[32][64], out[32][64];
  uint32_t mask;
  uint16_t epoch;
};
// one record for each byte: who wrote it last, who read it last, and in which barrier epoch
struct Shadow {
  uint32_t w, r;
  uint16_t wtg, wsg, rtg, rsg;
  uint8_t watomic : 1, ratomic : 1, rmulti : 1, rmultitg : 1, init : 1;
};
struct Region {
  char *lo, *hi;
  std::vector<Shadow> sh;
  bool bound, constant;
};

struct Sim {
  std::vector<Fiber> f;
  std::vector<char*> stacks;
  Fiber* cur = nullptr;
  void* sched = nullptr;
  const Kern* k = nullptr;
  std::vector<Sg> sg;
  alignas(64) char arena[TG_LIMIT + 16384];
  Shadow arena_sh[TG_LIMIT + 16384];
  uint8_t arena_ok[TG_LIMIT + 16384];
  struct Var {
    const void* key;
    size_t off, size;
  };
  std::vector<Var> vars;
  size_t arena_top, tg_bytes;
  uint16_t ep_dev, ep_tg;  // barriers passed that ordered device / threadgroup memory
  uint32_t tgi;            // index of the threadgroup
  uint32_t ntg_threads;
  std::vector<Region> reg;
  void *ptr[31], *tgp[31];
  char err[600];
  bool failed, check = true;
  unsigned seed = 0;
  char *mod_lo = nullptr, *mod_hi = nullptr;
  uint64_t accesses = 0;  // of the running thread since it last waited
};
extern Sim S;

void fail(const char* format, ...);  // the first failure of a dispatch is the one that is told
void to_scheduler();                 // leaves the running thread
void run_fiber(Fiber& fiber, std::vector<char*>& free_stacks);
void reserve_stacks(size_t count);
void access(void* p, size_t n, bool write, bool atomic);

}  // namespace msl

struct msl_lib {
  void* h;
  const msl::Kern* k;
  const msl::FConst* fc;
  char *lo, *hi;
  std::string path;  // the shared object
};
struct msl_fn {
  msl_lib* lib;
  const msl::Kern* k;
  std::vector<std::string> consts;
};
namespace msl {
void record_before(const msl_fn& f, const msl_buf bufs[31], msl_dim grid, msl_dim group, int exact);
void record_after(const msl_fn& f, const msl_buf bufs[31]);
}  // namespace msl
extern "C" void* __msl_rt_tg(const void* key, size_t size, size_t align);
