// Scaled dot-product attention and its gradient, as products of matrices over blocks of queries.
//
// The weights of a block live in scratch memory and are computed anew for the gradient, so that there is never a matrix
// of all queries by all keys. Causal blocks leave out the keys that none of their queries sees.
#include <algorithm>
#include <cstring>

#include "compact.h"
#include "launch.h"

namespace needle {
namespace {

constexpr int64_t kBlockWeights = 1 << 17;  // weights of a block: half of the second-level cache
constexpr int64_t kLeastQueries = 16, kMostQueries = 128;

struct Attention {
  int64_t batch = 1, queries, keys, depth, width;  // (T, D), (S, D), (S, E)
  bool causal;
  double scale;
  Compute type;
  int64_t item, block;

  Attention(const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal, double scale)
      : causal(causal), scale(scale), type(compute_type(q.dtype)), item(compute_size(q.dtype)) {
    const int last = q.rank - 1;
    for (int axis = 0; axis < last - 1; ++axis) batch *= q.shape[axis];
    queries = q.shape[last - 1], depth = q.shape[last];
    keys = k.shape[last - 1], width = v.shape[last];
    block = std::min(kMostQueries, std::max(kLeastQueries, kBlockWeights / (keys + 1)));
  }

  int64_t keys_seen(int64_t end) const { return causal ? std::min(keys, end) : keys; }
  size_t scratch() const { return static_cast<size_t>(std::min(block, queries) * keys * item) + 1; }

  // c (m, n) = a b, dense, with the operands that are stored transposed.
  void multiply(int64_t m, int64_t n, int64_t k, const void* a, bool transpose_a, const void* b, bool transpose_b,
                void* c, bool accumulate = false) const {
    Gemm g{};
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.lda = transpose_a ? m : k, g.transpose_a = transpose_a;
    g.b = b, g.ldb = transpose_b ? k : n, g.transpose_b = transpose_b;
    g.c = c, g.ldc = n, g.accumulate = accumulate;
    if (m > 0 && n > 0) kernels().gemm[type](g);
  }

  // The weights of queries [first, first + count) over the keys that they see.
  void weights(const unsigned char* q, const unsigned char* k, int64_t first, int64_t count, void* out) const {
    const int64_t seen = keys_seen(first + count);
    multiply(count, seen, depth, q + first * depth * item, false, k, true, out);
    kernels().attention_weights[type](out, count, seen, causal ? first + 1 : seen, scale);
  }

  // f(first, count) over blocks of queries.
  template <class F> void each_block(F f) const {
    for (int64_t first = 0; first < queries; first += block) f(first, std::min(block, queries - first));
  }
};

}  // namespace

void attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal,
               double scale) {
  if (dst.size == 0) return;
  const Attention a(q, k, v, causal, scale);
  const Compact query(q), key(k), value(v);
  const Result out(dst);
  const int64_t blocks = (a.queries + a.block - 1) / a.block;
  parallel_tasks(a.batch * blocks, [&](int64_t task) {
    const Workspace space(a.scratch());
    const int64_t index = task / blocks, first = task % blocks * a.block, count = std::min(a.block, a.queries - first);
    const int64_t seen = a.keys_seen(first + count);
    const unsigned char* head = key.as() + index * a.keys * a.depth * a.item;
    a.weights(query.as() + index * a.queries * a.depth * a.item, head, first, count, space.as<void>());
    a.multiply(count, a.width, seen, space.as<void>(), false, value.as() + index * a.keys * a.width * a.item, false,
               out.as() + (index * a.queries + first) * a.width * a.item);
  });
  out.commit();
}

// One task is one head: its blocks add to the same gradients of keys and values.
void attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView&, bool causal,
                    double scale) {
  const Attention a(q, k, v, causal, scale);
  const Compact grad(g), query(q), key(k), value(v);
  const Result out_q(dq), out_k(dk), out_v(dv);
  const int64_t item = a.item;
  const auto run = [&](int64_t index) {
    const Workspace space(2 * a.scratch());
    unsigned char *weights = space.as<unsigned char>(), *scores = weights + a.scratch() - 1;
    const unsigned char* head_q = query.as() + index * a.queries * a.depth * item;
    const unsigned char* head_k = key.as() + index * a.keys * a.depth * item;
    const unsigned char* head_v = value.as() + index * a.keys * a.width * item;
    const unsigned char* head_g = grad.as() + index * a.queries * a.width * item;
    unsigned char *to_k = out_k.as() + index * a.keys * a.depth * item,
                  *to_v = out_v.as() + index * a.keys * a.width * item;
    std::memset(to_k, 0, static_cast<size_t>(a.keys * a.depth * item));
    std::memset(to_v, 0, static_cast<size_t>(a.keys * a.width * item));
    a.each_block([&](int64_t first, int64_t count) {
      const int64_t seen = a.keys_seen(first + count);
      const unsigned char *q_block = head_q + first * a.depth * item, *g_block = head_g + first * a.width * item;
      a.weights(head_q, head_k, first, count, weights);
      a.multiply(count, seen, a.width, g_block, false, head_v, true, scores);
      kernels().attention_weights_grad[a.type](scores, weights, count, seen, a.scale);
      unsigned char* to_q = out_q.as() + (index * a.queries + first) * a.depth * item;
      a.multiply(count, a.depth, seen, scores, false, head_k, false, to_q);
      a.multiply(seen, a.depth, count, scores, true, q_block, false, to_k, true);
      a.multiply(seen, a.width, count, weights, true, g_block, false, to_v, true);
    });
  };
  if (a.batch < threads_here()) {
    for (int64_t index = 0; index < a.batch; ++index) run(index);
  } else {
    parallel_tasks(a.batch, run);
  }
  out_q.commit();
  out_k.commit();
  out_v.commit();
}

}  // namespace needle
