// Needle Metal simulator: the part of MetalPerformanceShaders that needle-backend-mps uses. Tests only. Names,
// selectors and values are those of Apple's documentation: tests/documented/mps.txt lists them,
// tests/test_mps_headers.py compares.
#pragma once
#import <Metal/Metal.h>
NS_ASSUME_NONNULL_BEGIN
typedef NS_ENUM(uint32_t, MPSDataType) {
  MPSDataTypeInvalid = 0,
  MPSDataTypeFloat32 = 0x10000020,
  MPSDataTypeFloat16 = 0x10000010,
  MPSDataTypeInt32 = 0x20000020,
  MPSDataTypeBool = 0x80000008,
};
typedef NSArray MPSShape;
MTL_EXTERN BOOL MPSSupportsMTLDevice(id<MTLDevice> _Nullable device);

@interface MPSKernel : NSObject {
 @public
  id<MTLDevice> device_;
}
@property(readonly, retain, nonatomic) id<MTLDevice> device;
@end

@interface MPSMatrixDescriptor : NSObject {
 @public
  NSUInteger rows_, columns_, matrices_, rowBytes_, matrixBytes_;
  MPSDataType type_;
}
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                rowBytes:(NSUInteger)rowBytes
                                dataType:(MPSDataType)dataType;
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                matrices:(NSUInteger)matrices
                                rowBytes:(NSUInteger)rowBytes
                             matrixBytes:(NSUInteger)matrixBytes
                                dataType:(MPSDataType)dataType;
@end

@interface MPSMatrix : NSObject {
 @public
  MPSMatrixDescriptor* descriptor_;
  id<MTLBuffer> buffer_;
  NSUInteger offset_;
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer descriptor:(MPSMatrixDescriptor*)descriptor;
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSMatrixDescriptor*)descriptor;
@end

@interface MPSMatrixMultiplication : MPSKernel {
 @public
  BOOL transposeLeft_, transposeRight_;
  NSUInteger rows_, columns_, interior_, batchStart_, batchSize_;
  double alpha_, beta_;
}
@property(readwrite, nonatomic) NSUInteger batchStart;
@property(readwrite, nonatomic) NSUInteger batchSize;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 transposeLeft:(BOOL)transposeLeft
                transposeRight:(BOOL)transposeRight
                    resultRows:(NSUInteger)resultRows
                 resultColumns:(NSUInteger)resultColumns
               interiorColumns:(NSUInteger)interiorColumns
                         alpha:(double)alpha
                          beta:(double)beta;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                   leftMatrix:(MPSMatrix*)leftMatrix
                  rightMatrix:(MPSMatrix*)rightMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSNDArrayDescriptor : NSObject {
 @public
  MPSShape* shape_;
  MPSDataType type_;
  BOOL packed_;
}
@property(readwrite, nonatomic) BOOL preferPackedRows;
+ (instancetype)descriptorWithDataType:(MPSDataType)dataType shape:(MPSShape*)shape;
@end

@interface MPSNDArray : NSObject {
 @public
  MPSNDArrayDescriptor* descriptor_;
  id<MTLBuffer> buffer_;
  NSUInteger offset_;
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSNDArrayDescriptor*)descriptor;
@end

@interface MPSCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  id<MTLCommandBuffer> given_, root_;
}
@property(readonly, nonatomic, retain) id<MTLCommandBuffer> commandBuffer;
@property(readonly, nonatomic, retain) id<MTLCommandBuffer> rootCommandBuffer;
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer;
- (void)commitAndContinue;
@end
NS_ASSUME_NONNULL_END
