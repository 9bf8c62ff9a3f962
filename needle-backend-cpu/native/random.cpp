// Fills from philox.h. A part of a stream starts at a multiple of four elements, the words of one block.
#include "launch.h"
#include "ops.h"
#include "strided.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth another thread; parts are multiples of 64

}  // namespace

void random(Random kind, const View& dst, uint64_t seed, uint64_t offset) {
  parallel_for(dst.size, kGrain, [&](int64_t begin, int64_t end) {
    kernels().random(static_cast<int>(kind), seed, offset + static_cast<uint64_t>(begin / 4), bytes_at(dst, begin),
                     end - begin);
  });
}

}  // namespace needle
