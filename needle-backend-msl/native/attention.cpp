// Launchers of attention and its gradient.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

constexpr int64_t kRows = 32, kColumns = 128;  // of a result that a threadgroup makes

// Of views (..., rows, width): what is before the last two axes.
int64_t batch_of(const View& x) {
  int64_t batch = 1;
  for (int d = 0; d < x.rank - 2; ++d) batch *= x.shape[d];
  return batch;
}

Attention numbers_of(const View& q, const View& k, const View& v, bool causal, double scale) {
  return {checked_size(q.shape[q.rank - 2]),
          checked_size(k.shape[k.rank - 2]),
          checked_size(q.shape[q.rank - 1]),
          checked_size(v.shape[v.rank - 1]),
          causal,
          static_cast<float>(scale)};
}

Size grid_of(int64_t rows, int64_t columns, int64_t batch) {
  return {static_cast<uint64_t>((rows + kRows - 1) / kRows), static_cast<uint64_t>((columns + kColumns - 1) / kColumns),
          static_cast<uint64_t>(batch)};
}

// For arrays of no elements: their first element is not there to be bound.
const View& bound(const View& x, const View& other) { return x.size == 0 ? other : x; }

}  // namespace

void attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal,
               double scale) {
  if (dst.size == 0) return;
  const Attention p = numbers_of(q, k, v, causal, scale);
  Launch launch("attention", typed("attention", dst.dtype));
  launch.buffer(dst).buffer(bound(q, dst)).buffer(bound(k, dst)).buffer(bound(v, dst)).bytes(p);
  launch.groups(grid_of(p.t, p.e, batch_of(q)), {256});
}

void attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y, bool causal,
                    double scale) {
  const Attention p = numbers_of(q, k, v, causal, scale);
  const int64_t batch = batch_of(q);
  const size_t nbytes = static_cast<size_t>(batch * p.t) * 2 * sizeof(float);
  char* statistics = allocate(nbytes);
  if (g.size != 0) {
    Launch launch("attention", typed("attention_statistics", q.dtype));
    launch.memory(statistics).buffer(bound(q, g)).buffer(bound(k, g)).buffer(g).buffer(y).bytes(p);
    launch.groups(grid_of(p.t, 1, batch), {256});
  }
  const ShapedView* const results[] = {&dq, &dk, &dv};
  for (int32_t part = 0; part < 3; ++part) {
    const ShapedView& dst = *results[part];
    if (dst.size == 0) continue;
    Launch launch("attention", typed("attention_grad", dst.dtype));
    launch.buffer(dst).buffer(bound(g, dst)).buffer(bound(q, dst)).buffer(bound(k, dst)).buffer(bound(v, dst));
    launch.memory(statistics).bytes(p).constant(part);
    launch.groups(grid_of(part == 0 ? p.t : p.s, part == 2 ? p.e : p.d, batch), {256});
  }
  release(statistics, nbytes);  // in order: nothing overtakes these
}

}  // namespace needle
