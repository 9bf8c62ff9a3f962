// layer_norm and rms_norm, which is the same without the mean, and their gradients: a warp or a block for each row.
//
// The variance is the mean of squared distances from the mean, in a second pass over the row. For the gradient a block
// goes from row to row and sums up its share of those of weight and bias; the shares are summed by a second kernel.
#include "columns.cuh"
#include "ops.h"
#include "rows.cuh"

namespace needle {
namespace {

constexpr int kGradThreads = 512;  // of a row at most: its threads hold two rows and two sums

template <class W> struct Center {
  W mean, scale;  // of x: (x - mean) * scale
};

template <bool centered, int input, class Row>
__device__ __forceinline__ auto center_of(const Row& row, int64_t n, typename Row::W eps) {
  using W = typename Row::W;
  W mean = 0, squares = 0;
  if constexpr (centered) {
    row.each([&](int, int64_t, const auto& v) { mean += v[input]; });
    mean = row_sum(mean) / static_cast<W>(n);
  }
  row.each([&](int, int64_t, const auto& v) { squares += (v[input] - mean) * (v[input] - mean); });
  return Center<W>{mean, W(1) / sqrt(row_sum(squares) / static_cast<W>(n) + eps)};
}

template <bool centered, class Row, class T>
__global__ void __launch_bounds__(kMostThreads<T>)
    norm_rows(int64_t rows, int64_t n, Wide<T> eps, T* dst, const T* x, const T* weight, const T* bias) {
  using W = Wide<T>;
  const int64_t r = row_of_thread();
  if (r >= rows) return;
  const T* const arrays[] = {x};
  const Row row(arrays, r, n);
  const Center<W> c = center_of<centered, 0>(row, n, eps);
  if constexpr (centered) {
    row.write(
        dst + r * n, [&](int, int64_t, const auto& v, W w, W b) { return (v[0] - c.mean) * c.scale * w + b; }, weight,
        bias);
  } else {
    row.write(dst + r * n, [&](int, int64_t, const auto& v, W w) { return v[0] * c.scale * w; }, weight);
  }
}

// Of the arrays g and x. Each row of threads leaves its sums at dw[row_of_thread(), :] and db.
template <bool centered, class Row, class T>
__global__ void __launch_bounds__(kGradThreads) norm_rows_grad(int64_t rows, int64_t n, Wide<T> eps, T* dx, const T* g,
                                                               const T* x, const T* weight, Wide<T>* dw, Wide<T>* db) {
  using W = Wide<T>;
  const T* const arrays[] = {g, x};
  const int64_t first = row_of_thread(), step = int64_t{gridDim.x} * blockDim.y;
  W dw_held[Row::kSlots] = {}, db_held[Row::kSlots] = {};
  dw += first * n;
  db += first * n;
  if (first >= rows) return;
  for (int64_t r = first; r < rows; r += step) {
    const Row row(arrays, r, n);
    const Center<W> c = center_of<centered, 1>(row, n, eps);
    W sum = 0, product = 0;  // of g * weight: with 1, and with the normalized x
    row.each(
        [&](int slot, int64_t j, const auto& v, W w) {
          const W normalized = (v[1] - c.mean) * c.scale, direct = v[0] * w;
          sum += direct;
          product += direct * normalized;
          if constexpr (Row::kIsHeld) {
            dw_held[slot] += v[0] * normalized;
            db_held[slot] += v[0];
          } else {
            dw[j] = (r == first ? W(0) : dw[j]) + v[0] * normalized;
            if constexpr (centered) db[j] = (r == first ? W(0) : db[j]) + v[0];
          }
        },
        weight);
    if constexpr (centered) sum = row_sum(sum) / static_cast<W>(n);
    product = row_sum(product) / static_cast<W>(n);
    row.write(
        dx + r * n,
        [&](int, int64_t, const auto& v, W w) {
          const W normalized = (v[1] - c.mean) * c.scale;
          return (v[0] * w - (centered ? sum : W(0)) - normalized * product) * c.scale;
        },
        weight);
    if constexpr (Row::kIsHeld) {
      if (r + step < rows) continue;
      row.each([&](int slot, int64_t j, const auto&) {
        dw[j] = dw_held[slot];
        if constexpr (centered) db[j] = db_held[slot];
      });
    }
  }
}

template <bool centered>
void run_norm(const View& dst, const View& x, const View& weight, const View* bias, int64_t rows, int64_t n,
              double eps) {
  if (rows == 0 || n == 0) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T *w = weight.as<const T>(), *b = bias == nullptr ? w : bias->as<const T>();
    const dim3 block = row_block<T, kMostThreads<T>, kFewestLanes>(n);
    const auto run = [&](auto way) {
      using Row = typename decltype(way)::type;
      launch(norm_rows<centered, Row, T>, blocks_for(rows, block.y), block, 0, rows, n, eps, dst.as<T>(),
             x.as<const T>(), w, b);
    };
    visit_rows<T, 1>(n, run, dst.as<T>(), x.as<T>(), w, b);
  });
}

template <bool centered>
void run_norm_grad(const View& dx, const View& dw, const View* db, const View& g, const View& x, const View& weight,
                   int64_t rows, int64_t n, double eps) {
  if (n == 0) return;
  visit_floats(dx.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using W = Wide<T>;
    const dim3 block = row_block<T, kGradThreads>(n);
    const int64_t resident = multiprocessors() * std::max<int64_t>(kGradThreads / (block.x * block.y), 1);
    const int64_t blocks = std::min(resident, ceil_div(rows, block.y)), shares = std::min(rows, blocks * block.y);
    const Workspace sums(static_cast<size_t>(2 * shares * n) * sizeof(W));
    W *dw_sums = sums.as<W>(), *db_sums = dw_sums + shares * n;
    const auto run = [&](auto way) {
      using Row = typename decltype(way)::type;
      launch(norm_rows_grad<centered, Row, T>, static_cast<unsigned>(blocks), block, 0, rows, n, eps, dx.as<T>(),
             g.as<const T>(), x.as<const T>(), weight.as<const T>(), dw_sums, db_sums);
    };
    if (rows > 0) visit_rows<T, 2, kGradThreads>(n, run, dx.as<T>(), g.as<T>(), x.as<T>(), weight.as<T>());
    sum_partials(shares, n, dw_sums, dw.as<T>());
    if (db != nullptr) sum_partials(shares, n, db_sums, db->as<T>());
  });
}

}  // namespace

void layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps) {
  run_norm<true>(dst, x, weight, &bias, rows, n, eps);
}

void rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps) {
  run_norm<false>(dst, x, weight, nullptr, rows, n, eps);
}

void layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps) {
  run_norm_grad<true>(dx, dw, &db, g, x, weight, rows, n, eps);
}

void rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps) {
  run_norm_grad<false>(dx, dw, nullptr, g, x, weight, rows, n, eps);
}

}  // namespace needle
