// MPSGraph's small objects, and the executable, which computes its graph when its command buffer runs.
#include <cstdlib>

#include "SimGraph.h"

@implementation MPSGraphObject
SIM_LIVE
- (void)dealloc {
  --metalsim_live;
  [super dealloc];
}
@end

@implementation MPSGraphDevice
+ (instancetype)deviceWithMTLDevice:(id<MTLDevice>)device {
  MPSGraphDevice* made = [[self new] autorelease];
  made->device_ = [device retain];
  return made;
}
- (void)dealloc {
  [device_ release];
  [super dealloc];
}
@end

@implementation MPSGraphType
@end

@implementation MPSGraphShapedType
- (instancetype)initWithShape:(MPSShape*)shape dataType:(MPSDataType)type {
  self = [self init];
  shape_ = [shape copy];
  type_ = type;
  return self;
}
- (void)dealloc {
  [shape_ release];
  [super dealloc];
}
@end

@implementation MPSGraphTensor
- (MPSShape*)shape {
  return mps_array(shape_of(self));
}
- (MPSDataType)dataType {
  return node_of(self)->type;
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (NSUInteger)hash {
  return (NSUInteger)node_;
}
- (BOOL)isEqual:(id)other {
  return other == self;
}
@end

@implementation MPSGraphTensorData
- (instancetype)initWithMTLBuffer:(id<MTLBuffer>)buffer shape:(MPSShape*)shape dataType:(MPSDataType)type {
  self = [self init];
  if (mps_count(mps_shape(shape)) * mps_size(type) > buffer.length) {
    mps_stop("tensor data " + mps_text(mps_shape(shape)) + " is larger than its buffer");
  }
  buffer_ = [buffer retain];
  shape_ = [shape copy];
  type_ = type;
  return self;
}
- (instancetype)initWithMPSNDArray:(MPSNDArray*)array {
  self = [self init];
  buffer_ = [array->buffer_ retain];
  offset_ = array->offset_;
  shape_ = [array->descriptor_->shape_ copy];
  type_ = array->descriptor_->type_;
  return self;
}
- (void)dealloc {
  [buffer_ release];
  [shape_ release];
  [super dealloc];
}
@end

@implementation MPSGraphCompilationDescriptor
@end
@implementation MPSGraphExecutableExecutionDescriptor
@end
@implementation MPSGraphOperation
@end

@implementation MPSGraphConvolution2DOpDescriptor
+ (instancetype)descriptorWithStrideInX:(NSUInteger)strideX
                              strideInY:(NSUInteger)strideY
                        dilationRateInX:(NSUInteger)dilationX
                        dilationRateInY:(NSUInteger)dilationY
                                 groups:(NSUInteger)groups
                            paddingLeft:(NSUInteger)left
                           paddingRight:(NSUInteger)right
                             paddingTop:(NSUInteger)top
                          paddingBottom:(NSUInteger)bottom
                           paddingStyle:(MPSGraphPaddingStyle)style
                             dataLayout:(MPSGraphTensorNamedDataLayout)dataLayout
                          weightsLayout:(MPSGraphTensorNamedDataLayout)weightsLayout {
  if (!strideX || !strideY || !dilationX || !dilationY || !groups) mps_stop("a convolution's stride of 0");
  MPSGraphConvolution2DOpDescriptor* made = [[self new] autorelease];
  made->strideX_ = strideX;
  made->strideY_ = strideY;
  made->dilationX_ = dilationX;
  made->dilationY_ = dilationY;
  made->groups_ = groups;
  made->left_ = left;
  made->right_ = right;
  made->top_ = top;
  made->bottom_ = bottom;
  made->style_ = style;
  made->dataLayout_ = dataLayout;
  made->weightsLayout_ = weightsLayout;
  return made;
}
@end

namespace {

NSArray* tensors_of(const std::vector<Node*>& nodes) {
  NSMutableArray* tensors = [NSMutableArray array];
  for (Node* node : nodes) [tensors addObject:node->tensor];
  return tensors;
}

std::vector<MPSGraphTensorData*> checked(NSArray* data, const std::vector<Node*>& nodes, const char* what) {
  if (data.count != nodes.size()) mps_stop(std::string("wrong number of ") + what + "s");
  std::vector<MPSGraphTensorData*> out;
  for (MPSGraphTensorData* one in data) {
    const Node* node = nodes[out.size()];
    if (mps_shape(one->shape_) != node->shape) {
      mps_stop(std::string(what) + " has shape " + mps_text(mps_shape(one->shape_)) + ", the graph's has " +
               mps_text(node->shape));
    }
    if (one->type_ != node->type) mps_stop(std::string(what) + " has another data type than the graph's");
    out.push_back(one);
  }
  return out;
}

char* memory_of(MPSGraphTensorData* data) { return ((SimBuffer*)data->buffer_)->base + data->offset_; }

typedef std::map<Node*, Data> Values;

Data round_to(MPSDataType type, Data values) {
  if (type == MPSDataTypeFloat32) {
    for (double& value : values) value = float(value);
    return values;
  }
  for (double& value : values) {
    char bytes[8];
    mps_store(bytes, type, value);
    value = mps_load(bytes, type);
  }
  return values;
}

const Data& evaluate(Node* node, Values& values) {
  const auto found = values.find(node);
  if (found != values.end()) return found->second;
  std::vector<const Data*> in;
  for (Node* operand : node->in) in.push_back(&evaluate(operand, values));
  return values[node] = round_to(node->type, node->compute(in));
}

}  // namespace

@implementation MPSGraphExecutable
- (NSArray*)feedTensors {
  return tensors_of(((Compiled*)compiled_)->feeds);
}
- (NSArray*)targetTensors {
  return tensors_of(((Compiled*)compiled_)->targets);
}
- (NSArray*)encodeToCommandBuffer:(MPSCommandBuffer*)commands
                      inputsArray:(NSArray*)inputs
                     resultsArray:(NSArray*)results
              executionDescriptor:(MPSGraphExecutableExecutionDescriptor*)descriptor {
  if (![(id)commands isKindOfClass:[MPSCommandBuffer class]]) mps_stop("a graph encodes to an MPSCommandBuffer");
  SimCommandBuffer* open = mps_open(commands);
  const Compiled* compiled = (Compiled*)compiled_;
  const auto in = checked(inputs, compiled->feeds, "input"), out = checked(results, compiled->targets, "result");
  for (const auto& all : {in, out}) {
    for (id data : all) mps_keep(open, data);
  }
  [open add:[=](std::string&) {
    Values values;
    for (size_t i = 0; i < in.size(); ++i) {
      Data& value = values[compiled->feeds[i]];
      value.resize(mps_count(compiled->feeds[i]->shape));
      for (size_t k = 0; k < value.size(); ++k) {
        value[k] = mps_load(memory_of(in[i]) + k * mps_size(in[i]->type_), in[i]->type_);
      }
    }
    for (size_t i = 0; i < out.size(); ++i) evaluate(compiled->targets[i], values);
    for (size_t i = 0; i < out.size(); ++i) {
      const Data& value = values[compiled->targets[i]];
      for (size_t k = 0; k < value.size(); ++k) {
        mps_store(memory_of(out[i]) + k * mps_size(out[i]->type_), out[i]->type_, value[k]);
      }
    }
    return true;
  }
      retaining:self];
  if (getenv("METALSIM_COMMIT_AND_CONTINUE")) [commands commitAndContinue];
  return results;
}
- (void)dealloc {
  delete (Compiled*)compiled_;
  [super dealloc];
}
@end
