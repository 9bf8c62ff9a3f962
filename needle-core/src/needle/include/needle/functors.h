// The arithmetic of every elementwise function and reduction, read by the C++, CUDA and Metal compilers alike.
//
// To add a function: its number in an enum here and in kinds.py, a struct that computes it, and its case in
// dispatch(). No backend changes. A struct computes in float, double, int32_t or int64_t; smaller types are widened
// before and narrowed after by the backend (bool to 0 and 1 and back by `!= 0`). Integers wrap around.
#ifndef NEEDLE_FUNCTORS_H
#define NEEDLE_FUNCTORS_H

#include "compiler.h"
#include "float_math.h"
#include "types.h"

namespace needle {

// The numbers are those of kinds.py.
enum class Unary : int32_t {
  kNeg = 0,
  kAbs = 1,
  kSquare = 2,
  kSign = 3,
  kRelu = 4,
  kExp = 5,
  kExpm1 = 6,
  kLog = 7,
  kLog1p = 8,
  kSqrt = 9,
  kRsqrt = 10,
  kReciprocal = 11,
  kSin = 12,
  kCos = 13,
  kTanh = 14,
  kSigmoid = 15,
  kErf = 16,
  kFloor = 17,
  kCeil = 18,
  kRound = 19,
  kTrunc = 20,
  kLogicalNot = 21,
  kBitwiseNot = 22,
  kIsnan = 23,
  kIsinf = 24,
  kIsfinite = 25,
  kSoftplus = 26,
};

enum class Binary : int32_t {
  kAdd = 0,
  kSub = 1,
  kMul = 2,
  kDiv = 3,
  kPow = 4,
  kMaximum = 5,
  kMinimum = 6,
  kFloorDivide = 7,
  kRemainder = 8,
  kAtan2 = 9,
  kReluGrad = 10,
  kEqual = 11,
  kNotEqual = 12,
  kLess = 13,
  kLessEqual = 14,
  kGreater = 15,
  kGreaterEqual = 16,
  kLogicalAnd = 17,
  kLogicalOr = 18,
  kLogicalXor = 19,
  kBitwiseAnd = 20,
  kBitwiseOr = 21,
  kBitwiseXor = 22,
  kShiftLeft = 23,
  kShiftRight = 24,
};

enum class Reduce : int32_t {
  kSum = 0,
  kProd = 1,
  kMax = 2,
  kMin = 3,
};

enum class Random : int32_t {
  kBits = 0,
  kUniform = 1,
  kNormal = 2,
};

}  // namespace needle

NEEDLE_BEGIN

// Unary.

struct Neg : Numbers {
  NEEDLE_HD float operator()(float x) const { return -x; }
#if defined(NEEDLE_HAS_DOUBLE)
  NEEDLE_HD double operator()(double x) const { return -x; }
#endif
  template <class T> NEEDLE_HD T operator()(T x) const { return wrap_sub(T(0), x); }
};

struct Abs : Numbers {
  template <class T> NEEDLE_HD T operator()(T x) const {
    return x > T(0) ? x : x == T(0) ? T(0) : Neg()(x);  // -0 becomes 0, NaN stays
  }
};

struct Square : Numbers {
  template <class T> NEEDLE_HD T operator()(T x) const { return wrap_mul(x, x); }
};

struct Sign : Numbers {
  template <class T> NEEDLE_HD T operator()(T x) const {
    return x > T(0) ? T(1) : x < T(0) ? T(-1) : x == T(0) ? T(0) : x;
  }
};

struct Relu : Numbers {
  template <class T> NEEDLE_HD T operator()(T x) const { return x < T(0) ? T(0) : x; }
};

struct Exp : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::exp(x); }
#if defined(NEEDLE_HOST)
  static bool hard(float x) { return !(math::abs_float(x) <= math::kExpEasy); }
  static float easy(float x) { return math::exp_easy(x); }
#endif
};

struct Expm1 : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::expm1(x); }
};

struct Log : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::log(x); }
};

struct Log1p : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::log1p(x); }
};

struct Sqrt : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::sqrt(x); }
};

struct Rsqrt : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return T(1) / math::sqrt(x); }
};

struct Reciprocal : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return T(1) / x; }
};

// On the host, sine and cosine of large floats need a longer reduction than vector code affords: `hard` says where,
// and `slow` does it. A loop over any functor that has these two looks for hard elements first.
struct Sin : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::sin(x); }
#if defined(NEEDLE_HOST)
  static bool hard(float x) { return !(math::abs_float(x) <= math::kSincosLimit); }
  static float slow(float x) { return static_cast<float>(math::sin(static_cast<double>(x))); }
#endif
};

struct Cos : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::cos(x); }
#if defined(NEEDLE_HOST)
  static bool hard(float x) { return !(math::abs_float(x) <= math::kSincosLimit); }
  static float slow(float x) { return static_cast<float>(math::cos(static_cast<double>(x))); }
#endif
};

struct Tanh : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::tanh(x); }
};

struct Sigmoid : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::sigmoid(x); }
#if defined(NEEDLE_HOST)
  static bool hard(float x) { return !(math::abs_float(x) <= math::kExpEasy); }
  static float easy(float x) { return math::sigmoid_easy(x); }
#endif
};

// log(1 + exp(x)), written so that exp cannot overflow.
struct Softplus : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const {
    return (x > T(0) ? x : x != x ? x : T(0)) + math::log1p(math::exp(x > T(0) ? -x : x));
  }
};

struct Erf : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::erf(x); }
};

struct Floor : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::floor(x); }
};

struct Ceil : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::ceil(x); }
};

struct Round : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::round_even(x); }
};

struct Trunc : Floats {
  template <class T> NEEDLE_HD T operator()(T x) const { return math::trunc(x); }
};

struct LogicalNot : Integers {
  template <class T> NEEDLE_HD bool operator()(T x) const { return x == T(0); }
};

struct BitwiseNot : Integers {
  template <class T> NEEDLE_HD T operator()(T x) const { return ~x; }
};

struct Isnan : Floats {
  template <class T> NEEDLE_HD bool operator()(T x) const { return x != x; }
};

struct Isinf : Floats {
  template <class T> NEEDLE_HD bool operator()(T x) const {
    return (x == T(NEEDLE_INFINITY)) | (x == T(-NEEDLE_INFINITY));
  }
};

struct Isfinite : Floats {
  template <class T> NEEDLE_HD bool operator()(T x) const { return x - x == T(0); }
};

// Binary.

struct Add : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return wrap_add(a, b); }
};

struct Sub : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return wrap_sub(a, b); }
};

struct Mul : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return wrap_mul(a, b); }
};

struct Div : Floats {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a / b; }
};

struct Pow : Numbers {
  NEEDLE_HD float operator()(float a, float b) const { return math::pow(a, b); }
#if defined(NEEDLE_HAS_DOUBLE)
  NEEDLE_HD double operator()(double a, double b) const { return math::pow(a, b); }
#endif
  // By repeated squaring. Of the negative powers only those of 1 and -1 are integers; the others give 0.
  template <class T> NEEDLE_HD T operator()(T a, T b) const {
    if (b < 0) return a == T(1) ? T(1) : a != T(-1) ? T(0) : (b & T(1)) != 0 ? T(-1) : T(1);
    T power = T(1);
    for (; b != 0; b >>= 1) {
      if ((b & T(1)) != 0) power = wrap_mul(power, a);
      a = wrap_mul(a, a);
    }
    return power;
  }
};

// NaN, which is not itself, wins from either side. Compilers' vector types compute this as it stands.
struct Maximum : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a > b ? a : (a != a ? a : b); }
};

struct Minimum : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a < b ? a : (a != a ? a : b); }
};

// The remainder has the divisor's sign, as in Python; by 0 it is NaN, for integers 0.
struct Remainder : Numbers {
  template <class T> NEEDLE_HD T of_floats(T a, T b) const {
    const T r = math::fmod(a, b);
    if (r != T(0)) return (r < T(0)) != (b < T(0)) ? r + b : r;
    return b < T(0) ? -T(0) : T(0);
  }
  NEEDLE_HD float operator()(float a, float b) const { return of_floats(a, b); }
#if defined(NEEDLE_HAS_DOUBLE)
  NEEDLE_HD double operator()(double a, double b) const { return of_floats(a, b); }
#endif
  template <class T> NEEDLE_HD T operator()(T a, T b) const {
    if (b == T(0) || b == T(-1)) return T(0);  // the smallest number by -1 would trap
    const T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
};

// Rounded to minus infinity, so that a == b * floor_divide(a, b) + remainder(a, b); integers by 0 give 0.
struct FloorDivide : Numbers {
  template <class T> NEEDLE_HD T of_floats(T a, T b) const {
    if (b == T(0)) return a / b;
    const T r = math::fmod(a, b);
    T quotient = (a - r) / b;
    if (r != T(0) && (r < T(0)) != (b < T(0))) quotient -= T(1);
    const T below = math::floor(quotient);
    const T floored = quotient - below > T(0.5) ? below + T(1) : below;
    return floored == T(0) ? T(0) * (a / b) : floored;  // a zero has the sign of a / b
  }
  NEEDLE_HD float operator()(float a, float b) const { return of_floats(a, b); }
#if defined(NEEDLE_HAS_DOUBLE)
  NEEDLE_HD double operator()(double a, double b) const { return of_floats(a, b); }
#endif
  template <class T> NEEDLE_HD T operator()(T a, T b) const {
    if (b == T(0)) return T(0);
    if (b == T(-1)) return wrap_sub(T(0), a);
    const T quotient = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? quotient - T(1) : quotient;
  }
};

struct Atan2 : Floats {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return math::atan2(a, b); }
};

struct ReluGrad : Numbers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return b > T(0) ? a : T(0); }
};

struct Equal : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a == b; }
};

struct NotEqual : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a != b; }
};

struct Less : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a < b; }
};

struct LessEqual : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a <= b; }
};

struct Greater : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a > b; }
};

struct GreaterEqual : Numbers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return a >= b; }
};

struct LogicalAnd : Integers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return (a != T(0)) & (b != T(0)); }
};

struct LogicalOr : Integers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return (a != T(0)) | (b != T(0)); }
};

struct LogicalXor : Integers {
  template <class T> NEEDLE_HD bool operator()(T a, T b) const { return (a != T(0)) != (b != T(0)); }
};

struct BitwiseAnd : Integers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a & b; }
};

struct BitwiseOr : Integers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a | b; }
};

struct BitwiseXor : Integers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const { return a ^ b; }
};

// Shifts by the width or more, or by a negative number, move every bit out: 0, or -1 for a negative number to the
// right.
struct ShiftLeft : Integers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const {
    const unsigned_of<T> width = 8 * sizeof(T), n = static_cast<unsigned_of<T>>(b);
    return n < width ? static_cast<T>(static_cast<unsigned_of<T>>(a) << n) : T(0);
  }
};

struct ShiftRight : Integers {
  template <class T> NEEDLE_HD T operator()(T a, T b) const {
    const unsigned_of<T> last = 8 * sizeof(T) - 1, n = static_cast<unsigned_of<T>>(b);
    return a >> static_cast<T>(n < last ? n : last);
  }
};

// Reductions: how two partial results combine; what nothing reduces to is `identity`, the smallest or largest number
// of the type for the maximum and the minimum.

struct Sum : Add {
  template <class T> static NEEDLE_HD T identity() { return T(0); }
};

struct Prod : Mul {
  template <class T> static NEEDLE_HD T identity() { return T(1); }
};

struct Max : Maximum {
  template <class T> static NEEDLE_HD T identity() { return Extremes<T>::lowest(); }
};

struct Min : Minimum {
  template <class T> static NEEDLE_HD T identity() { return Extremes<T>::highest(); }
};

// dispatch<T>(kind, visit) calls visit(F()) with the functor of the kind and returns true,
// or returns false if that functor does not compute in T.

template <class F, class Visitor> NEEDLE_HD bool visit_if(Bool<true>, F functor, Visitor visit) {
  visit(functor);
  return true;
}
template <class F, class Visitor> NEEDLE_HD bool visit_if(Bool<false>, F, Visitor) { return false; }
template <class T, class F, class Visitor> NEEDLE_HD bool visit_in(F functor, Visitor visit) {
  return visit_if(typename F::template accepts<T>(), functor, visit);
}

template <class T, class Visitor> NEEDLE_HD bool dispatch(Unary kind, Visitor visit) {
  switch (kind) {
    case Unary::kNeg: return visit_in<T>(Neg(), visit);
    case Unary::kAbs: return visit_in<T>(Abs(), visit);
    case Unary::kSquare: return visit_in<T>(Square(), visit);
    case Unary::kSign: return visit_in<T>(Sign(), visit);
    case Unary::kRelu: return visit_in<T>(Relu(), visit);
    case Unary::kExp: return visit_in<T>(Exp(), visit);
    case Unary::kExpm1: return visit_in<T>(Expm1(), visit);
    case Unary::kLog: return visit_in<T>(Log(), visit);
    case Unary::kLog1p: return visit_in<T>(Log1p(), visit);
    case Unary::kSqrt: return visit_in<T>(Sqrt(), visit);
    case Unary::kRsqrt: return visit_in<T>(Rsqrt(), visit);
    case Unary::kReciprocal: return visit_in<T>(Reciprocal(), visit);
    case Unary::kSin: return visit_in<T>(Sin(), visit);
    case Unary::kCos: return visit_in<T>(Cos(), visit);
    case Unary::kTanh: return visit_in<T>(Tanh(), visit);
    case Unary::kSigmoid: return visit_in<T>(Sigmoid(), visit);
    case Unary::kErf: return visit_in<T>(Erf(), visit);
    case Unary::kFloor: return visit_in<T>(Floor(), visit);
    case Unary::kCeil: return visit_in<T>(Ceil(), visit);
    case Unary::kRound: return visit_in<T>(Round(), visit);
    case Unary::kTrunc: return visit_in<T>(Trunc(), visit);
    case Unary::kLogicalNot: return visit_in<T>(LogicalNot(), visit);
    case Unary::kBitwiseNot: return visit_in<T>(BitwiseNot(), visit);
    case Unary::kIsnan: return visit_in<T>(Isnan(), visit);
    case Unary::kIsinf: return visit_in<T>(Isinf(), visit);
    case Unary::kIsfinite: return visit_in<T>(Isfinite(), visit);
    case Unary::kSoftplus: return visit_in<T>(Softplus(), visit);
  }
  return false;
}

template <class T, class Visitor> NEEDLE_HD bool dispatch(Binary kind, Visitor visit) {
  switch (kind) {
    case Binary::kAdd: return visit_in<T>(Add(), visit);
    case Binary::kSub: return visit_in<T>(Sub(), visit);
    case Binary::kMul: return visit_in<T>(Mul(), visit);
    case Binary::kDiv: return visit_in<T>(Div(), visit);
    case Binary::kPow: return visit_in<T>(Pow(), visit);
    case Binary::kMaximum: return visit_in<T>(Maximum(), visit);
    case Binary::kMinimum: return visit_in<T>(Minimum(), visit);
    case Binary::kFloorDivide: return visit_in<T>(FloorDivide(), visit);
    case Binary::kRemainder: return visit_in<T>(Remainder(), visit);
    case Binary::kAtan2: return visit_in<T>(Atan2(), visit);
    case Binary::kReluGrad: return visit_in<T>(ReluGrad(), visit);
    case Binary::kEqual: return visit_in<T>(Equal(), visit);
    case Binary::kNotEqual: return visit_in<T>(NotEqual(), visit);
    case Binary::kLess: return visit_in<T>(Less(), visit);
    case Binary::kLessEqual: return visit_in<T>(LessEqual(), visit);
    case Binary::kGreater: return visit_in<T>(Greater(), visit);
    case Binary::kGreaterEqual: return visit_in<T>(GreaterEqual(), visit);
    case Binary::kLogicalAnd: return visit_in<T>(LogicalAnd(), visit);
    case Binary::kLogicalOr: return visit_in<T>(LogicalOr(), visit);
    case Binary::kLogicalXor: return visit_in<T>(LogicalXor(), visit);
    case Binary::kBitwiseAnd: return visit_in<T>(BitwiseAnd(), visit);
    case Binary::kBitwiseOr: return visit_in<T>(BitwiseOr(), visit);
    case Binary::kBitwiseXor: return visit_in<T>(BitwiseXor(), visit);
    case Binary::kShiftLeft: return visit_in<T>(ShiftLeft(), visit);
    case Binary::kShiftRight: return visit_in<T>(ShiftRight(), visit);
  }
  return false;
}

template <class T, class Visitor> NEEDLE_HD bool dispatch(Reduce kind, Visitor visit) {
  switch (kind) {
    case Reduce::kSum: return visit_in<T>(Sum(), visit);
    case Reduce::kProd: return visit_in<T>(Prod(), visit);
    case Reduce::kMax: return visit_in<T>(Max(), visit);
    case Reduce::kMin: return visit_in<T>(Min(), visit);
  }
  return false;
}

// On bool, which is widened to 0 and 1, `~` is `not`.
NEEDLE_HD Unary kind_for_bool(Unary kind) { return kind == Unary::kBitwiseNot ? Unary::kLogicalNot : kind; }

NEEDLE_END

#endif  // NEEDLE_FUNCTORS_H
