// Philox4x32-10 of needle/philox.h: a thread makes the four numbers of one block.
#include <needle/functors.h>
#include <needle/philox.h>

#include <metal_stdlib>

#include "element.h"

using namespace needle;

constant int32_t kind [[function_constant(0)]];

kernel void draw(device uint* dst [[buffer(0)]], constant Draw& d [[buffer(1)]],
                 uint block [[thread_position_in_grid]]) {
  const uint64_t seed = (uint64_t(d.seed[1]) << 32) | d.seed[0], offset = (uint64_t(d.offset[1]) << 32) | d.offset[0];
  const philox::Words words = philox::block(seed, offset + block);
  uint numbers[4];
  for (int i = 0; i < 4; ++i) numbers[i] = words.w[i];
  if (Random(kind) == Random::kUniform) {
    for (int i = 0; i < 4; ++i) numbers[i] = as_type<uint>(philox::uniform(words.w[i]));
  }
  if (Random(kind) == Random::kNormal) {
    for (int i = 0; i < 4; i += 2) {
      const philox::Pair pair = philox::normal(words.w[i], words.w[i + 1]);
      numbers[i] = as_type<uint>(pair.cosine);
      numbers[i + 1] = as_type<uint>(pair.sine);
    }
  }
  for (uint i = 0; i < 4 && block * 4 + i < uint(d.n); ++i) dst[block * 4 + i] = numbers[i];
}
