// Convolutions of images (N, H, W, C) with weights (KH, KW, C / groups, O), and their gradients.
#include "graphs.h"
#include "ops.h"

namespace needle {
namespace {

Shape shape_of(const ShapedView& x) { return {x.shape, x.shape + x.rank}; }

struct Window {
  Pair stride, padding, dilation;
  int64_t groups;

  std::string key(const char* op) const {
    std::string text = op;
    for (int64_t part : {stride.y, stride.x, padding.y, padding.x, dilation.y, dilation.x, groups}) {
      (text += ' ') += std::to_string(part);
    }
    return text;
  }

  Tensor convolved(Tensor x, Tensor w) const {
    return {x.graph, [x.graph convolution2DWithSourceTensor:x.node
                                              weightsTensor:w.node
                                                 descriptor:descriptor()
                                                       name:nil]};
  }

  MPSGraphConvolution2DOpDescriptor* descriptor() const {
    return [MPSGraphConvolution2DOpDescriptor descriptorWithStrideInX:NSUInteger(stride.x)
                                                            strideInY:NSUInteger(stride.y)
                                                      dilationRateInX:NSUInteger(dilation.x)
                                                      dilationRateInY:NSUInteger(dilation.y)
                                                               groups:NSUInteger(groups)
                                                          paddingLeft:NSUInteger(padding.x)
                                                         paddingRight:NSUInteger(padding.x)
                                                           paddingTop:NSUInteger(padding.y)
                                                        paddingBottom:NSUInteger(padding.y)
                                                         paddingStyle:MPSGraphPaddingStyleExplicit
                                                           dataLayout:MPSGraphTensorNamedDataLayoutNHWC
                                                        weightsLayout:MPSGraphTensorNamedDataLayoutHWIO];
  }
};

}  // namespace

bool conv2d(const ShapedView& dst, const ShapedView& x, const ShapedView& w, Pair stride, Pair padding, Pair dilation,
            int64_t groups) {
  if (!takes({&dst, &x, &w})) return false;
  const Window window{stride, padding, dilation, groups};
  run(window.key("conv2d"), {{x, shape_of(x)}, {w, shape_of(w)}}, {{dst, shape_of(dst)}},
      [&](auto& in) -> std::vector<Tensor> { return {window.convolved(in[0], in[1])}; });
  return true;
}

bool conv2d_bias(const ShapedView& dst, const ShapedView& x, const ShapedView& w, const View& bias, Pair stride,
                 Pair padding, Pair dilation, int64_t groups) {
  if (!takes({&dst, &x, &w, &bias})) return false;
  const Window window{stride, padding, dilation, groups};
  run(window.key("conv2d_bias"), {{x, shape_of(x)}, {w, shape_of(w)}, {bias, {1, 1, 1, bias.size}}},
      {{dst, shape_of(dst)}},
      [&](auto& in) -> std::vector<Tensor> { return {window.convolved(in[0], in[1]) + in[2]}; });
  return true;
}

bool conv2d_grad_input(const ShapedView& dst, const ShapedView& g, const ShapedView& w, Pair stride, Pair padding,
                       Pair dilation, int64_t groups) {
  if (!takes({&dst, &g, &w})) return false;
  const Window window{stride, padding, dilation, groups};
  run(window.key("conv2d_grad_input"), {{g, shape_of(g)}, {w, shape_of(w)}}, {{dst, shape_of(dst)}},
      [&](auto& in) -> std::vector<Tensor> {
        MPSGraph* graph = in[0].graph;
        return {{graph, [graph convolution2DDataGradientWithIncomingGradientTensor:in[0].node
                                                                     weightsTensor:in[1].node
                                                                       outputShape:numbers(shape_of(dst))
                                                      forwardConvolutionDescriptor:window.descriptor()
                                                                              name:nil]}};
      });
  return true;
}

bool conv2d_grad_weight(const ShapedView& dst, const ShapedView& x, const ShapedView& g, Pair stride, Pair padding,
                        Pair dilation, int64_t groups) {
  if (!takes({&dst, &x, &g})) return false;
  const Window window{stride, padding, dilation, groups};
  run(window.key("conv2d_grad_weight"), {{g, shape_of(g)}, {x, shape_of(x)}}, {{dst, shape_of(dst)}},
      [&](auto& in) -> std::vector<Tensor> {
        MPSGraph* graph = in[0].graph;
        return {{graph, [graph convolution2DWeightsGradientWithIncomingGradientTensor:in[0].node
                                                                         sourceTensor:in[1].node
                                                                          outputShape:numbers(shape_of(dst))
                                                         forwardConvolutionDescriptor:window.descriptor()
                                                                                 name:nil]}};
      });
  return true;
}

}  // namespace needle
