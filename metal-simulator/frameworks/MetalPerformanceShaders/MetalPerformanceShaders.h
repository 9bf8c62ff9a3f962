// Needle Metal simulator: the part of MetalPerformanceShaders that the MPS bridge uses (tests only).
#pragma once
#import <Metal/Metal.h>
NS_ASSUME_NONNULL_BEGIN
typedef NS_ENUM(uint32_t, MPSDataType) {
  MPSDataTypeInvalid = 0,
  MPSDataTypeFloat32 = 268435488,
  MPSDataTypeFloat16 = 268435472,
  MPSDataTypeBFloat16 = 2415919120,
  MPSDataTypeInt8 = 536870920,
  MPSDataTypeInt16 = 536870928,
  MPSDataTypeInt32 = 536870944,
  MPSDataTypeInt64 = 536870976,
  MPSDataTypeUInt8 = 8,
  MPSDataTypeUInt32 = 32,
  MPSDataTypeBool = 2147483656,
};
typedef NSArray MPSShape;
@interface MPSKernel : NSObject {
 @public
  id<MTLDevice> device_;
}
@property(readonly, retain, nonatomic) id<MTLDevice> device;
@end
@interface MPSMatrixDescriptor : NSObject {
 @public
  NSUInteger r_, c_, m_, rb_, mb_;
  MPSDataType t_;
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
+ (size_t)rowBytesForColumns:(NSUInteger)columns dataType:(MPSDataType)dataType;
@end
@interface MPSMatrix : NSObject {
 @public
  MPSMatrixDescriptor* d_;
  id<MTLBuffer> b_;
  NSUInteger off_;
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer descriptor:(MPSMatrixDescriptor*)descriptor;
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSMatrixDescriptor*)descriptor;
@end
@interface MPSMatrixMultiplication : MPSKernel {
 @public
  BOOL tl_, tr_;
  NSUInteger m_, n_, k_, start_, size_;
  double al_, be_;
}
@property(readwrite, nonatomic) NSUInteger batchStart;
@property(readwrite, nonatomic) NSUInteger batchSize;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 transposeLeft:(BOOL)tl
                transposeRight:(BOOL)tr
                    resultRows:(NSUInteger)rows
                 resultColumns:(NSUInteger)columns
               interiorColumns:(NSUInteger)k
                         alpha:(double)alpha
                          beta:(double)beta;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)cb
                   leftMatrix:(MPSMatrix*)l
                  rightMatrix:(MPSMatrix*)r
                 resultMatrix:(MPSMatrix*)c;
@end
@interface MPSCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  id<MTLCommandBuffer> cb_;
}
@property(readonly, nonatomic, retain) id<MTLCommandBuffer> commandBuffer;
@property(readonly, nonatomic, retain) id<MTLCommandBuffer> rootCommandBuffer;
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer;
+ (instancetype)commandBufferFromCommandQueue:(id<MTLCommandQueue>)queue;
- (void)commitAndContinue;
@end
NS_ASSUME_NONNULL_END
