// What the kernels of `elementwise` are made of: native/expression.cpp writes one for each expression after this text.
// A value lives in a register in the type that its dtype is computed in, rounded after each step as memory would.
#include <needle/functors.h>

#include <metal_stdlib>

#include "element.h"
#include "group.h"

using namespace needle;

// The elements before element i of an operand with strides, in row-major order.
inline int64_t walked(constant Walk& walk, uint i) {
  int64_t at = 0;
  for (int d = walk.rank - 1; d >= 0; --d) {
    const uint size = uint(walk.shape[d]);
    at += int64_t(i % size) * walk.strides[d];
    i /= size;
  }
  return at;
}

// Visitors are passed by value: what they find goes where `value` points.
template <class C, class R> struct One {
  thread R* value;
  C a;
  template <class F> void operator()(F f) { *value = R(f(a)); }
};

template <class C, class R> struct Two {
  thread R* value;
  C a, b;
  template <class F> void operator()(F f) { *value = R(f(a, b)); }
};

// A step that computes on elements of X and gives an element of Y.
template <class X, class Y> inline compute<Y> unary_step(Unary kind, compute<X> a) {
  compute<Y> value = 0;
  One<compute<X>, compute<Y>> apply;
  apply.value = &value;
  apply.a = a;
  dispatch<compute<X>>(kind, apply);
  return rounded(static_cast<device const Y*>(nullptr), value);
}

template <class X, class Y> inline compute<Y> binary_step(Binary kind, compute<X> a, compute<X> b) {
  compute<Y> value = 0;
  Two<compute<X>, compute<Y>> apply;
  apply.value = &value;
  apply.a = a;
  apply.b = b;
  dispatch<compute<X>>(kind, apply);
  return rounded(static_cast<device const Y*>(nullptr), value);
}

// To bool, whatever is not 0 is true: a fraction too.
template <class Y> struct Cast {
  template <class C> static compute<Y> of(C a) { return rounded(static_cast<device const Y*>(nullptr), compute<Y>(a)); }
};
template <> struct Cast<Bool8> {
  template <class C> static int32_t of(C a) { return a != C(0); }
};

// A number given by the caller, rounded to the type of the elements that it meets.
inline float given(constant Number& number, float) { return number.real; }
inline int32_t given(constant Number& number, int32_t) { return number.low; }
inline int64_t given(constant Number& number, int64_t) {
  return int64_t((ulong(uint(number.high)) << 32) | uint(number.low));
}
template <class X> inline compute<X> scalar(constant Number& number) {
  return rounded(static_cast<device const X*>(nullptr), given(number, compute<X>()));
}
