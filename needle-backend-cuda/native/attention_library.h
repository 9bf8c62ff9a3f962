// Attention by cuDNN. Both return false where the library has nothing for a problem, or where it does not pay: then
// the kernels of this package serve.
#ifndef NEEDLE_CUDA_ATTENTION_LIBRARY_H
#define NEEDLE_CUDA_ATTENTION_LIBRARY_H

#include "ops.h"

namespace needle {

bool attention_library(const ShapedView& dst, const ShapedView& q, const ShapedView& k, const ShapedView& v,
                       bool causal, double scale);
bool attention_grad_library(const ShapedView& dq, const ShapedView& dk, const ShapedView& dv, const ShapedView& g,
                            const ShapedView& q, const ShapedView& k, const ShapedView& v, const ShapedView& y,
                            bool causal, double scale);

}  // namespace needle

#endif  // NEEDLE_CUDA_ATTENTION_LIBRARY_H
