// Shapes of a graph's tensors, matrix products, and convolutions with their gradients.
#include <algorithm>

#include "SimGraph.h"

@implementation MPSGraph (Products)
- (MPSGraphTensor*)reshapeTensor:(MPSGraphTensor*)x withShape:(MPSShape*)sizes name:(NSString*)name {
  const Shape shape = mps_shape(sizes);
  if (mps_count(shape) != mps_count(shape_of(x))) {
    mps_stop("reshape of " + mps_text(shape_of(x)) + " to " + mps_text(shape));
  }
  return [self node:{x} shape:shape type:node_of(x)->type compute:[](auto& in) { return *in[0]; }];
}
- (MPSGraphTensor*)transposeTensor:(MPSGraphTensor*)x
                         dimension:(NSUInteger)first
                     withDimension:(NSUInteger)second
                              name:(NSString*)name {
  const Shape from = shape_of(x);
  const long a = checked_axis(long(first), from), b = checked_axis(long(second), from);
  Shape to = from, steps(from.size(), 1);
  std::swap(to[a], to[b]);
  for (size_t d = from.size() - 1; d--;) steps[d] = steps[d + 1] * from[d + 1];
  std::swap(steps[a], steps[b]);
  return [self node:{x}
              shape:to
               type:node_of(x)->type
            compute:[=](auto& in) {
              Data out(mps_count(to));
              for (long i = 0; i < long(out.size()); ++i) {
                long rest = i, at = 0;
                for (size_t d = to.size(); d--; rest /= to[d]) at += rest % to[d] * steps[d];
                out[i] = (*in[0])[at];
              }
              return out;
            }];
}
- (MPSGraphTensor*)bandPartWithTensor:(MPSGraphTensor*)x
                             numLower:(NSInteger)lower
                             numUpper:(NSInteger)upper
                                 name:(NSString*)name {
  const Shape shape = shape_of(x);
  if (shape.size() < 2) mps_stop("a band of " + mps_text(shape));
  const long rows = shape[shape.size() - 2], columns = shape.back();
  return [self node:{x}
              shape:shape
               type:node_of(x)->type
            compute:[=](auto& in) {
              Data out(*in[0]);
              for (long k = 0; k < long(out.size()); ++k) {
                const long i = k / columns % rows, j = k % columns;
                if ((lower >= 0 && i - j > lower) || (upper >= 0 && j - i > upper)) out[k] = 0;
              }
              return out;
            }];
}
- (MPSGraphTensor*)matrixMultiplicationWithPrimaryTensor:(MPSGraphTensor*)a
                                         secondaryTensor:(MPSGraphTensor*)b
                                                    name:(NSString*)name {
  same_types("matrix multiplication", {a, b});
  const Shape of_a = shape_of(a), of_b = shape_of(b);
  if (of_a.size() < 2 || of_b.size() < 2 || of_a.back() != of_b[of_b.size() - 2]) {
    mps_stop("matrix multiplication of " + mps_text(of_a) + " and " + mps_text(of_b));
  }
  const long m = of_a[of_a.size() - 2], k = of_a.back(), n = of_b.back();
  const Shape batch_a(of_a.begin(), of_a.end() - 2), batch_b(of_b.begin(), of_b.end() - 2);
  const Shape batch = broadcast(batch_a, batch_b);
  Shape shape = batch;
  shape.insert(shape.end(), {m, n});
  return [self node:{a, b}
              shape:shape
               type:node_of(a)->type
            compute:[=](auto& in) {
              Data out(mps_count(shape));
              Walk at_a(batch, batch_a), at_b(batch, batch_b);
              for (long t = 0; t < mps_count(batch); ++t) {
                const double *x = in[0]->data() + at_a.next() * m * k, *y = in[1]->data() + at_b.next() * k * n;
                double* z = out.data() + t * m * n;
                for (long i = 0; i < m; ++i) {
                  for (long l = 0; l < k; ++l) {
                    for (long j = 0; j < n; ++j) z[i * n + j] += x[i * k + l] * y[l * n + j];
                  }
                }
              }
              return out;
            }];
}
@end

namespace {

// A convolution's numbers: images (N, H, W, C), weights (KH, KW, C / groups, O), results (N, OH, OW, O).
struct Window {
  Shape image, weights, result;
  long stride_y, stride_x, dilation_y, dilation_x, top, left, groups;

  // Calls f(image, weight, result) with the flat indices of all that are multiplied.
  template <class F> void each(F f) const {
    const long channels = weights[2], outputs = weights[3] / groups;
    for (long n = 0; n < result[0]; ++n) {
      for (long y = 0; y < result[1]; ++y) {
        for (long x = 0; x < result[2]; ++x) {
          for (long u = 0; u < weights[0]; ++u) {
            for (long v = 0; v < weights[1]; ++v) {
              const long row = y * stride_y + u * dilation_y - top, column = x * stride_x + v * dilation_x - left;
              if (row < 0 || row >= image[1] || column < 0 || column >= image[2]) continue;
              const long pixel = ((n * image[1] + row) * image[2] + column) * image[3];
              const long to = ((n * result[1] + y) * result[2] + x) * result[3];
              for (long c = 0; c < image[3]; ++c) {
                const long first = c / channels * outputs, taps = (u * weights[1] + v) * channels + c % channels;
                for (long o = first; o < first + outputs; ++o) f(pixel + c, taps * weights[3] + o, to + o);
              }
            }
          }
        }
      }
    }
  }
};

Window window_of(MPSGraphConvolution2DOpDescriptor* d, const Shape& image, const Shape& weights) {
  if (d->dataLayout_ != MPSGraphTensorNamedDataLayoutNHWC || d->weightsLayout_ != MPSGraphTensorNamedDataLayoutHWIO ||
      d->style_ != MPSGraphPaddingStyleExplicit) {
    mps_stop("the simulator convolves NHWC with HWIO and explicit padding only");
  }
  const long groups = long(d->groups_);
  if (image.size() != 4 || weights.size() != 4 || image[3] != weights[2] * groups || weights[3] % groups) {
    mps_stop("convolution of " + mps_text(image) + " with " + mps_text(weights) + " in " + std::to_string(groups) +
             " groups");
  }
  const auto extent = [](long size, long before, long after, long taps, long stride, long dilation) {
    return (size + before + after - dilation * (taps - 1) - 1) / stride + 1;
  };
  const long h = extent(image[1], d->top_, d->bottom_, weights[0], d->strideY_, d->dilationY_);
  const long w = extent(image[2], d->left_, d->right_, weights[1], d->strideX_, d->dilationX_);
  return {image,
          weights,
          {image[0], h, w, weights[3]},
          long(d->strideY_),
          long(d->strideX_),
          long(d->dilationY_),
          long(d->dilationX_),
          long(d->top_),
          long(d->left_),
          groups};
}

void check_gradient(const Window& window, const Shape& gradient) {
  if (gradient != window.result) {
    mps_stop("a gradient of shape " + mps_text(gradient) + " of a convolution to " + mps_text(window.result));
  }
}

}  // namespace

@implementation MPSGraph (Convolutions)
- (MPSGraphTensor*)convolution2DWithSourceTensor:(MPSGraphTensor*)x
                                   weightsTensor:(MPSGraphTensor*)w
                                      descriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                            name:(NSString*)name {
  same_types("convolution", {x, w});
  const Window window = window_of(descriptor, shape_of(x), shape_of(w));
  return [self node:{x, w}
              shape:window.result
               type:node_of(x)->type
            compute:[=](auto& in) {
              Data out(mps_count(window.result));
              window.each([&](long i, long k, long o) { out[o] += (*in[0])[i] * (*in[1])[k]; });
              return out;
            }];
}
- (MPSGraphTensor*)convolution2DDataGradientWithIncomingGradientTensor:(MPSGraphTensor*)g
                                                         weightsTensor:(MPSGraphTensor*)w
                                                           outputShape:(MPSShape*)shape
                                          forwardConvolutionDescriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                                                  name:(NSString*)name {
  same_types("convolution gradient", {g, w});
  const Window window = window_of(descriptor, mps_shape(shape), shape_of(w));
  check_gradient(window, shape_of(g));
  return [self node:{g, w}
              shape:window.image
               type:node_of(g)->type
            compute:[=](auto& in) {
              Data out(mps_count(window.image));
              window.each([&](long i, long k, long o) { out[i] += (*in[0])[o] * (*in[1])[k]; });
              return out;
            }];
}
- (MPSGraphTensor*)convolution2DWeightsGradientWithIncomingGradientTensor:(MPSGraphTensor*)g
                                                             sourceTensor:(MPSGraphTensor*)x
                                                              outputShape:(MPSShape*)shape
                                             forwardConvolutionDescriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                                                     name:(NSString*)name {
  same_types("convolution gradient", {g, x});
  const Window window = window_of(descriptor, shape_of(x), mps_shape(shape));
  check_gradient(window, shape_of(g));
  return [self node:{g, x}
              shape:window.weights
               type:node_of(g)->type
            compute:[=](auto& in) {
              Data out(mps_count(window.weights));
              window.each([&](long i, long k, long o) { out[k] += (*in[0])[o] * (*in[1])[i]; });
              return out;
            }];
}
@end
