// Between stored types and the types that kernels compute in, and casts among the latter.
#include <needle/functors.h>

#include "simd/kernels.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

NEEDLE_BEGIN
namespace {

// float16 by bits, for where there is no instruction. The exponent is moved by a multiplication, which makes
// subnormals right; infinities and NaN are patched up after.
float float_from_half(uint16_t half) {
  const uint32_t magnitude = half & 0x7FFFu;
  const float scaled = float_of(static_cast<int32_t>(magnitude << 13)) * 5.192296858534828e33f;  // 2^112
  const int32_t special = static_cast<int32_t>((magnitude << 13) | 0x7F800000u);
  const int32_t bits = magnitude >= 0x7C00u ? special : bits_of(scaled);
  return float_of(bits | static_cast<int32_t>((half & 0x8000u) << 16));
}

// Rounds to nearest even. Numbers below the smallest normal half are rounded by adding 0.5, whose last bit has the
// weight of the smallest subnormal half.
uint16_t half_from_float(float x) {
  const uint32_t bits = static_cast<uint32_t>(bits_of(x));
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const uint32_t normal = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const uint32_t subnormal =
      static_cast<uint32_t>(bits_of(float_of(static_cast<int32_t>(magnitude)) + 0.5f)) - 0x3F000000u;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477FF000u ? 0x7C00u : half;
  half = magnitude > 0x7F800000u ? 0x7E00u : half;
  return static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
}

// Whole vectors of halves by the instructions for it, where there are such. (The forms with a mask, of all lanes,
// because g++ 12 warns of an uninitialized variable in the others.)
#if defined(__AVX512F__)
constexpr int64_t kHalves = 16;
void floats_from_halves(const uint16_t* x, float* out) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  _mm512_storeu_ps(out, _mm512_maskz_cvtph_ps(0xFFFF, halves));
}
void halves_from_floats(const float* x, uint16_t* out) {
  const __m256i halves = _mm512_maskz_cvtps_ph(0xFFFF, _mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), halves);
}
#elif defined(__F16C__)
constexpr int64_t kHalves = 8;
void floats_from_halves(const uint16_t* x, float* out) {
  _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}
void halves_from_floats(const float* x, uint16_t* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__aarch64__)
constexpr int64_t kHalves = 1;
void floats_from_halves(const uint16_t* x, float* out) { *out = *reinterpret_cast<const __fp16*>(x); }
void halves_from_floats(const float* x, uint16_t* out) { *reinterpret_cast<__fp16*>(out) = static_cast<__fp16>(*x); }
#else
constexpr int64_t kHalves = 1;
void floats_from_halves(const uint16_t* x, float* out) { *out = float_from_half(*x); }
void halves_from_floats(const float* x, uint16_t* out) { *out = half_from_float(*x); }
#endif

void widen_halves(const void* stored, void* wide, int64_t n) {
  const uint16_t* x = static_cast<const uint16_t*>(stored);
  float* out = static_cast<float*>(wide);
  int64_t i = 0;
  NEEDLE_INDEPENDENT
  for (; i + kHalves <= n; i += kHalves) floats_from_halves(x + i, out + i);
  for (; i < n; ++i) out[i] = float_from_half(x[i]);
}

void narrow_to_halves(const void* wide, void* stored, int64_t n) {
  const float* x = static_cast<const float*>(wide);
  uint16_t* out = static_cast<uint16_t*>(stored);
  int64_t i = 0;
  NEEDLE_INDEPENDENT
  for (; i + kHalves <= n; i += kHalves) halves_from_floats(x + i, out + i);
  for (; i < n; ++i) out[i] = half_from_float(x[i]);
}

float float_from_bfloat16(uint16_t x) { return float_of(static_cast<int32_t>(static_cast<uint32_t>(x) << 16)); }

uint16_t bfloat16_from_float(float x) {
  const uint32_t bits = static_cast<uint32_t>(bits_of(x));
  const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>(x != x ? 0x7FC0u : rounded);
}

template <class From, class To, To (*f)(From)> void map(const void* x, void* out, int64_t n) {
  const From* from = static_cast<const From*>(x);
  To* to = static_cast<To*>(out);
  NEEDLE_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) to[i] = f(from[i]);
}

template <class From, class To> To convert(From x) { return static_cast<To>(x); }

template <class From> uint8_t nonzero(From x) { return x != From(0) ? 1 : 0; }

// The float next to x towards zero, its last bit set if x is not exactly that.
float odd_float(double x) {
  const float nearest = static_cast<float>(x);
  const double back = static_cast<double>(nearest);
  const bool beyond = (back < 0 ? -back : back) > (x < 0 ? -x : x);
  const int32_t bits = bits_of(nearest) - (beyond ? 1 : 0);
  return float_of(back == x || x != x || x - x != 0 ? bits_of(nearest) : bits | 1);
}

template <class From> void fill_from(Kernels& table) {
  constexpr Compute from = ComputeOf<From>::value;
  table.convert[from][kF32] = map<From, float, convert<From, float>>;
  table.convert[from][kF64] = map<From, double, convert<From, double>>;
  table.convert[from][kI32] = map<From, int32_t, convert<From, int32_t>>;
  table.convert[from][kI64] = map<From, int64_t, convert<From, int64_t>>;
  table.to_bool[from] = map<From, uint8_t, nonzero<From>>;
}

}  // namespace

void fill_convert(Kernels& table) {
  constexpr int kBool = static_cast<int>(DType::kBool), kUInt8 = static_cast<int>(DType::kUInt8);
  constexpr int kInt8 = static_cast<int>(DType::kInt8), kHalf = static_cast<int>(DType::kFloat16);
  constexpr int kBFloat16 = static_cast<int>(DType::kBFloat16);
  table.widen[kBool] = map<uint8_t, int32_t, convert<uint8_t, int32_t>>;
  table.widen[kUInt8] = map<uint8_t, int32_t, convert<uint8_t, int32_t>>;
  table.widen[kInt8] = map<int8_t, int32_t, convert<int8_t, int32_t>>;
  table.widen[kHalf] = widen_halves;
  table.widen[kBFloat16] = map<uint16_t, float, float_from_bfloat16>;
  table.narrow[kBool] = map<int32_t, uint8_t, nonzero<int32_t>>;
  table.narrow[kUInt8] = map<int32_t, uint8_t, convert<int32_t, uint8_t>>;
  table.narrow[kInt8] = map<int32_t, int8_t, convert<int32_t, int8_t>>;
  table.narrow[kHalf] = narrow_to_halves;
  table.narrow[kBFloat16] = map<float, uint16_t, bfloat16_from_float>;
  fill_from<float>(table);
  fill_from<double>(table);
  fill_from<int32_t>(table);
  fill_from<int64_t>(table);
  table.round_to_odd = map<double, float, odd_float>;
}

NEEDLE_END
