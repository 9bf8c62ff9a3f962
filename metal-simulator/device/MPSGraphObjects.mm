// MPSGraph's small objects, and the executable, which computes its graph when its command buffer runs.
#include "SimGraph.h"

static double rnd(MPSDataType t, double x) {
  char b[8];
  mps_store(b, t, x);
  return mps_load(b, t);
}

@implementation MPSGraphDevice
+ (instancetype)deviceWithMTLDevice:(id<MTLDevice>)d {
  MPSGraphDevice* g = [[self new] autorelease];
  g->d_ = [d retain];
  return g;
}
- (void)dealloc {
  [d_ release];
  [super dealloc];
}
@end
@implementation MPSGraphShapedType
- (instancetype)initWithShape:(MPSShape*)s dataType:(MPSDataType)t {
  self = [super init];
  s_ = [s copy];
  t_ = t;
  return self;
}
- (void)dealloc {
  [s_ release];
  [super dealloc];
}
@end
@implementation MPSGraphTensor
- (MPSShape*)shape {
  return nsshape(N(self)->shape);
}
- (MPSDataType)dataType {
  return N(self)->t;
}
- (id)copyWithZone:(NSZone*)z {
  return [self retain];
}
- (NSUInteger)hash {
  return (NSUInteger)n_;
}
- (BOOL)isEqual:(id)o {
  return o == self;
}
@end
@implementation MPSGraphTensorData
- (instancetype)initWithMTLBuffer:(id<MTLBuffer>)b shape:(MPSShape*)s dataType:(MPSDataType)t {
  self = [super init];
  if (count(shape(s)) * mps_size(t) > b.length) mps_stop("tensor data " + str(shape(s)) + " is larger than its buffer");
  b_ = [b retain];
  s_ = [s copy];
  t_ = t;
  return self;
}
- (MPSShape*)shape {
  return s_;
}
- (void)dealloc {
  [b_ release];
  [s_ release];
  [super dealloc];
}
@end
@implementation MPSGraphCompilationDescriptor
@end
@implementation MPSGraphExecutableExecutionDescriptor
- (BOOL)waitUntilCompleted {
  return w_;
}
- (void)setWaitUntilCompleted:(BOOL)b {
  w_ = b;
}
@end
@implementation MPSGraphConvolution2DOpDescriptor
#define P(n, N, f)                \
  -(NSUInteger)n {                \
    return f;                     \
  }                               \
  -(void)set##N : (NSUInteger)v { \
    f = v;                        \
  }
// clang-format off
P(strideInX, StrideInX, sx)
P(strideInY, StrideInY, sy)
P(dilationRateInX, DilationRateInX, dx)
P(dilationRateInY, DilationRateInY, dy)
P(paddingLeft, PaddingLeft, pl)
P(paddingRight, PaddingRight, pr)
P(paddingTop, PaddingTop, pt)
P(paddingBottom, PaddingBottom, pb)
P(groups, Groups, g)
// clang-format on
+ (instancetype)descriptorWithStrideInX:(NSUInteger)sx
                              strideInY:(NSUInteger)sy
                        dilationRateInX:(NSUInteger)dx
                        dilationRateInY:(NSUInteger)dy
                                 groups:(NSUInteger)g
                            paddingLeft:(NSUInteger)l
                           paddingRight:(NSUInteger)r
                             paddingTop:(NSUInteger)t
                          paddingBottom:(NSUInteger)b
                           paddingStyle:(MPSGraphPaddingStyle)ps
                             dataLayout:(MPSGraphTensorNamedDataLayout)dl
                          weightsLayout:(MPSGraphTensorNamedDataLayout)wl {
  MPSGraphConvolution2DOpDescriptor* d = [[self new] autorelease];
  d->sx = sx;
  d->sy = sy;
  d->dx = dx;
  d->dy = dy;
  d->g = g;
  d->pl = l;
  d->pr = r;
  d->pt = t;
  d->pb = b;
  d->ps = ps;
  d->dl = dl;
  d->wl = wl;
  return d;
}
@end
@implementation MPSGraphExecutable
- (NSArray*)feedTensors {
  NSMutableArray* a = [NSMutableArray array];
  for (Node* n : ((Exec*)g_)->feeds) [a addObject:n->obj];
  return a;
}
- (NSArray*)encodeToCommandBuffer:(MPSCommandBuffer*)cb
                      inputsArray:(NSArray*)inputs
                     resultsArray:(NSArray*)results
              executionDescriptor:(MPSGraphExecutableExecutionDescriptor*)d {
  Exec* e = (Exec*)g_;
  SimCommandBuffer* s = (SimCommandBuffer*)cb->cb_;
  if (s->enc) mps_stop("encode while a Metal encoder is open");
  if (inputs.count != e->feeds.size() || results.count != e->targets.size())
    mps_stop("wrong number of inputs or results");
  std::vector<MPSGraphTensorData*> in, out;
  for (MPSGraphTensorData* t in inputs) in.push_back(t);
  for (MPSGraphTensorData* t in results) out.push_back(t);
  auto check = [](MPSGraphTensorData* t, Node* n, const char* w) {
    if (shape(t->s_) != n->shape || t->t_ != n->t)
      mps_stop(std::string(w) + " has shape " + str(shape(t->s_)) + " or a type unlike the graph's " + str(n->shape));
  };
  for (size_t i = 0; i < in.size(); ++i) check(in[i], e->feeds[i], "input");
  for (size_t i = 0; i < out.size(); ++i) check(out[i], e->targets[i], "result");
  for (auto v : {in, out})
    for (id o : v) [s add:[](std::string&) { return true; } retaining:o];
  [s add:[=](std::string&) {
    std::map<Node*, Data> val;
    for (size_t i = 0; i < in.size(); ++i) {
      Data v(count(e->feeds[i]->shape));
      for (size_t k = 0; k < v.size(); ++k)
        v[k] = mps_load(((SimBuffer*)in[i]->b_)->base + k * mps_size(in[i]->t_), in[i]->t_);
      val[e->feeds[i]] = std::move(v);
    }
    std::function<const Data&(Node*)> eval = [&](Node* n) -> const Data& {
      auto it = val.find(n);
      if (it != val.end()) return it->second;
      if (!n->f) mps_stop("a placeholder has no feed");
      std::vector<const Data*> a;
      for (Node* x : n->in) a.push_back(&eval(x));
      Data v = n->f(a);
      for (double& x : v) x = rnd(n->t, x);
      return val[n] = std::move(v);
    };
    for (size_t i = 0; i < out.size(); ++i) {
      const Data& v = eval(e->targets[i]);
      for (size_t k = 0; k < v.size(); ++k)
        mps_store(((SimBuffer*)out[i]->b_)->base + k * mps_size(out[i]->t_), out[i]->t_, v[k]);
    }
    return true;
  }
      retaining:self];
  return results;
}
- (void)dealloc {
  delete (Exec*)g_;
  [super dealloc];
}
@end
