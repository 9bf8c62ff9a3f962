// dst[r * parts + p] = KIND over part p of row r of x (rows, n), which is contiguous.
//
// LANES work-items share a part: each takes every LANES-th element, and they combine what they have through local
// memory. A long row is cut into parts, whose results a second run of the kernel reduces; they are of the type that is
// computed in, so that halves are rounded once.

typedef TYPE(A) T;

#if KIND == 0
#define IDENTITY 0
#elif KIND == 1
#define IDENTITY 1
#elif IS_FLOAT(A)
#define IDENTITY (KIND == 2 ? -INFINITY : INFINITY)
#elif A == 0
#define IDENTITY (KIND == 2 ? 0 : 1)
#elif A == 1
#define IDENTITY (KIND == 2 ? 0 : UCHAR_MAX)
#elif A == 2
#define IDENTITY (KIND == 2 ? CHAR_MIN : CHAR_MAX)
#elif A == 3
#define IDENTITY (KIND == 2 ? INT_MIN : INT_MAX)
#else
#define IDENTITY (KIND == 2 ? LONG_MIN : LONG_MAX)
#endif

T combine(T a, T b) {
  switch (KIND) {
    case 0: return (T)((WRAP(A))a + (WRAP(A))b);
    case 1: return (T)((WRAP(A))a * (WRAP(A))b);
    case 2: return a > b ? a : a != a ? a : b;
    default: return a < b ? a : a != a ? a : b;
  }
}

kernel void reduce(global uchar* dst, const long dst_offset, global const uchar* x, const long x_offset, const long rows,
                   const long n, const long parts) {
  local T shared[LANES];
  const int lane = get_local_id(0);
  const long row = get_group_id(0) / parts, part = get_group_id(0) % parts;
  const long length = (n + parts - 1) / parts;
  const long begin = part * length, end = min(n, begin + length);
  T sum = IDENTITY;
  for (long i = begin + lane; i < end; i += LANES) sum = combine(sum, LOAD(A, x, x_offset + row * n + i));
  shared[lane] = sum;
  for (int half_way = LANES / 2; half_way > 0; half_way /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < half_way) shared[lane] = combine(shared[lane], shared[lane + half_way]);
  }
  if (lane == 0) STORE(DST, dst, dst_offset + row * parts + part, shared[0]);
}

// The same for short rows: one work-item has a whole row.
kernel void reduce_short(global uchar* dst, const long dst_offset, global const uchar* x, const long x_offset,
                         const long rows, const long n) {
  const long row = get_global_id(0);
  if (row >= rows) return;
  T sum = IDENTITY;
  for (long i = 0; i < n; ++i) sum = combine(sum, LOAD(A, x, x_offset + row * n + i));
  STORE(DST, dst, dst_offset + row, sum);
}
