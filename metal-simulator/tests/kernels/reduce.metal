// Needle MSL kernels: reductions and softmax.
#include <metal_stdlib>
using namespace metal;

// one threadgroup per row, tree in threadgroup memory
kernel void row_sum_tree(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                         constant uint& ncols [[buffer(2)]], threadgroup float* scratch [[threadgroup(0)]],
                         uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                         uint tsize [[threads_per_threadgroup]]) {
  device const float* x = in + row * ncols;
  float acc = 0;
  for (uint i = tid; i < ncols; i += tsize) acc += x[i];
  scratch[tid] = acc;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint s = tsize / 2; s > 0; s >>= 1) {
    if (tid < s) scratch[tid] += scratch[tid + s];
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (tid == 0) out[row] = scratch[0];
}

// whole array: simd_sum, then one partial per threadgroup, added with an atomic
kernel void all_sum_simd(device const float* in [[buffer(0)]], device atomic_float* out [[buffer(1)]],
                         constant uint& n [[buffer(2)]], uint gid [[thread_position_in_grid]],
                         uint grid [[threads_per_grid]], uint lane [[thread_index_in_simdgroup]],
                         uint sg [[simdgroup_index_in_threadgroup]], uint nsg [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];
  float acc = 0;
  for (uint i = gid; i < n; i += grid) acc += in[i];
  acc = simd_sum(acc);
  if (lane == 0) partial[sg] = acc;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (sg == 0) {
    float v = lane < nsg ? partial[lane] : 0.0f;
    for (ushort d = 16; d > 0; d >>= 1) v += simd_shuffle_down(v, d);
    if (lane == 0) atomic_fetch_add_explicit(out, v, memory_order_relaxed);
  }
}

kernel void histogram(device const uint* in [[buffer(0)]], device atomic_uint* bins [[buffer(1)]],
                      constant uint& n [[buffer(2)]], uint gid [[thread_position_in_grid]]) {
  if (gid < n) atomic_fetch_add_explicit(&bins[in[gid] & 15u], 1u, memory_order_relaxed);
}

// softmax over the last axis, one threadgroup per row
template <typename T>
[[kernel]] void softmax_row(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                            constant uint& ncols [[buffer(2)]], uint row [[threadgroup_position_in_grid]],
                            uint tid [[thread_position_in_threadgroup]], uint tsize [[threads_per_threadgroup]],
                            uint lane [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]],
                            uint nsg [[simdgroups_per_threadgroup]]) {
  threadgroup float part[32];
  threadgroup float row_max, row_sum;
  device const T* x = in + row * ncols;
  device T* y = out + row * ncols;
  float m = -INFINITY;
  for (uint i = tid; i < ncols; i += tsize) m = max(m, float(x[i]));
  m = simd_max(m);
  if (lane == 0) part[sg] = m;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (sg == 0) {
    m = simd_max(lane < nsg ? part[lane] : -INFINITY);
    if (lane == 0) row_max = m;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  m = row_max;
  float s = 0;
  for (uint i = tid; i < ncols; i += tsize) s += exp(float(x[i]) - m);
  s = simd_sum(s);
  if (lane == 0) part[sg] = s;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (sg == 0) {
    s = simd_sum(lane < nsg ? part[lane] : 0.0f);
    if (lane == 0) row_sum = s;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float r = 1.0f / row_sum;
  for (uint i = tid; i < ncols; i += tsize) y[i] = T(exp(float(x[i]) - m) * r);
}
template [[host_name("softmax_float")]] [[kernel]] decltype(softmax_row<float>) softmax_row<float>;
template [[host_name("softmax_half")]] [[kernel]] decltype(softmax_row<half>) softmax_row<half>;
