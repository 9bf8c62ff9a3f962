// Convolution by kernels of our own: the readable reference, which serves where the library has no algorithm; and by a
// product of matrices, one of them written down first, which is the fastest for small images.
#ifndef NEEDLE_CUDA_CONV_H
#define NEEDLE_CUDA_CONV_H

#include "ops.h"

namespace needle {

void conv2d_direct(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding,
                   Pair dilation, int64_t groups);
void conv2d_grad_input_direct(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride,
                              Pair padding, Pair dilation, int64_t groups);
void conv2d_grad_weight_direct(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride,
                               Pair padding, Pair dilation, int64_t groups);

// Whether an image of these places, and this kernel, unroll: their matrix must not be too large.
bool unrolls(const ShapedView& places, const ShapedView& w, int64_t groups);
void conv2d_unrolled(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding,
                     Pair dilation);
void conv2d_unrolled_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias,
                          Pair stride, Pair padding, Pair dilation);
void conv2d_grad_weight_unrolled(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride,
                                 Pair padding, Pair dilation);

}  // namespace needle

#endif  // NEEDLE_CUDA_CONV_H
