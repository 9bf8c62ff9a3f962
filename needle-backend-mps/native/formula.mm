// Each operator is one node of an MPSGraph.
#include "formula.h"

namespace needle {

NSArray* numbers(const Shape& sizes) {
  NSMutableArray* array = [NSMutableArray arrayWithCapacity:sizes.size()];
  for (int64_t size : sizes) [array addObject:[NSNumber numberWithLongLong:size]];
  return array;
}

Tensor constant(Tensor like, double value) {
  return {like.graph, [like.graph constantWithScalar:value dataType:like.node.dataType]};
}

Tensor cast(Tensor x, MPSDataType type) {
  if (x.node.dataType == type) return x;
  return {x.graph, [x.graph castTensor:x.node toType:type name:nil]};
}

Tensor shaped_as(Tensor x, NSArray* shape) {
  if ([x.node.shape isEqual:shape]) return x;
  return {x.graph, [x.graph reshapeTensor:x.node withShape:shape name:nil]};
}

Tensor operator+(Tensor a, Tensor b) {
  return {a.graph, [a.graph additionWithPrimaryTensor:a.node secondaryTensor:b.node name:nil]};
}

Tensor operator-(Tensor a, Tensor b) {
  return {a.graph, [a.graph subtractionWithPrimaryTensor:a.node secondaryTensor:b.node name:nil]};
}

Tensor operator*(Tensor a, Tensor b) {
  return {a.graph, [a.graph multiplicationWithPrimaryTensor:a.node secondaryTensor:b.node name:nil]};
}

Tensor operator/(Tensor a, Tensor b) {
  return {a.graph, [a.graph divisionWithPrimaryTensor:a.node secondaryTensor:b.node name:nil]};
}

Tensor operator+(Tensor a, double b) { return a + constant(a, b); }
Tensor operator*(Tensor a, double b) { return a * constant(a, b); }

Tensor exp(Tensor x) { return {x.graph, [x.graph exponentWithTensor:x.node name:nil]}; }
Tensor log(Tensor x) { return {x.graph, [x.graph logarithmWithTensor:x.node name:nil]}; }
Tensor sqrt(Tensor x) { return {x.graph, [x.graph squareRootWithTensor:x.node name:nil]}; }
Tensor square(Tensor x) { return {x.graph, [x.graph squareWithTensor:x.node name:nil]}; }

Tensor sum(Tensor x, const Shape& axes) {
  return {x.graph, [x.graph reductionSumWithTensor:x.node axes:numbers(axes) name:nil]};
}

Tensor prod(Tensor x, const Shape& axes) {
  return {x.graph, [x.graph reductionProductWithTensor:x.node axes:numbers(axes) name:nil]};
}

Tensor max(Tensor x, const Shape& axes) {
  return {x.graph, [x.graph reductionMaximumPropagateNaNWithTensor:x.node axes:numbers(axes) name:nil]};
}

Tensor min(Tensor x, const Shape& axes) {
  return {x.graph, [x.graph reductionMinimumPropagateNaNWithTensor:x.node axes:numbers(axes) name:nil]};
}

Tensor mean(Tensor x, const Shape& axes) {
  return {x.graph, [x.graph meanOfTensor:x.node axes:numbers(axes) name:nil]};
}

Tensor variance(Tensor x, Tensor mean, const Shape& axes) {
  return {x.graph, [x.graph varianceOfTensor:x.node meanTensor:mean.node axes:numbers(axes) name:nil]};
}

Tensor softmax(Tensor x, int axis) { return {x.graph, [x.graph softMaxWithTensor:x.node axis:axis name:nil]}; }

Tensor matmul(Tensor a, Tensor b) {
  return {a.graph, [a.graph matrixMultiplicationWithPrimaryTensor:a.node secondaryTensor:b.node name:nil]};
}

Tensor transposed(Tensor x) { return {x.graph, [x.graph transposeTensor:x.node dimension:1 withDimension:2 name:nil]}; }

Tensor causal(Tensor x, double no) {
  MPSGraph* graph = x.graph;
  NSMutableArray* one_matrix = [NSMutableArray arrayWithArray:x.node.shape];
  [one_matrix replaceObjectAtIndex:0 withObject:@1];
  MPSGraphTensor* ones = [graph constantWithScalar:1 shape:one_matrix dataType:MPSDataTypeFloat32];
  const Tensor band{graph, [graph bandPartWithTensor:ones numLower:-1 numUpper:0 name:nil]};
  return {graph, [graph selectWithPredicateTensor:cast(band, MPSDataTypeBool).node
                              truePredicateTensor:x.node
                             falsePredicateTensor:constant(x, no).node
                                             name:nil]};
}

}  // namespace needle
