// Needle MSL kernels: matrix multiplication.
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

struct MatmulParams {
  uint M, N, K;
};

constant constexpr uint TILE = 16;

kernel void matmul_tiled(device const float* A [[buffer(0)]], device const float* B [[buffer(1)]],
                         device float* C [[buffer(2)]], constant MatmulParams& p [[buffer(3)]],
                         uint2 tid [[thread_position_in_threadgroup]], uint2 gid [[thread_position_in_grid]]) {
  threadgroup float As[TILE][TILE];
  threadgroup float Bs[TILE][TILE];
  float acc = 0.0f;
  for (uint k0 = 0; k0 < p.K; k0 += TILE) {
    As[tid.y][tid.x] = (gid.y < p.M && k0 + tid.x < p.K) ? A[gid.y * p.K + k0 + tid.x] : 0.0f;
    Bs[tid.y][tid.x] = (k0 + tid.y < p.K && gid.x < p.N) ? B[(k0 + tid.y) * p.N + gid.x] : 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < TILE; ++k) acc = fma(As[tid.y][k], Bs[k][tid.x], acc);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (gid.y < p.M && gid.x < p.N) C[gid.y * p.N + gid.x] = acc;
}

// each simdgroup makes a 16x16 block of C out of 2x2 fragments of 8x8;
// M, N and K are multiples of 16
kernel void matmul_simdgroup(device const float* A [[buffer(0)]], device const float* B [[buffer(1)]],
                             device float* C [[buffer(2)]], constant MatmulParams& p [[buffer(3)]],
                             uint2 tg [[threadgroup_position_in_grid]], uint sg [[simdgroup_index_in_threadgroup]]) {
  const uint row = (tg.y * 2 + sg / 2) * 16;
  const uint col = (tg.x * 2 + sg % 2) * 16;
  if (row >= p.M || col >= p.N) return;
  simdgroup_float8x8 acc[2][2];
  for (uint i = 0; i < 2; ++i)
    for (uint j = 0; j < 2; ++j) acc[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k = 0; k < p.K; k += 8) {
    simdgroup_float8x8 a[2], b[2];
    for (uint i = 0; i < 2; ++i) {
      simdgroup_load(a[i], A + (row + 8 * i) * p.K + k, p.K);
      simdgroup_load(b[i], B + k * p.N + col + 8 * i, p.N);
    }
    for (uint i = 0; i < 2; ++i)
      for (uint j = 0; j < 2; ++j) simdgroup_multiply_accumulate(acc[i][j], a[i], b[j], acc[i][j]);
  }
  for (uint i = 0; i < 2; ++i)
    for (uint j = 0; j < 2; ++j) simdgroup_store(acc[i][j], C + (row + 8 * i) * p.N + col + 8 * j, p.N);
}
