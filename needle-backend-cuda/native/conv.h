// Convolution by kernels of our own: the readable reference, and what serves where the library has no algorithm.
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

}  // namespace needle

#endif  // NEEDLE_CUDA_CONV_H
