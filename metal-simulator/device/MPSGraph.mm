// The graph's operations.
#include <cmath>

#include "SimGraph.h"

@implementation MPSGraph
+ (instancetype)new {
  return [super new];
}
- (id)init {
  self = [super init];
  g_ = new std::shared_ptr<Graph>(std::make_shared<Graph>());
  return self;
}
- (void)dealloc {
  delete (std::shared_ptr<Graph>*)g_;
  [super dealloc];
}
- (MPSGraphTensor*)node:(std::vector<Node*>)in
                  shape:(Shape)s
                   type:(MPSDataType)t
                      f:(std::function<Data(const std::vector<const Data*>&)>)f {
  auto& g = *G(g_);
  MPSGraphTensor* o = [MPSGraphTensor new];
  g.nodes.push_back(std::make_unique<Node>(Node{in, s, t, f, o}));
  o->n_ = g.nodes.back().get();
  g.objs.push_back(o);
  return o;
}
- (MPSGraphTensor*)un:(MPSGraphTensor*)a f:(double (*)(double))f {
  return [self node:{N(a)}
              shape:N(a)->shape
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(*i[0]);
                    for (double& x : r) x = f(x);
                    return r;
                  }];
}
- (MPSGraphTensor*)bin:(MPSGraphTensor*)a with:(MPSGraphTensor*)b type:(MPSDataType)t f:(double (*)(double, double))f {
  if (N(a)->t != N(b)->t) mps_stop("operands have different data types");
  Shape s = bcast(N(a)->shape, N(b)->shape), sa = N(a)->shape, sb = N(b)->shape;
  return [self node:{N(a), N(b)}
              shape:s
               type:t
                  f:[=](auto& i) {
                    Data r(count(s));
                    for (size_t k = 0; k < r.size(); ++k) r[k] = f((*i[0])[bidx(k, s, sa)], (*i[1])[bidx(k, s, sb)]);
                    return r;
                  }];
}
- (MPSGraphTensor*)red:(MPSGraphTensor*)a axes:(NSArray*)axes z:(double)z f:(double (*)(double, double))f {
  Shape s = N(a)->shape, o = s;
  if (axes) {
    for (NSNumber* n in axes) {
      long d = [n longValue];
      o.at(d < 0 ? d + s.size() : d) = 1;
    }
  } else
    o.assign(s.size(), 1);
  return [self node:{N(a)}
              shape:o
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(o), z);
                    for (long k = 0; k < count(s); ++k) {
                      double& x = r[bidx(k, s, o)];
                      x = f(x, (*i[0])[k]);
                    }
                    return r;
                  }];
}
- (MPSGraphTensor*)placeholderWithShape:(MPSShape*)s dataType:(MPSDataType)t name:(NSString*)n {
  return [self node:{} shape:shape(s) type:t f:nullptr];
}
- (MPSGraphTensor*)constantWithScalar:(double)v dataType:(MPSDataType)t {
  return [self node:{} shape:{1} type:t f:[=](auto&) { return Data(1, v); }];
}
- (MPSGraphTensor*)constantWithScalar:(double)v shape:(MPSShape*)s dataType:(MPSDataType)t {
  Shape h = shape(s);
  return [self node:{} shape:h type:t f:[=](auto&) { return Data(count(h), v); }];
}
#define BIN(sel, e)                                                                                       \
  -(MPSGraphTensor*)sel##WithPrimaryTensor : (MPSGraphTensor*)a secondaryTensor : (MPSGraphTensor*)b name \
      : (NSString*)n {                                                                                    \
    return [self bin:a with:b type:N(a)->t f:[](double x, double y) -> double { return e; }];             \
  }
#define CMP(sel, e)                                                                                       \
  -(MPSGraphTensor*)sel##WithPrimaryTensor : (MPSGraphTensor*)a secondaryTensor : (MPSGraphTensor*)b name \
      : (NSString*)n {                                                                                    \
    return [self bin:a with:b type:MPSDataTypeBool f:[](double x, double y) -> double { return e; }];     \
  }
#define UN(sel, e)                                                             \
  -(MPSGraphTensor*)sel##WithTensor : (MPSGraphTensor*)a name : (NSString*)n { \
    return [self un:a f:[](double x) -> double { return e; }];                 \
  }
// clang-format off
BIN(addition, x + y)
BIN(subtraction, x - y)
BIN(multiplication, x * y)
BIN(division, x / y)
BIN(power, pow(x, y))
BIN(maximum, std::max(x, y))
BIN(minimum, std::min(x, y))
CMP(equal, x == y)
CMP(greaterThanOrEqualTo, x >= y)
UN(exponent, exp(x))
UN(logarithm, log(x))
UN(tanh, tanh(x))
UN(squareRoot, sqrt(x))
UN(negative, -x)
UN(reLU, x > 0 ? x : 0)
// clang-format on
- (MPSGraphTensor*)selectWithPredicateTensor:(MPSGraphTensor*)p
                         truePredicateTensor:(MPSGraphTensor*)a
                        falsePredicateTensor:(MPSGraphTensor*)b
                                        name:(NSString*)n {
  Shape sp = N(p)->shape, sa = N(a)->shape, sb = N(b)->shape, s = bcast(sp, bcast(sa, sb));
  return [self node:{N(p), N(a), N(b)}
              shape:s
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(s));
                    for (size_t k = 0; k < r.size(); ++k)
                      r[k] = (*i[0])[bidx(k, s, sp)] ? (*i[1])[bidx(k, s, sa)] : (*i[2])[bidx(k, s, sb)];
                    return r;
                  }];
}
- (MPSGraphTensor*)castTensor:(MPSGraphTensor*)a toType:(MPSDataType)t name:(NSString*)n {
  return [self node:{N(a)} shape:N(a)->shape type:t f:[](auto& i) { return *i[0]; }];
}
- (MPSGraphTensor*)reductionSumWithTensor:(MPSGraphTensor*)a axes:(NSArray*)x name:(NSString*)n {
  return [self red:a axes:x z:0 f:[](double p, double q) { return p + q; }];
}
- (MPSGraphTensor*)reductionMaximumWithTensor:(MPSGraphTensor*)a axes:(NSArray*)x name:(NSString*)n {
  return [self red:a axes:x z:-INFINITY f:[](double p, double q) { return std::max(p, q); }];
}
- (MPSGraphTensor*)softMaxWithTensor:(MPSGraphTensor*)a axis:(NSInteger)ax name:(NSString*)n {
  NSArray* x = @[ @(ax) ];
  MPSGraphTensor* e = [self exponentWithTensor:[self subtractionWithPrimaryTensor:a
                                                                  secondaryTensor:[self reductionMaximumWithTensor:a
                                                                                                              axes:x
                                                                                                              name:nil]
                                                                             name:nil]
                                          name:nil];
  return [self divisionWithPrimaryTensor:e secondaryTensor:[self reductionSumWithTensor:e axes:x name:nil] name:nil];
}
- (MPSGraphTensor*)matrixMultiplicationWithPrimaryTensor:(MPSGraphTensor*)a
                                         secondaryTensor:(MPSGraphTensor*)b
                                                    name:(NSString*)nm {
  Shape sa = N(a)->shape, sb = N(b)->shape;
  if (sa.size() < 2 || sb.size() < 2 || sa.back() != sb[sb.size() - 2])
    mps_stop("matrix shapes " + str(sa) + " and " + str(sb));
  long m = sa[sa.size() - 2], k = sa.back(), n = sb.back();
  Shape ba(sa.begin(), sa.end() - 2), bb(sb.begin(), sb.end() - 2), bo = bcast(ba, bb), so = bo;
  so.push_back(m);
  so.push_back(n);
  return [self node:{N(a), N(b)}
              shape:so
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(so));
                    for (long t = 0; t < count(bo); ++t) {
                      const double *x = i[0]->data() + bidx(t, bo, ba) * m * k,
                                   *y = i[1]->data() + bidx(t, bo, bb) * k * n;
                      for (long p = 0; p < m; ++p)
                        for (long q = 0; q < n; ++q) {
                          double s = 0;
                          for (long u = 0; u < k; ++u) s += x[p * k + u] * y[u * n + q];
                          r[(t * m + p) * n + q] = s;
                        }
                    }
                    return r;
                  }];
}
- (MPSGraphTensor*)reshapeTensor:(MPSGraphTensor*)a withShape:(MPSShape*)s name:(NSString*)n {
  Shape h = shape(s);
  long known = 1;
  for (long d : h)
    if (d >= 0) known *= d;
  for (long& d : h)
    if (d < 0) d = count(N(a)->shape) / known;
  if (count(h) != count(N(a)->shape)) mps_stop("reshape of " + str(N(a)->shape) + " to " + str(h));
  return [self node:{N(a)} shape:h type:N(a)->t f:[](auto& i) { return *i[0]; }];
}
- (MPSGraphTensor*)broadcastTensor:(MPSGraphTensor*)a toShape:(MPSShape*)s name:(NSString*)n {
  Shape h = shape(s), sa = N(a)->shape;
  if (bcast(sa, h) != h) mps_stop("broadcast");
  return [self node:{N(a)}
              shape:h
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(h));
                    for (size_t k = 0; k < r.size(); ++k) r[k] = (*i[0])[bidx(k, h, sa)];
                    return r;
                  }];
}
- (MPSGraphTensor*)transposeTensor:(MPSGraphTensor*)a permutation:(NSArray*)p name:(NSString*)n {
  Shape perm = shape(p), s = N(a)->shape, o(s.size()), st = strides(s);
  for (size_t i = 0; i < o.size(); ++i) o[i] = s.at(perm.at(i));
  return [self node:{N(a)}
              shape:o
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(o));
                    for (long k = 0; k < (long)r.size(); ++k) {
                      long q = k, f = 0;
                      for (size_t d = o.size(); d--;) {
                        f += q % o[d] * st[perm[d]];
                        q /= o[d];
                      }
                      r[k] = (*i[0])[f];
                    }
                    return r;
                  }];
}
- (MPSGraphTensor*)sliceTensor:(MPSGraphTensor*)a
                        starts:(NSArray*)b
                          ends:(NSArray*)e
                       strides:(NSArray*)t
                          name:(NSString*)n {
  Shape s = N(a)->shape, b0 = shape(b), e0 = shape(e), t0 = shape(t), o(s.size()), st = strides(s);
  for (size_t i = 0; i < o.size(); ++i) {
    if (b0[i] < 0) b0[i] += s[i];
    if (e0[i] < 0) e0[i] += s[i];
    o[i] = (e0[i] - b0[i] + t0[i] - 1) / t0[i];
  }
  return [self node:{N(a)}
              shape:o
               type:N(a)->t
                  f:[=](auto& i) {
                    Data r(count(o));
                    for (long k = 0; k < (long)r.size(); ++k) {
                      long q = k, f = 0;
                      for (size_t d = o.size(); d--;) {
                        f += (b0[d] + q % o[d] * t0[d]) * st[d];
                        q /= o[d];
                      }
                      r[k] = (*i[0])[f];
                    }
                    return r;
                  }];
}
- (MPSGraphTensor*)convolution2DWithSourceTensor:(MPSGraphTensor*)x
                                   weightsTensor:(MPSGraphTensor*)w
                                      descriptor:(MPSGraphConvolution2DOpDescriptor*)c
                                            name:(NSString*)nm {
  Shape s = N(x)->shape, k = N(w)->shape;
  if (c->dl != MPSGraphTensorNamedDataLayoutNCHW || c->wl != MPSGraphTensorNamedDataLayoutOIHW ||
      c->ps != MPSGraphPaddingStyleExplicit)
    mps_stop("the simulator has NCHW, OIHW and explicit padding only");
  long sx = c->sx, sy = c->sy, dx = c->dx, dy = c->dy, pl = c->pl, pt = c->pt, g = c->g;
  long oh = (s[2] + pt + c->pb - dy * (k[2] - 1) - 1) / sy + 1, ow = (s[3] + pl + c->pr - dx * (k[3] - 1) - 1) / sx + 1;
  if (s[1] != k[1] * g || k[0] % g) mps_stop("convolution channels " + str(s) + " and " + str(k));
  Shape o{s[0], k[0], oh, ow};
  return [self node:{N(x), N(w)}
              shape:o
               type:N(x)->t
                  f:[=](auto& i) {
                    Data r(count(o));
                    const Data &X = *i[0], &W = *i[1];
                    long z = 0;
                    for (long n = 0; n < o[0]; ++n)
                      for (long f = 0; f < o[1]; ++f)
                        for (long y = 0; y < oh; ++y)
                          for (long q = 0; q < ow; ++q, ++z) {
                            double a = 0;
                            for (long ch = 0; ch < k[1]; ++ch)
                              for (long u = 0; u < k[2]; ++u)
                                for (long v = 0; v < k[3]; ++v) {
                                  long yy = y * sy + u * dy - pt, xx = q * sx + v * dx - pl,
                                       cc = f / (k[0] / g) * k[1] + ch;
                                  if (yy >= 0 && yy < s[2] && xx >= 0 && xx < s[3])
                                    a += X[((n * s[1] + cc) * s[2] + yy) * s[3] + xx] *
                                         W[((f * k[1] + ch) * k[2] + u) * k[3] + v];
                                }
                            r[z] = a;
                          }
                    return r;
                  }];
}
- (MPSGraphExecutable*)compileWithDevice:(MPSGraphDevice*)d
                                   feeds:(NSDictionary*)feeds
                           targetTensors:(NSArray*)targets
                        targetOperations:(NSArray*)ops
                   compilationDescriptor:(MPSGraphCompilationDescriptor*)c {
  MPSGraphExecutable* x = [[MPSGraphExecutable new] autorelease];
  Exec* e = new Exec{G(g_), {}, {}};
  // Metal gives no order for a dictionary's feeds: the executable's feedTensors says it. Reversed here, so that
  // a bridge that relies on its own order fails
  for (auto& n : e->g->nodes)
    if ([feeds objectForKey:n->obj]) e->feeds.insert(e->feeds.begin(), n.get());
  for (MPSGraphTensor* t in targets) e->targets.push_back(N(t));
  x->g_ = e;
  return x;
}
@end