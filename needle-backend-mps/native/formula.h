// Tensors of a graph under construction, with the operators that formulas are written in.
#ifndef NEEDLE_MPS_FORMULA_H
#define NEEDLE_MPS_FORMULA_H

#import <MetalPerformanceShadersGraph/MetalPerformanceShadersGraph.h>

#include <cstdint>
#include <vector>

namespace needle {

using Shape = std::vector<int64_t>;

NSArray* numbers(const Shape& sizes);  // autoreleased

struct Tensor {
  MPSGraph* graph;
  MPSGraphTensor* node;
};

Tensor constant(Tensor like, double value);
Tensor cast(Tensor x, MPSDataType type);
Tensor shaped_as(Tensor x, NSArray* shape);

Tensor operator+(Tensor a, Tensor b);
Tensor operator-(Tensor a, Tensor b);
Tensor operator*(Tensor a, Tensor b);
Tensor operator/(Tensor a, Tensor b);
Tensor operator+(Tensor a, double b);
Tensor operator*(Tensor a, double b);

Tensor exp(Tensor x);
Tensor log(Tensor x);
Tensor sqrt(Tensor x);
Tensor square(Tensor x);

// Reduced axes stay, with size 1.
Tensor sum(Tensor x, const Shape& axes);
Tensor prod(Tensor x, const Shape& axes);
Tensor max(Tensor x, const Shape& axes);  // NaN wins
Tensor min(Tensor x, const Shape& axes);
Tensor mean(Tensor x, const Shape& axes);
Tensor variance(Tensor x, Tensor mean, const Shape& axes);  // biased
Tensor softmax(Tensor x, int axis);

Tensor matmul(Tensor a, Tensor b);   // the last two axes
Tensor transposed(Tensor x);         // the last two axes of three
Tensor causal(Tensor x, double no);  // x[b, i, j] where j <= i, else `no`

}  // namespace needle

#endif  // NEEDLE_MPS_FORMULA_H
