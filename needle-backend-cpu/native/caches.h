// The sizes of this machine's caches, in bytes, by which blocks of the products are cut.
#ifndef NEEDLE_CPU_CACHES_H
#define NEEDLE_CPU_CACHES_H

#include <stdint.h>

namespace needle {

struct Caches {
  int64_t first, second;  // of a core: for data, and the larger one behind it
};

const Caches& caches();

}  // namespace needle

#endif  // NEEDLE_CPU_CACHES_H
