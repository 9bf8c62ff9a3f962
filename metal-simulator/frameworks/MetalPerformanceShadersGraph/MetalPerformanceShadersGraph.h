// Needle Metal simulator: the part of MetalPerformanceShadersGraph that the MPS bridge uses (tests only).
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
@interface MPSGraphDevice : NSObject {
 @public
  id<MTLDevice> d_;
}
+ (instancetype)deviceWithMTLDevice:(id<MTLDevice>)d;
@end
@interface MPSGraphShapedType : NSObject {
 @public
  MPSShape* s_;
  MPSDataType t_;
}
- (instancetype)initWithShape:(nullable MPSShape*)shape dataType:(MPSDataType)dataType;
@end
@interface MPSGraphTensor : NSObject <NSCopying> {
 @public
  void* n_;
}
@property(readonly, nullable) MPSShape* shape;
@property(readonly) MPSDataType dataType;
@end
@interface MPSGraphTensorData : NSObject {
 @public
  id<MTLBuffer> b_;
  MPSShape* s_;
  MPSDataType t_;
}
@property(readonly, copy, nonatomic) MPSShape* shape;
- (instancetype)initWithMTLBuffer:(id<MTLBuffer>)buffer shape:(MPSShape*)shape dataType:(MPSDataType)dataType;
@end
@interface MPSGraphCompilationDescriptor : NSObject
@end
@interface MPSGraphExecutableExecutionDescriptor : NSObject {
 @public
  BOOL w_;
}
@property(readwrite) BOOL waitUntilCompleted;
@end
@interface MPSGraphExecutable : NSObject {
 @public
  void* g_;
}
@property(readonly, nullable) NSArray* feedTensors;
- (NSArray*)encodeToCommandBuffer:(MPSCommandBuffer*)cb
                      inputsArray:(NSArray*)inputs
                     resultsArray:(nullable NSArray*)results
              executionDescriptor:(nullable MPSGraphExecutableExecutionDescriptor*)d;
@end
@interface MPSGraphConvolution2DOpDescriptor : NSObject {
 @public
  NSUInteger sx, sy, dx, dy, pl, pr, pt, pb, g;
  MPSGraphPaddingStyle ps;
  MPSGraphTensorNamedDataLayout dl, wl;
}
@property(readwrite, nonatomic) NSUInteger strideInX, strideInY, dilationRateInX, dilationRateInY, paddingLeft,
    paddingRight, paddingTop, paddingBottom, groups;
+ (nullable instancetype)descriptorWithStrideInX:(NSUInteger)sx
                                       strideInY:(NSUInteger)sy
                                 dilationRateInX:(NSUInteger)dx
                                 dilationRateInY:(NSUInteger)dy
                                          groups:(NSUInteger)g
                                     paddingLeft:(NSUInteger)l
                                    paddingRight:(NSUInteger)r
                                      paddingTop:(NSUInteger)t
                                   paddingBottom:(NSUInteger)b
                                    paddingStyle:(MPSGraphPaddingStyle)ps
                                      dataLayout:(MPSGraphTensorNamedDataLayout)dl
                                   weightsLayout:(MPSGraphTensorNamedDataLayout)wl;
@end
@interface MPSGraph : NSObject {
 @public
  void* g_;
}
+ (instancetype)new;
- (MPSGraphTensor*)placeholderWithShape:(nullable MPSShape*)shape
                               dataType:(MPSDataType)dataType
                                   name:(nullable NSString*)name;
- (MPSGraphTensor*)constantWithScalar:(double)scalar dataType:(MPSDataType)dataType;
- (MPSGraphTensor*)constantWithScalar:(double)scalar shape:(MPSShape*)shape dataType:(MPSDataType)dataType;
- (MPSGraphTensor*)additionWithPrimaryTensor:(MPSGraphTensor*)a
                             secondaryTensor:(MPSGraphTensor*)b
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)subtractionWithPrimaryTensor:(MPSGraphTensor*)a
                                secondaryTensor:(MPSGraphTensor*)b
                                           name:(nullable NSString*)name;
- (MPSGraphTensor*)multiplicationWithPrimaryTensor:(MPSGraphTensor*)a
                                   secondaryTensor:(MPSGraphTensor*)b
                                              name:(nullable NSString*)name;
- (MPSGraphTensor*)divisionWithPrimaryTensor:(MPSGraphTensor*)a
                             secondaryTensor:(MPSGraphTensor*)b
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)powerWithPrimaryTensor:(MPSGraphTensor*)a
                          secondaryTensor:(MPSGraphTensor*)b
                                     name:(nullable NSString*)name;
- (MPSGraphTensor*)maximumWithPrimaryTensor:(MPSGraphTensor*)a
                            secondaryTensor:(MPSGraphTensor*)b
                                       name:(nullable NSString*)name;
- (MPSGraphTensor*)minimumWithPrimaryTensor:(MPSGraphTensor*)a
                            secondaryTensor:(MPSGraphTensor*)b
                                       name:(nullable NSString*)name;
- (MPSGraphTensor*)equalWithPrimaryTensor:(MPSGraphTensor*)a
                          secondaryTensor:(MPSGraphTensor*)b
                                     name:(nullable NSString*)name;
- (MPSGraphTensor*)greaterThanOrEqualToWithPrimaryTensor:(MPSGraphTensor*)a
                                         secondaryTensor:(MPSGraphTensor*)b
                                                    name:(nullable NSString*)name;
- (MPSGraphTensor*)exponentWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)logarithmWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)tanhWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)squareRootWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)negativeWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)reLUWithTensor:(MPSGraphTensor*)a name:(nullable NSString*)name;
- (MPSGraphTensor*)selectWithPredicateTensor:(MPSGraphTensor*)p
                         truePredicateTensor:(MPSGraphTensor*)a
                        falsePredicateTensor:(MPSGraphTensor*)b
                                        name:(nullable NSString*)name;
- (MPSGraphTensor*)castTensor:(MPSGraphTensor*)a toType:(MPSDataType)t name:(nullable NSString*)name;
- (MPSGraphTensor*)softMaxWithTensor:(MPSGraphTensor*)a axis:(NSInteger)axis name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionSumWithTensor:(MPSGraphTensor*)a axes:(nullable NSArray*)axes name:(nullable NSString*)name;
- (MPSGraphTensor*)reductionMaximumWithTensor:(MPSGraphTensor*)a
                                         axes:(nullable NSArray*)axes
                                         name:(nullable NSString*)name;
- (MPSGraphTensor*)matrixMultiplicationWithPrimaryTensor:(MPSGraphTensor*)a
                                         secondaryTensor:(MPSGraphTensor*)b
                                                    name:(nullable NSString*)name;
- (MPSGraphTensor*)reshapeTensor:(MPSGraphTensor*)a withShape:(MPSShape*)shape name:(nullable NSString*)name;
- (MPSGraphTensor*)broadcastTensor:(MPSGraphTensor*)a toShape:(MPSShape*)shape name:(nullable NSString*)name;
- (MPSGraphTensor*)transposeTensor:(MPSGraphTensor*)a permutation:(NSArray*)p name:(nullable NSString*)name;
- (MPSGraphTensor*)sliceTensor:(MPSGraphTensor*)a
                        starts:(NSArray*)starts
                          ends:(NSArray*)ends
                       strides:(NSArray*)strides
                          name:(nullable NSString*)name;
- (MPSGraphTensor*)convolution2DWithSourceTensor:(MPSGraphTensor*)src
                                   weightsTensor:(MPSGraphTensor*)w
                                      descriptor:(MPSGraphConvolution2DOpDescriptor*)d
                                            name:(nullable NSString*)name;
- (MPSGraphExecutable*)compileWithDevice:(nullable MPSGraphDevice*)device
                                   feeds:(NSDictionary*)feeds
                           targetTensors:(NSArray*)targets
                        targetOperations:(nullable NSArray*)ops
                   compilationDescriptor:(nullable MPSGraphCompilationDescriptor*)d;
@end
NS_ASSUME_NONNULL_END
