// MPS matrices and command buffers, on the CPU.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "SimMPS.h"

void mps_stop(const std::string& s) {
  fprintf(stderr, "metalsim: MPS: %s\n", s.c_str());
  abort();
}

double mps_load(const char* p, MPSDataType t) {
  switch (t) {
    case MPSDataTypeFloat32: {
      float v;
      memcpy(&v, p, 4);
      return v;
    }
    case MPSDataTypeFloat16: {
      _Float16 v;
      memcpy(&v, p, 2);
      return (float)v;
    }
    case MPSDataTypeInt32: {
      int32_t v;
      memcpy(&v, p, 4);
      return v;
    }
    case MPSDataTypeInt64: {
      int64_t v;
      memcpy(&v, p, 8);
      return (double)v;
    }
    case MPSDataTypeUInt8: return *(const uint8_t*)p;
    case MPSDataTypeBool: return *(const uint8_t*)p != 0;
    default: mps_stop("data type"); return 0;
  }
}
void mps_store(char* p, MPSDataType t, double x) {
  switch (t) {
    case MPSDataTypeFloat32: {
      float v = (float)x;
      memcpy(p, &v, 4);
      break;
    }
    case MPSDataTypeFloat16: {
      _Float16 v = (_Float16)(float)x;
      memcpy(p, &v, 2);
      break;
    }
    case MPSDataTypeInt32: {
      int32_t v = (int32_t)x;
      memcpy(p, &v, 4);
      break;
    }
    case MPSDataTypeInt64: {
      int64_t v = (int64_t)x;
      memcpy(p, &v, 8);
      break;
    }
    case MPSDataTypeUInt8: *(uint8_t*)p = (uint8_t)x; break;
    case MPSDataTypeBool: *(uint8_t*)p = x != 0; break;
    default: mps_stop("data type");
  }
}

@implementation MPSKernel
- (id<MTLDevice>)device {
  return device_;
}
- (void)dealloc {
  [device_ release];
  [super dealloc];
}
@end
@implementation MPSMatrixDescriptor
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)r
                                 columns:(NSUInteger)c
                                rowBytes:(NSUInteger)rb
                                dataType:(MPSDataType)t {
  return [self matrixDescriptorWithRows:r columns:c matrices:1 rowBytes:rb matrixBytes:r * rb dataType:t];
}
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)r
                                 columns:(NSUInteger)c
                                matrices:(NSUInteger)m
                                rowBytes:(NSUInteger)rb
                             matrixBytes:(NSUInteger)mb
                                dataType:(MPSDataType)t {
  if (rb % mps_size(t) || rb < c * mps_size(t))
    mps_stop("rowBytes must be a multiple of the element size and hold a row");
  if (mb % rb && m > 1) mps_stop("matrixBytes must be a multiple of rowBytes");
  MPSMatrixDescriptor* d = [[self new] autorelease];
  d->r_ = r;
  d->c_ = c;
  d->m_ = m;
  d->rb_ = rb;
  d->mb_ = mb;
  d->t_ = t;
  return d;
}
+ (size_t)rowBytesForColumns:(NSUInteger)c dataType:(MPSDataType)t {
  return (c * mps_size(t) + 15) / 16 * 16;
}
@end
@implementation MPSMatrix
- (instancetype)initWithBuffer:(id<MTLBuffer>)b descriptor:(MPSMatrixDescriptor*)d {
  return [self initWithBuffer:b offset:0 descriptor:d];
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)b offset:(NSUInteger)o descriptor:(MPSMatrixDescriptor*)d {
  self = [super init];
  if (o + d->m_ * d->mb_ > b.length &&
      o + (d->m_ - 1) * d->mb_ + (d->r_ - 1) * d->rb_ + d->c_ * mps_size(d->t_) > b.length)
    mps_stop("matrix is larger than its buffer");
  b_ = [b retain];
  d_ = [d retain];
  off_ = o;
  return self;
}
- (void)dealloc {
  [b_ release];
  [d_ release];
  [super dealloc];
}
@end
static char* elem(MPSMatrix* m, size_t i, size_t r, size_t c) {
  return ((SimBuffer*)m->b_)->base + m->off_ + i * m->d_->mb_ + r * m->d_->rb_ + c * mps_size(m->d_->t_);
}
@implementation MPSMatrixMultiplication
- (NSUInteger)batchStart {
  return start_;
}
- (void)setBatchStart:(NSUInteger)s {
  start_ = s;
}
- (NSUInteger)batchSize {
  return size_;
}
- (void)setBatchSize:(NSUInteger)s {
  size_ = s;
}
- (instancetype)initWithDevice:(id<MTLDevice>)d
                 transposeLeft:(BOOL)tl
                transposeRight:(BOOL)tr
                    resultRows:(NSUInteger)m
                 resultColumns:(NSUInteger)n
               interiorColumns:(NSUInteger)k
                         alpha:(double)al
                          beta:(double)be {
  self = [super init];
  device_ = [d retain];
  tl_ = tl;
  tr_ = tr;
  m_ = m;
  n_ = n;
  k_ = k;
  al_ = al;
  be_ = be;
  size_ = 1;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)cb
                   leftMatrix:(MPSMatrix*)l
                  rightMatrix:(MPSMatrix*)r
                 resultMatrix:(MPSMatrix*)c {
  SimCommandBuffer* s = [cb isKindOfClass:[MPSCommandBuffer class]] ? (SimCommandBuffer*)((MPSCommandBuffer*)cb)->cb_
                                                                    : (SimCommandBuffer*)cb;
  if (s->enc) mps_stop("encode while a Metal encoder is open");
  if ((tl_ ? l->d_->c_ : l->d_->r_) < m_ || (tl_ ? l->d_->r_ : l->d_->c_) < k_ || (tr_ ? r->d_->c_ : r->d_->r_) < k_ ||
      (tr_ ? r->d_->r_ : r->d_->c_) < n_ || c->d_->r_ < m_ || c->d_->c_ < n_)
    mps_stop("matrix shapes do not fit the multiplication");
  NSUInteger m = m_, n = n_, k = k_, b0 = start_, nb = std::min(size_, c->d_->m_ - start_);
  BOOL tl = tl_, tr = tr_;
  double al = al_, be = be_;
  for (id o : {(id)l, (id)r}) [s add:[](std::string&) { return true; } retaining:o];
  [s add:[=](std::string&) {
    for (size_t b = b0; b < b0 + nb; ++b)
      for (size_t i = 0; i < m; ++i)
        for (size_t j = 0; j < n; ++j) {
          double acc = 0;
          for (size_t x = 0; x < k; ++x)
            acc += mps_load(tl ? elem(l, b, x, i) : elem(l, b, i, x), l->d_->t_) *
                   mps_load(tr ? elem(r, b, j, x) : elem(r, b, x, j), r->d_->t_);
          char* p = elem(c, b, i, j);
          mps_store(p, c->d_->t_, al * acc + (be ? be * mps_load(p, c->d_->t_) : 0));
        }
    return true;
  }
      retaining:c];
}
@end
@implementation MPSCommandBuffer
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)c {
  MPSCommandBuffer* m = [[self new] autorelease];
  m->cb_ = [c retain];
  return m;
}
+ (instancetype)commandBufferFromCommandQueue:(id<MTLCommandQueue>)q {
  return [self commandBufferWithCommandBuffer:[q commandBuffer]];
}
- (id<MTLCommandBuffer>)commandBuffer {
  return cb_;
}
- (id<MTLCommandBuffer>)rootCommandBuffer {
  return cb_;
}
- (void)commitAndContinue {
  id<MTLCommandQueue> q = cb_.commandQueue;
  [cb_ commit];
  [cb_ release];
  cb_ = [[q commandBuffer] retain];
}
- (id)forwardingTargetForSelector:(SEL)s {
  return cb_;
}
- (id<MTLDevice>)device {
  return cb_.device;
}
- (id<MTLCommandQueue>)commandQueue {
  return cb_.commandQueue;
}
- (MTLCommandBufferStatus)status {
  return cb_.status;
}
- (NSError*)error {
  return cb_.error;
}
- (NSString*)label {
  return nil;
}
- (void)setLabel:(NSString*)l {
}
- (CFTimeInterval)GPUStartTime {
  return 0;
}
- (CFTimeInterval)GPUEndTime {
  return 0;
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
  return [cb_ computeCommandEncoder];
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)t {
  return [cb_ computeCommandEncoderWithDispatchType:t];
}
- (id<MTLBlitCommandEncoder>)blitCommandEncoder {
  return [cb_ blitCommandEncoder];
}
- (void)addScheduledHandler:(MTLCommandBufferHandler)b {
  [cb_ addScheduledHandler:b];
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)b {
  [cb_ addCompletedHandler:b];
}
- (void)enqueue {
  [cb_ enqueue];
}
- (void)commit {
  [cb_ commit];
}
- (void)waitUntilScheduled {
  [cb_ waitUntilScheduled];
}
- (void)waitUntilCompleted {
  [cb_ waitUntilCompleted];
}
- (void)dealloc {
  [cb_ release];
  [super dealloc];
}
@end