// Numbers of any MPS type, shapes, and the arrays that MPSGraph reads at an offset of a buffer.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "SimMPS.h"

void mps_stop(const std::string& what) {
  fprintf(stderr, "metalsim: MPS: %s\n", what.c_str());
  abort();
}

extern "C" BOOL MPSSupportsMTLDevice(id<MTLDevice> device) { return device != nil && !getenv("METALSIM_NO_MPS"); }

namespace {

template <class T> double load(const char* p) {
  T value;
  memcpy(&value, p, sizeof(T));
  return double(value);
}

template <class T> void store(char* p, T value) { memcpy(p, &value, sizeof(T)); }

}  // namespace

double mps_load(const char* p, MPSDataType type) {
  switch (type) {
    case MPSDataTypeFloat32: return load<float>(p);
    case MPSDataTypeFloat16: return load<_Float16>(p);
    case MPSDataTypeInt32: return load<int32_t>(p);
    case MPSDataTypeBool: return load<uint8_t>(p) != 0;
    default: mps_stop("the simulator has no such data type");
  }
}

void mps_store(char* p, MPSDataType type, double x) {
  switch (type) {
    case MPSDataTypeFloat32: return store(p, float(x));
    case MPSDataTypeFloat16: return store(p, _Float16(float(x)));
    case MPSDataTypeInt32: return store(p, int32_t(x));
    case MPSDataTypeBool: return store(p, uint8_t(x != 0));
    default: mps_stop("the simulator has no such data type");
  }
}

long mps_count(const Shape& shape) {
  long n = 1;
  for (long size : shape) n *= size;
  return n;
}

Shape mps_shape(NSArray* sizes) {
  Shape shape;
  for (NSNumber* size in sizes) shape.push_back([size longValue]);
  return shape;
}

NSArray* mps_array(const Shape& shape) {
  NSMutableArray* sizes = [NSMutableArray array];
  for (long size : shape) [sizes addObject:@(size)];
  return sizes;
}

std::string mps_text(const Shape& shape) {
  std::string text = "(";
  for (long size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + ")";
}

SimCommandBuffer* mps_open(id<MTLCommandBuffer> commands) {
  id<MTLCommandBuffer> root =
      [(id)commands isKindOfClass:[MPSCommandBuffer class]] ? ((MPSCommandBuffer*)commands)->root_ : commands;
  SimCommandBuffer* open = (SimCommandBuffer*)root;
  if (open->enc) mps_stop("encode while a Metal encoder is open");
  return open;
}

void mps_keep(SimCommandBuffer* commands, id object) {
  [commands add:[](std::string&) { return true; } retaining:object];
}

@implementation MPSNDArrayDescriptor
SIM_LIVE
+ (instancetype)descriptorWithDataType:(MPSDataType)type shape:(MPSShape*)shape {
  MPSNDArrayDescriptor* made = [[self new] autorelease];
  made->type_ = type;
  made->shape_ = [shape copy];
  return made;
}
+ (BOOL)instancesRespondToSelector:(SEL)selector {
  const char* release = getenv("METALSIM_MACOS");
  const bool old = release && atoi(release) < 15 && sel_isEqual(selector, @selector(setPreferPackedRows:));
  return !old && [super instancesRespondToSelector:selector];
}
- (BOOL)preferPackedRows {
  return packed_;
}
- (void)setPreferPackedRows:(BOOL)packed {
  packed_ = packed;
}
- (void)dealloc {
  --metalsim_live;
  [shape_ release];
  [super dealloc];
}
@end

@implementation MPSNDArray
SIM_LIVE
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSNDArrayDescriptor*)descriptor {
  self = [self init];
  const Shape shape = mps_shape(descriptor->shape_);
  const size_t item = mps_size(descriptor->type_);
  if (!descriptor->packed_ && shape.size() > 1 && shape.back() * item % 16) {
    mps_stop("rows of an array are padded to 16 bytes unless its descriptor prefers packed rows");
  }
  if (offset % item) mps_stop("the offset of an array is no multiple of its element's size");
  if (offset + mps_count(shape) * item > buffer.length) {
    mps_stop("array " + mps_text(shape) + " is larger than its buffer");
  }
  buffer_ = [buffer retain];
  descriptor_ = [descriptor retain];
  offset_ = offset;
  return self;
}
- (void)dealloc {
  --metalsim_live;
  [buffer_ release];
  [descriptor_ release];
  [super dealloc];
}
@end
