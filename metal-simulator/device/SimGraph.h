// A graph as the simulated MPSGraph holds it: nodes that compute arrays of doubles, rounded to their type.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "SimMPS.h"

typedef std::vector<long> Shape;
typedef std::vector<double> Data;
struct Node {
  std::vector<Node*> in;
  Shape shape;
  MPSDataType t;
  std::function<Data(const std::vector<const Data*>&)> f;
  MPSGraphTensor* obj;
};
struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<MPSGraphTensor*> objs;
  ~Graph() {
    for (id o : objs) [o release];
  }
};
struct Exec {
  std::shared_ptr<Graph> g;
  std::vector<Node*> feeds, targets;
};
inline long count(const Shape& s) {
  long n = 1;
  for (long d : s) n *= d;
  return n;
}
inline Shape shape(NSArray* a) {
  Shape s;
  for (NSNumber* n in a) s.push_back([n longValue]);
  return s;
}
inline NSArray* nsshape(const Shape& s) {
  NSMutableArray* a = [NSMutableArray array];
  for (long d : s) [a addObject:@(d)];
  return a;
}
inline std::string str(const Shape& s) {
  std::string o = "[";
  for (long d : s) o += std::to_string(d) + ",";
  return o + "]";
}
inline Shape bcast(const Shape& a, const Shape& b) {
  Shape o(std::max(a.size(), b.size()));
  for (size_t i = 0; i < o.size(); ++i) {
    long x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) mps_stop("shapes " + str(a) + " and " + str(b) + " do not broadcast");
    o[o.size() - 1 - i] = x == 1 ? y : x;
  }
  return o;
}
// the flat index in a tensor of shape s, broadcast to o, of the flat index i of o
inline long bidx(long i, const Shape& o, const Shape& s) {
  long r = 0, m = 1;
  for (size_t d = 0; d < o.size(); ++d) {
    long k = o.size() - 1 - d, c = i % o[k];
    i /= o[k];
    if (d < s.size()) {
      long e = s[s.size() - 1 - d];
      r += (e == 1 ? 0 : c) * m;
      m *= e;
    }
  }
  return r;
}
inline Shape strides(const Shape& s) {
  Shape r(s.size());
  long m = 1;
  for (size_t i = s.size(); i--;) {
    r[i] = m;
    m *= s[i];
  }
  return r;
}
inline Node* N(MPSGraphTensor* t) { return (Node*)t->n_; }
inline std::shared_ptr<Graph>& G(void* p) { return *(std::shared_ptr<Graph>*)p; }
