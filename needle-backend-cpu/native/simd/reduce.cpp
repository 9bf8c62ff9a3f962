// Sums, products, maxima and minima of contiguous rows, and of columns.
#include <needle/functors.h>

#include "row_chunks.h"
#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

constexpr int kChains = 4;        // independent accumulators: more gain nothing from memory, and delay short rows
constexpr int kStrip = 4;         // vectors of columns that are summed down together
constexpr int kTogether = 8;      // rows that are added to the columns' sums at once
constexpr int64_t kAhead = 4096;  // bytes; so far ahead short rows are asked for
constexpr int64_t kPairwiseColumn = 128;
constexpr int64_t kShortRow = 16;                               // vectors
constexpr int kWideStrip = NEEDLE_VECTOR_BYTES == 64 ? 16 : 8;  // half of the registers that the level has

// Into the second-level cache: asked for in the first, lines wait for the few places where its misses are kept, and
// long rows were read a quarter slower than without asking.
inline void ask_for(const void* address) { __builtin_prefetch(address, 0, 2); }

// Integers are summed as unsigned numbers, which wrap.
template <class F, class T> struct Accumulator {
  using type = T;
};
template <class T> struct Accumulator<Sum, T> {
  using type = unsigned_of<T>;
};
template <class T> struct Accumulator<Prod, T> {
  using type = unsigned_of<T>;
};

template <class F, class T> struct ReduceKernel {
  using A = typename Accumulator<F, T>::type;
  using V = Vector<A>;

  static A identity() { return static_cast<A>(F::template identity<T>()); }

  static A block(const A* x, int64_t n) {
    const F f;
    A total = identity();
    int64_t i = 0;
    if (n >= V::lanes) {
      typename V::type sums[kChains];
      for (int c = 0; c < kChains; ++c) sums[c] = V::splat(identity());
      for (; i + kChains * V::lanes <= n; i += kChains * V::lanes) {
        for (int c = 0; c < kChains; ++c) sums[c] = f(sums[c], V::load(x + i + c * V::lanes));
      }
      for (; i + V::lanes <= n; i += V::lanes) sums[0] = f(sums[0], V::load(x + i));
      total = fold<A>(f(f(sums[0], sums[1]), f(sums[2], sums[3])), f);
    }
    for (; i < n; ++i) total = f(total, x[i]);
    return total;
  }

  // Not inlined, nor is `halves`: compilers would unroll the recursion.
  static __attribute__((noinline)) A pairwise(const A* x, int64_t n) {
    if (n <= kPairwiseRow) return block(x, n);
    const int64_t half = first_half(n);
    const A first = pairwise(x, half);  // before the second, so that memory is read in order
    return F()(first, pairwise(x + half, n - half));
  }

  static void row(const void* x, int64_t n, void* out) {
    *static_cast<A*>(out) = pairwise(static_cast<const A*>(x), n);
  }

  static typename V::type short_row(const A* x, int64_t vectors) {
    typename V::type sum = V::load(x);
    for (int64_t v = 1; v < vectors; ++v) sum = F()(sum, V::load(x + v * V::lanes));
    return sum;
  }

  // Of short rows as many as a vector has lanes are folded together: that takes fewer shuffles than each alone.
  static void rows(const void* x, int64_t n, int64_t count, void* out) {
    const A* from = static_cast<const A*>(x);
    A* to = static_cast<A*>(out);
    int64_t r = 0;
    if (n % V::lanes == 0 && n <= kShortRow * V::lanes && n > 0) {
      for (; r + V::lanes <= count; r += V::lanes) {
        typename V::type sums[V::lanes];
        for (int lane = 0; lane < V::lanes; ++lane) {
          ask_for(reinterpret_cast<const char*>(from + (r + lane) * n) + kAhead);
          sums[lane] = short_row(from + (r + lane) * n, n / V::lanes);
        }
        V::store(to + r, fold_all<A>(sums, F()));
      }
    }
    for (; r < count; ++r) to[r] = pairwise(from + r * n, n);
  }

  static void add_to(const A* x, A* out, int64_t n) {
    const F f;
    int64_t i = 0;
    for (; i + V::lanes <= n; i += V::lanes) V::store(out + i, f(V::load(out + i), V::load(x + i)));
    for (; i < n; ++i) out[i] = f(out[i], x[i]);
  }

  // kVectors vectors of columns in registers, down all rows.
  template <int kVectors> static void strip(const A* x, int64_t stride, int64_t n, A* out) {
    const F f;
    typename V::type sums[kVectors];
    for (int v = 0; v < kVectors; ++v) sums[v] = V::splat(identity());
    for (int64_t j = 0; j < n; ++j) {
      for (int v = 0; v < kVectors; ++v) sums[v] = f(sums[v], V::load(x + j * stride + v * V::lanes));
    }
    for (int v = 0; v < kVectors; ++v) V::store(out + v * V::lanes, sums[v]);
  }

  // Wide rows, a few of them at a time: memory is read row by row, and the sums stay in the nearest cache. The next
  // rows are asked for, since each run is too short for the processor to see where it leads; after the last ones, if
  // they are all that there are, the first of the columns that lie beside these.
  static void across(const A* x, int64_t stride, int64_t n, int64_t columns, A* out) {
    const F f;
    for (int64_t c = 0; c < columns; ++c) out[c] = identity();
    int64_t j = 0;
    for (; j + kTogether <= n; j += kTogether) {
      const A *from = x + j * stride, *next = from + kTogether * stride;
      if (j + 2 * kTogether > n && n < kPairwiseColumn) next = x + columns;
      int64_t c = 0;
      for (; c + V::lanes <= columns; c += V::lanes) {
        typename V::type rows[kTogether];
        for (int k = 0; k < kTogether; ++k) ask_for(next + k * stride + c);
        for (int k = 0; k < kTogether; ++k) rows[k] = V::load(from + k * stride + c);
        for (int width = kTogether / 2; width > 0; width /= 2) {
          for (int k = 0; k < width; ++k) rows[k] = f(rows[k], rows[k + width]);
        }
        V::store(out + c, f(V::load(out + c), rows[0]));
      }
      for (; c < columns; ++c) {
        for (int k = 0; k < kTogether; ++k) out[c] = f(out[c], from[k * stride + c]);
      }
    }
    for (; j < n; ++j) add_to(x + j * stride, out, columns);
  }

  static void down(const A* x, int64_t stride, int64_t n, int64_t columns, A* out) {
    if (columns > kWideStrip * V::lanes) return across(x, stride, n, columns, out);
    const F f;
    int64_t c = 0;
    for (; c + kWideStrip * V::lanes <= columns; c += kWideStrip * V::lanes)
      strip<kWideStrip>(x + c, stride, n, out + c);
    for (; c + kStrip * V::lanes <= columns; c += kStrip * V::lanes) strip<kStrip>(x + c, stride, n, out + c);
    for (; c + V::lanes <= columns; c += V::lanes) strip<1>(x + c, stride, n, out + c);
    for (int64_t rest = c; rest < columns; ++rest) out[rest] = identity();
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t rest = c; rest < columns; ++rest) out[rest] = f(out[rest], x[j * stride + rest]);
    }
  }

  static __attribute__((noinline)) void halves(const A* x, int64_t stride, int64_t n, int64_t columns, A* out) {
    if (n <= kPairwiseColumn) return down(x, stride, n, columns, out);
    const int64_t half = (n / 2 + kPairwiseColumn - 1) / kPairwiseColumn * kPairwiseColumn;
    A second[kColumnTile];
    halves(x, stride, half, columns, out);
    halves(x + half * stride, stride, n - half, columns, second);
    add_to(second, out, columns);
  }

  static void columns(const void* x, int64_t stride, int64_t n, int64_t columns, void* out) {
    halves(static_cast<const A*>(x), stride, n, columns, static_cast<A*>(out));
  }
};

template <class T> void fill(Kernels& table) {
  for (int kind = 0; kind < kMaxKinds; ++kind) {
    dispatch<T>(static_cast<Reduce>(kind), [&](auto f) {
      using Kernel = ReduceKernel<decltype(f), T>;
      table.reduce[kind][ComputeOf<T>::value] = {&Kernel::row, &Kernel::rows, &Kernel::columns};
    });
  }
}

}  // namespace

void fill_reduce(Kernels& table) {
  fill<float>(table);
  fill<double>(table);
  fill<int32_t>(table);
  fill<int64_t>(table);
}

NEEDLE_END
