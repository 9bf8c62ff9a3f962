// Each case is one mistake with MPS, or a program without any; `mps NAME` runs it. A mistake ends the program with what
// is wrong. What it prints otherwise is checked by ../test_mps_misuse.py.
#import <MetalPerformanceShadersGraph/MetalPerformanceShadersGraph.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

extern "C" long metalsim_live_objects();

namespace {

constexpr MPSDataType kFloat = MPSDataTypeFloat32, kHalf = MPSDataTypeFloat16;

// A device, a queue and a command buffer; what is made by `keep` is released at the end.
struct World {
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  id<MTLCommandQueue> queue = [device newCommandQueue];
  id<MTLCommandBuffer> commands = [queue commandBuffer];
  std::vector<id> kept;

  ~World() {
    for (id object : kept) [object release];
    [queue release];
    [device release];
  }
  template <class T> T keep(T object) {
    kept.push_back(object);
    return object;
  }
  id<MTLBuffer> buffer(const std::vector<float>& values) {
    return keep([device newBufferWithBytes:values.data()
                                    length:values.size() * 4
                                   options:MTLResourceStorageModeShared]);
  }
  MPSMatrix* matrix(NSUInteger rows, NSUInteger columns, NSUInteger count = 1, MPSDataType type = kFloat,
                    NSUInteger offset = 0) {
    MPSMatrixDescriptor* descriptor = [MPSMatrixDescriptor matrixDescriptorWithRows:rows
                                                                            columns:columns
                                                                           matrices:count
                                                                           rowBytes:columns * 4
                                                                        matrixBytes:rows * columns * 4
                                                                           dataType:type];
    id<MTLBuffer> memory = buffer(std::vector<float>(64, 1));
    return keep([[MPSMatrix alloc] initWithBuffer:memory offset:offset descriptor:descriptor]);
  }
  MPSMatrixMultiplication* product(NSUInteger m, NSUInteger n, NSUInteger k) {
    return keep([[MPSMatrixMultiplication alloc] initWithDevice:device
                                                  transposeLeft:NO
                                                 transposeRight:NO
                                                     resultRows:m
                                                  resultColumns:n
                                                interiorColumns:k
                                                          alpha:1
                                                           beta:0]);
  }
  void multiply(MPSMatrix* a, MPSMatrix* b, MPSMatrix* c) {
    [product(2, 3, 4) encodeToCommandBuffer:commands leftMatrix:a rightMatrix:b resultMatrix:c];
  }

  MPSGraph* graph = keep([MPSGraph new]);
  MPSGraphTensor* input(NSArray* shape, MPSDataType type = kFloat) {
    return [graph placeholderWithShape:shape dataType:type name:@"x"];
  }
  MPSGraphShapedType* type(NSArray* shape, MPSDataType type = kFloat) {
    return keep([[MPSGraphShapedType alloc] initWithShape:shape dataType:type]);
  }
  MPSGraphExecutable* compile(NSDictionary* feeds, NSArray* targets) {
    return [graph compileWithDevice:[MPSGraphDevice deviceWithMTLDevice:device]
                              feeds:feeds
                      targetTensors:targets
                   targetOperations:nil
              compilationDescriptor:nil];
  }
  MPSGraphTensorData* data(NSArray* shape, MPSDataType type = kFloat, std::vector<float> values = {1, 2, 3, 4, 5, 6}) {
    return keep([[MPSGraphTensorData alloc] initWithMTLBuffer:buffer(values) shape:shape dataType:type]);
  }
  MPSCommandBuffer* mps() { return [MPSCommandBuffer commandBufferWithCommandBuffer:commands]; }
  void encode(MPSGraphExecutable* executable, NSArray* inputs, NSArray* results) {
    [executable encodeToCommandBuffer:mps() inputsArray:inputs resultsArray:results executionDescriptor:nil];
  }

  // The graph y = f(x) of a matrix of 2 by 3, run, and its results printed.
  void show(std::vector<float> values, NSArray* result, std::function<MPSGraphTensor*(MPSGraphTensor*)> f) {
    MPSGraphTensor* x = input(@[ @2, @3 ]);
    MPSGraphExecutable* executable = compile(@{x : type(@[ @2, @3 ])}, @[ f(x) ]);
    MPSGraphTensorData* y = data(result);
    encode(executable, @[ data(@[ @2, @3 ], kFloat, values) ], @[ y ]);
    [commands commit];
    [commands waitUntilCompleted];
    const float* out = (const float*)[y->buffer_ contents];
    size_t count = 1;
    for (NSNumber* size in result) count *= size.unsignedIntegerValue;
    for (size_t i = 0; i < count; ++i) printf("%g ", out[i]);
    printf("\n");
  }
};

MPSGraphConvolution2DOpDescriptor* window(NSUInteger groups) {
  return [MPSGraphConvolution2DOpDescriptor descriptorWithStrideInX:1
                                                          strideInY:1
                                                    dilationRateInX:1
                                                    dilationRateInY:1
                                                             groups:groups
                                                        paddingLeft:0
                                                       paddingRight:0
                                                         paddingTop:0
                                                      paddingBottom:0
                                                       paddingStyle:MPSGraphPaddingStyleExplicit
                                                         dataLayout:MPSGraphTensorNamedDataLayoutNHWC
                                                      weightsLayout:MPSGraphTensorNamedDataLayoutHWIO];
}

const NSUInteger kOdd = 6;

std::map<std::string, std::function<void(World&)>> cases() {
  return {
      {"row_bytes_unaligned",
       [](World&) { [MPSMatrixDescriptor matrixDescriptorWithRows:2 columns:1 rowBytes:kOdd dataType:kFloat]; }},
      {"row_bytes_too_short",
       [](World&) { [MPSMatrixDescriptor matrixDescriptorWithRows:2 columns:3 rowBytes:8 dataType:kFloat]; }},
      {"matrix_bytes_unaligned",
       [](World&) {
         [MPSMatrixDescriptor matrixDescriptorWithRows:2
                                               columns:2
                                              matrices:2
                                              rowBytes:8
                                           matrixBytes:20
                                              dataType:kFloat];
       }},
      {"matrix_offset_unaligned", [](World& w) { w.matrix(2, 2, 1, kFloat, 2); }},
      {"matrix_beyond_buffer", [](World& w) { w.matrix(8, 9); }},
      {"matrix_offset_beyond_buffer", [](World& w) { w.matrix(8, 8, 1, kFloat, 4); }},
      {"product_shapes", [](World& w) { w.multiply(w.matrix(2, 4), w.matrix(3, 3), w.matrix(2, 3)); }},
      {"product_types", [](World& w) { w.multiply(w.matrix(2, 4), w.matrix(4, 3, 1, kHalf), w.matrix(2, 3)); }},
      {"product_of_integers",
       [](World& w) {
         const MPSDataType type = MPSDataTypeInt32;
         w.multiply(w.matrix(2, 4, 1, type), w.matrix(4, 3, 1, type), w.matrix(2, 3, 1, type));
       }},
      {"product_batch", [](World& w) { w.multiply(w.matrix(2, 4), w.matrix(4, 3, 2), w.matrix(2, 3, 2)); }},
      {"product_encoder_open",
       [](World& w) {
         [w.commands computeCommandEncoder];
         w.multiply(w.matrix(2, 4), w.matrix(4, 3), w.matrix(2, 3));
       }},
      {"product_after_commit",
       [](World& w) {
         [w.commands commit];
         w.multiply(w.matrix(2, 4), w.matrix(4, 3), w.matrix(2, 3));
       }},
      {"not_fed",
       [](World& w) {
         MPSGraphTensor *x = w.input(@[ @2 ]), *y = w.input(@[ @2 ]);
         w.compile(@{x : w.type(@[ @2 ])}, @[ [w.graph additionWithPrimaryTensor:x secondaryTensor:y name:nil] ]);
       }},
      {"feed_shape",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         w.compile(@{x : w.type(@[ @3 ])}, @[ [w.graph squareWithTensor:x name:nil] ]);
       }},
      {"feed_type",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         w.compile(@{x : w.type(@[ @2 ], kHalf)}, @[ [w.graph squareWithTensor:x name:nil] ]);
       }},
      {"input_shape",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         w.encode(w.compile(
                      @{x : w.type(@[ @2 ])}, @[ [w.graph squareWithTensor:x name:nil] ]),
                  @[ w.data(@[ @3 ]) ], @[ w.data(@[ @2 ]) ]);
       }},
      {"result_type",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         w.encode(w.compile(
                      @{x : w.type(@[ @2 ])}, @[ [w.graph squareWithTensor:x name:nil] ]),
                  @[ w.data(@[ @2 ]) ], @[ w.data(@[ @2 ], kHalf) ]);
       }},
      {"too_few_inputs",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         w.encode(w.compile(
                      @{x : w.type(@[ @2 ])}, @[ [w.graph squareWithTensor:x name:nil] ]),
                  @[], @[ w.data(@[ @2 ]) ]);
       }},
      {"own_order_of_feeds",
       [](World& w) {
         MPSGraphTensor *x = w.input(@[ @2, @3 ]), *y = w.input(@[ @3 ]);
         MPSGraphExecutable* executable = w.compile(
             @{x : w.type(@[ @2, @3 ]),
               y : w.type(@[ @3 ])},
             @[ [w.graph subtractionWithPrimaryTensor:x secondaryTensor:y name:nil] ]);
         w.encode(executable, @[ w.data(@[ @2, @3 ]), w.data(@[ @3 ]) ], @[ w.data(@[ @2, @3 ]) ]);
       }},
      {"graph_encoder_open",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         MPSGraphExecutable* executable = w.compile(@{x : w.type(@[ @2 ])}, @[ [w.graph squareWithTensor:x name:nil] ]);
         [w.commands computeCommandEncoder];
         w.encode(executable, @[ w.data(@[ @2 ]) ], @[ w.data(@[ @2 ]) ]);
       }},
      {"data_beyond_buffer", [](World& w) { w.data(@[ @7 ]); }},
      {"array_rows_padded",
       [](World& w) {
         MPSNDArrayDescriptor* d = [MPSNDArrayDescriptor descriptorWithDataType:kFloat shape:@[ @2, @3 ]];
         w.keep([[MPSNDArray alloc] initWithBuffer:w.buffer({1, 2, 3, 4, 5, 6}) offset:0 descriptor:d]);
       }},
      {"operand_types",
       [](World& w) {
         [w.graph additionWithPrimaryTensor:w.input(@[ @2 ]) secondaryTensor:w.input(@[ @2 ], kHalf) name:nil];
       }},
      {"operand_shapes",
       [](World& w) {
         [w.graph additionWithPrimaryTensor:w.input(@[ @2 ]) secondaryTensor:w.input(@[ @3 ]) name:nil];
       }},
      {"select_predicate",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2 ]);
         [w.graph selectWithPredicateTensor:x truePredicateTensor:x falsePredicateTensor:x name:nil];
       }},
      {"matmul_shapes",
       [](World& w) {
         MPSGraphTensor* x = w.input(@[ @2, @3 ]);
         [w.graph matrixMultiplicationWithPrimaryTensor:x secondaryTensor:x name:nil];
       }},
      {"reshape", [](World& w) { [w.graph reshapeTensor:w.input(@[ @2, @3 ]) withShape:@[ @5 ] name:nil]; }},
      {"axis", [](World& w) { [w.graph reductionSumWithTensor:w.input(@[ @2, @3 ]) axes:@[ @2 ] name:nil]; }},
      {"another_graph",
       [](World& w) {
         MPSGraph* other = w.keep([MPSGraph new]);
         [other squareWithTensor:w.input(@[ @2 ]) name:nil];
       }},
      {"convolution_channels",
       [](World& w) {
         [w.graph convolution2DWithSourceTensor:w.input(@[ @1, @4, @4, @3 ])
                                  weightsTensor:w.input(@[ @2, @2, @2, @4 ])
                                     descriptor:window(1)
                                           name:nil];
       }},
      {"convolution_groups",
       [](World& w) {
         [w.graph convolution2DWithSourceTensor:w.input(@[ @1, @4, @4, @4 ])
                                  weightsTensor:w.input(@[ @2, @2, @2, @3 ])
                                     descriptor:window(2)
                                           name:nil];
       }},
      {"convolution_gradient",
       [](World& w) {
         [w.graph convolution2DDataGradientWithIncomingGradientTensor:w.input(@[ @1, @4, @4, @4 ])
                                                        weightsTensor:w.input(@[ @2, @2, @3, @4 ])
                                                          outputShape:@[ @1, @4, @4, @3 ]
                                         forwardConvolutionDescriptor:window(1)
                                                                 name:nil];
       }},
      // Programs without a mistake.
      {"largest",
       [](World& w) {
         w.show({1, NAN, 3, 4, 5, 6}, @[ @2, @1 ],
                [&](auto x) { return [w.graph reductionMaximumWithTensor:x axes:@[ @1 ] name:nil]; });
       }},
      {"largest_with_nan",
       [](World& w) {
         w.show({1, NAN, 3, 4, 5, 6}, @[ @2, @1 ],
                [&](auto x) { return [w.graph reductionMaximumPropagateNaNWithTensor:x axes:@[ @1 ] name:nil]; });
       }},
      {"variance",
       [](World& w) {
         w.show({1, 2, 3, 4, 4, 4}, @[ @2, @1 ], [&](auto x) {
           MPSGraphTensor* mean = [w.graph meanOfTensor:x axes:@[ @1 ] name:nil];
           return [w.graph varianceOfTensor:x meanTensor:mean axes:@[ @1 ] name:nil];
         });
       }},
      {"band",
       [](World& w) {
         w.show({1, 2, 3, 4, 5, 6}, @[ @2, @3 ],
                [&](auto x) { return [w.graph bandPartWithTensor:x numLower:-1 numUpper:0 name:nil]; });
       }},
      {"transposed",
       [](World& w) {
         w.show({1, 2, 3, 4, 5, 6}, @[ @3, @2 ],
                [&](auto x) { return [w.graph transposeTensor:x dimension:0 withDimension:1 name:nil]; });
       }},
      {"continued",
       [](World& w) {
         MPSCommandBuffer* mps = w.mps();
         [mps commitAndContinue];
         printf("%d %d %d\n", mps.commandBuffer == w.commands, mps.rootCommandBuffer == w.commands,
                int(w.commands.status));
         [mps.rootCommandBuffer commit];
         [mps.rootCommandBuffer waitUntilCompleted];
       }},
  };
}

}  // namespace

int main(int, char** argv) {
  @autoreleasepool {
    World world;
    cases().at(argv[1])(world);
  }
  printf("%ld live\n", metalsim_live_objects());
  return 0;
}
