// attention and its gradient: which kernels serve. See attention.cuh.
#include "attention.cuh"
#include "attention_library.h"

namespace needle {
namespace {

constexpr int kMostColumns = 256, kMostColumnsOfMma = 128;

template <class T> constexpr bool kIsHalf = sizeof(T) == 2;

int columns_of(const AttentionShape& shape) {
  const int columns = std::max(shape.depth, shape.width);
  if (columns > kMostColumns) throw std::invalid_argument("attention takes heads of at most 256 columns");
  return columns;
}

void clear(const View& dst) {
  const size_t nbytes = static_cast<size_t>(dst.size * item_size(dst.dtype));
  if (nbytes > 0) check(cudaMemsetAsync(dst.data, 0, nbytes, stream()));
}

}  // namespace

void attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal,
               double scale) {
  const AttentionShape shape(q, k, v, causal, scale);
  const int columns = columns_of(shape);
  if (dst.size == 0 || shape.keys == 0) return clear(dst);
  if (attention_library(dst, q, k, v, causal, scale)) return;
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Heads<T> to(dst);
    const Heads<const T> query(q), key(k), value(v);
    if constexpr (kIsHalf<T>) {
      if (columns <= kMostColumnsOfMma) return attention_mma<T>(shape, to, query, key, value);
    }
    attention_fma<T>(shape, to, query, key, value);
  });
}

void attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y, bool causal,
                    double scale) {
  const AttentionShape shape(q, k, v, causal, scale);
  const int columns = columns_of(shape);
  if (shape.batch * shape.queries == 0 || shape.keys == 0) {
    clear(dq), clear(dk), clear(dv);
    return;
  }
  if (attention_grad_library(dq, dk, dv, g, q, k, v, y, causal, scale)) return;
  visit_floats(dq.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using W = Wide<T>;
    const int64_t rows = shape.batch * shape.queries;
    const Workspace space(static_cast<size_t>(2 * rows) * sizeof(W));
    using In = Heads<const T>;
    using Out = Heads<T>;
    const AttentionGrad<T> grad{In(g),   In(q),   In(k),   In(v),         In(y),
                                Out(dq), Out(dk), Out(dv), space.as<W>(), space.as<W>() + rows};
    if constexpr (kIsHalf<T>) {
      if (columns <= kMostColumnsOfMma) return attention_grad_mma<T>(shape, grad);
    }
    attention_grad_fma<T>(shape, grad);
  });
}

}  // namespace needle
