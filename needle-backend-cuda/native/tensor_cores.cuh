// Products of small matrices of halves on tensor cores: m16n8k16, summed in float.
//
// A warp owns 16 rows. Of a result tile, 16 x 8, a lane has rows lane / 4 and that + 8, columns lane % 4 * 2 and the
// next: at[0], at[1] of the upper row, at[2], at[3] of the lower. Operands are read from shared memory by ldmatrix,
// whose lanes name the rows of four 8 x 8 matrices; rows that are an odd multiple of 16 bytes apart keep them off each
// other's banks.
#ifndef NEEDLE_CUDA_TENSOR_CORES_CUH
#define NEEDLE_CUDA_TENSOR_CORES_CUH

#include "dtype.cuh"

namespace needle {

struct TileOfFloats {
  float at[4];
};

struct FourMatrices {
  uint32_t at[4];
};

__device__ __forceinline__ FourMatrices load_matrices(const void* row) {
  FourMatrices m;
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m.at[0]), "=r"(m.at[1]), "=r"(m.at[2]), "=r"(m.at[3])
               : "r"(address)
               : "memory");
  return m;
}

__device__ __forceinline__ FourMatrices load_matrices_transposed(const void* row) {
  FourMatrices m;
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m.at[0]), "=r"(m.at[1]), "=r"(m.at[2]), "=r"(m.at[3])
               : "r"(address)
               : "memory");
  return m;
}

// c += a (16, 16) @ b (16, 8), b given as two matrices.
__device__ __forceinline__ void multiply_add(TileOfFloats& c, const FourMatrices& a, uint32_t b0, uint32_t b1, __half) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_add(TileOfFloats& c, const FourMatrices& a, uint32_t b0, uint32_t b1,
                                             __nv_bfloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ uint32_t pack_halves(float low, float high, __half) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t pack_halves(float low, float high, __nv_bfloat16) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Columns [d, d + 16) of 16 rows in shared memory, rows `stride` apart.
template <int stride, class T> __device__ __forceinline__ FourMatrices load_rows(const T* a, int d) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return load_matrices(a + lane % 16 * stride + lane / 16 * 8 + d);
}

// c (16, 8 tiles) += a (16, depth) @ b (8 tiles, depth) transposed, b in shared memory; a_at(d) are columns [d, d + 16)
// of a.
template <int tiles, int depth, int stride, class T, class A>
__device__ __forceinline__ void multiply_rows(TileOfFloats (&c)[tiles], A a_at, const T* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T* const b_row = b + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8;
#pragma unroll
  for (int d = 0; d < depth; d += 16) {
    const FourMatrices from_a = a_at(d);
#pragma unroll
    for (int j = 0; j < tiles; j += 2) {
      const FourMatrices from_b = load_matrices(b_row + j * 8 * stride + d);
      multiply_add(c[j], from_a, from_b.at[0], from_b.at[1], T());
      multiply_add(c[j + 1], from_a, from_b.at[2], from_b.at[3], T());
    }
  }
}

// c (16, 8 tiles) += a (16, 8 deep), which a lane holds as it would a result, @ b (8 deep, 8 tiles) in shared memory.
template <int tiles, int deep, int stride, class T>
__device__ __forceinline__ void multiply_held(TileOfFloats (&c)[tiles], const TileOfFloats (&a)[deep], const T* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T* const b_row = b + (lane % 8 + lane / 8 % 2 * 8) * stride + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < deep; k += 2) {
    const FourMatrices from_a{{pack_halves(a[k].at[0], a[k].at[1], T()), pack_halves(a[k].at[2], a[k].at[3], T()),
                               pack_halves(a[k + 1].at[0], a[k + 1].at[1], T()),
                               pack_halves(a[k + 1].at[2], a[k + 1].at[3], T())}};
#pragma unroll
    for (int j = 0; j < tiles; j += 2) {
      const FourMatrices from_b = load_matrices_transposed(b_row + k * 8 * stride + j * 8);
      multiply_add(c[j], from_a, from_b.at[0], from_b.at[1], T());
      multiply_add(c[j + 1], from_a, from_b.at[2], from_b.at[3], T());
    }
  }
}

}  // namespace needle

#endif  // NEEDLE_CUDA_TENSOR_CORES_CUH
