// Elementary functions of float, and of double where there is one.
//
// On the host the float ones are written out here: scalar code without branches (polynomials, bit tricks, selects)
// that g++ and clang turn into vector code at -O3 -fno-math-errno -fno-trapping-math. They are within 2 ulp, and right
// for NaN, infinities, zeros and subnormals. CUDA and Metal have their own, save for what Metal lacks.
// Every polynomial is a minimax fit by Remez' exchange, its coefficients rounded to float one after the other.
#ifndef NEEDLE_FLOAT_MATH_H
#define NEEDLE_FLOAT_MATH_H

#include "compiler.h"

NEEDLE_BEGIN
namespace math {

#define NEEDLE_INFINITY float_of(0x7F800000)
#define NEEDLE_NAN float_of(0x7FC00000)

// ln 2 in two parts: the first has few enough bits that its product with an exponent is exact.
struct Ln2 {
  static NEEDLE_HD float high() { return 0.693145751953125f; }
  static NEEDLE_HD float low() { return 1.42860682e-6f; }
};

// 2^n for -126 <= n <= 127; other n give nonsense, but no undefined behaviour.
NEEDLE_HD float power_of_two(int32_t n) {
  return float_of(static_cast<int32_t>((static_cast<uint32_t>(n) + 127u) << 23));
}

// x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 leaves the nearest integer in the lowest bits of a float.
struct ExpParts {
  int32_t n;
  float r;
};

NEEDLE_HD ExpParts split_exp(float x) {
  const float shift = 12582912.0f;
  const float t = x * 1.44269504f + shift;
  const float n = t - shift;
  ExpParts parts;
  parts.n = static_cast<int32_t>(static_cast<uint32_t>(bits_of(t)) - 0x4B400000u);
  parts.r = (x - n * Ln2::high()) - n * Ln2::low();
  return parts;
}

// e^r - 1 = r + r^2 q, for |r| <= ln 2 / 2.
NEEDLE_HD float exp_rest(float r) {
  float q = 0.0013852061238139868f;
  q = q * r + 0.00837025698274374f;
  q = q * r + 0.04166799038648605f;
  q = q * r + 0.16666507720947266f;
  q = q * r + 0.4999999403953552f;
  return q * (r * r) + r;
}

// e^x. The power of two is applied in two halves, so that subnormal and infinite results come out right.
NEEDLE_HD float exp_poly(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const ExpParts parts = split_exp(x);
  const float p = exp_rest(parts.r) + 1.0f;
  const int32_t half = parts.n >> 1;
  return p * power_of_two(half) * power_of_two(parts.n - half);
}

// e^x for |x| <= 87, where the result is normal: the power of two is added to the exponent.
NEEDLE_HD float exp_easy(float x) {
  const ExpParts parts = split_exp(x);
  const float p = exp_rest(parts.r) + 1.0f;
  return float_of(static_cast<int32_t>(static_cast<uint32_t>(bits_of(p)) + (static_cast<uint32_t>(parts.n) << 23)));
}

// e^x - 1 = 2^n (e^r - 1) + (2^n - 1), computed at half its size so that n = 128 does not overflow.
NEEDLE_HD float expm1_poly(float x) {
  float c = x > 89.0f ? 89.0f : x;
  c = c < -20.0f ? -20.0f : c;
  const ExpParts parts = split_exp(c);
  const float r = parts.r;
  float q = 0.00019674644863698632f;
  q = q * r + 0.0013935926835983992f;
  q = q * r + 0.00833363551646471f;
  q = q * r + 0.041666459292173386f;
  q = q * r + 0.1666666567325592f;
  const float p = (q * r + 0.5f) * (r * r) + r;
  const float half_scale = power_of_two(parts.n - 1);
  const float y = 2.0f * (half_scale * p + (half_scale - 0.5f));
  return parts.n == 0 ? (r == 0.0f ? x : p) : y;  // x keeps the sign of zero
}

// log(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2), plus e ln 2.
NEEDLE_HD float log_sum(float f, float e) {
  const float square = f * f;
  float p = -0.07729898393154144f;
  p = p * f + 0.12788590788841248f;
  p = p * f + -0.13152597844600677f;
  p = p * f + 0.1420033723115921f;
  p = p * f + -0.16623325645923615f;
  p = p * f + 0.20001260936260223f;
  p = p * f + -0.250008225440979f;
  p = p * f + 0.3333333134651184f;
  const float tail = (p * f * square + e * Ln2::low()) - 0.5f * square;
  return (f + tail) + e * Ln2::high();
}

// The exponent of x and its mantissa, the latter in [sqrt(1/2), sqrt(2)).
struct LogParts {
  int32_t e;
  float m;
};

NEEDLE_HD LogParts split_log(float x) {
  const uint32_t shifted = static_cast<uint32_t>(bits_of(x)) + (0x3F800000u - 0x3F3504F3u);
  LogParts parts;
  parts.e = (static_cast<int32_t>(shifted) >> 23) - 127;
  parts.m = float_of(static_cast<int32_t>((shifted & 0x007FFFFFu) + 0x3F3504F3u));
  return parts;
}

// What a logarithm of x gives where x is not a positive number.
NEEDLE_HD float log_special(float x, float y) {
  y = x == NEEDLE_INFINITY ? x : y;
  y = x == 0.0f ? -NEEDLE_INFINITY : y;
  return x >= 0.0f ? y : NEEDLE_NAN;
}

NEEDLE_HD float log_poly(float x) {
  const bool subnormal = x < 1.17549435e-38f;
  const LogParts parts = split_log(subnormal ? x * 8388608.0f : x);
  const float e = static_cast<float>(parts.e - (subnormal ? 23 : 0));
  return log_special(x, log_sum(parts.m - 1.0f, e));
}

// log(1 + x): the logarithm of u = 1 + x, with the rounding error of u put back into the mantissa.
NEEDLE_HD float log1p_poly(float x) {
  const float u = 1.0f + x;
  const LogParts parts = split_log(u);
  const float lost = x > 1.0f ? 1.0f - (u - x) : x - (u - 1.0f);
  const float f = (parts.m - 1.0f) + lost * power_of_two(parts.e < 64 ? -parts.e : -64);
  const float y = log_special(u, log_sum(f, static_cast<float>(parts.e)));
  return x == 0.0f ? x : y;
}

NEEDLE_HD float abs_float(float x) { return float_of(bits_of(x) & 0x7FFFFFFF); }
NEEDLE_HD float with_sign(float magnitude, float sign) {
  return float_of((bits_of(magnitude) & 0x7FFFFFFF) | (bits_of(sign) & static_cast<int32_t>(0x80000000u)));
}

// An odd polynomial near 0, 1 - 2 / (e^2a + 1) further out.
NEEDLE_HD float tanh_poly(float x) {
  const float a = abs_float(x);
  const float square = x * x;
  float p = -0.00571284256875515f;
  p = p * square + 0.020647160708904266f;
  p = p * square + -0.05374256521463394f;
  p = p * square + 0.1333148181438446f;
  p = p * square + -0.3333328366279602f;
  const float near = (p * square) * x + x;
  const float far = 1.0f - 2.0f / (exp_easy(2.0f * (a > 10.0f ? 10.0f : a)) + 1.0f);
  return x != x ? x : with_sign(a < 0.625f ? near : far, x);
}

// 1 / (1 + e^-x), in a form where the exponential never overflows; the rounding error of 1 + e is taken out again.
NEEDLE_HD float sigmoid_poly(float x) {
  const float e = exp_poly(-abs_float(x));
  const float sum = 1.0f + e;
  const float lost = e - (sum - 1.0f);
  const float y = (x < 0.0f ? e : 1.0f) / sum;
  const float inverse = y < 0.5f ? 1.0f - y : y;  // 1 / sum; a second test of x would make compilers divide twice
  return x != x ? x : y - y * (lost * inverse);
}

// 1 - e^-Q(a) with Q(a) = -log(erfc(a)) = a + a P(a), as a power of two times e^r - 1, which is exact near 0 as well.
NEEDLE_HD float erf_poly(float x) {
  const float magnitude = abs_float(x);
  const float a = magnitude > 3.925f ? 3.925f : magnitude;  // beyond it erf is 1
  float q = -9.38804805628024e-06f;
  q = q * a + 0.00011886184802278876f;
  q = q * a + -0.000637364573776722f;
  q = q * a + 0.0016756774857640266f;
  q = q * a + -0.00016950462304521352f;
  q = q * a + -0.019147822633385658f;
  q = q * a + 0.10277630388736725f;
  q = q * a + 0.6366195678710938f;
  q = q * a + 0.12837916612625122f;
  const ExpParts parts = split_exp(-(q * a + a));
  const float scale = power_of_two(parts.n);
  const float y = (1.0f - scale) - scale * exp_rest(parts.r);
  return x != x ? x : with_sign(y, x);
}

#if defined(NEEDLE_HOST)

constexpr float kExpEasy = 87.0f;  // the largest |x| that exp_easy takes

NEEDLE_HD double exp_easy(double x) { return __builtin_exp(x); }

// e^x for x <= 0, as a softmax needs it: 0 below -88, and NaN stays. What is smaller than every normal number is 0 or
// has fewer digits. `low` is -88: a limit that the compiler knows would cost it two instructions in place of one.
NEEDLE_HD float exp_below(float x, float low) {
  const float shift = 12583039.0f;  // 1.5 * 2^23 + 127: n = -127 then makes the power of two 0
  x = low > x ? low : x;
  const float t = x * 1.44269504f + shift;
  const float n = t - shift;
  const float r = (x - n * Ln2::high()) - n * Ln2::low();
  float q = 0.0013852061238139868f;
  q = q * r + 0.00837025698274374f;
  q = q * r + 0.04166799038648605f;
  q = q * r + 0.16666507720947266f;
  q = q * r + 0.4999999403953552f;
  q = q * r + 1.0f;
  q = q * r + 1.0f;
  return q * float_of(static_cast<int32_t>(static_cast<uint32_t>(bits_of(t)) << 23));
}

NEEDLE_HD double exp_below(double x, double) { return __builtin_exp(x); }

// 1 / (1 + e^-x) for |x| <= kExpEasy; the rounding error of 1 + e is taken out again.
NEEDLE_HD float sigmoid_easy(float x) {
  const float e = exp_easy(-x);
  const float sum = 1.0f + e;
  const float of_e = sum - 1.0f;
  const float lost = (1.0f - (sum - of_e)) + (e - of_e);
  const float y = 1.0f / sum;
  return y - y * (lost * y);
}

// x = q pi/2 + r: the nearest quarter turn q and the rest, taken off in double. Beyond kSincosLimit q is not exact.
constexpr float kSincosLimit = 1e6f;

struct QuarterTurn {
  int32_t q;
  float r;
};

NEEDLE_HD QuarterTurn split_turn(float x) {
  const float shift = 12582912.0f;
  const float t = x * 0.636619772f + shift;
  const double n = t - shift;
  QuarterTurn turn;
  turn.q = bits_of(t);
  turn.r = static_cast<float>((x - n * 0x1.921fb54p+0) - n * 0x1.10b4611a62633p-30);  // 29 bits of pi/2, and the rest
  return turn;
}

// sin(r), or cos(r) in odd quarters; negative in the second two of four.
NEEDLE_HD float sin_quarter(float r, int32_t q) {
  const float z = r * r;
  float s = 2.83080271401559e-06f;
  s = s * z + -0.00019852982950396836f;
  s = s * z + 0.008333379402756691f;
  s = s * z + -0.1666666716337204f;
  s = (s * z) * r + r;
  float c = 2.4430428311461583e-05f;
  c = c * z + -0.001388730015605688f;
  c = c * z + 0.04166664555668831f;
  c = (c * z) * z + (1.0f - 0.5f * z);
  const float y = (q & 1) != 0 ? c : s;
  return float_of(bits_of(y) ^ static_cast<int32_t>((static_cast<uint32_t>(q) & 2u) << 30));
}

NEEDLE_HD float sin_poly(float x) {
  const QuarterTurn turn = split_turn(x);
  const float y = sin_quarter(turn.r, turn.q);
  return x == 0.0f ? x : y;
}

NEEDLE_HD float cos_poly(float x) {
  const QuarterTurn turn = split_turn(x);
  return sin_quarter(turn.r, turn.q + 1);
}

#endif  // NEEDLE_HOST

// The names that functors use. One block per compiler.
#if defined(NEEDLE_HOST)
NEEDLE_HD float exp(float x) { return exp_poly(x); }
NEEDLE_HD float expm1(float x) { return expm1_poly(x); }
NEEDLE_HD float log(float x) { return log_poly(x); }
NEEDLE_HD float log1p(float x) { return log1p_poly(x); }
NEEDLE_HD float tanh(float x) { return tanh_poly(x); }
NEEDLE_HD float sigmoid(float x) { return sigmoid_poly(x); }
NEEDLE_HD float erf(float x) { return erf_poly(x); }
NEEDLE_HD float sin(float x) { return sin_poly(x); }
NEEDLE_HD float cos(float x) { return cos_poly(x); }
NEEDLE_HD float sqrt(float x) { return __builtin_sqrtf(x); }
NEEDLE_HD float floor(float x) { return __builtin_floorf(x); }
NEEDLE_HD float ceil(float x) { return __builtin_ceilf(x); }
NEEDLE_HD float trunc(float x) { return __builtin_truncf(x); }
NEEDLE_HD float round_even(float x) { return __builtin_rintf(x); }
NEEDLE_HD float fmod(float a, float b) { return __builtin_fmodf(a, b); }
NEEDLE_HD float pow(float a, float b) { return __builtin_powf(a, b); }
NEEDLE_HD float atan2(float a, float b) { return __builtin_atan2f(a, b); }

NEEDLE_HD double exp(double x) { return __builtin_exp(x); }
NEEDLE_HD double expm1(double x) { return __builtin_expm1(x); }
NEEDLE_HD double log(double x) { return __builtin_log(x); }
NEEDLE_HD double log1p(double x) { return __builtin_log1p(x); }
NEEDLE_HD double tanh(double x) { return __builtin_tanh(x); }
NEEDLE_HD double erf(double x) { return __builtin_erf(x); }
NEEDLE_HD double sin(double x) { return __builtin_sin(x); }
NEEDLE_HD double cos(double x) { return __builtin_cos(x); }
NEEDLE_HD double sqrt(double x) { return __builtin_sqrt(x); }
NEEDLE_HD double floor(double x) { return __builtin_floor(x); }
NEEDLE_HD double ceil(double x) { return __builtin_ceil(x); }
NEEDLE_HD double trunc(double x) { return __builtin_trunc(x); }
NEEDLE_HD double round_even(double x) { return __builtin_rint(x); }
NEEDLE_HD double fmod(double a, double b) { return __builtin_fmod(a, b); }
NEEDLE_HD double pow(double a, double b) { return __builtin_pow(a, b); }
NEEDLE_HD double atan2(double a, double b) { return __builtin_atan2(a, b); }
#elif defined(NEEDLE_CUDA)
NEEDLE_HD float exp(float x) { return ::expf(x); }
NEEDLE_HD float expm1(float x) { return ::expm1f(x); }
NEEDLE_HD float log(float x) { return ::logf(x); }
NEEDLE_HD float log1p(float x) { return ::log1pf(x); }
NEEDLE_HD float tanh(float x) { return ::tanhf(x); }
NEEDLE_HD float sigmoid(float x) { return sigmoid_poly(x); }
NEEDLE_HD float erf(float x) { return ::erff(x); }
NEEDLE_HD float sin(float x) { return ::sinf(x); }
NEEDLE_HD float cos(float x) { return ::cosf(x); }
NEEDLE_HD float sqrt(float x) { return ::sqrtf(x); }
NEEDLE_HD float floor(float x) { return ::floorf(x); }
NEEDLE_HD float ceil(float x) { return ::ceilf(x); }
NEEDLE_HD float trunc(float x) { return ::truncf(x); }
NEEDLE_HD float round_even(float x) { return ::rintf(x); }
NEEDLE_HD float fmod(float a, float b) { return ::fmodf(a, b); }
NEEDLE_HD float pow(float a, float b) { return ::powf(a, b); }
NEEDLE_HD float atan2(float a, float b) { return ::atan2f(a, b); }

NEEDLE_HD double exp(double x) { return ::exp(x); }
NEEDLE_HD double expm1(double x) { return ::expm1(x); }
NEEDLE_HD double log(double x) { return ::log(x); }
NEEDLE_HD double log1p(double x) { return ::log1p(x); }
NEEDLE_HD double tanh(double x) { return ::tanh(x); }
NEEDLE_HD double erf(double x) { return ::erf(x); }
NEEDLE_HD double sin(double x) { return ::sin(x); }
NEEDLE_HD double cos(double x) { return ::cos(x); }
NEEDLE_HD double sqrt(double x) { return ::sqrt(x); }
NEEDLE_HD double floor(double x) { return ::floor(x); }
NEEDLE_HD double ceil(double x) { return ::ceil(x); }
NEEDLE_HD double trunc(double x) { return ::trunc(x); }
NEEDLE_HD double round_even(double x) { return ::rint(x); }
NEEDLE_HD double fmod(double a, double b) { return ::fmod(a, b); }
NEEDLE_HD double pow(double a, double b) { return ::pow(a, b); }
NEEDLE_HD double atan2(double a, double b) { return ::atan2(a, b); }
#else
NEEDLE_HD float exp(float x) { return metal::precise::exp(x); }
NEEDLE_HD float expm1(float x) { return expm1_poly(x); }
NEEDLE_HD float log(float x) { return metal::precise::log(x); }
NEEDLE_HD float log1p(float x) { return log1p_poly(x); }
NEEDLE_HD float tanh(float x) { return metal::precise::tanh(x); }
NEEDLE_HD float sigmoid(float x) { return sigmoid_poly(x); }
NEEDLE_HD float erf(float x) { return erf_poly(x); }
NEEDLE_HD float sin(float x) { return metal::precise::sin(x); }
NEEDLE_HD float cos(float x) { return metal::precise::cos(x); }
NEEDLE_HD float sqrt(float x) { return metal::precise::sqrt(x); }
NEEDLE_HD float floor(float x) { return metal::floor(x); }
NEEDLE_HD float ceil(float x) { return metal::ceil(x); }
NEEDLE_HD float trunc(float x) { return metal::trunc(x); }
NEEDLE_HD float round_even(float x) { return metal::rint(x); }
NEEDLE_HD float fmod(float a, float b) { return metal::fmod(a, b); }
NEEDLE_HD float pow(float a, float b) { return metal::precise::pow(a, b); }
NEEDLE_HD float atan2(float a, float b) { return metal::precise::atan2(a, b); }
#endif

#if defined(NEEDLE_HAS_DOUBLE)
NEEDLE_HD double sigmoid(double x) {
  const double e = exp(x < 0 ? x : -x);
  return x != x ? x : (x < 0 ? e : 1.0) / (1.0 + e);
}
#endif

}  // namespace math
NEEDLE_END

#endif  // NEEDLE_FLOAT_MATH_H
