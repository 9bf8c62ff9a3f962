// Layer, RMS and batch normalization, and their gradients.
#include "graphs.h"
#include "ops.h"

namespace needle {
namespace {

const Shape kColumns = {0}, kRow = {1};  // the axes of a matrix that are reduced

Tensor normalized(Tensor x, Tensor mean, Tensor variance, Tensor weight, Tensor bias, double eps) {
  return {x.graph, [x.graph normalizationWithTensor:x.node
                                         meanTensor:mean.node
                                     varianceTensor:variance.node
                                        gammaTensor:weight.node
                                         betaTensor:bias.node
                                            epsilon:float(eps)
                                               name:nil]};
}

Tensor root_mean_square(Tensor x, double eps) { return sqrt(mean(square(x), kRow) + eps); }

// Of y = x_hat * weight + bias, where each column has its weight.
Tensor weight_grad(Tensor g, Tensor x_hat) { return sum(g * x_hat, kColumns); }

std::string with(const char* op, double eps) { return op + exactly(eps); }

// x (..., C) as a matrix whose columns are channels.
Shape channels_of(const View& x, const View& one_each) { return {x.size / one_each.size, one_each.size}; }

}  // namespace

bool layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps) {
  if (!takes({&dst, &x, &weight, &bias})) return false;
  run(with("layer_norm", eps), {{x, {rows, n}}, {weight, {1, n}}, {bias, {1, n}}}, {{dst, {rows, n}}},
      [&](auto& in) -> std::vector<Tensor> {
        const Tensor x = in[0], m = mean(x, kRow);
        return {normalized(x, m, variance(x, m, kRow), in[1], in[2], eps)};
      });
  return true;
}

bool rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps) {
  if (!takes({&dst, &x, &weight})) return false;
  run(with("rms_norm", eps), {{x, {rows, n}}, {weight, {1, n}}}, {{dst, {rows, n}}},
      [&](auto& in) -> std::vector<Tensor> { return {in[0] / root_mean_square(in[0], eps) * in[1]}; });
  return true;
}

bool layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps) {
  if (!takes({&dx, &dw, &db, &g, &x, &weight})) return false;
  run(with("layer_norm_grad", eps), {{g, {rows, n}}, {x, {rows, n}}, {weight, {1, n}}},
      {{dx, {rows, n}}, {dw, {1, n}}, {db, {1, n}}}, [&](auto& in) -> std::vector<Tensor> {
        const Tensor g = in[0], x = in[1], gw = g * in[2];
        const Tensor m = mean(x, kRow), deviation = sqrt(variance(x, m, kRow) + eps), x_hat = (x - m) / deviation;
        return {(gw - mean(gw, kRow) - x_hat * mean(gw * x_hat, kRow)) / deviation, weight_grad(g, x_hat),
                sum(g, kColumns)};
      });
  return true;
}

bool rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps) {
  if (!takes({&dx, &dw, &g, &x, &weight})) return false;
  run(with("rms_norm_grad", eps), {{g, {rows, n}}, {x, {rows, n}}, {weight, {1, n}}}, {{dx, {rows, n}}, {dw, {1, n}}},
      [&](auto& in) -> std::vector<Tensor> {
        const Tensor g = in[0], x = in[1], gw = g * in[2], rms = root_mean_square(x, eps), x_hat = x / rms;
        return {(gw - x_hat * mean(gw * x_hat, kRow)) / rms, weight_grad(g, x_hat)};
      });
  return true;
}

bool moments(const View& mean, const View& var, const View& x) {
  if (!takes({&mean, &var, &x})) return false;
  const Shape each = {1, mean.size};
  run("moments", {{x, channels_of(x, mean)}}, {{mean, each}, {var, each}}, [](auto& in) -> std::vector<Tensor> {
    const Tensor m = needle::mean(in[0], kColumns);
    return {m, variance(in[0], m, kColumns)};
  });
  return true;
}

bool batch_norm(const View& dst, const View& x, const View& weight, const View& bias, const View& mean, const View& var,
                double eps) {
  if (!takes({&dst, &x, &weight, &bias, &mean, &var})) return false;
  const Shape all = channels_of(x, mean), each = {1, mean.size};
  run(with("batch_norm", eps), {{x, all}, {weight, each}, {bias, each}, {mean, each}, {var, each}}, {{dst, all}},
      [&](auto& in) -> std::vector<Tensor> { return {normalized(in[0], in[3], in[4], in[1], in[2], eps)}; });
  return true;
}

bool batch_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     const View& mean, const View& var, double eps, bool training) {
  if (!takes({&dx, &dw, &db, &g, &x, &weight, &mean, &var})) return false;
  const Shape all = channels_of(x, mean), each = {1, mean.size};
  const double share = 1.0 / double(all[0]);
  run(with(training ? "batch_norm_grad training" : "batch_norm_grad", eps),
      {{g, all}, {x, all}, {weight, each}, {mean, each}, {var, each}}, {{dx, all}, {dw, each}, {db, each}},
      [&](auto& in) -> std::vector<Tensor> {
        const Tensor g = in[0], deviation = sqrt(in[4] + eps), x_hat = (in[1] - in[3]) / deviation;
        const Tensor of_weight = weight_grad(g, x_hat), of_bias = sum(g, kColumns), slope = in[2] / deviation;
        if (!training) return {g * slope, of_weight, of_bias};
        return {(g - of_bias * share - x_hat * (of_weight * share)) * slope, of_weight, of_bias};
      });
  return true;
}

}  // namespace needle
