// The backend's methods, as core calls them: operands checked, results allocated. See needle/backend.py.
#ifndef NEEDLE_CUDA_OPS_H
#define NEEDLE_CUDA_OPS_H

#include <needle/arguments.h>
#include <needle/functors.h>

#include <optional>
#include <vector>

namespace needle {

void copy(const View& dst, const View& src);
void cast(const View& dst, const View& src);
void unary(Unary kind, const View& dst, const View& x);
void binary(Binary kind, const View& dst, const View& a, const View& b);
void add_row(const View& dst, const View& row);  // dst (..., n) += row (n)
void binary_scalar(Binary kind, const View& dst, const View& x, const Scalar& scalar, bool swapped);
void where(const View& dst, const View& condition, const View& a, const View& b);
bool has_unary(Unary kind, DType dtype);
bool has_binary(Binary kind, DType dtype);

void reduce(Reduce kind, const View& dst, const View& x, int64_t rows, int64_t n);
void argmax(const View& dst, const View& x, int64_t rows, int64_t n);
void cumsum(const View& dst, const View& x, int64_t rows, int64_t n);

void softmax(const View& dst, const View& x, int64_t rows, int64_t n);
void log_softmax(const View& dst, const View& x, int64_t rows, int64_t n);
void softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n);
void log_softmax_grad(const View& dst, const View& g, const View& y, int64_t rows, int64_t n);
void cross_entropy(const View& dst, const ShapedView& logits, const View& labels);
void cross_entropy_grad(const View& dst, const View& g, const ShapedView& logits, const View& labels);

void matmul(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b);
void matmul_naive(const ShapedView& dst, const ShapedView& a, const ShapedView& b, bool transpose_a, bool transpose_b);
void linear(const ShapedView& dst, const ShapedView& a, const ShapedView& b, const View& bias, bool transpose_b,
            std::optional<Unary> activation);

void conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups);
void conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups);
void conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups);
void conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups);

void pool2d(Pool kind, const ShapedView& dst, const ShapedView& x, Pair size, Pair stride, Pair padding);
void pool2d_grad(Pool kind, const ShapedView& dst, const ShapedView& g, const ShapedView& x, const ShapedView& y,
                 Pair size, Pair stride, Pair padding);

void layer_norm(const View& dst, const View& x, const View& weight, const View& bias, int64_t rows, int64_t n,
                double eps);
void layer_norm_grad(const View& dx, const View& dw, const View& db, const View& g, const View& x, const View& weight,
                     int64_t rows, int64_t n, double eps);
void rms_norm(const View& dst, const View& x, const View& weight, int64_t rows, int64_t n, double eps);
void rms_norm_grad(const View& dx, const View& dw, const View& g, const View& x, const View& weight, int64_t rows,
                   int64_t n, double eps);
void moments(const View& mean, const View& var, const ShapedView& x);
void batch_norm(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                const ShapedView& mean, const ShapedView& var, double eps);
void batch_norm_relu(const ShapedView& dst, const ShapedView& x, const ShapedView& weight, const ShapedView& bias,
                     const ShapedView& mean, const ShapedView& var, double eps);
void batch_norm_grad(const ShapedView& dx, const View& dw, const View& db, const ShapedView& g, const ShapedView& x,
                     const ShapedView& weight, const ShapedView& mean, const ShapedView& var, double eps,
                     bool training);

void attention(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v, bool causal,
               double scale);
void attention_grad(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                    const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y, bool causal,
                    double scale);

void lstm(const ShapedView& dst, const View& inputs, const View& h, const View& c, const View& weight,
          const View& bias);
void lstm_grad(const View& dinputs, const View& dh, const View& dc, const std::vector<View>& wanted_h,
               const std::vector<View>& wanted_c, const ShapedView& kept, const View& c, const View& weight);

void argsort(const View& dst, const View& x, int64_t rows, int64_t n, bool descending);

void gather(const ShapedView& dst, const ShapedView& x, const ShapedView& index);
void scatter_add(const ShapedView& dst, const ShapedView& index, const View& src);

void sgd_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& velocities,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov);
void adam_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& means,
               const std::vector<View>& squares, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, int64_t step);

void random(Random kind, const View& dst, uint64_t seed, uint64_t offset);

}  // namespace needle

#endif  // NEEDLE_CUDA_OPS_H
