// Reductions of a graph, and what is composed of them.
#include <cmath>

#include "SimGraph.h"

long checked_axis(long axis, const Shape& shape) {
  const long rank = long(shape.size());
  if (axis < -rank || axis >= rank) mps_stop("axis " + std::to_string(axis) + " of shape " + mps_text(shape));
  return axis < 0 ? axis + rank : axis;
}

Shape without_axes(const Shape& shape, NSArray* axes) {
  if (axes == nil) return Shape(shape.size(), 1);
  Shape out = shape;
  for (long axis : mps_shape(axes)) out[checked_axis(axis, shape)] = 1;
  return out;
}

namespace {

double propagating(double x, double y, bool larger) {
  if (std::isnan(x) || std::isnan(y)) return NAN;
  return larger == (x > y) ? x : y;
}

}  // namespace

@implementation MPSGraph (Reductions)
- (MPSGraphTensor*)reduce:(MPSGraphTensor*)x axes:(NSArray*)axes from:(double)start with:(double (*)(double, double))f {
  const Shape shape = shape_of(x), reduced = without_axes(shape, axes);
  return [self node:{x}
              shape:reduced
               type:node_of(x)->type
            compute:[=](auto& in) {
              Data out(mps_count(reduced), start);
              Walk to(shape, reduced);
              for (double value : *in[0]) {
                double& sum = out[to.next()];
                sum = f(sum, value);
              }
              return out;
            }];
}
- (MPSGraphTensor*)reductionSumWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:0 with:[](double a, double b) { return a + b; }];
}
- (MPSGraphTensor*)reductionProductWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:1 with:[](double a, double b) { return a * b; }];
}
// These two pass over NaN, as Apple's do.
- (MPSGraphTensor*)reductionMaximumWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:-INFINITY with:[](double a, double b) { return std::fmax(a, b); }];
}
- (MPSGraphTensor*)reductionMinimumWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:INFINITY with:[](double a, double b) { return std::fmin(a, b); }];
}
- (MPSGraphTensor*)reductionMaximumPropagateNaNWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:-INFINITY with:[](double a, double b) { return propagating(a, b, true); }];
}
- (MPSGraphTensor*)reductionMinimumPropagateNaNWithTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  return [self reduce:x axes:axes from:INFINITY with:[](double a, double b) { return propagating(a, b, false); }];
}
- (MPSGraphTensor*)meanOfTensor:(MPSGraphTensor*)x axes:(NSArray*)axes name:(NSString*)name {
  MPSGraphTensor* sum = [self reductionSumWithTensor:x axes:axes name:nil];
  const double n = double(mps_count(shape_of(x))) / double(mps_count(shape_of(sum)));
  return [self divisionWithPrimaryTensor:sum
                         secondaryTensor:[self constantWithScalar:n dataType:node_of(x)->type]
                                    name:nil];
}
- (MPSGraphTensor*)varianceOfTensor:(MPSGraphTensor*)x
                         meanTensor:(MPSGraphTensor*)mean
                               axes:(NSArray*)axes
                               name:(NSString*)name {
  MPSGraphTensor* centered = [self subtractionWithPrimaryTensor:x secondaryTensor:mean name:nil];
  return [self meanOfTensor:[self squareWithTensor:centered name:nil] axes:axes name:nil];
}
- (MPSGraphTensor*)normalizationWithTensor:(MPSGraphTensor*)x
                                meanTensor:(MPSGraphTensor*)mean
                            varianceTensor:(MPSGraphTensor*)variance
                               gammaTensor:(MPSGraphTensor*)gamma
                                betaTensor:(MPSGraphTensor*)beta
                                   epsilon:(float)epsilon
                                      name:(NSString*)name {
  MPSGraphTensor* eps = [self constantWithScalar:epsilon dataType:node_of(x)->type];
  MPSGraphTensor* deviation =
      [self squareRootWithTensor:[self additionWithPrimaryTensor:variance secondaryTensor:eps name:nil] name:nil];
  MPSGraphTensor* centered = [self subtractionWithPrimaryTensor:x secondaryTensor:mean name:nil];
  MPSGraphTensor* y = [self divisionWithPrimaryTensor:centered secondaryTensor:deviation name:nil];
  if (gamma) y = [self multiplicationWithPrimaryTensor:y secondaryTensor:gamma name:nil];
  if (beta) y = [self additionWithPrimaryTensor:y secondaryTensor:beta name:nil];
  if (shape_of(y) != shape_of(x)) mps_stop("normalization: " + mps_text(shape_of(x)) + " became larger");
  return y;
}
- (MPSGraphTensor*)softMaxWithTensor:(MPSGraphTensor*)x axis:(NSInteger)axis name:(NSString*)name {
  NSArray* axes = @[ @(axis) ];
  MPSGraphTensor* largest = [self reductionMaximumWithTensor:x axes:axes name:nil];
  MPSGraphTensor* e = [self exponentWithTensor:[self subtractionWithPrimaryTensor:x secondaryTensor:largest name:nil]
                                          name:nil];
  return [self divisionWithPrimaryTensor:e secondaryTensor:[self reductionSumWithTensor:e axes:axes name:nil] name:nil];
}
@end
