// Softmax, its logarithm, cross-entropy and their gradients, over contiguous rows of float or double.
//
// Three passes over each unit of rows: the largest of each row, the exponentials, and the result. Exponentials take as
// long as memory, so that the result of one unit is written while those of the next are computed, and the one after
// that is asked for.
#include "simd/sums.h"
#include "simd/units.h"
#include "workspace.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kLongRow = 128;  // elements of a row with an odd end that is worth loops of its own
constexpr int64_t kSummed = 4096;  // elements that are summed in T: longer rows are added up in double

struct Larger {  // of numbers; NaN is found by its exponential
  template <class T> T operator()(T a, T b) const { return b > a ? b : a; }
};

// A unit: its rows, the largest element and the sum of exponentials of each, and the exponentials.
template <class T> struct Unit {
  int64_t first, count = 0;
  T most[Vector<T>::lanes], sums[Vector<T>::lanes];
  T* e;
};

template <class T, class F> void fold_memory(const T* x, int64_t rows, int64_t n, T none, T* found, F f) {
  fold_rows(
      rows, n, none, found, [=](int64_t, int64_t at) { return Vector<T>::load(x + at); },
      [=](int64_t, int64_t at) { return x[at]; }, f);
}

template <class T> void sum_rows(const T* x, int64_t rows, int64_t n, T* sums) {
  if (n <= kSummed) return fold_memory(x, rows, n, T(0), sums, Add());
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t i = 0; i < n; i += kSummed) {
      total += static_cast<double>(sum_of(x + r * n + i, n - i < kSummed ? n - i : kSummed));
    }
    sums[r] = T(total);
  }
}

// -88, unless the exponentials are NaN in any case.
template <class T> T exp_limit(T most) { return (most - most) - T(88); }

// e[i] = exp(x[i] - the largest of its row) of rows that are no whole vectors, as one flat loop.
template <class T> void exp_flat(const T* x, const T* most, T* e, int64_t rows, int64_t n) {
  T low = exp_limit(most[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const T m = most[r], limit = exp_limit(m);
    low = limit == limit ? limit : low;
    NEEDLE_INDEPENDENT
    for (int64_t i = r * n; i < (r + 1) * n; ++i) e[i] = x[i] - m;
  }
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < rows * n; ++i) e[i] = math::exp_below(e[i], low);
}

// Computes the exponentials of all rows, unit by unit. For each unit first found(unit) is called, then
// piece(unit, row, i, length) for each piece of its rows, while the next one is computed.
template <class T, class Found, class Piece>
inline NEEDLE_INLINE void by_exp_units(const T* x, int64_t rows, int64_t n, Found found, Piece piece) {
  const int64_t together = rows_together<T>(n);
  const Workspace space(static_cast<size_t>(2 * together * n + 1) * sizeof(T));
  const bool flat = n < kLongRow && n % Vector<T>::lanes != 0;
  Unit<T> units[2];
  units[0].e = space.as<T>();
  units[1].e = units[0].e + together * n;
  const auto finish = [=](const Unit<T>& unit, int64_t from) NEEDLE_INLINE {
    for (int64_t r = from; r < unit.count; ++r) {
      by_pieces<T>(n, [&](int64_t i, int64_t length) NEEDLE_INLINE { piece(unit, r, i, length); });
    }
  };
  int turn = 0;
  for (int64_t first = 0; first < rows; first += together, turn = 1 - turn) {
    Unit<T>& unit = units[turn];
    const Unit<T>& before = units[1 - turn];
    const T* from = x + first * n;
    unit.first = first;
    unit.count = rows - first < together ? rows - first : together;
    fold_memory(from, unit.count, n, -T(__builtin_inf()), unit.most, Larger());
    if (flat) {
      finish(before, 0);
      exp_flat(from, unit.most, unit.e, unit.count, n);
    } else {
      for (int64_t r = 0; r < unit.count; ++r) {
        const T m = unit.most[r], low = exp_limit(m);
        by_pieces<T>(n, [&](int64_t i, int64_t length) NEEDLE_INLINE {
          if (r < before.count) piece(before, r, i, length);
          const T* in = from + r * n + i;
          T* e = unit.e + r * n + i;
          ask_for(in + together * n, length);
          NEEDLE_INDEPENDENT
          for (int64_t k = 0; k < length; ++k) e[k] = math::exp_below(in[k] - m, low);
        });
      }
      finish(before, unit.count);
    }
    sum_rows(unit.e, unit.count, n, unit.sums);
    found(unit);
  }
  finish(units[1 - turn], 0);
}

// What a piece is written from and to.
template <class T> const T* at(const T* x, const Unit<T>& unit, int64_t row, int64_t n, int64_t i) {
  return x + (unit.first + row) * n + i;
}
template <class T> T* at(T* x, const Unit<T>& unit, int64_t row, int64_t n, int64_t i) {
  return x + (unit.first + row) * n + i;
}

template <class T> void softmax(const void* x, void* out, int64_t rows, int64_t n, bool past) {
  by_exp_units(
      static_cast<const T*>(x), rows, n,
      [](Unit<T>& unit) {
        for (int64_t r = 0; r < unit.count; ++r) unit.sums[r] = T(1) / unit.sums[r];
      },
      [=](const Unit<T>& unit, int64_t r, int64_t i, int64_t length) NEEDLE_INLINE {
        const T* e = unit.e + r * n + i;
        const T scale = unit.sums[r];
        put(at(static_cast<T*>(out), unit, r, n, i), length, past,
            [=](int64_t k) NEEDLE_INLINE { return e[k] * scale; });
      });
}

template <class T> void log_softmax(const void* x, void* out, int64_t rows, int64_t n, bool past) {
  by_exp_units(
      static_cast<const T*>(x), rows, n,
      [](Unit<T>& unit) {
        for (int64_t r = 0; r < unit.count; ++r) unit.sums[r] = math::log(unit.sums[r]);
      },
      [=](const Unit<T>& unit, int64_t r, int64_t i, int64_t length) NEEDLE_INLINE {
        const T* from = at(static_cast<const T*>(x), unit, r, n, i);
        const T m = unit.most[r], l = unit.sums[r];
        put(at(static_cast<T*>(out), unit, r, n, i), length, past,
            [=](int64_t k) NEEDLE_INLINE { return (from[k] - m) - l; });
      });
}

template <class T> void cross_entropy(const void* x, const int64_t* labels, void* out, int64_t rows, int64_t n) {
  const T* from = static_cast<const T*>(x);
  T* loss = static_cast<T*>(out);
  by_exp_units(
      from, rows, n,
      [=](Unit<T>& unit) {
        for (int64_t r = 0, row = unit.first; r < unit.count; ++r, ++row) {
          loss[row] = math::log(unit.sums[r]) - (from[row * n + labels[row]] - unit.most[r]);
        }
        unit.count = 0;
      },
      [](const Unit<T>&, int64_t, int64_t, int64_t) NEEDLE_INLINE {});
}

template <class T>
void cross_entropy_grad(const void* g, int64_t g_stride, const void* x, const int64_t* labels, void* out, int64_t rows,
                        int64_t n, bool past) {
  by_exp_units(
      static_cast<const T*>(x), rows, n,
      [=](Unit<T>& unit) {
        for (int64_t r = 0, row = unit.first; r < unit.count; ++r, ++row) {
          unit.e[r * n + labels[row]] -= unit.sums[r];
          unit.sums[r] = static_cast<const T*>(g)[row * g_stride] / unit.sums[r];
        }
      },
      [=](const Unit<T>& unit, int64_t r, int64_t i, int64_t length) NEEDLE_INLINE {
        const T* e = unit.e + r * n + i;
        const T scale = unit.sums[r];
        put(at(static_cast<T*>(out), unit, r, n, i), length, past,
            [=](int64_t k) NEEDLE_INLINE { return e[k] * scale; });
      });
}

// out = value(g, y, sum of the row), unit by unit; `load` and `one` are what is summed.
template <class T, class Load, class One, class Value>
inline NEEDLE_INLINE void grad_of_rows(const T* g, const T* y, T* out, int64_t rows, int64_t n, bool past, Load load,
                                       One one, Value value) {
  const int64_t together = rows_together<T>(n);
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t count = rows - first < together ? rows - first : together, begin = first * n;
    T sums[Vector<T>::lanes];
    fold_rows(
        count, n, T(0), sums, [=](int64_t, int64_t at) NEEDLE_INLINE { return load(begin + at); },
        [=](int64_t, int64_t at) NEEDLE_INLINE { return one(begin + at); }, Add());
    for (int64_t r = 0; r < count; ++r) {
      const T total = sums[r];
      by_pieces<T>(n, [&](int64_t i, int64_t length) NEEDLE_INLINE {
        const int64_t at = begin + r * n + i;
        const T *grad = g + at, *from = y + at;
        ask_for(grad + together * n, length);
        ask_for(from + together * n, length);
        put(out + at, length, past, [=](int64_t k) NEEDLE_INLINE { return value(grad[k], from[k], total); });
      });
    }
  }
}

template <class T> void softmax_grad(const void* g, const void* y, void* out, int64_t rows, int64_t n, bool past) {
  using V = Vector<T>;
  const T *grad = static_cast<const T*>(g), *p = static_cast<const T*>(y);
  grad_of_rows(
      grad, p, static_cast<T*>(out), rows, n, past, [=](int64_t i) { return V::load(grad + i) * V::load(p + i); },
      [=](int64_t i) { return grad[i] * p[i]; }, [](T of_g, T of_y, T total) { return of_y * (of_g - total); });
}

template <class T> void log_softmax_grad(const void* g, const void* y, void* out, int64_t rows, int64_t n, bool past) {
  using V = Vector<T>;
  const T *grad = static_cast<const T*>(g), *log_p = static_cast<const T*>(y);
  grad_of_rows(
      grad, log_p, static_cast<T*>(out), rows, n, past, [=](int64_t i) { return V::load(grad + i); },
      [=](int64_t i) { return grad[i]; }, [](T of_g, T of_y, T total) { return of_g - math::exp(of_y) * total; });
}

template <class T> void attention_weights(void* x, int64_t rows, int64_t n, int64_t first, double scale) {
  for (int64_t r = 0; r < rows; ++r) {
    T* row = static_cast<T*>(x) + r * n;
    const int64_t seen = first + r < n ? first + r : n;
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < seen; ++i) row[i] *= T(scale);
    T most;
    fold_memory(row, 1, seen, -T(__builtin_inf()), &most, Larger());
    exp_flat(row, &most, row, 1, seen);
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
