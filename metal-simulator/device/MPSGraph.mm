// Building a graph: placeholders, constants, arithmetic, compilation.
#include <algorithm>
#include <cmath>
#include <set>

#include "SimGraph.h"

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const long x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      mps_stop("shapes " + mps_text(a) + " and " + mps_text(b) + " do not broadcast");
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

Walk::Walk(const Shape& shape, const Shape& operand) : shape_(shape), steps_(shape.size()), at_(shape.size()) {
  long step = 1;
  for (size_t i = 0; i < operand.size(); ++i) {
    const long size = operand[operand.size() - 1 - i];
    steps_[shape.size() - 1 - i] = size == 1 ? 0 : step;
    step *= size;
  }
}

long Walk::next() {
  const long index = index_;
  for (size_t d = shape_.size(); d--;) {
    index_ += steps_[d];
    if (++at_[d] < shape_[d]) break;
    index_ -= steps_[d] * shape_[d];
    at_[d] = 0;
  }
  return index;
}

void same_types(const char* op, std::vector<MPSGraphTensor*> tensors) {
  for (MPSGraphTensor* tensor : tensors) {
    if (node_of(tensor)->type != node_of(tensors[0])->type) {
      mps_stop(std::string(op) + ": operands have different data types");
    }
  }
}

// Whatever the targets are computed from is fed.
static void check_fed(Node* node, const std::vector<Node*>& feeds, std::set<Node*>& seen) {
  if (!seen.insert(node).second) return;
  if (!node->compute && std::find(feeds.begin(), feeds.end(), node) == feeds.end()) {
    mps_stop("placeholder " + node->name + " of shape " + mps_text(node->shape) + " is not among the feeds");
  }
  for (Node* operand : node->in) check_fed(operand, feeds, seen);
}

static void check_feed(Node* node, MPSGraphShapedType* type) {
  if (mps_shape(type->shape_) != node->shape || type->type_ != node->type) {
    mps_stop("the feed of placeholder " + node->name + " has shape " + mps_text(mps_shape(type->shape_)) +
             " or a type unlike its " + mps_text(node->shape));
  }
}

@implementation MPSGraph
+ (instancetype)new {
  return [super new];
}
- (id)init {
  self = [super init];
  graph_ = new std::shared_ptr<Graph>(std::make_shared<Graph>());
  return self;
}
- (void)dealloc {
  delete (std::shared_ptr<Graph>*)graph_;
  [super dealloc];
}
- (MPSGraphTensor*)node:(std::vector<MPSGraphTensor*>)in
                  shape:(Shape)shape
                   type:(MPSDataType)type
                compute:(Compute)compute {
  auto& nodes = graph_of(self)->nodes;
  std::vector<Node*> operands;
  for (MPSGraphTensor* tensor : in) {
    const auto ours = [&](auto& node) { return node.get() == node_of(tensor); };
    if (std::none_of(nodes.begin(), nodes.end(), ours)) mps_stop("a tensor belongs to another graph");
    operands.push_back(node_of(tensor));
  }
  MPSGraphTensor* tensor = [MPSGraphTensor new];  // owned by the graph
  nodes.push_back(std::make_unique<Node>(Node{operands, shape, type, compute, "", tensor}));
  tensor->node_ = nodes.back().get();
  return tensor;
}
- (MPSGraphTensor*)map:(MPSGraphTensor*)x with:(double (*)(double))f {
  return [self node:{x}
              shape:shape_of(x)
               type:node_of(x)->type
            compute:[=](auto& in) {
              Data out(*in[0]);
              for (double& value : out) value = f(value);
              return out;
            }];
}
- (MPSGraphTensor*)map:(MPSGraphTensor*)a and:(MPSGraphTensor*)b with:(double (*)(double, double))f {
  same_types("arithmetic", {a, b});
  const Shape of_a = shape_of(a), of_b = shape_of(b), shape = broadcast(of_a, of_b);
  return [self node:{a, b}
              shape:shape
               type:node_of(a)->type
            compute:[=](auto& in) {
              Data out(mps_count(shape));
              Walk at_a(shape, of_a), at_b(shape, of_b);
              for (double& value : out) value = f((*in[0])[at_a.next()], (*in[1])[at_b.next()]);
              return out;
            }];
}
- (MPSGraphTensor*)placeholderWithShape:(MPSShape*)shape dataType:(MPSDataType)type name:(NSString*)name {
  MPSGraphTensor* made = [self node:{} shape:mps_shape(shape) type:type compute:nullptr];
  node_of(made)->name = name ? name.UTF8String : "(unnamed)";
  return made;
}
- (MPSGraphTensor*)constantWithScalar:(double)scalar dataType:(MPSDataType)type {
  return [self constantWithScalar:scalar shape:@[ @1 ] dataType:type];
}
- (MPSGraphTensor*)constantWithScalar:(double)scalar shape:(MPSShape*)sizes dataType:(MPSDataType)type {
  const Shape shape = mps_shape(sizes);
  return [self node:{} shape:shape type:type compute:[=](auto&) { return Data(mps_count(shape), scalar); }];
}
// Objective-C has no templates: a macro writes the methods that differ in one expression.
#define BINARY(selector, expression)                                                                           \
  -(MPSGraphTensor*)selector##WithPrimaryTensor : (MPSGraphTensor*)a secondaryTensor : (MPSGraphTensor*)b name \
      : (NSString*)name {                                                                                      \
    return [self map:a and:b with:[](double x, double y) -> double { return expression; }];                    \
  }
#define UNARY(selector, expression)                                                      \
  -(MPSGraphTensor*)selector##WithTensor : (MPSGraphTensor*)tensor name : (NSString*)n { \
    return [self map:tensor with:[](double x) -> double { return expression; }];         \
  }
// clang-format off
BINARY(addition, x + y)
BINARY(subtraction, x - y)
BINARY(multiplication, x * y)
BINARY(division, x / y)
UNARY(exponent, std::exp(x))
UNARY(logarithm, std::log(x))
UNARY(squareRoot, std::sqrt(x))
UNARY(square, x * x)
// clang-format on
- (MPSGraphTensor*)selectWithPredicateTensor:(MPSGraphTensor*)predicate
                         truePredicateTensor:(MPSGraphTensor*)yes
                        falsePredicateTensor:(MPSGraphTensor*)no
                                        name:(NSString*)name {
  same_types("select", {yes, no});
  if (node_of(predicate)->type != MPSDataTypeBool) mps_stop("select: the predicate is not bool");
  const Shape of_p = shape_of(predicate), of_a = shape_of(yes), of_b = shape_of(no);
  const Shape shape = broadcast(of_p, broadcast(of_a, of_b));
  return [self node:{predicate, yes, no}
              shape:shape
               type:node_of(yes)->type
            compute:[=](auto& in) {
              Data out(mps_count(shape));
              Walk at_p(shape, of_p), at_a(shape, of_a), at_b(shape, of_b);
              for (double& value : out) {
                const long a = at_a.next(), b = at_b.next();
                value = (*in[0])[at_p.next()] != 0 ? (*in[1])[a] : (*in[2])[b];
              }
              return out;
            }];
}
- (MPSGraphTensor*)castTensor:(MPSGraphTensor*)tensor toType:(MPSDataType)type name:(NSString*)name {
  return [self node:{tensor} shape:shape_of(tensor) type:type compute:[](auto& in) { return *in[0]; }];
}
- (MPSGraphExecutable*)compileWithDevice:(MPSGraphDevice*)device
                                   feeds:(NSDictionary*)feeds
                           targetTensors:(NSArray*)targets
                        targetOperations:(NSArray*)operations
                   compilationDescriptor:(MPSGraphCompilationDescriptor*)descriptor {
  auto compiled = std::make_unique<Compiled>(Compiled{graph_of(self), {}, {}});
  // A dictionary has no order, so that feedTensors tells it, and targetTensors that of the results. Both are reversed
  // here: whoever relies on an order of their own fails.
  for (auto& node : compiled->graph->nodes) {
    MPSGraphShapedType* type = [feeds objectForKey:node->tensor];
    if (type == nil) continue;
    check_feed(node.get(), type);
    compiled->feeds.insert(compiled->feeds.begin(), node.get());
  }
  std::set<Node*> seen;
  for (MPSGraphTensor* target in targets) {
    compiled->targets.insert(compiled->targets.begin(), node_of(target));
    check_fed(node_of(target), compiled->feeds, seen);
  }
  MPSGraphExecutable* executable = [[MPSGraphExecutable new] autorelease];
  executable->compiled_ = compiled.release();
  return executable;
}
@end
