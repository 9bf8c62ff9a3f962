// Launchers of everything that works on rows: reductions, softmax, cross-entropy, normalization.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

// One threadgroup a row: of one simdgroup for short rows, of eight for long ones.
struct ByRow {
  Rows rows;
  Size grid, group;
  ByRow(int64_t count, int64_t n)
      : rows{checked_size(count), checked_size(n)}, grid{static_cast<uint64_t>(count)}, group{n <= 128 ? 32u : 256u} {}
  void run(Launch& launch) const { launch.groups(grid, group); }
};

std::string typed(const char* kernel, DType a, DType b) { return needle::typed(kernel, a) + "_" + name_of(b); }

// For arrays of no elements: their first element is not there to be bound.
const View& bound(const View& x, const View& dst) { return x.size == 0 ? dst : x; }

}  // namespace

void reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n) {
  const ByRow by_row(rows, n);
  const bool strided = x.size != 0 && !plain(x);
  Launch launch("reduce", needle::typed("reduce", x.dtype));
  launch.buffer(dst).buffer(bound(x, dst)).bytes(by_row.rows).bytes(strided ? strides_of({&x}) : Strides{});
  by_row.run(launch.constant(static_cast<int32_t>(kind)).constant(strided));
}

void argmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  const ByRow by_row(rows, n);
  Launch launch("reduce", typed("argmax", x.dtype, dst.dtype));
  by_row.run(launch.buffer(dst).buffer(x).bytes(by_row.rows));
}

void cumsum(const View& dst, const View& x, int64_t rows, int64_t n) {
  if (n == 0) return;
  Launch("reduce", needle::typed("cumsum", x.dtype))
      .buffer(dst)
      .buffer(x)
      .bytes(ByRow(rows, n).rows)
      .threads({static_cast<uint64_t>(rows)});
}

static void row_wise(const char* kernel, std::initializer_list<const View*> views, int64_t rows, int64_t n,
                     const float* eps = nullptr) {
  const ByRow by_row(rows, n);
  if (n == 0) return;
  Launch launch("rows", needle::typed(kernel, (*views.begin())->dtype));
  for (const View* view : views) launch.buffer(*view);
  launch.bytes(by_row.rows);
  if (eps != nullptr) launch.bytes(*eps);
  by_row.run(launch);
}

void softmax(const View& dst, const View& x, int64_t rows, int64_t n) { row_wise("softmax", {&dst, &x}, rows, n); }

void log_softmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  row_wise("log_softmax", {&dst, &x}, rows, n);
}

void softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  row_wise("softmax_grad", {&dst, &g, &y}, rows, n);
}

void log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  row_wise("log_softmax_grad", {&dst, &g, &y}, rows, n);
}

void layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps) {
  const float epsilon = static_cast<float>(eps);
  row_wise("layer_norm", {&dst, &x, &weight, &bias}, rows, n, &epsilon);
}

void rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps) {
  const float epsilon = static_cast<float>(eps);
  row_wise("rms_norm", {&dst, &x, &weight}, rows, n, &epsilon);
}

void cross_entropy(const View& dst, const ShapedView& logits, const View& labels) {
  const ByRow by_row(logits.shape[0], logits.shape[1]);
  Launch launch("rows", typed("cross_entropy", dst.dtype, labels.dtype));
  by_row.run(launch.buffer(dst).buffer(logits).buffer(labels).bytes(by_row.rows));
}

void cross_entropy_grad(const View& dst, const View& g, const ShapedView& logits, const View& labels) {
  const ByRow by_row(logits.shape[0], logits.shape[1]);
  Launch launch("rows", typed("cross_entropy_grad", dst.dtype, labels.dtype));
  launch.buffer(dst).buffer(g).buffer(logits).buffer(labels).bytes(by_row.rows);
  by_row.run(launch.bytes(Steps{g.size == 1 ? 0 : 1, 0, 0}));
}

}  // namespace needle
