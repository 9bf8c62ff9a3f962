// The backend's methods that MPS computes. Each answers whether it took the operands; those it leaves are msl's.
// See needle/backend.py.
#ifndef NEEDLE_MPS_OPS_H
#define NEEDLE_MPS_OPS_H

#include <needle/arguments.h>
#include <needle/functors.h>

#include "cache.h"

namespace needle {

bool matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b);
bool add_matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_b);  // dst += a @ b
CacheCounts product_counts();
void clear_products();

bool reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n);
bool softmax(const View& dst, const View& x, int64_t rows, int64_t n);
bool log_softmax(const View& dst, const View& x, int64_t rows, int64_t n);
bool softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n);
bool log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n);

bool layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps);
bool rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps);
bool layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps);
bool rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps);
bool moments(const View& mean, const View& var, const View& x);
bool batch_norm(const View& dst, const View& x, const View& weight, const View& bias, const View& mean, const View& var,
                double eps);
bool batch_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     const View& mean, const View& var, double eps, bool training);

bool conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups);
bool conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups);
bool conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups);
bool conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups);

bool attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal,
               double scale);
bool attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y, bool causal,
                    double scale);

}  // namespace needle

#endif  // NEEDLE_MPS_OPS_H
