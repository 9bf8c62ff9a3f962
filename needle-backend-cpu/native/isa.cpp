#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(NEEDLE_BLAS)
#include "blas.h"
#endif

namespace needle {

namespace baseline {
void fill_kernels(Kernels& table);
}
#if defined(__x86_64__)
namespace avx2 {
void fill_kernels(Kernels& table);
}
namespace avx512 {
void fill_kernels(Kernels& table);
}
#endif

namespace {

struct Level {
  const char* name;
  void (*fill)(Kernels& table);
  bool available;
};

struct Choice {
  const char* name;
  Kernels table;
};

Choice choose() {
  const Level levels[] = {
      // the best last
      {"baseline", baseline::fill_kernels, true},
#if defined(__x86_64__)
      {"avx2", avx2::fill_kernels,
       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")},
      {"avx512", avx512::fill_kernels,
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")},
#endif
  };
  const char* wanted = std::getenv("NEEDLE_CPU_ISA");
  if (wanted != nullptr && *wanted == '\0') wanted = nullptr;
  const Level* chosen = nullptr;
  std::string names;
  for (const Level& level : levels) {
    names += (names.empty() ? "" : ", ") + std::string(level.name) + (level.available ? "" : " (not on this machine)");
    if (level.available && (wanted == nullptr || std::strcmp(wanted, level.name) == 0)) chosen = &level;
  }
  if (chosen == nullptr) throw std::invalid_argument(std::string("NEEDLE_CPU_ISA=") + wanted + ": there are " + names);
  Choice choice{chosen->name, {}};
  chosen->fill(choice.table);
#if defined(NEEDLE_BLAS)
  use_blas(choice.table);
#endif
  return choice;
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

const Kernels& kernels() { return choice().table; }
const char* isa_name() { return choice().name; }

}  // namespace needle
