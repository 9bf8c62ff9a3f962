// Compiled kernels: a shared object, its kernels by name, and their function constants.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "state.h"

using msl::FConst;
using msl::Kern;

extern "C" {
msl_lib* msl_open(const char* so, char* err, size_t n) {
  void* h = dlopen(so, RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    snprintf(err, n, "%s", dlerror());
    return nullptr;
  }
  auto* k = (const Kern*)dlsym(h, "__msl_kernels");
  auto* l = new msl_lib{h, k, (const FConst*)dlsym(h, "__msl_fconsts"), nullptr, nullptr, so};
  struct A {
    const void* k;
    msl_lib* l;
  } a{k, l};
  dl_iterate_phdr(
      [](dl_phdr_info* i, size_t, void* v) {
        auto* a = (A*)v;
        char *lo = (char*)-1, *hi = nullptr;
        for (int j = 0; j < i->dlpi_phnum; ++j)
          if (i->dlpi_phdr[j].p_type == PT_LOAD) {
            char* b = (char*)i->dlpi_addr + i->dlpi_phdr[j].p_vaddr;
            lo = std::min(lo, b);
            hi = std::max(hi, b + i->dlpi_phdr[j].p_memsz);
          }
        if ((char*)a->k >= lo && (char*)a->k < hi) a->l->lo = lo, a->l->hi = hi;
        return 0;
      },
      &a);
  return l;
}
int msl_count(msl_lib* l) {
  int n = 0;
  while (l->k[n].name) ++n;
  return n;
}
const char* msl_name(msl_lib* l, int i) { return l->k[i].name; }
msl_fn* msl_function(msl_lib* l, const char* name) {
  for (auto* k = l->k; k->name; ++k)
    if (!strcmp(k->name, name)) {
      auto* f = new msl_fn{l, k, {}};
      for (auto* c = l->fc; c->name; ++c) f->consts.emplace_back();
      return f;
    }
  return nullptr;
}
int msl_set_constant(msl_fn* f, int index, const char* name, const void* v, size_t size) {
  int i = 0;
  for (auto* c = f->lib->fc; c->name; ++c, ++i)
    if ((name && !strcmp(name, c->name)) || (!name && c->index == index)) {
      if (size != c->size) return -1;
      f->consts[i].assign((const char*)v, size);
      return 0;
    }
  return 1;
}
int msl_missing_constant(msl_fn* f, char* err, size_t n) {
  int i = 0;
  for (auto* c = f->lib->fc; c->name; ++c, ++i)
    if (f->consts[i].empty() && (f->k->fconsts >> i & 1)) {
      snprintf(err, n, "function constant %s (%d) has no value", c->name, c->index);
      return 1;
    }
  return 0;
}
// METALSIM_MAX_THREADS stands for a pipeline that needs many registers, which Metal gives fewer threads.
unsigned msl_max_threads(msl_fn*) {
  const char* limit = getenv("METALSIM_MAX_THREADS");
  return limit != nullptr ? unsigned(atoi(limit)) : 1024;
}
void msl_check(int on) { msl::S.check = on; }
void msl_seed(unsigned s) { msl::S.seed = s; }
}
