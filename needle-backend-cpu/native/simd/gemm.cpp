// c (m, n) = a (m, k) b (k, n), row-major; either operand may be stored transposed.
//
// Blocks of b are packed into panels as wide as a tile, and rows of a into strips as high as one, so that the tile
// reads both in order. Panels and strips are cut evenly: 64 rows are 5 strips of 12 or 13, not 4 of 14 and one of 8.
// The cuts along k follow the machine's caches, but not the number of threads, and so do the sums.
#include <needle/functors.h>

#include "caches.h"
#include "launch.h"
#include "simd/gemm_micro.h"
#include "workspace.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kParallelWork = 1 << 18;  // multiplications that are worth a second thread
constexpr int64_t kGemvBlock = 4;           // rows of the matrix that a product with a vector takes at once

template <class T>
using TileFunction = void (*)(int64_t k, const T* a, int64_t a_step, const T* b, int64_t b_step, T* c, int64_t ldc,
                              int64_t columns, const Epilogue<T>& epilogue);

// tile<T, rows, vectors> by its number of rows.
template <class T, int kVectors> struct TileTable {
  TileFunction<T> by_rows[kTileRows + 1] = {};

  constexpr TileTable() { fill(typename MakeIndices<kTileRows>::type()); }

  template <int... kRow> constexpr void fill(Indices<kRow...>) {
    const TileFunction<T> all[] = {tile<T, kRow + 1, kVectors>...};
    for (int i = 0; i < kTileRows; ++i) by_rows[i + 1] = all[i];
  }
};

template <class T> struct Product {
  using V = Vector<T>;
  static constexpr int kPanel = kTileVectors * V::lanes;
  static constexpr TileTable<T, kTileVectors> kWide{};
  static constexpr TileTable<T, 1> kNarrow{};

  const Gemm& g;
  const int64_t block_depth = depth_of_blocks(), block_width = width_of_blocks(block_depth);
  const T* a = static_cast<const T*>(g.a);
  const T* b = static_cast<const T*>(g.b);
  T* c = static_cast<T*>(g.c);

  static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

  // k of a block: a strip of a takes about half of the first-level cache.
  static int64_t depth_of_blocks() {
    const int64_t fitting = caches().first / 2 / static_cast<int64_t>(sizeof(T) * kTileRows) / 64 * 64;
    return fitting < 128 ? 128 : least(fitting, 384);
  }

  // n of a block: b takes half of the second level.
  static int64_t width_of_blocks(int64_t depth) {
    const int64_t fitting = caches().second / 2 / (depth * static_cast<int64_t>(sizeof(T))) / kPanel * kPanel;
    return fitting < 4 * kPanel ? 4 * kPanel : fitting;
  }

  // Rows [i, i + rows) and depth [p, p + depth) of an a stored as it is, as out[p * rows + i]. Writes up to one vector
  // past the end.
  void pack_a(int64_t i, int rows, int64_t p, int64_t depth, T* out) const {
    const T* from = a + i * g.lda + p;
    int64_t q = 0;
    if (rows <= V::lanes) {
      for (; q + V::lanes <= depth; q += V::lanes) {
        typename V::type square[V::lanes];
#pragma GCC unroll 16
        for (int r = 0; r < V::lanes; ++r) square[r] = V::load(from + (r < rows ? r : 0) * g.lda + q);
        transpose<T>(square);
        for (int r = 0; r < V::lanes; ++r)
          V::store(out + (q + r) * rows, square[r]);  // the next store mends the overlap
      }
    }
    for (; q < depth; ++q) {
      for (int r = 0; r < rows; ++r) out[q * rows + r] = from[r * g.lda + q];
    }
  }

  // Columns [j, j + columns) and depth [p, p + depth) of b, as out[p * width + j], padded with zeros.
  void pack_b(int64_t j, int64_t columns, int width, int64_t p, int64_t depth, T* out) const {
    if (!g.transpose_b) {
      const T* from = b + p * g.ldb + j;
      for (int64_t q = 0; q < depth; ++q, from += g.ldb, out += width) {
        if (columns == width) {
          for (int v = 0; v < width; v += V::lanes) V::store(out + v, V::load(from + v));
        } else {
          for (int64_t r = 0; r < width; ++r) out[r] = r < columns ? from[r] : T(0);
        }
      }
      return;
    }
    for (int64_t r = 0; r < width; r += V::lanes) {
      const T* from = b + (j + r) * g.ldb + p;
      int64_t q = 0;
      if (r + V::lanes <= columns) {
        for (; q + V::lanes <= depth; q += V::lanes) {
          typename V::type square[V::lanes];
#pragma GCC unroll 16
          for (int s = 0; s < V::lanes; ++s) square[s] = V::load(from + s * g.ldb + q);
          transpose<T>(square);
#pragma GCC unroll 16
          for (int s = 0; s < V::lanes; ++s) V::store(out + (q + s) * width + r, square[s]);
        }
      }
      for (; q < depth; ++q) {
        for (int s = 0; s < V::lanes; ++s) out[q * width + r + s] = r + s < columns ? from[s * g.ldb + q] : T(0);
      }
    }
  }

  // Threads take rectangles of c, cut along its longer side first: each packs what it needs, and no one waits.
  void tiled() const {
    const int64_t strips = (g.m + kTileRows - 1) / kTileRows, panels = (g.n + kPanel - 1) / kPanel;
    const int64_t threads = g.m * g.n * g.k < kParallelWork ? 1 : threads_here();
    const int64_t along = least(threads, g.m > g.n ? strips : panels);
    const int64_t across = least((threads + along - 1) / along, g.m > g.n ? panels : strips);
    const int64_t row_cuts = g.m > g.n ? along : across, column_cuts = g.m > g.n ? across : along;
    parallel_tasks(row_cuts * column_cuts, [=](int64_t task) {
      const int64_t r = task / column_cuts, q = task % column_cuts;
      const int64_t top = g.m * r / row_cuts, bottom = g.m * (r + 1) / row_cuts;
      const int64_t left = panels * q / column_cuts * kPanel;
      const int64_t right = least(panels * (q + 1) / column_cuts * kPanel, g.n);
      rectangle(top, bottom, left, right);
    });
  }

  // Rows [top, bottom) and columns [left, right) of c, block by block of b.
  void rectangle(int64_t top, int64_t bottom, int64_t left, int64_t right) const {
    const int64_t width = least(block_width, right - left), depth = least(block_depth, g.k);
    const T* const packed = static_cast<const T*>(g.packed);
    const Workspace panel_space(packed != nullptr ? 1 : static_cast<size_t>(depth * (width + kPanel)) * sizeof(T));
    const Workspace strip_space(static_cast<size_t>(depth * kTileRows + 2 * V::lanes) * sizeof(T));
    for (int64_t j = left; j < right; j += block_width) {
      const int64_t columns = least(block_width, right - j);
      for (int64_t p = 0; p < g.k; p += block_depth) {
        const int64_t rows_of_b = least(block_depth, g.k - p);
        const T* const panels = packed != nullptr ? packed + p * padded_width() + j * rows_of_b : panel_space.as<T>();
        if (packed == nullptr) pack_panels(j, columns, p, rows_of_b, panel_space.as<T>());
        strips_of(top, bottom, j, columns, p, rows_of_b, panels, strip_space.as<T>());
      }
    }
  }

  // Columns [j, j + columns) of rows [p, p + depth) of b, panel by panel.
  void pack_panels(int64_t j, int64_t columns, int64_t p, int64_t depth, T* out) const {
    for (int64_t first = 0; first < columns; first += kPanel) {
      const int64_t count = least(kPanel, columns - first);
      pack_b(j + first, count, panel_width(count), p, depth, out + first * depth);
    }
  }

  int64_t padded_width() const { return (g.n + kPanel - 1) / kPanel * kPanel; }

  // All of b: blocks of rows one after the other, in each the panels. Where the threads cut does not matter.
  void pack_whole(T* out) const {
    const int64_t panels = padded_width() / kPanel;
    parallel_for(panels, 1 + kParallelWork / (g.k * kPanel), [=](int64_t begin, int64_t end) {
      for (int64_t p = 0; p < g.k; p += block_depth) {
        const int64_t depth = least(block_depth, g.k - p), j = begin * kPanel;
        pack_panels(j, least(end * kPanel, g.n) - j, p, depth, out + p * padded_width() + j * depth);
      }
    });
  }

  // A last panel of few columns is one vector wide.
  static int panel_width(int64_t count) { return count <= V::lanes ? V::lanes : kPanel; }

  // All tiles of one packed block of b, whose first row is p and first column j.
  void strips_of(int64_t top, int64_t bottom, int64_t j, int64_t columns, int64_t p, int64_t depth, const T* panels,
                 T* strip_space) const {
    const bool last = p + depth == g.k;
    const int64_t rows = bottom - top, strips = (rows + kTileRows - 1) / kTileRows;
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t i = top + rows * strip / strips;
      const int height = static_cast<int>(top + rows * (strip + 1) / strips - i);
      const bool stored = g.transpose_a;  // as the tile reads it
      const T* left = stored ? a + p * g.lda + i : strip_space;
      const int64_t step = stored ? g.lda : height;
      if (!stored) pack_a(i, height, p, depth, strip_space);
      for (int64_t first = 0; first < columns; first += kPanel) {
        const int64_t count = least(kPanel, columns - first);
        const T* bias = last && g.bias != nullptr ? static_cast<const T*>(g.bias) + j + first : nullptr;
        const Epilogue<T> epilogue{p > 0 || g.accumulate, bias, last && g.relu};
        const int width = panel_width(count);
        const TileFunction<T> run = (width == kPanel ? kWide.by_rows : kNarrow.by_rows)[height];
        run(depth, left, step, panels + first * depth, width, c + i * g.ldc + j + first, g.ldc, count, epilogue);
      }
    }
  }

  // y[i] = row i of the matrix times x, both contiguous.
  static void dots(const T* matrix, int64_t rows, int64_t n, int64_t lda, const T* x, T* y) {
    int64_t i = 0;
    for (; i + kGemvBlock <= rows; i += kGemvBlock) dot_rows<kGemvBlock>(matrix + i * lda, n, lda, x, y + i);
    for (; i < rows; ++i) dot_rows<1>(matrix + i * lda, n, lda, x, y + i);
  }

  template <int kRows> static void dot_rows(const T* matrix, int64_t n, int64_t lda, const T* x, T* y) {
    typename V::type sums[kRows][2] = {};
    int64_t p = 0;
    for (; p + 2 * V::lanes <= n; p += 2 * V::lanes) {
      for (int r = 0; r < kRows; ++r) {
        sums[r][0] += V::load(matrix + r * lda + p) * V::load(x + p);
        sums[r][1] += V::load(matrix + r * lda + p + V::lanes) * V::load(x + p + V::lanes);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      T rest = T(0);
      for (int64_t q = p; q < n; ++q) rest += matrix[r * lda + q] * x[q];
      y[r] = fold<T>(sums[r][0] + sums[r][1], Add()) + rest;
    }
  }

  // y = the sum of the matrix' rows (k, n), each times its element of x.
  static void weighted_rows(const T* matrix, int64_t k, int64_t n, int64_t lda, const T* x, T* y) {
    for (int64_t j = 0; j < n; ++j) y[j] = T(0);
    int64_t p = 0;
    for (; p + kGemvBlock <= k; p += kGemvBlock) {
      const T* row = matrix + p * lda;
      const T x0 = x[p], x1 = x[p + 1], x2 = x[p + 2], x3 = x[p + 3];
      NEEDLE_INDEPENDENT
      for (int64_t j = 0; j < n; ++j) {
        y[j] += (x0 * row[j] + x1 * row[lda + j]) + (x2 * row[2 * lda + j] + x3 * row[3 * lda + j]);
      }
    }
    for (; p < k; ++p) {
      NEEDLE_INDEPENDENT
      for (int64_t j = 0; j < n; ++j) y[j] += x[p] * matrix[p * lda + j];
    }
  }

  // One row or one column of c: a matrix, (outputs, k) or (k, outputs) as stored, times a vector.
  void vector_product() const {
    const bool row = g.m == 1;
    const int64_t outputs = row ? g.n : g.m, lda = row ? g.ldb : g.lda;
    const bool as_dots = row ? g.transpose_b : !g.transpose_a;
    const int64_t x_step = row ? (g.transpose_a ? g.lda : 1) : (g.transpose_b ? 1 : g.ldb);
    const T *matrix = row ? b : a, *x = row ? a : b;
    const Workspace space(static_cast<size_t>(g.k + outputs) * sizeof(T));
    if (x_step != 1) {
      for (int64_t p = 0; p < g.k; ++p) space.as<T>()[p] = x[p * x_step];
      x = space.as<T>();
    }
    T* y = space.as<T>() + g.k;
    const T* bias = static_cast<const T*>(g.bias);
    parallel_for(outputs, 1 + kParallelWork / (g.k + 1), [=](int64_t begin, int64_t end) {
      if (as_dots) {
        dots(matrix + begin * lda, end - begin, g.k, lda, x, y + begin);
      } else {
        weighted_rows(matrix + begin, g.k, end - begin, lda, x, y + begin);
      }
      for (int64_t i = begin; i < end; ++i) {
        const T sum = bias == nullptr ? y[i] : y[i] + bias[row ? i : 0];
        c[row ? i : i * g.ldc] = g.relu && sum < T(0) ? T(0) : sum;
      }
    });
  }
};

template <class T> void gemm(const Gemm& g) {
  const Product<T> product{g};
  if (!g.accumulate && (g.m == 1 || g.n == 1)) return product.vector_product();
  product.tiled();
}

template <class T> int64_t packed_bytes(const Gemm& g) {
  return g.k * Product<T>{g}.padded_width() * static_cast<int64_t>(sizeof(T));
}

template <class T> void pack(const Gemm& g, void* out) { Product<T>{g}.pack_whole(static_cast<T*>(out)); }

// Integers, which wrap; also what is left of a product without an inner dimension.
template <class T> void gemm_simple(const Gemm& g) {
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b), *bias = static_cast<const T*>(g.bias);
  parallel_for(g.m, 1 + kParallelWork / (g.n * g.k + 1), [=, &g](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* row = static_cast<T*>(g.c) + i * g.ldc;
      for (int64_t j = 0; j < g.n; ++j) row[j] = bias == nullptr ? T(0) : bias[j];
      for (int64_t p = 0; p < g.k; ++p) {
        const T x = g.transpose_a ? a[p * g.lda + i] : a[i * g.lda + p];
        const int64_t j_step = g.transpose_b ? g.ldb : 1;
        const T* from = b + (g.transpose_b ? p : p * g.ldb);
        for (int64_t j = 0; j < g.n; ++j) row[j] += x * from[j * j_step];
      }
      for (int64_t j = 0; g.relu && j < g.n; ++j) row[j] = row[j] < T(0) ? T(0) : row[j];
    }
  });
}

}  // namespace

void fill_gemm(Kernels& table) {
  table.gemm[kF32] = [](const Gemm& g) { g.k == 0 ? gemm_simple<float>(g) : gemm<float>(g); };
  table.gemm[kF64] = [](const Gemm& g) { g.k == 0 ? gemm_simple<double>(g) : gemm<double>(g); };
  table.gemm_packed_bytes[0] = packed_bytes<float>;
  table.gemm_packed_bytes[1] = packed_bytes<double>;
  table.gemm_pack[0] = pack<float>;
  table.gemm_pack[1] = pack<double>;
  table.gemm[kI32] = gemm_simple<uint32_t>;
  table.gemm[kI64] = gemm_simple<uint64_t>;
}

NEEDLE_END
