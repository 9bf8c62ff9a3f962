// out[i] from word i % 4 of Philox block i / 4. Compiled without fused products, so that all machines agree.
#include <needle/functors.h>
#include <needle/philox.h>

#include "simd/kernels.h"

NEEDLE_BEGIN
namespace {

struct Bits {
  using Out = int32_t;
  static void make(const philox::Words& words, Out* out) {
    for (int lane = 0; lane < 4; ++lane) out[lane] = static_cast<int32_t>(words.w[lane]);
  }
};

struct Uniform {
  using Out = float;
  static void make(const philox::Words& words, Out* out) {
    for (int lane = 0; lane < 4; ++lane) out[lane] = philox::uniform(words.w[lane]);
  }
};

struct Normal {
  using Out = float;
  static void make(const philox::Words& words, Out* out) {
    const philox::Pair first = philox::normal(words.w[0], words.w[1]);
    const philox::Pair second = philox::normal(words.w[2], words.w[3]);
    out[0] = first.cosine;
    out[1] = first.sine;
    out[2] = second.cosine;
    out[3] = second.sine;
  }
};

template <class Kind> void fill(uint64_t seed, uint64_t block, typename Kind::Out* out, int64_t n) {
  const int64_t blocks = n / 4;
  for (int64_t i = 0; i < blocks; ++i) Kind::make(philox::block(seed, block + static_cast<uint64_t>(i)), out + 4 * i);
  typename Kind::Out last[4];
  Kind::make(philox::block(seed, block + static_cast<uint64_t>(blocks)), last);
  for (int64_t i = 4 * blocks; i < n; ++i) out[i] = last[i - 4 * blocks];
}

void random(int kind, uint64_t seed, uint64_t block, void* out, int64_t n) {
  switch (static_cast<Random>(kind)) {
    case Random::kBits: return fill<Bits>(seed, block, static_cast<int32_t*>(out), n);
    case Random::kUniform: return fill<Uniform>(seed, block, static_cast<float*>(out), n);
    case Random::kNormal: return fill<Normal>(seed, block, static_cast<float*>(out), n);
  }
}

}  // namespace

void fill_random(Kernels& table) { table.random = random; }

NEEDLE_END
