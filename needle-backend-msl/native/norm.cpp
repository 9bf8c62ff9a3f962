// Launchers of the gradients of normalization by rows, and of batch normalization.
#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {
namespace {

Size groups_of(int64_t count) { return {static_cast<uint64_t>(count)}; }

Size threads_for(int64_t n) { return {n <= 128 ? 32u : 256u}; }

// dx by rows, then dw and db by columns, which use each row's mean and scale.
void norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
               int64_t rows, int64_t n, double eps, bool centered) {
  const Rows p{checked_size(rows), checked_size(n)};
  if (n == 0) return;
  char* statistics = allocate(static_cast<size_t>(rows) * 2 * sizeof(float));
  Launch by_rows("norm", typed("norm_grad_rows", dx.dtype));
  by_rows.buffer(dx).buffer(g).buffer(x).buffer(weight).memory(statistics).bytes(p).bytes(static_cast<float>(eps));
  by_rows.constant(centered).groups(groups_of(rows), threads_for(n));
  Launch by_columns("norm", typed("norm_grad_columns", dx.dtype));
  by_columns.buffer(dw).buffer(db).buffer(rows == 0 ? dw : g).buffer(rows == 0 ? dw : x).memory(statistics).bytes(p);
  by_columns.constant(centered).groups(groups_of(n), threads_for(rows));
  release(statistics, static_cast<size_t>(rows) * 2 * sizeof(float));  // in order: nothing overtakes these two
}

Rows channels_of(const View& x, int64_t channels) {
  return {channels == 0 ? 0 : checked_size(x.size / channels), checked_size(channels)};
}

}  // namespace

void layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps) {
  norm_grad(dx, dw, db, g, x, weight, rows, n, eps, true);
}

void rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps) {
  norm_grad(dx, dw, dw, g, x, weight, rows, n, eps, false);
}

void moments(const View& mean, const View& var, const View& x) {
  const Rows p = channels_of(x, mean.size);
  Launch launch("norm", typed("moments", mean.dtype));
  launch.buffer(mean).buffer(var).buffer(x.size == 0 ? mean : x).bytes(p);
  launch.groups(groups_of(p.n), threads_for(p.rows));
}

static void batch_norm(const View& dst, const View& x, const View& weight, const View& bias, const View& mean,
                       const View& var, double eps, bool relu) {
  Launch launch("norm", typed("batch_norm", dst.dtype));
  launch.buffer(dst).buffer(x).buffer(weight).buffer(bias).buffer(mean).buffer(var);
  launch.bytes(channels_of(x, mean.size)).bytes(static_cast<float>(eps)).constant(0).constant(0).constant(relu);
  launch.threads({static_cast<uint64_t>(dst.size)});
}

void batch_norm(const View& dst, const View& x, const View& weight, const View& bias, const View& mean, const View& var,
                double eps) {
  batch_norm(dst, x, weight, bias, mean, var, eps, false);
}

void batch_norm_relu(const View& dst, const View& x, const View& weight, const View& bias, const View& mean,
                     const View& var, double eps) {
  batch_norm(dst, x, weight, bias, mean, var, eps, true);
}

void batch_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     const View& mean, const View& var, double eps, bool training) {
  const Rows p = channels_of(x, mean.size);
  Launch launch("norm", typed("batch_norm_grad", dx.dtype));
  launch.buffer(x.size == 0 ? dw : dx).buffer(dw).buffer(db).buffer(x.size == 0 ? dw : g);
  launch.buffer(x.size == 0 ? dw : x).buffer(weight).buffer(mean).buffer(var).bytes(p).bytes(static_cast<float>(eps));
  launch.constant(0).constant(training).groups(groups_of(p.n), threads_for(p.rows));
}

}  // namespace needle
