// Reductions and the softmax family, of rows.
#include "graphs.h"
#include "ops.h"

namespace needle {
namespace {

const Shape kRow = {1};  // the axis of a matrix along which its rows lie

Tensor reduced(Reduce kind, Tensor x) {
  switch (kind) {
    case Reduce::kSum: return sum(x, kRow);
    case Reduce::kProd: return prod(x, kRow);
    case Reduce::kMax: return max(x, kRow);
    default: return min(x, kRow);
  }
}

}  // namespace

bool reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n) {
  if (!takes({&dst, &x})) return false;
  run("reduce " + std::to_string(int(kind)), {{x, {rows, n}}}, {{dst, {rows, 1}}},
      [&](auto& in) -> std::vector<Tensor> { return {reduced(kind, in[0])}; });
  return true;
}

bool softmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  if (!takes({&dst, &x})) return false;
  run("softmax", {{x, {rows, n}}}, {{dst, {rows, n}}},
      [](auto& in) -> std::vector<Tensor> { return {softmax(in[0], 1)}; });
  return true;
}

bool log_softmax(const View& dst, const View& x, int64_t rows, int64_t n) {
  if (!takes({&dst, &x})) return false;
  run("log_softmax", {{x, {rows, n}}}, {{dst, {rows, n}}}, [](auto& in) -> std::vector<Tensor> {
    const Tensor shifted = in[0] - max(in[0], kRow);
    return {shifted - log(sum(exp(shifted), kRow))};
  });
  return true;
}

bool softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  if (!takes({&dst, &g, &y})) return false;
  run("softmax_grad", {{g, {rows, n}}, {y, {rows, n}}}, {{dst, {rows, n}}}, [](auto& in) -> std::vector<Tensor> {
    const Tensor g = in[0], y = in[1];
    return {y * (g - sum(g * y, kRow))};
  });
  return true;
}

bool log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n) {
  if (!takes({&dst, &g, &y})) return false;
  run("log_softmax_grad", {{g, {rows, n}}, {y, {rows, n}}}, {{dst, {rows, n}}}, [](auto& in) -> std::vector<Tensor> {
    const Tensor g = in[0], y = in[1];
    return {g - exp(y) * sum(g, kRow)};
  });
  return true;
}

}  // namespace needle
