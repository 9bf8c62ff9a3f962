// Attention and its gradients: one graph each, of products and a softmax.
#include <cmath>

#include "graphs.h"
#include "ops.h"

namespace needle {
namespace {

constexpr int64_t kMaxScores = 1 << 26;  // which a graph keeps, 256 MiB; msl's kernel keeps none

// All axes before the last two are one.
Shape stacked(const ShapedView& x) {
  const int64_t rows = x.shape[x.rank - 2], columns = x.shape[x.rank - 1];
  return {x.size / (rows * columns), rows, columns};
}

std::string key_of(const char* op, bool is_causal, double scale) {
  return op + std::string(is_causal ? " causal" : "") + exactly(scale);
}

bool takes_scores(const ShapedView& q, const ShapedView& k) {
  const Shape of_q = stacked(q), of_k = stacked(k);
  return of_q[0] * of_q[1] * of_k[1] <= kMaxScores;
}

// softmax(q @ k.mT * scale), over what a row may see.
Tensor weights_of(Tensor q, Tensor k, bool is_causal, double scale) {
  const Tensor scores = matmul(q, transposed(k)) * scale;
  return softmax(is_causal ? causal(scores, -INFINITY) : scores, 2);
}

}  // namespace

bool attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool is_causal,
               double scale) {
  if (!takes({&dst, &q, &k, &v}) || !takes_scores(q, k)) return false;
  run(key_of("attention", is_causal, scale), {{q, stacked(q)}, {k, stacked(k)}, {v, stacked(v)}}, {{dst, stacked(dst)}},
      [&](auto& in) -> std::vector<Tensor> { return {matmul(weights_of(in[0], in[1], is_causal, scale), in[2])}; });
  return true;
}

bool attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y, bool is_causal,
                    double scale) {
  if (!takes({&dq, &dk, &dv, &g, &q, &k, &v, &y}) || !takes_scores(q, k)) return false;
  run(key_of("attention_grad", is_causal, scale),
      {{g, stacked(g)}, {q, stacked(q)}, {k, stacked(k)}, {v, stacked(v)}, {y, stacked(y)}},
      {{dq, stacked(dq)}, {dk, stacked(dk)}, {dv, stacked(dv)}}, [&](auto& in) -> std::vector<Tensor> {
        const Tensor g = in[0], q = in[1], k = in[2], v = in[3], y = in[4];
        const Tensor p = weights_of(q, k, is_causal, scale);
        const Tensor ds = p * (matmul(g, transposed(v)) - sum(g * y, {2})) * scale;
        return {matmul(ds, k), matmul(transposed(ds), q), matmul(transposed(p), g)};
      });
  return true;
}

}  // namespace needle
