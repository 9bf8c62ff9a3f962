// Encoders: they check and record; what they record runs when its command buffer does.
#include <cstdlib>
#include <cstring>
#include <string>

#include "SimMetal.h"

namespace {
std::atomic<long> dispatches{0};
}
extern "C" long metalsim_dispatches() { return dispatches; }

@implementation SimCompute
SIM_LIVE
- (void)open {
  if (ended) metalsim_stop("encoder used after endEncoding");
}
- (void)setComputePipelineState:(id<MTLComputePipelineState>)s {
  [self open];
  [pso release];
  pso = [s retain];
}
- (void)setBuffer:(id<MTLBuffer>)b offset:(NSUInteger)o atIndex:(NSUInteger)i {
  [self open];
  if (i > 30) metalsim_stop("buffer index over 30");
  SimBuffer* s = (SimBuffer*)b;
  if (s && o >= s->len) metalsim_stop("buffer offset is past the end of the buffer");
  bind[i] = Binding{s, o, nullptr};
  if (s) {
    [s retain];
    held.push_back(s);
  }
}
- (void)setBufferOffset:(NSUInteger)o atIndex:(NSUInteger)i {
  [self open];
  if (!bind[i].buf) metalsim_stop("setBufferOffset without a buffer");
  bind[i].off = o;
}
- (void)setBytes:(const void*)p length:(NSUInteger)n atIndex:(NSUInteger)i {
  [self open];
  if (i > 30) metalsim_stop("buffer index over 30");
  if (n > 4096) metalsim_stop("setBytes: length must be <= 4096 (use a buffer)");
  if (!n) metalsim_stop("setBytes: length is 0");
  bind[i] = Binding{nil, 0, std::make_shared<std::string>((const char*)p, n)};
}
- (void)setThreadgroupMemoryLength:(NSUInteger)n atIndex:(NSUInteger)i {
  [self open];
  if (n % 16) metalsim_stop("threadgroup memory length must be a multiple of 16");
  if (n > 32768) metalsim_stop("threadgroup memory over 32 KiB");
  tgm[i] = n;
}
- (void)run:(MTLSize)g tg:(MTLSize)t exact:(BOOL)exact {
  [self open];
  ++dispatches;
  if (!pso) metalsim_stop("dispatch without a pipeline state");
  if (t.width * t.height * t.depth > pso.maxTotalThreadsPerThreadgroup)
    metalsim_stop("threadsPerThreadgroup is over maxTotalThreadsPerThreadgroup");
  if (!g.width || !g.height || !g.depth || !t.width || !t.height || !t.depth)
    metalsim_stop("dispatch with a zero dimension");
  auto b = std::vector<Binding>(bind, bind + 31);
  auto m = std::vector<uint32_t>(tgm, tgm + 31);
  SimPipeline* p = (SimPipeline*)pso;
  for (auto& x : b)
    if (x.buf) [cb add:[](std::string&) { return true; } retaining:x.buf];
  [cb add:[=](std::string& msg) {
    msl_buf mb[31] = {};
    for (int i = 0; i < 31; ++i) {
      if (b[i].buf)
        mb[i] = {b[i].buf->base, b[i].buf->len, b[i].off};
      else if (b[i].bytes)
        mb[i] = {b[i].bytes->data(), b[i].bytes->size(), 0};
    }
    if (const char* seed = getenv("METALSIM_SEED")) msl_seed(unsigned(atoi(seed)));
    char e[800];
    auto d = [](MTLSize s) { return msl_dim{(uint32_t)s.width, (uint32_t)s.height, (uint32_t)s.depth}; };
    if (msl_dispatch(p->fn->f, mb, m.data(), d(g), d(t), exact, e, sizeof e)) {
      msg = e;
      return false;
    }
    return true;
  }
      retaining:pso];
}
- (void)dispatchThreadgroups:(MTLSize)g threadsPerThreadgroup:(MTLSize)t {
  [self run:g tg:t exact:NO];
}
- (void)dispatchThreads:(MTLSize)g threadsPerThreadgroup:(MTLSize)t {
  [self run:g tg:t exact:YES];
}
- (void)memoryBarrierWithScope:(MTLBarrierScope)s {
  [self open];
}
- (void)endEncoding {
  [self open];
  ended = YES;
  [cb encoder:NO];
}
- (NSString*)label {
  return nil;
}
- (void)setLabel:(NSString*)s {
}
- (void)dealloc {
  --metalsim_live;
  if (!ended) metalsim_stop("encoder released without endEncoding");
  for (id o : held) [o release];
  [pso release];
  [cb release];
  [super dealloc];
}
@end

@implementation SimBlit
SIM_LIVE
- (void)copyFromBuffer:(id<MTLBuffer>)s
          sourceOffset:(NSUInteger)so
              toBuffer:(id<MTLBuffer>)d
     destinationOffset:(NSUInteger)dofs
                  size:(NSUInteger)n {
  SimBuffer *a = (SimBuffer*)s, *b = (SimBuffer*)d;
  if (so + n > a->len || dofs + n > b->len) metalsim_stop("blit copy out of bounds");
  [cb add:[](std::string&) { return true; } retaining:a];
  [cb add:[=](std::string&) {
    memmove(b->base + dofs, a->base + so, n);
    return true;
  }
      retaining:b];
}
- (void)fillBuffer:(id<MTLBuffer>)d range:(NSRange)r value:(uint8_t)v {
  SimBuffer* b = (SimBuffer*)d;
  if (r.location + r.length > b->len) metalsim_stop("blit fill out of bounds");
  [cb add:[=](std::string&) {
    memset(b->base + r.location, v, r.length);
    return true;
  }
      retaining:b];
}
- (void)endEncoding {
  ended = YES;
  [cb encoder:NO];
}
- (NSString*)label {
  return nil;
}
- (void)setLabel:(NSString*)s {
}
- (void)dealloc {
  --metalsim_live;
  if (!ended) metalsim_stop("encoder released without endEncoding");
  [cb release];
  [super dealloc];
}
@end