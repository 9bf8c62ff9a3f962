// MPS's command buffer, which goes on with another one when its own was committed on the way.
#include "SimMPS.h"

@implementation MPSCommandBuffer
SIM_LIVE
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commands {
  MPSCommandBuffer* made = [[self new] autorelease];
  made->given_ = [commands retain];
  made->root_ = [commands retain];
  return made;
}
- (id<MTLCommandBuffer>)commandBuffer {
  return given_;
}
- (id<MTLCommandBuffer>)rootCommandBuffer {
  return root_;
}
- (void)commitAndContinue {
  id<MTLCommandQueue> queue = root_.commandQueue;
  [root_ commit];
  [root_ release];
  root_ = [[queue commandBuffer] retain];
}
- (id<MTLDevice>)device {
  return root_.device;
}
- (id<MTLCommandQueue>)commandQueue {
  return root_.commandQueue;
}
- (MTLCommandBufferStatus)status {
  return root_.status;
}
- (NSError*)error {
  return root_.error;
}
- (NSString*)label {
  return root_.label;
}
- (void)setLabel:(NSString*)label {
  root_.label = label;
}
- (CFTimeInterval)GPUStartTime {
  return root_.GPUStartTime;
}
- (CFTimeInterval)GPUEndTime {
  return root_.GPUEndTime;
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
  return [root_ computeCommandEncoder];
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
  return [root_ computeCommandEncoderWithDispatchType:type];
}
- (id<MTLBlitCommandEncoder>)blitCommandEncoder {
  return [root_ blitCommandEncoder];
}
- (void)addScheduledHandler:(MTLCommandBufferHandler)block {
  [root_ addScheduledHandler:block];
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  [root_ addCompletedHandler:block];
}
- (void)enqueue {
  [root_ enqueue];
}
- (void)commit {
  [root_ commit];
}
- (void)waitUntilScheduled {
  [root_ waitUntilScheduled];
}
- (void)waitUntilCompleted {
  [root_ waitUntilCompleted];
}
- (void)dealloc {
  --metalsim_live;
  [given_ release];
  [root_ release];
  [super dealloc];
}
@end
