// random: a thread makes the four elements of one Philox block.
#include <needle/philox.h>

#include "launch.cuh"
#include "ops.h"

namespace needle {
namespace {

struct Bits {
  using Out = int32_t;
  static __device__ __forceinline__ Pack<Out, 4> make(const philox::Words& words) {
    return {{static_cast<int32_t>(words.w[0]), static_cast<int32_t>(words.w[1]), static_cast<int32_t>(words.w[2]),
             static_cast<int32_t>(words.w[3])}};
  }
};

struct Uniform {
  using Out = float;
  static __device__ __forceinline__ Pack<Out, 4> make(const philox::Words& words) {
    return {{philox::uniform(words.w[0]), philox::uniform(words.w[1]), philox::uniform(words.w[2]),
             philox::uniform(words.w[3])}};
  }
};

struct Normal {
  using Out = float;
  static __device__ __forceinline__ Pack<Out, 4> make(const philox::Words& words) {
    const philox::Pair first = philox::normal(words.w[0], words.w[1]);
    const philox::Pair second = philox::normal(words.w[2], words.w[3]);
    return {{first.cosine, first.sine, second.cosine, second.sine}};
  }
};

template <class Kind>
__global__ void fill(typename Kind::Out* dst, int64_t n, bool packs, uint64_t seed, uint64_t offset) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, i = 4 * block;
  if (i >= n) return;
  const auto made = Kind::make(philox::block(seed, offset + static_cast<uint64_t>(block)));
  if (packs && i + 4 <= n) {
    store_pack(dst + i, made);
  } else {
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) {
      if (i + lane < n) dst[i + lane] = made.at[lane];
    }
  }
}

template <class Kind> void fill_with(const View& dst, uint64_t seed, uint64_t offset) {
  launch(fill<Kind>, blocks_for(dst.size, 4 * kThreads), kThreads, 0, dst.as<typename Kind::Out>(), dst.size,
         aligned(dst.data), seed, offset);
}

}  // namespace

void random(Random kind, const View& dst, uint64_t seed, uint64_t offset) {
  if (dst.size == 0) return;
  switch (kind) {
    case Random::kBits: return fill_with<Bits>(dst, seed, offset);
    case Random::kUniform: return fill_with<Uniform>(dst, seed, offset);
    case Random::kNormal: return fill_with<Normal>(dst, seed, offset);
  }
}

}  // namespace needle
