// Normalization of contiguous rows by their own statistics, of columns, which are channels, and of channels' planes.
#include "simd/sums.h"
#include "simd/units.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kAlone = 512;  // elements of a row whose passes overlap with memory better if it is taken alone

template <class T> T squared_distance(const T* x, T mean, int64_t n) {
  using V = Vector<T>;
  typename V::type sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    const typename V::type first = V::load(x + i) - mean, second = V::load(x + i + V::lanes) - mean;
    sums[0] += first * first;
    sums[1] += second * second;
  }
  for (; i + V::lanes <= n; i += V::lanes) {
    const typename V::type apart = V::load(x + i) - mean;
    sums[0] += apart * apart;
  }
  T total = fold<T>(sums[0] + sums[1], Add());
  for (; i < n; ++i) total += (x[i] - mean) * (x[i] - mean);
  return total;
}

// What the rows of a unit are normalized with: (x - mean) * scale.
template <class T, bool centered> struct Statistics {
  T mean[Vector<T>::lanes], scale[Vector<T>::lanes];

  Statistics(const T* x, int64_t rows, int64_t n, double eps) {
    using V = Vector<T>;
    if (centered) {
      fold_rows(
          rows, n, T(0), mean, [=](int64_t, int64_t at) NEEDLE_INLINE { return V::load(x + at); },
          [=](int64_t, int64_t at) NEEDLE_INLINE { return x[at]; }, Add());
      for (int64_t r = 0; r < rows; ++r) mean[r] /= T(n);
    } else {
      for (int64_t r = 0; r < rows; ++r) mean[r] = T(0);
    }
    T squares[V::lanes];
    fold_rows(
        rows, n, T(0), squares,
        [=](int64_t r, int64_t at) NEEDLE_INLINE {
          const typename V::type apart = V::load(x + at) - mean[r];
          return apart * apart;
        },
        [=](int64_t r, int64_t at) NEEDLE_INLINE { return (x[at] - mean[r]) * (x[at] - mean[r]); }, Add());
    for (int64_t r = 0; r < rows; ++r) scale[r] = T(1) / math::sqrt(squares[r] / T(n) + T(eps));
  }
};

template <class T, bool centered>
void norm(const void* x, const void* weight, const void* bias, void* out, int64_t rows, int64_t n, double eps,
          bool past) {
  const T *w = static_cast<const T*>(weight), *b = static_cast<const T*>(bias);
  const int64_t ahead = rows_together<T>(n) * n, together = n < kAlone ? rows_together<T>(n) : 1;
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t count = rows - first < together ? rows - first : together;
    const Statistics<T, centered> s(static_cast<const T*>(x) + first * n, count, n, eps);
    for (int64_t r = 0; r < count; ++r) {
      const T* from = static_cast<const T*>(x) + (first + r) * n;
      T* to = static_cast<T*>(out) + (first + r) * n;
      const T mean = s.mean[r], scale = s.scale[r];
      by_pieces<T>(n, [=](int64_t i, int64_t length) NEEDLE_INLINE {
        ask_for(from + ahead + i, length);
        put(to + i, length, past, [=](int64_t k) NEEDLE_INLINE {
          const T y = (from[i + k] - mean) * scale * w[i + k];
          return centered ? y + b[i + k] : y;
        });
      });
    }
  }
}

// For h = g * weight and z the normalized row: the means of h and of h * z.
template <class T> struct RowSums {
  T of_h, of_hz;

  RowSums(const T* g, const T* x, const T* w, T mean, T scale, int64_t n) {
    using V = Vector<T>;
    typename V::type sums[2] = {}, products[2] = {};
    int64_t i = 0;
    for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
      for (int c = 0; c < 2; ++c) {
        const int64_t at = i + c * V::lanes;
        const typename V::type h = V::load(g + at) * V::load(w + at);
        sums[c] += h;
        products[c] += h * (V::load(x + at) - mean);
      }
    }
    of_h = fold<T>(sums[0] + sums[1], Add());
    of_hz = fold<T>(products[0] + products[1], Add());
    for (; i < n; ++i) {
      of_h += g[i] * w[i];
      of_hz += g[i] * w[i] * (x[i] - mean);
    }
    of_h /= T(n);
    of_hz *= scale / T(n);
  }
};

template <class T, bool centered>
void norm_grad(const void* g, const void* x, const void* weight, void* dx, void* dw, void* db, int64_t rows, int64_t n,
               double eps, bool past) {
  const T* w = static_cast<const T*>(weight);
  T *w_sums = static_cast<T*>(dw), *b_sums = static_cast<T*>(db);
  const int64_t ahead = rows_together<T>(n) * n;
  for (int64_t r = 0; r < rows; ++r) {
    const T *grad = static_cast<const T*>(g) + r * n, *from = static_cast<const T*>(x) + r * n;
    T* to = static_cast<T*>(dx) + r * n;
    const Statistics<T, centered> s(from, 1, n, eps);
    const T mean = s.mean[0], scale = s.scale[0];
    const RowSums<T> means(grad, from, w, mean, scale, n);
    const T mean_h = centered ? means.of_h : T(0);
    by_pieces<T>(n, [=](int64_t i, int64_t length) NEEDLE_INLINE {
      ask_for(grad + ahead + i, length);
      ask_for(from + ahead + i, length);
      NEEDLE_INDEPENDENT
      for (int64_t k = i; k < i + length; ++k) w_sums[k] += grad[k] * ((from[k] - mean) * scale);
      if (centered) {
        NEEDLE_INDEPENDENT
        for (int64_t k = i; k < i + length; ++k) b_sums[k] += grad[k];
      }
      put(to + i, length, past, [=](int64_t k) NEEDLE_INLINE {
        const T z = (from[i + k] - mean) * scale;
        return (grad[i + k] * w[i + k] - mean_h - z * means.of_hz) * scale;
      });
    });
  }
}

template <class T> void channel_moments(const void* x, int64_t rows, int64_t n, void* mean, void* squares) {
  const T* from = static_cast<const T*>(x);
  T *m = static_cast<T*>(mean), *s = static_cast<T*>(squares);
  for (int64_t c = 0; c < n; ++c) m[c] = s[c] = T(0);
  for (int64_t r = 0; r < rows; ++r) {
    NEEDLE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) m[c] += from[r * n + c];
  }
  for (int64_t c = 0; c < n; ++c) m[c] /= T(rows);
  for (int64_t r = 0; r < rows; ++r) {
    NEEDLE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) s[c] += (from[r * n + c] - m[c]) * (from[r * n + c] - m[c]);
  }
}

template <class T>
void channel_scale(const void* x, const void* mean, const void* scale, const void* bias, void* out, int64_t rows,
                   int64_t n) {
  const T *m = static_cast<const T*>(mean), *a = static_cast<const T*>(scale), *b = static_cast<const T*>(bias);
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = static_cast<const T*>(x) + r * n;
    T* to = static_cast<T*>(out) + r * n;
    NEEDLE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) to[c] = (from[c] - m[c]) * a[c] + b[c];
  }
}

template <class T>
void channel_sums(const void* g, const void* x, const void* mean, int64_t rows, int64_t n, void* products, void* sums) {
  const T* m = static_cast<const T*>(mean);
  T *p = static_cast<T*>(products), *s = static_cast<T*>(sums);
  for (int64_t c = 0; c < n; ++c) p[c] = s[c] = T(0);
  for (int64_t r = 0; r < rows; ++r) {
    const T *grad = static_cast<const T*>(g) + r * n, *from = static_cast<const T*>(x) + r * n;
    NEEDLE_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      s[c] += grad[c];
      p[c] += grad[c] * (from[c] - m[c]);
    }
  }
}

template <class T>
void channel_grad(const void* g, const void* x, const void* mean, const void* a, const void* b, const void* c,
                  void* out, int64_t rows, int64_t n) {
  const T *m = static_cast<const T*>(mean), *by_g = static_cast<const T*>(a), *by_x = static_cast<const T*>(b);
  const T* constant = static_cast<const T*>(c);
  for (int64_t r = 0; r < rows; ++r) {
    const T *grad = static_cast<const T*>(g) + r * n, *from = static_cast<const T*>(x) + r * n;
    T* to = static_cast<T*>(out) + r * n;
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) to[i] = grad[i] * by_g[i] + (from[i] - m[i]) * by_x[i] + constant[i];
  }
}

template <class T> void plane_moments(const void* x, int64_t n, void* mean, void* square) {
  const T m = sum_of(static_cast<const T*>(x), n) / T(n);
  *static_cast<T*>(mean) = m;
  *static_cast<T*>(square) = squared_distance(static_cast<const T*>(x), m, n);
}

template <class T>
void plane_sums(const void* g, const void* x, const void* mean, int64_t n, void* product, void* sum) {
  using V = Vector<T>;
  const T *grad = static_cast<const T*>(g), *from = static_cast<const T*>(x), m = *static_cast<const T*>(mean);
  typename V::type products[2] = {}, sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    for (int k = 0; k < 2; ++k) {
      const typename V::type each = V::load(grad + i + k * V::lanes);
      sums[k] += each;
      products[k] += each * (V::load(from + i + k * V::lanes) - m);
    }
  }
  for (; i + V::lanes <= n; i += V::lanes) {
    const typename V::type each = V::load(grad + i);
    sums[0] += each;
    products[0] += each * (V::load(from + i) - m);
  }
  T s = fold<T>(sums[0] + sums[1], Add()), p = fold<T>(products[0] + products[1], Add());
  for (; i < n; ++i) {
    s += grad[i];
    p += grad[i] * (from[i] - m);
  }
  *static_cast<T*>(product) = p;
  *static_cast<T*>(sum) = s;
}

// f(i, end, channel) for the runs of n elements that lie in one plane each.
template <class F> inline __attribute__((always_inline)) void by_plane(int64_t n, const Planes& planes, F f) {
  int64_t channel = planes.first / planes.inner % planes.channels;
  int64_t end = planes.inner - planes.first % planes.inner;
  for (int64_t i = 0; i < n; i = end, end += planes.inner) {
    f(i, end < n ? end : n, channel);
    channel = channel + 1 == planes.channels ? 0 : channel + 1;
  }
}

template <class T>
void plane_scale(const void* x, const void* mean, const void* scale, const void* bias, void* out, int64_t n,
                 const Planes& planes) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(out);
  by_plane(n, planes, [=](int64_t begin, int64_t end, int64_t c) {
    const T m = static_cast<const T*>(mean)[c], a = static_cast<const T*>(scale)[c], b = static_cast<const T*>(bias)[c];
    NEEDLE_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) to[i] = (from[i] - m) * a + b;
  });
}

template <class T>
void plane_grad(const void* g, const void* x, const void* mean, const void* a, const void* b, const void* c, void* out,
                int64_t n, const Planes& planes) {
  const T *grad = static_cast<const T*>(g), *from = static_cast<const T*>(x);
  T* to = static_cast<T*>(out);
  by_plane(n, planes, [=](int64_t begin, int64_t end, int64_t channel) {
    const T m = static_cast<const T*>(mean)[channel], by_g = static_cast<const T*>(a)[channel];
    const T by_x = static_cast<const T*>(b)[channel], constant = static_cast<const T*>(c)[channel];
    NEEDLE_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) to[i] = grad[i] * by_g + (from[i] - m) * by_x + constant;
  });
}

template <class T> void fill(Kernels& table, int type) {
  table.layer_norm[type] = norm<T, true>;
  table.rms_norm[type] = norm<T, false>;
  table.layer_norm_grad[type] = norm_grad<T, true>;
  table.rms_norm_grad[type] = norm_grad<T, false>;
  table.channel_moments[type] = channel_moments<T>;
  table.channel_scale[type] = channel_scale<T>;
  table.channel_sums[type] = channel_sums<T>;
  table.channel_grad[type] = channel_grad<T>;
  table.plane_moments[type] = plane_moments<T>;
  table.plane_scale[type] = plane_scale<T>;
  table.plane_sums[type] = plane_sums<T>;
  table.plane_grad[type] = plane_grad<T>;
}

}  // namespace

void fill_norm(Kernels& table) {
  fill<float>(table, 0);
  fill<double>(table, 1);
}

NEEDLE_END
