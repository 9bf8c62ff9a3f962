// Softmax, its logarithm, cross-entropy and their gradients, over contiguous rows of float or double.
//
// The exponentials, which take the time, run over many short rows in one flat loop; only the maximum and the sum are
// found row by row.
#include <needle/functors.h>

#include "simd/sums.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kFlat = 4096;    // elements of rows that share a flat loop
constexpr int64_t kLongRow = 128;  // elements of a row that is worth a loop of its own

template <class T> T max_of(const T* x, int64_t n) {
  using V = Vector<T>;
  const Maximum larger;
  T total = Extremes<T>::lowest();
  int64_t i = 0;
  if (n >= V::lanes) {
    typename V::type most[4];  // a choice waits for the one before it, so there are four chains
    for (int c = 0; c < 4; ++c) most[c] = V::load(x);
    for (; i + 4 * V::lanes <= n; i += 4 * V::lanes) {
      for (int c = 0; c < 4; ++c) most[c] = larger(most[c], V::load(x + i + c * V::lanes));
    }
    for (; i + V::lanes <= n; i += V::lanes) most[0] = larger(most[0], V::load(x + i));
    total = fold<T>(larger(larger(most[0], most[1]), larger(most[2], most[3])), larger);
  }
  for (; i < n; ++i) total = larger(total, x[i]);
  return total;
}

// Of numbers from which the maximum was taken.
template <class T> void exp_all(const T* x, T* out, int64_t n) {
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = math::exp(x[i]);
}

template <class T> void exp_shifted(const T* x, T most, T* out, int64_t n) {
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = math::exp(x[i] - most);
}

// Calls f(first row, rows) for groups of rows of about kFlat elements.
template <class F> void by_groups(int64_t rows, int64_t n, F f) {
  const int64_t group = n >= kFlat ? 1 : kFlat / (n > 0 ? n : 1);
  for (int64_t r = 0; r < rows; r += group) f(r, rows - r < group ? rows - r : group);
}

// out = x - max of the row.
template <class T> void shift_rows(const T* x, T* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    const T most = max_of(x + r * n, n);
    NEEDLE_INDEPENDENT
    for (int64_t i = r * n; i < (r + 1) * n; ++i) out[i] = x[i] - most;
  }
}

// out = exp(x - max of the row).
template <class T> void exp_rows(const T* x, T* out, int64_t rows, int64_t n) {
  if (n < kLongRow) {
    shift_rows(x, out, rows, n);
    return exp_all(out, out, rows * n);
  }
  for (int64_t r = 0; r < rows; ++r) exp_shifted(x + r * n, max_of(x + r * n, n), out + r * n, n);
}

template <class T> void softmax(const void* x, void* out, int64_t rows, int64_t n) {
  by_groups(rows, n, [=](int64_t first, int64_t count) {
    T* y = static_cast<T*>(out) + first * n;
    exp_rows(static_cast<const T*>(x) + first * n, y, count, n);
    for (int64_t r = 0; r < count; ++r) {
      const T scale = T(1) / sum_of(y + r * n, n);
      for (int64_t i = r * n; i < (r + 1) * n; ++i) y[i] *= scale;
    }
  });
}

// Rows longer than a group are summed piece by piece, in double where T is float: `scratch` holds one group.
template <class T> double exp_sum(const T* x, T most, int64_t n, T* scratch) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kFlat) {
    const int64_t length = n - begin < kFlat ? n - begin : kFlat;
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < length; ++i) scratch[i] = math::exp(x[begin + i] - most);
    total += static_cast<double>(sum_of(scratch, length));
  }
  return total;
}

// log(sum(exp(row))) of each of `rows` rows, less its maximum, which goes to `most`. rows * n fits scratch, or rows
// is 1.
template <class T> void log_sums(const T* x, int64_t rows, int64_t n, T* most, T* log_sum, T* scratch) {
  for (int64_t r = 0; r < rows; ++r) most[r] = max_of(x + r * n, n);
  if (rows == 1) {
    *log_sum = T(math::log(exp_sum(x, *most, n, scratch)));
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = r * n; i < (r + 1) * n; ++i) scratch[i] = x[i] - most[r];
  }
  exp_all(scratch, scratch, rows * n);
  for (int64_t r = 0; r < rows; ++r) log_sum[r] = math::log(sum_of(scratch + r * n, n));
}

constexpr int64_t kGroupRows = 512;  // rows of one group, at most

template <class F> void by_small_groups(int64_t rows, int64_t n, F f) { by_groups(rows, n < 8 ? 8 : n, f); }
static_assert(kFlat / 8 <= kGroupRows, "a group's maxima fit their array");

template <class T> void log_softmax(const void* x, void* out, int64_t rows, int64_t n) {
  by_small_groups(rows, n, [=](int64_t first, int64_t count) {
    T most[kGroupRows], log_sum[kGroupRows], scratch[kFlat];
    const T* from = static_cast<const T*>(x) + first * n;
    T* y = static_cast<T*>(out) + first * n;
    log_sums(from, count, n, most, log_sum, scratch);
    for (int64_t r = 0; r < count; ++r) {
      const T m = most[r], l = log_sum[r];
      NEEDLE_INDEPENDENT
      for (int64_t i = r * n; i < (r + 1) * n; ++i) y[i] = (from[i] - m) - l;
    }
  });
}

template <class T> void softmax_grad(const void* g, const void* y, void* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* grad = static_cast<const T*>(g) + r * n;
    const T* p = static_cast<const T*>(y) + r * n;
    T* z = static_cast<T*>(out) + r * n;
    const T total = dot(grad, p, n);
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) z[i] = p[i] * (grad[i] - total);
  }
}

template <class T> void log_softmax_grad(const void* g, const void* y, void* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* grad = static_cast<const T*>(g) + r * n;
    const T* log_p = static_cast<const T*>(y) + r * n;
    T* z = static_cast<T*>(out) + r * n;
    const T total = sum_of(grad, n);
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) z[i] = grad[i] - math::exp(log_p[i]) * total;
  }
}

template <class T> void cross_entropy(const void* x, const int64_t* labels, void* out, int64_t rows, int64_t n) {
  by_small_groups(rows, n, [=](int64_t first, int64_t count) {
    T most[kGroupRows], log_sum[kGroupRows], scratch[kFlat];
    const T* from = static_cast<const T*>(x) + first * n;
    log_sums(from, count, n, most, log_sum, scratch);
    T* loss = static_cast<T*>(out) + first;
    for (int64_t r = 0; r < count; ++r) loss[r] = log_sum[r] - (from[r * n + labels[first + r]] - most[r]);
  });
}

template <class T>
void cross_entropy_grad(const void* g, int64_t g_stride, const void* x, const int64_t* labels, void* out, int64_t rows,
                        int64_t n) {
  by_groups(rows, n, [=](int64_t first, int64_t count) {
    T* z = static_cast<T*>(out) + first * n;
    exp_rows(static_cast<const T*>(x) + first * n, z, count, n);
    for (int64_t r = 0; r < count; ++r) {
      const T grad = static_cast<const T*>(g)[(first + r) * g_stride];
      const T scale = grad / sum_of(z + r * n, n);
      NEEDLE_INDEPENDENT
      for (int64_t i = r * n; i < (r + 1) * n; ++i) z[i] *= scale;
      z[r * n + labels[first + r]] -= grad;
    }
  });
}

template <class T> void attention_weights(void* x, int64_t rows, int64_t n, int64_t first, double scale) {
  for (int64_t r = 0; r < rows; ++r) {
    T* row = static_cast<T*>(x) + r * n;
    const int64_t seen = first + r < n ? first + r : n;
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < seen; ++i) row[i] *= T(scale);
    shift_rows(row, row, 1, seen);
    exp_all(row, row, seen);
    const T share = T(1) / sum_of(row, seen);
    for (int64_t i = 0; i < seen; ++i) row[i] *= share;
    for (int64_t i = seen; i < n; ++i) row[i] = T(0);
  }
}

template <class T> void attention_weights_grad(void* g, const void* y, int64_t rows, int64_t n, double scale) {
  for (int64_t r = 0; r < rows; ++r) {
    T* grad = static_cast<T*>(g) + r * n;
    const T* weights = static_cast<const T*>(y) + r * n;
    const T mean = dot(grad, weights, n);
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) grad[i] = weights[i] * (grad[i] - mean) * T(scale);
  }
}

template <class T> void fill(Kernels& table, int type) {
  table.softmax[type] = softmax<T>;
  table.log_softmax[type] = log_softmax<T>;
  table.softmax_grad[type] = softmax_grad<T>;
  table.log_softmax_grad[type] = log_softmax_grad<T>;
  table.cross_entropy[type] = cross_entropy<T>;
  table.attention_weights[type] = attention_weights<T>;
  table.attention_weights_grad[type] = attention_weights_grad<T>;
  table.cross_entropy_grad[type] = cross_entropy_grad<T>;
}

}  // namespace

void fill_rows(Kernels& table) {
  fill<float>(table, 0);
  fill<double>(table, 1);
}

NEEDLE_END
