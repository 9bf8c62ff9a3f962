// A graph as the simulated MPSGraph holds it: nodes that compute arrays of doubles, rounded to their type.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "SimMPS.h"

typedef std::vector<double> Data;
typedef std::function<Data(const std::vector<const Data*>&)> Compute;

struct Node {
  std::vector<Node*> in;
  Shape shape;
  MPSDataType type;
  Compute compute;  // none: a placeholder
  std::string name;
  MPSGraphTensor* tensor;
};

struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
  ~Graph() {
    for (auto& node : nodes) [node->tensor release];
  }
};

struct Compiled {
  std::shared_ptr<Graph> graph;
  std::vector<Node*> feeds, targets;
};

inline Node* node_of(MPSGraphTensor* tensor) { return (Node*)tensor->node_; }
inline const Shape& shape_of(MPSGraphTensor* tensor) { return node_of(tensor)->shape; }
inline std::shared_ptr<Graph>& graph_of(MPSGraph* graph) { return *(std::shared_ptr<Graph>*)graph->graph_; }

Shape broadcast(const Shape& a, const Shape& b);                // stops if they do not fit
long checked_axis(long axis, const Shape& shape);               // counted from the front
Shape without_axes(const Shape& shape, NSArray* axes);          // those axes have size 1; nil: all
void same_types(const char* op, std::vector<MPSGraphTensor*>);  // stops if they differ

// The flat index, in a tensor of shape `operand` broadcast to `shape`, of each element of `shape` in turn.
class Walk {
 public:
  Walk(const Shape& shape, const Shape& operand);
  long next();

 private:
  Shape shape_, steps_, at_;
  long index_ = 0;
};

@interface MPSGraph (Building)
- (MPSGraphTensor*)node:(std::vector<MPSGraphTensor*>)in shape:(Shape)shape type:(MPSDataType)type compute:(Compute)f;
@end
