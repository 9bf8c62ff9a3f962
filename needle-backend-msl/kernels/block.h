// A matrix product by simdgroup matrices: a threadgroup of four simdgroups makes a block of 64x64, each of them 4x4
// matrices of 8x8. `Source` says how an element of a (m, k) or b (k, n) is read and how one of c is written, so that
// the same loop serves stored matrices and convolutions.
#ifndef NEEDLE_MSL_BLOCK_H
#define NEEDLE_MSL_BLOCK_H

#include <metal_simdgroup_matrix>

#include "element.h"

namespace needle {

constant constexpr int BLOCK = 64;  // rows and columns of c that a threadgroup makes
constant constexpr int DEPTH = 16;  // of the tiles that it makes them from
constant constexpr int THREADS = 128;

// Copies a tile of a (BLOCK, DEPTH) and one of b (DEPTH, BLOCK) into threadgroup memory, zeros beyond the edges.
// Neighbouring threads take neighbouring x where the operand lies along x, else neighbouring rows or columns.
template <class Source, class Operands, class Params>
inline void stage(threadgroup float* tile_a, threadgroup float* tile_b, Operands o, constant Params& p, int m, int n,
                  int k, int i0, int j0, int x0, uint index) {
  const bool along_a = Source::along_a(p), along_b = Source::along_b(p);
  for (int e = int(index); e < BLOCK * DEPTH; e += THREADS) {
    const int i = along_a ? e / DEPTH : e % BLOCK, x = along_a ? e % DEPTH : e / BLOCK;
    tile_a[i * DEPTH + x] = i0 + i < m && x0 + x < k ? Source::a(o, p, i0 + i, x0 + x) : 0.0f;
    const int j = along_b ? e / DEPTH : e % BLOCK, y = along_b ? e % DEPTH : e / BLOCK;
    tile_b[y * BLOCK + j] = x0 + y < k && j0 + j < n ? Source::b(o, p, x0 + y, j0 + j) : 0.0f;
  }
}

// `shared` holds two pairs of tiles, so that one is filled while the other is read; at the end it holds the block.
template <class Source, class Operands, class Params>
inline void block_product(Operands o, constant Params& p, int m, int n, int k, threadgroup float* shared, uint3 group,
                          uint index, uint simdgroup) {
  const int i0 = int(group.y) * BLOCK, j0 = int(group.x) * BLOCK;
  const int row = int(simdgroup / 2) * 32, column = int(simdgroup % 2) * 32;  // this simdgroup's part of the block
  metal::simdgroup_float8x8 sums[4][4];
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) sums[r][s] = metal::make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  stage<Source>(shared, shared + BLOCK * DEPTH, o, p, m, n, k, i0, j0, 0, index);
  for (int x0 = 0, turn = 0; x0 < k; x0 += DEPTH, turn ^= 1) {
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    threadgroup float* tile_a = shared + turn * 2 * BLOCK * DEPTH;
    threadgroup float* tile_b = tile_a + BLOCK * DEPTH;
    threadgroup float* next = shared + (turn ^ 1) * 2 * BLOCK * DEPTH;
    if (x0 + DEPTH < k) stage<Source>(next, next + BLOCK * DEPTH, o, p, m, n, k, i0, j0, x0 + DEPTH, index);
    for (int y = 0; y < DEPTH; y += 8) {
      metal::simdgroup_float8x8 left[4], right[4];
      for (int r = 0; r < 4; ++r) metal::simdgroup_load(left[r], tile_a + (row + 8 * r) * DEPTH + y, DEPTH);
      for (int s = 0; s < 4; ++s) metal::simdgroup_load(right[s], tile_b + y * BLOCK + column + 8 * s, BLOCK);
      for (int r = 0; r < 4; ++r) {
        for (int s = 0; s < 4; ++s) metal::simdgroup_multiply_accumulate(sums[r][s], left[r], right[s], sums[r][s]);
      }
    }
  }
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) {
      metal::simdgroup_store(sums[r][s], shared + (row + 8 * r) * BLOCK + column + 8 * s, BLOCK);
    }
  }
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  for (int e = int(index); e < BLOCK * BLOCK; e += THREADS) {
    const int i = i0 + e / BLOCK, j = j0 + e % BLOCK;
    if (i < m && j < n) Source::write(o, p, i, j, shared[e]);
  }
}

}  // namespace needle

#endif  // NEEDLE_MSL_BLOCK_H
