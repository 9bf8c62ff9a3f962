// Needle Metal simulator: the executor's C interface (used by the Objective-C layer and by tests).
#pragma once
#include <stddef.h>
#include <stdint.h>
extern "C" {
struct msl_lib;
struct msl_fn;
struct msl_dim {
  uint32_t x, y, z;
};
struct msl_buf {
  void* base;
  size_t length, offset;
};  // a bound buffer; base 0: nothing bound
msl_lib* msl_open(const char* so, char* err, size_t n);
int msl_count(msl_lib*);
const char* msl_name(msl_lib*, int i);
msl_fn* msl_function(msl_lib*, const char* name);
int msl_set_constant(msl_fn*, int index, const char* name, const void* v,
                     size_t size);  // of the function as specialized
int msl_missing_constant(msl_fn*, char* err, size_t n);
unsigned msl_max_threads(msl_fn*);
// runs a whole grid; 0 or an error in err. exact: dispatchThreads (edge threadgroups are smaller)
int msl_dispatch(msl_fn*, const msl_buf bufs[31], const uint32_t tgmem[31], msl_dim grid, msl_dim tg, int exact,
                 char* err, size_t n);
void msl_check(int on);     // race and bounds checks, for libraries built with them
void msl_seed(unsigned s);  // 0: threads in order; else a shuffled order
extern uint64_t msl_switches;
}
