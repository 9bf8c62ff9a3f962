#include "caches.h"

#include <unistd.h>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace needle {
namespace {

// What the system says, within reason: a container or a virtual machine may say nothing.
int64_t reasonable(int64_t bytes, int64_t usual, int64_t least, int64_t most) {
  return bytes <= 0 ? usual : bytes < least ? least : bytes > most ? most : bytes;
}

#if defined(__APPLE__)
int64_t reported(const char* name) {
  int64_t bytes = 0;
  size_t size = sizeof(bytes);
  return sysctlbyname(name, &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
}

int64_t first_level() { return reported("hw.perflevel0.l1dcachesize"); }
int64_t second_level() { return reported("hw.perflevel0.l2cachesize") / 4; }  // which cores share
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
int64_t first_level() { return sysconf(_SC_LEVEL1_DCACHE_SIZE); }
int64_t second_level() { return sysconf(_SC_LEVEL2_CACHE_SIZE); }
#else
int64_t first_level() { return 0; }
int64_t second_level() { return 0; }
#endif

}  // namespace

const Caches& caches() {
  constexpr int64_t kKiB = 1024;
  static const Caches found{reasonable(first_level(), 32 * kKiB, 16 * kKiB, 256 * kKiB),
                            reasonable(second_level(), 512 * kKiB, 256 * kKiB, 4096 * kKiB)};
  return found;
}

}  // namespace needle
