// Needle Metal simulator: the part of MetalPerformanceShadersGraph that needle-backend-mps uses. Tests only. Names,
// selectors and values are those of Apple's documentation; see MetalPerformanceShaders.h.
#pragma once
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>
NS_ASSUME_NONNULL_BEGIN
typedef NS_ENUM(NSUInteger, MPSGraphTensorNamedDataLayout) {
  MPSGraphTensorNamedDataLayoutNCHW = 0,
  MPSGraphTensorNamedDataLayoutNHWC = 1,
  MPSGraphTensorNamedDataLayoutOIHW = 2,
  MPSGraphTensorNamedDataLayoutHWIO = 3
};
typedef NS_ENUM(NSUInteger, MPSGraphPaddingStyle) {
  MPSGraphPaddingStyleExplicit = 0,
  MPSGraphPaddingStyleTF_VALID = 1,
  MPSGraphPaddingStyleTF_SAME = 2
};

@interface MPSGraphObject : NSObject
@end

@interface MPSGraphDevice : MPSGraphObject {
 @public
  id<MTLDevice> device_;
}
+ (instancetype)deviceWithMTLDevice:(id<MTLDevice>)metalDevice;
@end

@interface MPSGraphType : MPSGraphObject
@end
@interface MPSGraphShapedType : MPSGraphType {
 @public
  MPSShape* shape_;
  MPSDataType type_;
}
- (instancetype)initWithShape:(nullable MPSShape*)shape dataType:(MPSDataType)dataType;
@end

@interface MPSGraphTensor : MPSGraphObject <NSCopying> {
 @public
  void* node_;
}
@property(readonly, nullable) MPSShape* shape;
@property(readonly) MPSDataType dataType;
@end

@interface MPSGraphTensorData : MPSGraphObject {
 @public
  id<MTLBuffer> buffer_;
  NSUInteger offset_;
  MPSShape* shape_;
  MPSDataType type_;
}
- (instancetype)initWithMTLBuffer:(id<MTLBuffer>)buffer shape:(MPSShape*)shape dataType:(MPSDataType)dataType;
- (instancetype)initWithMPSNDArray:(MPSNDArray*)ndarray;
@end

@interface MPSGraphCompilationDescriptor : MPSGraphObject
@end
@interface MPSGraphExecutableExecutionDescriptor : MPSGraphObject
@end
@interface MPSGraphOperation : MPSGraphObject
@end

@interface MPSGraphExecutable : MPSGraphObject {
 @public
  void* compiled_;
}
@property(readonly, nullable) NSArray* feedTensors;
@property(readonly, nullable) NSArray* targetTensors;
- (NSArray*)encodeToCommandBuffer:(MPSCommandBuffer*)commandBuffer
                      inputsArray:(NSArray*)inputsArray
                     resultsArray:(nullable NSArray*)resultsArray
              executionDescriptor:(nullable MPSGraphExecutableExecutionDescriptor*)executionDescriptor;
@end

@interface MPSGraphConvolution2DOpDescriptor : MPSGraphObject {
 @public
  NSUInteger strideX_, strideY_, dilationX_, dilationY_, left_, right_, top_, bottom_, groups_;
  MPSGraphPaddingStyle style_;
  MPSGraphTensorNamedDataLayout dataLayout_, weightsLayout_;
}
+ (nullable instancetype)descriptorWithStrideInX:(NSUInteger)strideInX
                                       strideInY:(NSUInteger)strideInY
                                 dilationRateInX:(NSUInteger)dilationRateInX
                                 dilationRateInY:(NSUInteger)dilationRateInY
                                          groups:(NSUInteger)groups
                                     paddingLeft:(NSUInteger)paddingLeft
                                    paddingRight:(NSUInteger)paddingRight
                                      paddingTop:(NSUInteger)paddingTop
                                   paddingBottom:(NSUInteger)paddingBottom
                                    paddingStyle:(MPSGraphPaddingStyle)paddingStyle
                                      dataLayout:(MPSGraphTensorNamedDataLayout)dataLayout
                                   weightsLayout:(MPSGraphTensorNamedDataLayout)weightsLayout;
@end

@interface MPSGraph : MPSGraphObject {
 @public
  void* graph_;
}
+ (instancetype)new;
- (MPSGraphExecutable*)compileWithDevice:(nullable MPSGraphDevice*)device
                                   feeds:(NSDictionary*)feeds
                           targetTensors:(NSArray*)targetTensors
                        targetOperations:(nullable NSArray*)targetOperations
                   compilationDescriptor:(nullable MPSGraphCompilationDescriptor*)compilationDescriptor;
- (MPSGraphTensor*)placeholderWithShape:(nullable MPSShape*)shape
                               dataType:(MPSDataType)dataType
                                   name:(nullable NSString*)name;
- (MPSGraphTensor*)constantWithScalar:(double)scalar dataType:(MPSDataType)dataType;
- (MPSGraphTensor*)constantWithScalar:(double)scalar shape:(MPSShape*)shape dataType:(MPSDataType)dataType;
- (MPSGraphTensor*)additionWithPrimaryTensor:(MPSGraphTensor*)primaryTensor
                             secondaryTensor:(MPSGraphTensor*)secondaryTensor
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)subtractionWithPrimaryTensor:(MPSGraphTensor*)primaryTensor
                                secondaryTensor:(MPSGraphTensor*)secondaryTensor
                                           name:(nullable NSString*)name;
- (MPSGraphTensor*)multiplicationWithPrimaryTensor:(MPSGraphTensor*)primaryTensor
                                   secondaryTensor:(MPSGraphTensor*)secondaryTensor
                                              name:(nullable NSString*)name;
- (MPSGraphTensor*)divisionWithPrimaryTensor:(MPSGraphTensor*)primaryTensor
                             secondaryTensor:(MPSGraphTensor*)secondaryTensor
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)exponentWithTensor:(MPSGraphTensor*)tensor name:(nullable NSString*)name;
- (MPSGraphTensor*)logarithmWithTensor:(MPSGraphTensor*)tensor name:(nullable NSString*)name;
- (MPSGraphTensor*)squareRootWithTensor:(MPSGraphTensor*)tensor name:(nullable NSString*)name;
- (MPSGraphTensor*)squareWithTensor:(MPSGraphTensor*)tensor name:(nullable NSString*)name;
- (MPSGraphTensor*)selectWithPredicateTensor:(MPSGraphTensor*)predicateTensor
                         truePredicateTensor:(MPSGraphTensor*)truePredicateTensor
                        falsePredicateTensor:(MPSGraphTensor*)falseSelectTensor
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)castTensor:(MPSGraphTensor*)tensor toType:(MPSDataType)type name:(nullable NSString*)name;
@end

// As in Apple's headers, operations are declared in categories.
@interface MPSGraph (Reductions)
- (MPSGraphTensor*)softMaxWithTensor:(MPSGraphTensor*)tensor axis:(NSInteger)axis name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionSumWithTensor:(MPSGraphTensor*)tensor
                                     axes:(nullable NSArray*)axes
                                     name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionProductWithTensor:(MPSGraphTensor*)tensor
                                         axes:(nullable NSArray*)axes
                                         name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionMaximumWithTensor:(MPSGraphTensor*)tensor
                                         axes:(nullable NSArray*)axes
                                         name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionMinimumWithTensor:(MPSGraphTensor*)tensor
                                         axes:(nullable NSArray*)axes
                                         name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionMaximumPropagateNaNWithTensor:(MPSGraphTensor*)tensor
                                                     axes:(nullable NSArray*)axes
                                                     name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionMinimumPropagateNaNWithTensor:(MPSGraphTensor*)tensor
                                                     axes:(nullable NSArray*)axes
                                                     name:(nullable NSString*)name;
- (MPSGraphTensor*)meanOfTensor:(MPSGraphTensor*)tensor axes:(NSArray*)axes name:(nullable NSString*)name;
- (MPSGraphTensor*)varianceOfTensor:(MPSGraphTensor*)tensor
                         meanTensor:(MPSGraphTensor*)meanTensor
                               axes:(NSArray*)axes
                               name:(nullable NSString*)name;
- (MPSGraphTensor*)normalizationWithTensor:(MPSGraphTensor*)tensor
                                meanTensor:(MPSGraphTensor*)mean
                            varianceTensor:(MPSGraphTensor*)variance
                               gammaTensor:(nullable MPSGraphTensor*)gamma
                                betaTensor:(nullable MPSGraphTensor*)beta
                                   epsilon:(float)epsilon
                                      name:(nullable NSString*)name;
@end

@interface MPSGraph (Products)
- (MPSGraphTensor*)bandPartWithTensor:(MPSGraphTensor*)inputTensor
                             numLower:(NSInteger)numLower
                             numUpper:(NSInteger)numUpper
                                 name:(nullable NSString*)name;
- (MPSGraphTensor*)reshapeTensor:(MPSGraphTensor*)tensor withShape:(MPSShape*)shape name:(nullable NSString*)name;
- (MPSGraphTensor*)transposeTensor:(MPSGraphTensor*)tensor
                         dimension:(NSUInteger)dimensionIndex
                     withDimension:(NSUInteger)dimensionIndex2
                              name:(nullable NSString*)name;
- (MPSGraphTensor*)matrixMultiplicationWithPrimaryTensor:(MPSGraphTensor*)primaryTensor
                                         secondaryTensor:(MPSGraphTensor*)secondaryTensor
                                                    name:(nullable NSString*)name;
@end

@interface MPSGraph (Convolutions)
- (MPSGraphTensor*)convolution2DWithSourceTensor:(MPSGraphTensor*)source
                                   weightsTensor:(MPSGraphTensor*)weights
                                      descriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                            name:(nullable NSString*)name;
- (MPSGraphTensor*)convolution2DDataGradientWithIncomingGradientTensor:(MPSGraphTensor*)incomingGradient
                                                         weightsTensor:(MPSGraphTensor*)weights
                                                           outputShape:(MPSShape*)outputShape
                                          forwardConvolutionDescriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                                                  name:(nullable NSString*)name;
- (MPSGraphTensor*)convolution2DWeightsGradientWithIncomingGradientTensor:(MPSGraphTensor*)incomingGradient
                                                             sourceTensor:(MPSGraphTensor*)source
                                                              outputShape:(MPSShape*)outputShape
                                             forwardConvolutionDescriptor:(MPSGraphConvolution2DOpDescriptor*)descriptor
                                                                     name:(nullable NSString*)name;
@end
NS_ASSUME_NONNULL_END
