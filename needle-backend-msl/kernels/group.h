// Reductions within a threadgroup: first by simdgroups, then over their results. Groups are whole simdgroups.
#ifndef NEEDLE_MSL_GROUP_H
#define NEEDLE_MSL_GROUP_H

#include <needle/functors.h>

#include "element.h"

namespace needle {

// The value of the lane `delta` further on. Shuffles move 32 bits at most.
inline float further(float x, ushort delta) { return metal::simd_shuffle_down(x, delta); }
inline int32_t further(int32_t x, ushort delta) { return metal::simd_shuffle_down(x, delta); }
inline int64_t further(int64_t x, ushort delta) {
  const uint low = metal::simd_shuffle_down(uint(x), delta), high = metal::simd_shuffle_down(uint(x >> 32), delta);
  return int64_t((ulong(high) << 32) | low);
}

// f over the values of all threads of the group, given to all of them. `shared` holds 32 values and is free again after
// the next barrier.
template <class F, class C>
inline C group_reduce(F f, C value, C identity, threadgroup C* shared, uint thread_index, uint simdgroups) {
  const uint lane = thread_index % 32, simdgroup = thread_index / 32;
  for (ushort delta = 16; delta > 0; delta /= 2) value = f(value, further(value, delta));
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);  // whoever still reads the last result
  if (lane == 0) shared[simdgroup] = value;
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  C total = shared[0];
  for (uint i = 1; i < simdgroups; ++i) total = f(total, shared[i]);
  return total;
}

}  // namespace needle

#endif  // NEEDLE_MSL_GROUP_H
