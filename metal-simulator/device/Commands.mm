// Queues, command buffers and encoders. Commands run when someone waits for them, the latest moment that Metal allows,
// so a missing wait shows as stale data. Misuse that Metal's validation stops on is an error of the command buffer, or
// an abort where Metal itself asserts.
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "SimMetal.h"

NSString* const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";

namespace {
std::atomic<long> waits{0}, command_buffers{0};
}
extern "C" long metalsim_waits() { return waits; }
extern "C" long metalsim_command_buffers() { return command_buffers; }

@implementation SimCommandBuffer
SIM_LIVE
- (void)add:(std::function<bool(std::string&)>)f retaining:(id)o {
  if (st >= MTLCommandBufferStatusCommitted) metalsim_stop("command encoded after commit");
  cmds.push_back(std::move(f));
  if (o && retains) keep.push_back([o retain]);
}
- (void)encoder:(BOOL)open {
  if (open && enc) metalsim_stop("a command encoder is already encoding to this command buffer");
  if (open && st >= MTLCommandBufferStatusCommitted) metalsim_stop("encoder made after commit");
  enc = open;
}
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (id<MTLCommandQueue>)commandQueue {
  return (id<MTLCommandQueue>)queue;
}
- (MTLCommandBufferStatus)status {
  return st;
}
- (NSError*)error {
  return err;
}
- (CFTimeInterval)GPUStartTime {
  return t0;
}
- (CFTimeInterval)GPUEndTime {
  return t1;
}
- (NSString*)label {
  return nil;
}
- (void)setLabel:(NSString*)s {
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
  return [self computeCommandEncoderWithDispatchType:MTLDispatchTypeSerial];
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)t {
  [self encoder:YES];
  SimCompute* c = [[SimCompute new] autorelease];
  c->cb = [self retain];
  return c;
}
- (id<MTLBlitCommandEncoder>)blitCommandEncoder {
  [self encoder:YES];
  SimBlit* c = [[SimBlit new] autorelease];
  c->cb = [self retain];
  return c;
}
- (void)addScheduledHandler:(MTLCommandBufferHandler)b {
  if (st >= MTLCommandBufferStatusCommitted) metalsim_stop("scheduled handler added after commit");
  scheduled.push_back(Block_copy(b));
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)b {
  if (st >= MTLCommandBufferStatusCommitted) metalsim_stop("completed handler added after commit");
  handlers.push_back(Block_copy(b));
}
- (void)enqueue {
  if (st == MTLCommandBufferStatusNotEnqueued) st = MTLCommandBufferStatusEnqueued;
}
- (void)commit {
  if (st >= MTLCommandBufferStatusCommitted) metalsim_stop("commit of a committed command buffer");
  if (enc) metalsim_stop("commit with an encoder that has not ended");
  st = MTLCommandBufferStatusCommitted;
  ++command_buffers;
  [queue push:self];
}
- (void)execute {
  if (st != MTLCommandBufferStatusCommitted) return;
  st = MTLCommandBufferStatusScheduled;
  std::string msg;
  bool ok = true;
  for (auto& c : cmds)
    if (!(ok = c(msg))) break;
  if (!ok) err = [metalsim_error(MTLCommandBufferErrorDomain, 1, msg) retain];
  st = ok ? MTLCommandBufferStatusCompleted : MTLCommandBufferStatusError;
  // Metal calls handlers on a thread of its own
  std::thread([&] {
    @autoreleasepool {
      for (auto h : scheduled) h((id<MTLCommandBuffer>)self);
      for (auto h : handlers) h((id<MTLCommandBuffer>)self);
    }
  }).join();
  for (auto h : handlers) Block_release(h);
  for (auto h : scheduled) Block_release(h);
  handlers.clear();
  scheduled.clear();
  cmds.clear();
  for (id o : keep) [o release];
  keep.clear();
}
- (void)waitUntilScheduled {
  [self waitUntilCompleted];
}
- (void)waitUntilCompleted {
  if (st < MTLCommandBufferStatusCompleted) ++waits;
  if (st < MTLCommandBufferStatusCommitted) metalsim_stop("waitUntilCompleted before commit would wait for ever");
  [queue drain:self];
}
- (void)dealloc {
  --metalsim_live;
  if (enc) metalsim_stop("command buffer released while an encoder is open");
  for (id o : keep) [o release];
  [err release];
  [queue release];
  [super dealloc];
}
@end

@implementation SimQueue
SIM_LIVE
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (NSString*)label {
  return nil;
}
- (void)setLabel:(NSString*)s {
}
- (id<MTLCommandBuffer>)make:(BOOL)r {
  SimCommandBuffer* c = [[SimCommandBuffer new] autorelease];
  c->queue = [self retain];
  c->retains = r;
  return c;
}
- (id<MTLCommandBuffer>)commandBuffer {
  if (getenv("METALSIM_LOST")) return nil;
  return [self make:YES];
}
- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences {
  return [self make:NO];
}
- (void)push:(SimCommandBuffer*)c {
  std::lock_guard<std::recursive_mutex> g(mu);
  pending.push_back([c retain]);
  if (getenv("METALSIM_EAGER")) [self drain:c];
}
- (void)drain:(SimCommandBuffer*)upto {
  std::lock_guard<std::recursive_mutex> g(mu);
  while (!pending.empty() && upto->st < MTLCommandBufferStatusCompleted) {
    SimCommandBuffer* c = pending.front();
    pending.pop_front();
    [c execute];
    [c release];
  }
}
- (void)dealloc {
  --metalsim_live;
  for (id c : pending) [c release];
  [super dealloc];
}
@end
