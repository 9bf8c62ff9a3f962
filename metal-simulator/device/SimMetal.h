// What the parts of the simulated Metal share: its objects, the count of living ones, and how misuse ends.
#pragma once
#import <Metal/Metal.h>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#include "executor.h"

extern std::atomic<long> metalsim_live;       // objects that bridges must release
extern std::atomic<long> metalsim_allocated;  // bytes of buffers

[[noreturn]] void metalsim_stop(const char* what);  // as Metal's validation layer ends a program
NSError* metalsim_error(NSString* domain, NSInteger code, const std::string& text);

#define SIM_LIVE         \
  -(id)init {            \
    self = [super init]; \
    ++metalsim_live;     \
    return self;         \
  }

@class SimCommandBuffer, SimQueue;
@interface SimBuffer : NSObject <MTLBuffer> {
 @public
  char* base;
  NSUInteger len;
  MTLResourceOptions opt;
  NSString* label_;
}
@end
struct Binding {
  SimBuffer* buf;
  NSUInteger off;
  std::shared_ptr<std::string> bytes;
};
@interface SimCompute : NSObject <MTLComputeCommandEncoder> {
 @public
  SimCommandBuffer* cb;
  id<MTLComputePipelineState> pso;
  Binding bind[31];
  uint32_t tgm[31];
  std::vector<id> held;
  BOOL ended;
}
@end
@interface SimBlit : NSObject <MTLBlitCommandEncoder> {
 @public
  SimCommandBuffer* cb;
  BOOL ended;
}
@end
@interface SimCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  SimQueue* queue;
  BOOL retains, enc;
  MTLCommandBufferStatus st;
  NSError* err;
  double t0, t1;
  std::vector<std::function<bool(std::string&)>> cmds;
  std::vector<id> keep;
  std::vector<MTLCommandBufferHandler> handlers, scheduled;
}
- (void)add:(std::function<bool(std::string&)>)f retaining:(id)o;  // also how the MPS simulator adds work
- (void)encoder:(BOOL)open;
- (void)execute;
@end
@interface SimQueue : NSObject <MTLCommandQueue> {
 @public
  std::deque<SimCommandBuffer*> pending;
  std::recursive_mutex mu;
}
- (void)push:(SimCommandBuffer*)c;
- (void)drain:(SimCommandBuffer*)upto;
@end

@interface SimFunction : NSObject <MTLFunction> {
 @public
  msl_fn* f;
  NSString* nm;
  id lib;
}
@end
@interface SimPipeline : NSObject <MTLComputePipelineState> {
 @public
  SimFunction* fn;
}
@end
id<MTLLibrary> metalsim_compile(NSString* source, MTLCompileOptions* options, NSError** error);
