// The device and its buffers.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "SimMetal.h"

std::atomic<long> metalsim_live{0}, metalsim_allocated{0};
extern "C" long metalsim_live_objects() { return metalsim_live; }

void metalsim_stop(const char* what) {
  fprintf(stderr, "metalsim: Metal validation: %s\n", what);
  abort();
}

NSError* metalsim_error(NSString* domain, NSInteger code, const std::string& s) {
  return [NSError errorWithDomain:domain
                             code:code
                         userInfo:[NSDictionary dictionaryWithObject:[NSString stringWithUTF8String:s.c_str()]
                                                              forKey:NSLocalizedDescriptionKey]];
}

@implementation SimBuffer
SIM_LIVE
- (void*)contents {
  return (opt & 0xf0) == MTLResourceStorageModePrivate ? nullptr : base;
}
- (NSUInteger)length {
  return len;
}
- (MTLStorageMode)storageMode {
  return (MTLStorageMode)(opt >> 4 & 15);
}
- (MTLResourceOptions)resourceOptions {
  return opt;
}
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (void)didModifyRange:(NSRange)r {
}
- (NSString*)label {
  return label_;
}
- (void)setLabel:(NSString*)s {
  [label_ release];
  label_ = [s copy];
}
- (void)dealloc {
  --metalsim_live;
  metalsim_allocated -= long(len);
  memset(base, 0xdd, len);
  free(base);
  [label_ release];
  [super dealloc];
}
@end

@interface SimDevice : NSObject <MTLDevice>
@end
@implementation SimDevice
- (NSString*)name {
  return @"Needle Metal simulator";
}
- (MTLSize)maxThreadsPerThreadgroup {
  return MTLSizeMake(1024, 1024, 1024);
}
- (NSUInteger)maxThreadgroupMemoryLength {
  return 32768;
}
- (NSUInteger)maxBufferLength {
  return 1ull << 32;
}
- (NSUInteger)currentAllocatedSize {
  return NSUInteger(metalsim_allocated);
}
- (uint64_t)recommendedMaxWorkingSetSize {
  const char* bytes = getenv("METALSIM_WORKING_SET");
  return bytes ? strtoull(bytes, nullptr, 10) : 1ull << 33;
}
- (BOOL)hasUnifiedMemory {
  return YES;
}
- (uint64_t)registryID {
  return 1;
}
- (BOOL)supportsFamily:(MTLGPUFamily)f {
  return f == MTLGPUFamilyApple7 || f == MTLGPUFamilyMetal3;
}
- (id<MTLCommandQueue>)newCommandQueue {
  return [SimQueue new];
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)n options:(MTLResourceOptions)o {
  if (!n || n > self.maxBufferLength) return nil;
  SimBuffer* b = [SimBuffer new];
  void* p = nullptr;
  if (posix_memalign(&p, 16384, (n + 15) & ~NSUInteger(15))) {
    [b release];
    return nil;
  }
  b->base = (char*)p;
  b->len = n;
  metalsim_allocated += long(n);
  b->opt = o;
  memset(p, getenv("METALSIM_POISON") ? 0xcb : 0, n);
  return b;
}
- (id<MTLBuffer>)newBufferWithBytes:(const void*)src length:(NSUInteger)n options:(MTLResourceOptions)o {
  SimBuffer* b = (SimBuffer*)[self newBufferWithLength:n options:o];
  if (b) memcpy(b->base, src, n);
  return b;
}
- (id<MTLLibrary>)newLibraryWithSource:(NSString*)src options:(MTLCompileOptions*)opt error:(NSError**)e {
  return metalsim_compile(src, opt, e);
}
- (id<MTLLibrary>)newLibraryWithURL:(NSURL*)u error:(NSError**)e {
  if (e)
    *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorFileNotFound, "the simulator has no metallib loader");
  return nil;
}
- (id<MTLComputePipelineState>)newComputePipelineStateWithFunction:(id<MTLFunction>)f error:(NSError**)e {
  char buf[300];
  if (msl_missing_constant(((SimFunction*)f)->f, buf, sizeof buf)) {
    if (e) *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, buf);
    return nil;
  }
  SimPipeline* p = [SimPipeline new];
  p->fn = (SimFunction*)[f retain];
  return p;
}
@end

extern "C" id<MTLDevice> MTLCreateSystemDefaultDevice(void) {
  if (getenv("METALSIM_NO_DEVICE")) return nil;
  static SimDevice* d = [SimDevice new];
  return [d retain];
}