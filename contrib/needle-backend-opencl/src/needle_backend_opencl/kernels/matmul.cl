// dst (B, m, n) = a (B, m, k) @ b (B, k, n).
//
// A group of TILE x TILE work-items owns a tile of dst of TILE rows and 4 * TILE columns: each item 4 columns, TILE
// apart. Tiles of a and b pass through local memory. Every operand is addressed by the strides of its three axes, so
// that transposed ones, and one matrix for all batches (stride 0), need nothing of their own.

typedef TYPE(A) T;
typedef WRAP(A) W;

#define COLUMNS 4

typedef struct {
  long m, n, k;
  long dst_offset;
  long a_offset, a_batch, a_row, a_column;
  long b_offset, b_batch, b_row, b_column;
} Product;

kernel void matmul(global uchar* dst, global const uchar* a, global const uchar* b, const Product p) {
  local W left[TILE][TILE + 1], right[TILE][COLUMNS * TILE + 1];
  const long x = get_local_id(0), y = get_local_id(1);
  const long i = get_group_id(1) * TILE + y, first = get_group_id(0) * TILE * COLUMNS + x, batch = get_global_id(2);
  const long a_start = p.a_offset + batch * p.a_batch, b_start = p.b_offset + batch * p.b_batch;
  W sums[COLUMNS] = {0, 0, 0, 0};
  for (long start = 0; start < p.k; start += TILE) {
    const long across = start + x, down = start + y;
    left[y][x] = i < p.m && across < p.k ? LOAD(A, a, a_start + i * p.a_row + across * p.a_column) : 0;
    for (int c = 0; c < COLUMNS; ++c) {
      const long j = first + c * TILE;
      right[y][c * TILE + x] = down < p.k && j < p.n ? LOAD(A, b, b_start + down * p.b_row + j * p.b_column) : 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const int depth = min((long)TILE, p.k - start);
    for (int l = 0; l < depth; ++l) {
      for (int c = 0; c < COLUMNS; ++c) sums[c] += left[y][l] * right[l][c * TILE + x];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (i >= p.m) return;
  for (int c = 0; c < COLUMNS; ++c) {
    const long j = first + c * TILE;
    if (j < p.n) STORE(A, dst, p.dst_offset + (batch * p.m + i) * p.n + j, (T)sums[c]);
  }
}

// Beside the tiled one, the definition: one element a work-item. It is the test of the other.
kernel void matmul_naive(global uchar* dst, global const uchar* a, global const uchar* b, const Product p) {
  const long j = get_global_id(0), i = get_global_id(1), batch = get_global_id(2);
  if (j >= p.n) return;
  W sum = 0;
  for (long l = 0; l < p.k; ++l) {
    const W left = LOAD(A, a, p.a_offset + batch * p.a_batch + i * p.a_row + l * p.a_column);
    const W right = LOAD(A, b, p.b_offset + batch * p.b_batch + l * p.b_row + j * p.b_column);
    sum += left * right;
  }
  STORE(A, dst, p.dst_offset + (batch * p.m + i) * p.n + j, (T)sum);
}
